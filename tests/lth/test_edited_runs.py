"""Edited run directories: every command says so in one line, and none ends in a traceback.

Every value of every JSON file is replaced by something else. A finished stage gets its checksums
anew, so that the edited file is read. Here is a sample; all of it, for some minutes:

    python tests/lth/test_edited_runs.py
"""

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from quatgrad import use_backend
from quatgrad.lth.command.cli import main
from quatgrad.lth.store import files

TINY = "--preset smoke --subset 40 --epochs 1 --width 24 --levels 1 --backend numpy --quiet"
DEEP = "[" * 10_000 + "]" * 10_000
VALUES = (None, True, -1, 1.5, 10**25, float("nan"), float("inf"), "text", [], [None], {}, DEEP)
WHOLE = (b"", b"{", b"\xff\xfe", b"null", b"[]", b"{}", b"1", b'"text"', DEEP.encode(), b"\0" * 9)
MISSING = object()

#: Of RUN, and of another run beside it. `gc --delete`, `branch` and `run` write.
VERBS = (
    "list", "show RUN", "compare RUN OTHER", "plot RUN --plot PICTURE", "analyse RUN", "verify RUN",
    "gc", "plan TINY", "branch RUN --control signs --quiet", "gc --delete", "run TINY",
)  # fmt: skip


def make(out):
    """Two small runs that share stages: of both networks with a control, and of another rule."""
    call(["run", *TINY.split(), "--control", "shuffled", "--out", str(out)])
    call(["run", *TINY.split(), "--score", "random", "--algebra", "real", "--out", str(out)])
    return out


def call(arguments):
    """(exit code, stdout, stderr) of the command; whatever it raises is raised."""
    out, err = io.StringIO(), io.StringIO()
    muffled = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with muffled[0], muffled[1], use_backend("numpy"):  # and afterwards the one before
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


def edits(folder):
    """(name of a file, what is edited, its new content) of every JSON file."""
    for path in sorted(p for p in folder.rglob("*") if p.suffix == ".json" or p.name == "done"):
        name = str(path.relative_to(folder))
        if path.is_symlink() or "analysis" in name or any(p.is_symlink() for p in path.parents):
            continue
        yield from ((name, "all of it", content) for content in WHOLE)
        value = json.loads(path.read_bytes())
        for place in places(value):
            for new in (MISSING, *VALUES):
                text = json.dumps(edited(value, place, new))
                yield name, place, text.replace(json.dumps(DEEP), DEEP).encode()


