"""deploy: levels by accuracy, bytes and time, what nothing beats, and what to take."""

import json
import re
import shlex
from dataclasses import asdict

import numpy as np
import pytest

from quatgrad import lth, sparse, use_backend
from quatgrad.costs import costs
from quatgrad.lth.command import main
from quatgrad.lth.command.deploying import answer
from quatgrad.lth.results.offers import Offer, best, figure, is_unbeaten, text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return lth.run(preset="smoke", trials=2, levels=2, control=("shuffled",), out=str(out)).run.path


@pytest.fixture(scope="module")
def small(run):
    path = run.parent
    return lth.run(preset="smoke", width=24, levels=0, algebra="real", out=str(path)).run.path


def offer(accuracy, kb, ms, network="real", level=0, **more):
    costs = {"kilobytes": kb, "int8_kilobytes": kb / 4, "milliseconds": ms}
    known = {"run": "", "network": network, "level": level, "interval": None, "judged": accuracy}
    known |= {"weights": 1000 - level, "multiply_adds": 2 * 10**6, "accuracy": accuracy}
    return Offer(**known | costs | more)


DENSE, MIDDLE, BEATEN, TINY, SLOW = OFFERS = [
    offer(0.9, 100, 4), offer(0.8, 40, 2, level=1), offer(0.7, 50, 1.5, level=2),
    offer(0.6, 10, 1, level=3), offer(0.95, 400, None, "quaternion"),
]  # fmt: skip


def test_what_nothing_beats():
    assert [is_unbeaten(o, OFFERS, "kilobytes") for o in OFFERS] == [1, 1, 0, 1, 1]
    assert [is_unbeaten(o, OFFERS, "milliseconds") for o in OFFERS] == [1, 1, 1, 1, 0]
    twins = [DENSE, DENSE]
    assert all(is_unbeaten(o, twins, "kilobytes") for o in twins)
    assert not is_unbeaten(offer(0.9, 101, 4), OFFERS, "kilobytes")
    assert not is_unbeaten(offer(0.89, 100, 4), OFFERS, "kilobytes")


@pytest.mark.parametrize(("kb", "ms", "wanted", "weights"), [
    (100, None, SLOW, "int8"), (100, 5, DENSE, "float32"), (99, 5, DENSE, "int8"),
    (None, 2, MIDDLE, "float32"), (None, 1.9, BEATEN, "float32"), (10, 1, TINY, "float32"),
    (9, 1, TINY, "int8"), (1000, None, SLOW, "float32"),
])  # fmt: skip
def test_the_best_within_bounds(kb, ms, wanted, weights):
    assert best(OFFERS, kb, ms) == (wanted, weights)


def test_nothing_is_within_bounds():
    assert best(OFFERS, 1, None) is best(OFFERS, None, 0.5) is None


def test_validation_images_choose_where_there_are_any():
    lucky, right = offer(0.9, 10, 1, judged=0.7), offer(0.8, 10, 1, judged=0.85)
    assert best([lucky, right], 10, None) == (right, "float32")
    assert not is_unbeaten(lucky, [lucky, right], "kilobytes")


def test_of_equals_the_smaller_one():
    equal = offer(0.8, 40, 2, level=7)
    smaller = offer(0.8, 30, 2, level=8)
    assert best([equal, smaller, equal], 100, 100)[0] is smaller


def test_the_command_names_the_function_that_makes_a_network_of_ones_own():
    _, line = answer(OFFERS, {"kb": 100, "model": "a b.py:net"}, ["runs/mine"])
    assert shlex.split(line.splitlines()[-1])[-2:] == ["--model", "a b.py:net"]


def test_a_table_for_each_network():
    lines = text([*OFFERS, offer(0.5, 1, 1, interval=0.02, network="half")]).splitlines()
    assert [line for line in lines if line and line[0] != " "] == [
        "real", lines[1], "quaternion", lines[8], "half", lines[12],
    ]  # fmt: skip
    assert lines[2].split() == [
        "0",
        "90.00%",
        "1,000",
        "100.0",
        "25.0",
        "4",
        "2.0",
        "M",
        "kB,",
        "ms",
    ]
    assert lines[4].split()[-1] == "ms"
    assert lines[9].split()[5] == "-"
    assert "50.00% +-2.00%" in lines[13]
    assert max(map(len, lines)) <= 80


