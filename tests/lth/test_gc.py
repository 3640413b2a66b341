"""`gc` removes nothing that anybody needs, and nothing that it cannot judge."""

import os
import shutil
from pathlib import Path

import pytest
from test_edited_runs import TINY, call

from quatgrad.errors import RunError
from quatgrad.lth.experiment import garbage, plan
from quatgrad.lth.experiment.runs import runs_in
from quatgrad.lth.store import files


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "runs"
    run = ["run", *TINY.split(), "--algebra", "real", "--control", "shuffled"]
    assert call([*run, "--out", str(out)])[0] == 0
    return out


@pytest.fixture
def out(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "runs", symlinks=True))


def stages(out):
    return {p.name for p in (out / "stages").iterdir()}


def gc(out):
    return call(["gc", "--delete", "--out", str(out)])


# ------------------------------------------------------------------------- what counts as needing


def without_config(run):
    (run / "config.json").unlink()


def a_config_that_is_a_folder(run):
    without_config(run)
    (run / "config.json").mkdir()


def in_an_archive(run):
    (run.parent / "archive" / "2025").mkdir(parents=True)
    for folder in run.glob("trial*/*"):
        for link in folder.glob("level_*"):
            files.link(link.with_name("tmp"), link.resolve())
            link.unlink()
            new = run.parent / "archive" / "2025" / run.name / folder.relative_to(run)
            new.mkdir(parents=True, exist_ok=True)
            files.link(new / link.name, link.with_name("tmp").resolve())
    shutil.rmtree(run)


def in_a_hidden_folder(run):
    run.rename(run.with_name(f".{run.name}"))


def behind_a_link(run):
    (run.parent.parent / "elsewhere").mkdir()
    shutil.copytree(run, run.parent.parent / "elsewhere" / run.name, symlinks=True)
    for link in sorted((run.parent.parent / "elsewhere").glob("*/trial*/*/level_*")):
        to = run / link.relative_to(run.parent.parent / "elsewhere" / run.name)
        files.link(link, to.resolve())
    shutil.rmtree(run)
    run.symlink_to(run.parent.parent / "elsewhere" / run.name)


def a_control_alone(run):
    shutil.rmtree(run / "trial0" / "real")


def by_a_link_to_one_file(run):
    link = run / "trial0" / "real-shuffled" / "level_01"
    end = link.resolve() / "end.npz"
    for folder in (run / "trial0").iterdir():
        shutil.rmtree(folder)
    (run / "mine.npz").symlink_to(end)


KEPT = (
    without_config, a_config_that_is_a_folder, in_an_archive, in_a_hidden_folder, behind_a_link,
    a_control_alone, by_a_link_to_one_file,
)  # fmt: skip


@pytest.mark.parametrize("change", KEPT, ids=lambda change: change.__name__)
def test_whatever_links_to_a_stage_keeps_it(out, change):
    before = stages(out)
    change(runs_in(out)[0].path)
    assert gc(out)[0] == 0
    assert stages(out) == before
    assert len(list(out.glob("stages/*/done"))) == len(before)


@pytest.mark.parametrize("hidden", ["", "trial0", "trial0/real-shuffled"])
def test_a_folder_that_cannot_be_read_stops_it(out, monkeypatch, hidden):
    (run,) = runs_in(out)
    closed, scandir, before = run.path / hidden, os.scandir, stages(out)

    def guarded(path="."):
        if Path(path) == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(garbage.os, "scandir", guarded)
    code, _, err = gc(out)
    assert code == 2
    assert f"{closed} cannot be read (Permission denied)" in err
    assert err.count("\n") == 1
    monkeypatch.undo()
    assert stages(out) == before


@pytest.mark.parametrize("content", [None, "[]", "{", '{"kind": "level"}'])
def test_a_needed_stage_whose_parents_are_unknown_stops_it(out, content):
    shutil.rmtree(runs_in(out)[0].path / "trial0" / "real")  # only the control's parents are left
    (stage,) = out.glob("stages/control*")
    (stage / "stage.json").unlink()
    if content is not None:
        (stage / "stage.json").write_text(content)
    before = stages(out)
    code, _, err = gc(out)
    assert code == 2
    assert "stage.json" in err
    assert stages(out) == before


def test_what_is_no_stage_stays(out):
    shutil.rmtree(runs_in(out)[0].path)
    mine = ("README.md", "backup", ".ipynb_checkpoints", "dense-of-mine", "level_1")
    for name in mine:
        (out / "stages" / name).mkdir()
    elsewhere = out.parent / "moved"
    elsewhere.mkdir()
    (out / "stages" / ("dense-" + "0" * 12)).symlink_to(elsewhere)
    assert gc(out)[1].endswith("3 removed\n")
    assert stages(out) == {*mine, "dense-" + "0" * 12}
    assert elsewhere.exists()


