"""The command analyse: what it prints, what it leaves, and one clear line for everything wrong."""

import json
import shutil
from pathlib import Path

import pytest

from quatgrad.lth.analysis import text as words
from quatgrad.lth.analysis.connectivity import Line
from quatgrad.lth.command import analysing
from quatgrad.lth.command.cli import main
from quatgrad.lth.experiment import experiment, runs
from quatgrad.lth.results.run import Run
from quatgrad.lth.search.start import start_of
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import Stage, read_record

SMOKE = ["--preset", "smoke", "--quiet", "--levels", "1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of both networks with a control, rewound to epoch 1."""
    out = tmp_path_factory.mktemp("made") / "runs"
    assert main([*SMOKE, "--rewind-epoch", "1", "--control", "shuffled", "--out", str(out)]) == 0
    return out


@pytest.fixture
def directory(made, tmp_path):
    return runs.runs_in(Path(shutil.copytree(made, tmp_path / "runs", symlinks=True)))[0].path


@pytest.fixture
def call(directory, capsys):
    """Call analyse on the run: (exit code, stdout, stderr), or with --json the value."""

    def call(*arguments):
        code = main(["analyse", str(directory), *map(str, arguments)])
        printed = capsys.readouterr()
        if "--json" in arguments:
            return code, json.loads(printed.out)
        return code, *printed

    return call


NETWORKS = ["real", "quaternion", "real-shuffled", "quaternion-shuffled"]


def test_it_prints_a_summary_and_leaves_numbers_and_pictures(call, directory):
    stages = {p: p.read_bytes() for p in directory.parent.glob("stages/*/*")}
    code, printed, err = call()
    assert (code, err) == (0, "")
    found = json.loads((directory / "analysis" / "analysis.json").read_text())
    assert sorted(found["levels"]) == sorted(NETWORKS)
    for name, levels in found["levels"].items():
        assert f"{name}:\n" in printed or f"{name}, a control:\n" in printed
        assert f"{100 * levels[1]['density']:.2f} " in printed
        assert levels[1]["effective"] is not None  # its network was made
    whole = found["levels"]["quaternion"][1]["quaternions"]
    for which in ("found", "chance"):
        assert f"{whole[which][4] / sum(whole[which]):.1%}" in printed
    best = found["curves"]["real"]["sparsest"]
    assert f"level {best['level']}, {best['weights_left']:,} weights" in printed
    assert "No layer collapsed." in printed
    assert max(len(line) for line in printed.splitlines() if str(directory) not in line) <= 100
    assert (directory / "analysis" / "densities-real.png").exists()
    assert not (directory / "analysis" / "lines.png").exists()  # nothing was trained
    assert {p: p.read_bytes() for p in directory.parent.glob("stages/*/*")} == stages


def test_json_is_what_is_on_record(call, directory):
    code, told = call("--json", "--tolerance", "0.5")
    assert code == 0
    assert told == json.loads((directory / "analysis" / "analysis.json").read_text())
    assert told["curves"]["real"]["tolerance"] == 0.5
    assert told["lines"] == {}


def test_connectivity_trains_each_network_in_two_orders(call, directory):
    code, told = call("--json", "--connectivity", 0, "--connectivity", 1)
    assert code == 0
    assert [*told["lines"]] == [f"{n}, level {i}" for i in (0, 1) for n in ("real", "quaternion")]
    for line in told["lines"].values():
        assert line["barrier"] == Line(line["shares"], line["errors"], line["losses"]).barrier
        assert line["losses"][0] != line["losses"][-1]
    assert (directory / "analysis" / "lines.svg").exists()
    assert "real, level 1: barrier " in call("--connectivity", 1)[1]


def test_the_line_starts_at_the_ticket_that_the_level_was_trained_from(directory, monkeypatch):
    """With the epochs behind it, and on to the end of the recipe."""
    seen = []
    monkeypatch.setattr(analysing, "stability", lambda *a, **k: seen.append((*a, k)))
    options = experiment.options_of(Run(directory))
    folder = directory / "trial0" / "real"
    for level in (0, 1):
        analysing.two_orders(options, folder, level, None, experiment.load(options, "real"))
        _, ticket, _, recipe, more = seen.pop()
        stage = Stage.load(files.level_path(folder, level).resolve())
        assert ticket.digest() == stage.record().ticket
        assert ticket.digest() == start_of(stage, stage.end().masks).digest()
        assert recipe == options.recipe
        behind = read_record(files.level_path(folder, 0)).epochs[:level]
        assert [e.train_loss for e in more["history"]] == [e.train_loss for e in behind]


def test_a_layer_that_collapsed_is_a_warning(call, directory):
    _, found = call("--json")
    told = found | {"warnings": ["real, level 1: nothing is left of 3.weight"]}
    assert "WARNING: layer collapse: real, level 1: nothing" in words.text(directory, told)
    assert "WARNING" not in words.text(directory, found)


def test_what_is_wrong_is_one_clear_line(call, directory, monkeypatch):
    for arguments, text in [
        (("--tolerance", "-1"), "--tolerance is a difference of accuracies"),
        (("--tolerance", "nan"), "--tolerance is a difference of accuracies"),
        (("--connectivity", 7), "has no finished level 7"),
        (("--connectivity", -1), "has no finished level -1"),
    ]:
        code, printed, err = call(*arguments)
        assert (code, printed, err.count("\n")) == (2, "", 1)
        assert text in err
    other = experiment.load(experiment.options_of(Run(directory)), "real").subset(100, 0)
    monkeypatch.setattr(analysing, "load", lambda options, network: other)
    assert "--data-dir" in call()[2]
    monkeypatch.undo()
    for path in directory.glob("trial0/*/level_00"):
        path.unlink()
    assert "no finished level to analyse" in call()[2]
