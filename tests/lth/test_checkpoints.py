"""What a checkpoint may be gone on from, and what else may lie in the folder of a stage."""

import json

import numpy as np
import pytest
from test_stage import Killed, die_after
from tiny_runs import files_of, run

from quatgrad.backend import use_backend
from quatgrad.errors import RunError
from quatgrad.lth.experiment import runs
from quatgrad.lth.search import checkpoint
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import read_records


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)


def killed(monkeypatch, directory, backend="numpy", steps=4):
    """A search that was killed in level 0: the path of its checkpoint."""
    with monkeypatch.context() as m, use_backend(backend):
        die_after(m, steps)
        with pytest.raises(Killed):
            run(directory, 1)
    return next(directory.glob("stages/dense*/checkpoint.npz"))


def rewritten(path, change):
    """Write a checkpoint whose JSON and arrays were changed, with the right checksum."""
    arrays = files.read_arrays(path)
    said = json.loads(arrays.pop("said").tobytes())
    change(said, arrays)
    arrays["said"] = np.frombuffer(json.dumps(said).encode(), np.uint8)
    files.write_arrays(path, arrays)


@pytest.mark.parametrize(("first", "then"), [("numpy", "numba"), ("numba", "numpy")])
def test_the_bits_of_a_level_are_those_of_the_backend_that_it_names(
    tmp_path, monkeypatch, capsys, first, then
):
    path = killed(monkeypatch, tmp_path / "both", first)
    capsys.readouterr()
    with use_backend(then):
        run(tmp_path / "both", 1)
        assert f"was begun by {first} in float32 and is trained anew by {then}" in (
            capsys.readouterr().err
        )
        run(tmp_path / "one", 1)
    assert not path.exists()
    assert files_of(tmp_path / "both") == files_of(tmp_path / "one")
    assert {r.backend for r in read_records(tmp_path / "both")} == {then}


def test_another_precision_is_another_training(tmp_path, monkeypatch, capsys):
    path = killed(monkeypatch, tmp_path)
    rewritten(path, lambda said, arrays: said.update(precision="bf16"))
    with use_backend("numpy"):
        records, _ = run(tmp_path, 1)
    assert "was begun by numpy in bf16 and is trained anew by numpy in float32" in (
        capsys.readouterr().err
    )
    assert records[0].precision == "float32"


def test_a_checkpoint_of_an_old_version_is_gone_on_from(tmp_path, monkeypatch, capsys):
    path = killed(monkeypatch, tmp_path / "old")
    rewritten(path, lambda said, arrays: [said.pop(k) for k in ("backend", "precision")])
    with use_backend("numpy"), monkeypatch.context() as m:
        taken = die_after(m, None)
        run(tmp_path / "old", 1)
        old = len(taken)
        run(tmp_path / "new", 1)
    assert len(taken) - old == old + 4
    assert capsys.readouterr().err == ""
    assert files_of(tmp_path / "old") == files_of(tmp_path / "new")


def without(prefix):
    return lambda said, arrays: [arrays.pop(k) for k in list(arrays) if k.startswith(prefix)]


def one_more_alive(said, arrays):
    name = next(k for k in arrays if k.startswith("mask/"))
    arrays[name] = ~arrays[name]


def other_shapes(said, arrays):
    arrays.update({k: a[:1] for k, a in arrays.items() if k.startswith("state/")})


@pytest.mark.parametrize("change", [
    without("mask/"), without("state/"), without("state/1."), one_more_alive,
    other_shapes, lambda said, arrays: arrays.update({"kept/x/y": np.zeros(1)}),
    lambda said, arrays: said.pop("part"),
])  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_one_line(tmp_path, monkeypatch, change):
    path = killed(monkeypatch, tmp_path)
    rewritten(path, change)
    with use_backend("numpy"), pytest.raises(RunError, match=r"checkpoint\.npz is damaged"):
        run(tmp_path, 1)


# ----------------------------------------------------------------------- foreign things beside it


def a_folder(path):
    (path / ".ipynb_checkpoints").mkdir()
    (path / "copies of mine").mkdir()


def a_dangling_link(path):
    (path / "latest").symlink_to("nowhere")


def a_link_to_itself(path):
    (path / "loop").symlink_to("loop")


def a_file_that_comes_and_goes(path):
    (path / ".nfs0001").write_bytes(b"")
    (path / ".DS_Store").write_bytes(b"")


def a_folder_with_the_name_of_a_leftover(path):
    (path / ".end.npz.1.tmp").mkdir()


FOREIGN = (
    a_folder, a_dangling_link, a_link_to_itself, a_file_that_comes_and_goes,
    a_folder_with_the_name_of_a_leftover,
)  # fmt: skip


@pytest.mark.parametrize("put", FOREIGN, ids=lambda put: put.__name__)
def test_what_others_put_into_a_stage_does_not_keep_it_from_ending(tmp_path, monkeypatch, put):
    path = killed(monkeypatch, tmp_path)
    put(path.parent)
    with use_backend("numpy"):
        run(tmp_path, 1)
    sealed = {"checks.json", "end.npz", "record.json", "stage.json", "start.npz"}
    assert sealed <= json.loads((path.parent / "done").read_text()).keys()
    assert not {p for p in json.loads((path.parent / "done").read_text()) if p.startswith(".")}
    run(tmp_path, 1)


def test_a_run_is_found_by_a_dot_and_through_a_link(tmp_path, monkeypatch):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.json").write_text("{}")
    (tmp_path / "latest").symlink_to("runs/a")
    monkeypatch.chdir(tmp_path / "runs" / "a")
    for name in (".", "../a", "../../latest", "a"):
        assert runs.find(name, str(tmp_path / "runs")).path == tmp_path / "runs" / "a"
    for name in ("b", "x" * 3000, "x\0y", "config.json"):
        with pytest.raises(RunError, match="is no run"):
            runs.find(name, str(tmp_path / "runs"))


def test_a_bad_run_does_not_keep_list_from_the_others(tmp_path):
    for name in ("bad", "good"):
        run(tmp_path / name / "trial0" / "real", 0)
    (tmp_path / "bad" / "config.json").write_text("[]")
    options = {"data": "", "dataset": "blobs", "model": "lenet"}
    first = {"preset": "smoke", "overrides": {}}
    config = {"options": options, "first run as": first, "classes": 3}
    files.write_json(tmp_path / "good" / "config.json", config)
    bad, good = map(runs.listed, runs.runs_in(tmp_path))
    assert "config.json is damaged" in bad["error"]
    assert good["networks"]["real"]["levels"] == 0
    first, why, second, *_ = runs.list_text([bad, good]).splitlines()
    assert first == "bad"
    assert "config.json is damaged" in why
    assert second.startswith("good  2")