# ----------------------------------------------------------------- others are at work meanwhile


def test_a_stage_that_is_taken_up_before_it_is_removed_stays(out):
    (run,) = runs_in(out)
    links = {p.relative_to(run.path): p.resolve() for p in run.links}
    shutil.rmtree(run.path)
    found = garbage.garbage(out)
    assert {p.name for p in found} == stages(out)
    (control,) = (to for to in links.values() if to.name.startswith("control"))
    (out / "a" / "trial0" / "x").mkdir(parents=True)
    files.link(out / "a" / "trial0" / "x" / "level_01", control)
    assert [garbage.remove(p) for p in found] == [False] * 3  # its parents, too
    (out / "a" / "trial0" / "x" / "level_01").unlink()
    assert [garbage.remove(p) for p in found] == [True] * 3
    assert stages(out) == set()


def test_a_run_that_starts_while_gc_removes_has_all_its_stages(out, monkeypatch):
    (run,) = runs_in(out)
    shutil.rmtree(run.path)
    listed = garbage.garbage

    def slow(out):
        found = listed(out)
        again = ["run", *TINY.split(), "--algebra", "real", "--control", "shuffled"]
        assert call([*again, "--out", str(out)])[0] == 0
        return found

    monkeypatch.setattr(garbage, "garbage", slow)
    assert "0 removed, 3 in use" in gc(out)[1]
    assert call(["verify", run.path.name, "--out", str(out)])[0] == 0


def test_a_stage_is_unfinished_before_anything_of_it_is_gone(out, monkeypatch):
    shutil.rmtree(runs_in(out)[0].path)
    (stage,) = out.glob("stages/dense*")
    monkeypatch.setattr(Path, "iterdir", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        garbage.remove(stage)
    assert not files.is_final(stage)
    assert (stage / "end.npz").exists()


@pytest.mark.parametrize("error", [PermissionError, IsADirectoryError, BlockingIOError])
def test_what_cannot_be_removed_is_left(out, monkeypatch, error):
    shutil.rmtree(runs_in(out)[0].path)

    def refuse(*args, **kwargs):
        raise error(1, "no")

    monkeypatch.setattr(Path, "iterdir", refuse)
    (stage,) = out.glob("stages/dense*")
    assert not garbage.remove(stage)


def test_a_temporary_file_that_is_gone_when_it_is_looked_at(out, monkeypatch):
    """Its process has just given it its own name."""
    (run,) = runs_in(out)
    gone = run.path / ".comparison.csv.host.1.tmp"
    monkeypatch.setattr(garbage, "temporary_files", lambda folder: [gone])
    assert garbage.garbage(out) == []
    (stage,) = out.glob("stages/dense*")
    known = garbage.size(stage)
    lstat = os.lstat

    def late(path):
        if str(path).endswith("end.npz"):
            raise FileNotFoundError(2, "gone")
        return lstat(path)

    monkeypatch.setattr(garbage.os, "lstat", late)
    assert 0 < garbage.size(stage) == known - (stage / "end.npz").stat().st_size
    assert garbage.size(gone) == 0
    assert plan.size is garbage.size


def test_a_link_that_gets_its_name_while_it_is_looked_for(out, monkeypatch):
    """A new link has a temporary name first; the list of names was made before it had its own."""
    (run,) = runs_in(out)
    link = run.path / "trial0" / "real-shuffled" / "level_01"
    early = link.with_name(".level_01.host.1.tmp")
    link.rename(early)
    readlink = os.readlink

    def late(path):
        if Path(path) == early and early.is_symlink():
            early.rename(link)
        return readlink(path)

    monkeypatch.setattr(garbage.os, "readlink", late)
    assert garbage.needed(out) == stages(out)
    assert link.is_symlink()


def test_nothing_there_is_no_error(tmp_path):
    assert garbage.garbage(tmp_path / "nothing") == []
    (tmp_path / "stages").write_text("a file")
    assert garbage.garbage(tmp_path) == []
    (tmp_path / "loop").symlink_to("loop")
    assert garbage.needed(tmp_path) == set()
    (tmp_path / "again").symlink_to(tmp_path)
    assert garbage.needed(tmp_path) == set()


def test_a_file_where_runs_should_be_is_one_line(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match="cannot be read"):
        garbage.garbage(tmp_path / "runs")
