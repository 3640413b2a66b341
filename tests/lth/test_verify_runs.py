"""`verify` proves what it says, and names what it did not look at."""

import json
import os
import shutil
from pathlib import Path

import pytest
from test_edited_runs import TINY, call

from quatgrad.lth.experiment.runs import runs_in
from quatgrad.lth.experiment.verify import text, verify
from quatgrad.lth.results.run import Run
from quatgrad.lth.store import files

LINKS = "links to stages that the options need"
TABLES = "tables that say what the records say"
PICTURES = "pictures that are drawn of the records"
RUN = ["run", *TINY.split(), "--algebra", "real", "--trials", "2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of two trials, and one beside it of another seed."""
    out = tmp_path_factory.mktemp("made") / "runs"
    assert call([*RUN, "--out", str(out)])[0] == 0
    assert call([*RUN, "--seed", "7", "--out", str(out)])[0] == 0
    return out


@pytest.fixture
def out(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "runs", symlinks=True))


@pytest.fixture
def run(out):
    """The first of the two."""
    return next(r for r in runs_in(out) if not r.config.options.get("seed")).path


def other(run):
    return next(r for r in runs_in(run.parent) if r.path != run).path


def links(run):
    return sorted(run.glob("trial*/real/level_*"))


def told(run):
    return verify(Run(run))


def test_a_right_run_is_proved_to_the_last_file(run):
    found = told(run)
    assert (found["wrong"], found["unfinished"], found["not looked at"]) == ([], [], [])
    assert (found["right"][LINKS], found["right"][TABLES], found["right"][PICTURES]) == (4, 3, 2)
    assert text(found).splitlines()[0] == f"{run.name}: all of it as it says"


# ------------------------------------------------------------------------------- what is wrong


def every_stage_deleted(run):
    shutil.rmtree(run.parent / "stages")


def one_stage_deleted(run):
    shutil.rmtree(links(run)[1].resolve())


def links_to_another_run(run):
    for link in links(run):
        files.link(link, (other(run) / link.relative_to(run)).resolve())


def one_link_to_another_trial(run):
    files.link(run / "trial0/real/level_01", (run / "trial1/real/level_01").resolve())


def levels_in_another_order(run):
    one, two = (run / "trial0/real" / f"level_0{i}" for i in (0, 1))
    first, second = one.resolve(), two.resolve()
    files.link(one, second)
    files.link(two, first)


def the_last_link_gone(run):
    (run / "trial0/real/level_01").unlink()


def the_first_link_gone(run):
    (run / "trial1/real/level_00").unlink()


def a_search_gone(run):
    shutil.rmtree(run / "trial1" / "real")


def a_copy_for_a_link(run):
    link = links(run)[0]
    stage = link.resolve()
    link.unlink()
    shutil.copytree(stage, link)


def a_file_for_a_link(run):
    links(run)[0].unlink()
    (run / "trial0/real/level_00").write_text("")


def a_link_to_nowhere(run):
    links(run)[0].unlink()
    (run / "trial0/real/level_00").symlink_to("nowhere")


def edited(name, change):
    def edit(run):
        path = run / name
        path.write_text(change(path.read_text()))

    edit.__name__ = f"{name} edited"
    return edit


def digit(text):
    """Another digit behind the point of the last number of the second line."""
    head, line, *rest = text.splitlines()
    at = line.rindex(".") + 1
    line = f"{line[:at]}{(int(line[at]) + 5) % 10}{line[at + 1 :]}"
    return "\n".join([head, line, *rest]) + "\n"


def one_more_row(text):
    return text + text.splitlines()[-1].replace("1,", "2,", 1) + "\n"


def two_columns_exchanged(text):
    head, *rest = text.splitlines()
    names = head.split(",")
    names[1], names[2] = names[2], names[1]
    return "\n".join([",".join(names), *rest]) + "\n"


def says_it_ended_later(run):
    files.write_json(run / "trial0/real/ended.json", {"level": 5, "why": "so"})


def another_folder_name(run):
    new = run.with_name(run.name[:-1] + ("0" if run.name[-1] != "0" else "1"))
    run.rename(new)
    return new


def another_level_on_record(run):
    stage = links(run)[1].resolve()
    record = json.loads((stage / "record.json").read_text())
    files.write_json(stage / "record.json", record | {"level": 3})
    files.finalize(stage)


WRONG = (
    every_stage_deleted, one_stage_deleted, links_to_another_run, one_link_to_another_trial,
    levels_in_another_order, the_last_link_gone, the_first_link_gone, a_search_gone,
    a_copy_for_a_link, a_file_for_a_link, a_link_to_nowhere, says_it_ended_later,
    another_folder_name, another_level_on_record,
    *(edited(name, change) for name in ("comparison.csv", "trial1/real/levels.csv")
      for change in (digit, one_more_row, two_columns_exchanged)),
)  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
def test_what_is_wrong_is_found(run, change):
    path = change(run) or run
    code, printed, err = call(["verify", path.name, "--out", str(run.parent)])
    assert (code, err) == (1, "")
    assert " wrong\n" in printed
    assert "WRONG" in printed