def told(capsys, *arguments):
    with use_backend("numba"):  # the command leaves the backend that it chose
        code = main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_the_levels_of_a_run_with_what_they_cost(run, capsys, tmp_path):
    found = told(capsys, "deploy", run, "--trial", 1)
    result = lth.Result(lth.experiment.result.Run(run))
    curves = result.run.curves
    levels = found["levels"]
    assert [(x["network"], x["level"]) for x in levels] == [
        (name, k) for name in ("real", "quaternion") for k in range(3)
    ]
    for x in levels:
        level = curves[x["network"]][x["level"]]
        assert x["accuracy"] == x["judged"] == level.accuracy
        assert x["interval"] == level.interval
        net = result.network(x["level"], x["network"], 1)
        assert x["weights"] == sum(int(m.sum()) for m in net.masks.values())
        assert x["multiply_adds"] == costs(net.model, (4, 4, 4), net.masks).multiply_adds
        for weights, name in (("float32", "kilobytes"), ("int8", "int8_kilobytes")):
            sparse.save(tmp_path / "x.ticket", sparse.without_dead(net), weights)
            assert (tmp_path / "x.ticket").stat().st_size == 1000 * x[name]
        assert 0 < x["milliseconds"] < 1000
        known = Offer(**{k: v for k, v in x.items() if not k.startswith("unbeaten")})
        assert asdict(known).items() <= x.items()
    assert any(x["unbeaten_in_kilobytes"] for x in levels)
    assert "best" not in found


def test_a_small_dense_network_stands_beside_and_the_best_is_said(run, small, capsys, tmp_path):
    picture = tmp_path / "a.svg"
    many = "deploy", str(run), str(small), "--kb", "1e9", "--plot", str(picture)
    assert main([*many]) == 0
    printed = capsys.readouterr().out
    names = [line for line in printed.splitlines() if re.fullmatch(r"\d \w+", line)]
    assert names == ["1 real", "1 quaternion", "2 real"]
    assert "With 1e+09 kB: " in printed
    command = shlex.split(printed.splitlines()[-1])
    assert command[:2] == ["quatgrad-lth", "export"]
    assert command[2] in (str(run), str(small))
    assert b"<svg" in picture.read_bytes()
    found = told(capsys, *many)
    top = max(x["judged"] for x in found["levels"])
    taken = found["best"]
    (row,) = (x for x in found["levels"] if (x["run"], x["network"], x["level"]) == (
        "2" if taken["run"] == str(small) else "1", taken["network"], taken["level"]))  # fmt: skip
    assert row["judged"] == top
    assert shlex.split(taken["command"])[:2] == ["quatgrad-lth", "export"]


def test_what_it_says_is_what_export_writes(run, capsys, tmp_path):
    levels = told(capsys, "deploy", run)["levels"]
    file = tmp_path / "net.ticket"
    for x in levels[2], levels[5]:
        which = "--network", x["network"], "--level", x["level"], "--file", file
        for weights, name in (("float32", "kilobytes"), ("int8", "int8_kilobytes")):
            found = told(capsys, "export", run, *which, "--weights", weights)
            assert found["bytes"] == file.stat().st_size == 1000 * x[name]


def test_no_level_is_so_small(run, capsys):
    assert main(["deploy", str(run), "--kb", "0.01", "--ms", "5"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.search(r"With 0.01 kB and 5 ms: none of these. The smallest has \d", line)
    assert told(capsys, "deploy", run, "--kb", "0.01")["best"] is None
    _, line = answer([offer(0.9, 3, 1, int8_kilobytes=4.0)], {"kb": 0.5}, ["a"])
    assert "The smallest has 3.0 kB" in line  # int8 may be larger, by its scales


def test_bad_input(run, capsys):
    for arguments, said in {
        ("--kb", "0"): "--kb is a number above 0; got 0",
        ("--ms", "nan"): "--ms is a number above 0; got nan",
        ("--trial", "7"): "in trial 7; there is trial 0",
        ("--plot", "a.gif"): ".png or .svg",
    }.items():
        assert main(["deploy", str(run), *arguments]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert err.count("\n") == 1


def test_runs_of_two_datasets_are_not_compared(run, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    config = json.loads((run / "config.json").read_text())
    config["options"]["dataset"] = "mnist"
    (other / "config.json").write_text(json.dumps(config))
    assert main(["deploy", str(run), str(other)]) == 2
    err = capsys.readouterr().err
    assert f"{run.name} is of digits, other of mnist; give runs of one dataset" in err


def test_a_network_without_a_plan_has_no_time(run, capsys, monkeypatch):
    def refuse(*arguments):
        raise lth.experiment.deploy.OptionError("no plan")

    monkeypatch.setattr(sparse, "prepare", refuse)
    found = told(capsys, "deploy", run, "--kb", "100")
    assert {x["milliseconds"] for x in found["levels"]} == {None}
    assert found["best"]


def test_a_picture_has_a_line_for_each_network():
    axes = figure([*OFFERS, offer(0.5, 1, 1, run="2")]).axes
    labels = axes[0].get_legend_handles_labels()[1]
    assert sorted(labels) == ["2 real", "quaternion", "real", "unbeaten"]
    assert np.all(axes[0].lines[0].get_ydata() == [0.9, 0.8, 0.7, 0.6])