def places(value, here=()):
    """The path to everything in a value of JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*here, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*here, key))


def edited(value, place, new):
    """A copy with another value in that place, or without it."""
    copy = json.loads(json.dumps(value))
    *way, last = place
    inner = copy
    for key in way:
        inner = inner[key]
    if new is MISSING:
        del inner[last]
    else:
        inner[last] = new
    return copy


def write(path, content):
    """The file with another content; of a finished stage, with new checksums."""
    path.write_bytes(content)
    if path.name != "done" and (path.parent / "done").exists():
        files.finalize(path.parent)


def is_in(name, run):
    """Does a run have that file, or a link to its folder?"""
    stage = name.split("/")[1] if name.startswith("stages/") else ""
    links = [*run.glob("trial*/*/level_*")]
    return name.startswith(run.name) or stage in {os.readlink(p).split("/")[-1] for p in links}


def ask(verb, out, name, message=None):
    """Run a command on the edited run; what is wrong with its answer, or "".

    `message` is what an error names, by default the file.
    """
    runs = sorted(p.parent for p in out.glob("*/config.json"))
    if not runs and "RUN" in verb:
        return ""
    run = next((r for r in runs if is_in(name, r)), runs[0] if runs else out)
    other = next((r for r in runs if r != run), run)
    words = {"RUN": [run.name], "OTHER": [other.name], "TINY": TINY.split(),
             "PICTURE": [str(out / "picture.svg")]}  # fmt: skip
    arguments = [a for word in verb.split() for a in words.get(word, [word])]
    try:
        code, _, err = call([*arguments, "--out", str(out)])
    except Exception as error:
        import traceback

        return f"{type(error).__name__}: {error}"[:300] + "".join(traceback.format_exc(limit=-3))
    if code not in (0, 1, 2):
        return f"exit code {code}"
    named = (
        Path(name).name if message is None else message
    ) in err or "its checksum is wrong" in err  # of another file, in `done`
    if code == 2 and (err.count("\n") != 1 or not named):
        return f"it does not name the file in one line: {err[:300]}"
    return ""


def test_no_command_ends_in_a_traceback(made, tmp_path):
    everything, rng = list(edits(made)), random.Random(0)
    for i, (name, place, content) in enumerate(rng.sample(everything, 30)):
        verbs = VERBS if i < 4 else rng.sample(VERBS[:-3], 2)
        for verb in verbs:
            out = Path(shutil.copytree(made, tmp_path / "runs", symlinks=True))
            write(out / name, content)
            assert ask(verb, out, name) == "", (verb, name, place, content[:80])
            shutil.rmtree(out)


def without_trial_0(out, run):
    shutil.rmtree(run / "trial0")


def a_trial_that_is_a_file(out, run):
    shutil.rmtree(run / "trial0")
    (run / "trial0").touch()


def trials_of_somebody_else(out, run):
    for name in ("trial7", "trialx", "trial-1", "trial0/foreign", "trial0/real-foreign"):
        (run / name).mkdir()
        stage = os.readlink(run / "trial0" / "real" / "level_00").split("/")[-1]
        files.link(run / name / "level_00", out / "stages" / stage)


def a_run_of_somebody_else(out, run):
    (out / "foreign").mkdir()
    (out / "foreign" / "config.json").write_text("{}")


def without_stages(out, run):
    shutil.rmtree(out / "stages")


def stages_that_are_a_file(out, run):
    without_stages(out, run)
    (out / "stages").touch()


def folders_for_files(out, run):
    for name in ("stage.json", "record.json", "checks.json", "done"):
        for path in out.glob(f"stages/*/{name}"):
            path.unlink()
            path.mkdir()


def a_folder_for_options(out, run):
    (run / "config.json").unlink()
    (run / "config.json").mkdir()


STRUCTURES = (
    without_trial_0, a_trial_that_is_a_file, trials_of_somebody_else, a_run_of_somebody_else,
    without_stages, stages_that_are_a_file, folders_for_files, a_folder_for_options,
)  # fmt: skip


@pytest.mark.parametrize("edit", STRUCTURES, ids=lambda edit: edit.__name__)
def test_folders_that_are_missing_or_foreign(made, tmp_path, edit):
    for i, verb in enumerate(VERBS):
        out = Path(shutil.copytree(made, tmp_path / f"{i}" / "runs", symlinks=True))
        run = next(p.parent for p in out.glob("*/config.json"))
        edit(out, run)
        assert ask(verb, out, run.name + "/config.json", "") == "", verb


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made") / "runs")


def everything():
    """Every edit and every command: prints what is wrong."""
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        made, calls, wrong = make(Path(folder) / "made"), 0, 0
        verbs = sys.argv[1].split(",") if sys.argv[1:] else VERBS
        share = float(sys.argv[2]) if sys.argv[2:] else 1
        rng = random.Random(1)
        for name, place, content in edits(made):
            if rng.random() > share:
                continue
            for verb in verbs:
                out = Path(shutil.copytree(made, Path(folder) / "runs", symlinks=True))
                write(out / name, content)
                calls += 1
                if line := ask(verb, out, name):
                    wrong += 1
                    print(f"{verb} | {name} | {place} | {content[:60]!r} | {line}", flush=True)
                shutil.rmtree(out)
        print(f"{calls} calls, {wrong} wrong")


if __name__ == "__main__":
    everything()