# --------------------------------------------------------------------- what is right all the same


def test_a_run_has_one_name_however_it_is_reached(run, monkeypatch):
    run.parent.joinpath("latest").symlink_to(run.name)
    assert told(run.parent / "latest") == told(run)
    monkeypatch.chdir(run)
    assert told(Path()) == told(run)
    monkeypatch.chdir(run / "trial0")
    code, printed, _ = call(["verify", ".."])
    assert (code, printed.splitlines()[0]) == (0, f"{run.name}: all of it as it says")
    moved = run.parent.parent / "moved"
    run.parent.rename(moved)
    assert told(moved / run.name)["wrong"] == []


def test_tables_that_are_older_than_the_records_say_less_and_nothing_wrong(out, run):
    before = (run / "comparison.csv").read_bytes(), (run / "trial0/real/levels.csv").read_bytes()
    assert call([*RUN, "--levels", "2", "--out", str(out)])[0] == 0
    (run / "comparison.csv").write_bytes(before[0])
    (run / "trial0/real/levels.csv").write_bytes(before[1])
    found = told(run)
    assert (found["wrong"], found["right"][TABLES], found["right"][LINKS]) == ([], 3, 6)
    assert call([*RUN[:-1], "1", "--out", str(out)])[0] == 0  # the table of one trial of two
    assert told(run)["wrong"] == []
    assert told(run)["not looked at"] == []


def test_a_level_in_training_is_no_fault(run):
    (links(run)[1].resolve() / "done").unlink()
    found = told(run)
    assert found["wrong"] == []
    assert len(found["unfinished"]) == 1
    assert text(found).splitlines()[0].endswith(": what was looked at is as it says")


@pytest.mark.parametrize("options", [
    "--masks finetuned --rewind-epoch 1 --epochs 2", "--control transplanted --control shuffled",
    "--validation 0.3 --score random --seed-prune 3", "--algebra all --control reinitialised",
])  # fmt: skip
def test_every_link_of_every_kind_of_search_is_proved(tmp_path, options):
    assert call([*RUN, *options.split(), "--out", str(tmp_path)])[0] == 0
    (run,) = runs_in(tmp_path)
    found = verify(run)
    assert (found["wrong"], found["not looked at"]) == ([], [])
    assert found["right"][LINKS] == len(run.links) >= 4


# ----------------------------------------------------------------------------- what it cannot prove


def an_edited_picture(run):
    path = run / "accuracy.svg"
    path.write_text(path.read_text().replace("#0072B2", "#0072B3").replace("#0072b2", "#0072b3"))


def a_picture_that_is_none(run):
    (run / "accuracy.png").write_bytes(b"")


def a_file_in_a_stage(run):
    (links(run)[0].resolve() / "notes.txt").write_text("mine")


def a_file_beside(run):
    (run / "trial0" / "real" / "notes.txt").write_text("mine")


def an_analysis(run):
    assert call(["analyse", str(run)])[0] == 0


def a_column_of_another_version(run):
    path = run / "comparison.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]},speed", *(f"{line},3" for line in lines[1:])]) + "\n")


def a_search_of_another_network(run):
    shutil.copytree(run / "trial0" / "real", run / "trial0" / "foreign", symlinks=True)


def a_table_that_is_none(run):
    (run / "comparison.csv").write_bytes(b"\xff\xfe")


UNSEEN = (
    an_edited_picture, a_picture_that_is_none, a_file_in_a_stage, a_file_beside, an_analysis,
    a_column_of_another_version, a_search_of_another_network, a_table_that_is_none,
)  # fmt: skip


@pytest.mark.parametrize("change", UNSEEN, ids=lambda change: change.__name__)
def test_what_is_not_proved_is_named(run, change):
    change(run)
    code, printed, err = call(["verify", str(run)])
    assert (code, err) == (0, "")
    assert "  not looked at: " in printed
    assert "all of it" not in printed
    assert printed.splitlines()[0].endswith(": what was looked at is as it says")


def test_a_run_of_a_version_with_other_options(run):
    """Its name follows from its options; which stages they need, only that version knows."""
    config = json.loads((run / "config.json").read_text())
    config["options"]["of another version"] = 1
    files.write_json(run / "config.json", config)
    new = run.with_name(f"digits-x-{files.content_key(config['options'])[:8]}")
    run.rename(new)
    found = told(new)
    assert found["wrong"] == []
    assert any("whether the stages of trial0/real are those" in x for x in found["not looked at"])


def test_a_preset_that_has_changed_since_is_no_fault(run):
    config = json.loads((run / "config.json").read_text())
    config["first run as"]["preset"] = "published"
    files.write_json(run / "config.json", config)
    assert told(run)["right"][LINKS] == 4


def test_a_run_without_anything_proves_nothing(run):
    for name in os.listdir(run):
        if name != "config.json":
            path = run / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert text(told(run)).splitlines()[0].endswith(": there is nothing to prove")
