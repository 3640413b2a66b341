"""Files: whole or not at all, undamaged or named; runs that are killed and go on."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from level_records import record
from tiny_runs import RECIPE, dataset, end_of, files_of, lenet, network, random_masks, run, timeless

from quatgrad.errors import RunError
from quatgrad.files import lock, temporary_path
from quatgrad.lth import Ticket, rewind
from quatgrad.lth.command.cli import main
from quatgrad.lth.search import checkpoint
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import read_records
from quatgrad.train import evaluate, train

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ticket():
    model = network()
    return Ticket(random_masks(model, 0.3), model.state_dict())


@pytest.fixture
def file(tmp_path, ticket):
    path = tmp_path / "ticket.npz"
    files.save_ticket(path, ticket)
    return path


# ---------------------------------------------------------------------------- tickets


def test_a_ticket_comes_back_bit_for_bit(ticket, file):
    again = files.load_ticket(file)
    for ours, theirs in ((ticket.masks, again.masks), (ticket.state, again.state)):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert theirs[name].dtype == ours[name].dtype
            assert theirs[name].shape == ours[name].shape
            assert theirs[name].tobytes() == ours[name].tobytes()
    assert again.digest() == ticket.digest()
    assert (again.weights_left, again.density) == (ticket.weights_left, ticket.density)


def test_a_network_made_from_a_file_answers_as_the_one_that_was_saved(tmp_path):
    model = lenet()
    first = Ticket(random_masks(model), model.state_dict())
    rewind(model, first)
    train(model, dataset(), RECIPE, progress=False)
    files.save_ticket(tmp_path / "end.npz", Ticket(first.masks, model.state_dict()))
    again = lenet(seed=5)
    rewind(again, files.load_ticket(tmp_path / "end.npz"))
    test = dataset().test
    assert evaluate(again, test, dataset()) == evaluate(model, test, dataset())


def test_masks_are_stored_as_bits(tmp_path):
    """Random bits do not compress: what the file takes is what the bits take."""
    mask = np.random.default_rng(0).random((4, 100, 200)) < 0.5
    files.save_ticket(tmp_path / "t.npz", Ticket({"w": mask}, {}))
    assert mask.size / 8 <= (tmp_path / "t.npz").stat().st_size < mask.size / 8 + 1000


@pytest.mark.parametrize("shape", [(0,), (1,), (7, 1), (8,), (4, 3, 3, 5, 1), ()])
def test_masks_of_any_shape(tmp_path, shape):
    mask = np.random.default_rng(0).random(shape) < 0.5
    files.write_arrays(tmp_path / "a.npz", {"m": np.asarray(mask)})
    found = files.read_arrays(tmp_path / "a.npz")["m"]
    assert (found.dtype, found.shape) == (bool, shape)
    assert np.array_equal(found, mask)


def test_a_loaded_ticket_shares_nothing_with_the_saved_one(ticket, file):
    files.load_ticket(file).state["head.bias"][0] = 9
    assert files.load_ticket(file).state["head.bias"][0] == ticket.state["head.bias"][0] != 9


def test_density_counts_masks_alone(ticket):
    assert ticket.weights_total == sum(w.size for _, w in network().weight_parameters())
    assert ticket.density == ticket.weights_left / ticket.weights_total


def test_equal_tickets_have_equal_digests_in_whatever_order(ticket):
    backwards = Ticket(
        dict(reversed(ticket.masks.items())),
        {n: np.asfortranarray(a) for n, a in reversed(ticket.state.items())},
    )
    assert backwards.digest() == ticket.digest()


def changed_value(masks, state):
    state["head.bias"] = np.nextafter(state["head.bias"], np.float32(1))


def changed_sign_of_0(masks, state):
    state["head.bias"] = -np.zeros_like(state["head.bias"])


def changed_dtype(masks, state):
    state["head.bias"] = state["head.bias"].astype(np.float64)


def changed_shape(masks, state):
    state["head.bias"] = state["head.bias"][None]


def changed_name(masks, state):
    state["tail.bias"] = state.pop("head.bias")


def changed_mask(masks, state):
    masks["head.weight"] = ~masks["head.weight"]


def dropped_mask(masks, state):
    del masks["head.weight"]


@pytest.mark.parametrize("change", [
    changed_value, changed_sign_of_0, changed_dtype, changed_shape, changed_name, changed_mask,
    dropped_mask,
])  # fmt: skip
def test_a_digest_notices(ticket, change):
    masks, state = dict(ticket.masks), dict(ticket.state)
    change(masks, state)
    assert Ticket(masks, state).digest() != ticket.digest()


# ---------------------------------------------------------------------------- damaged files


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"nowhere\.npz is missing"):
        files.load_ticket(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("size", [0, 1, 10, 100, -1, -20, -100])
def test_a_truncated_file_is_named(file, size):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(RunError, match=r"ticket\.npz is damaged"):
        files.load_ticket(file)


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"hello", b"PK\5\6" + b"\0" * 18])
def test_a_file_of_something_else_is_named(file, content):
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"ticket\.npz is damaged"):
        files.load_ticket(file)


def test_an_npz_and_an_npy_of_somebody_else_are_named(file):
    for save in (lambda f: np.savez(f, a=np.ones(3)), lambda f: np.save(f, np.ones(3))):
        with open(file, "wb") as f:
            save(f)
        with pytest.raises(RunError, match=r"ticket\.npz is damaged"):
            files.load_ticket(file)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (Bomb.crater,)


def test_a_pickle_is_not_run(file, tmp_path):
    Bomb.crater = str(tmp_path / "crater")
    with open(file, "wb") as f:
        np.savez(f, __header__=np.array([Bomb()], dtype=object))
    with pytest.raises(RunError, match="damaged"):
        files.load_ticket(file)
    assert not os.path.exists(Bomb.crater)


def test_any_flipped_bit_is_noticed_or_harmless(tmp_path):
    """Every byte of a file: reading gives an error that names it, or the arrays as written."""
    path = tmp_path / "a.npz"
    arrays = {"w": np.arange(6, dtype=np.float32), "m": np.array([True, False, True])}
    files.write_arrays(path, arrays)
    content = path.read_bytes()
    noticed = 0
    for i in range(len(content)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 0x10]) + content[i + 1 :])
        try:
            found = files.read_arrays(path)
        except RunError as error:
            assert str(path) in str(error)  # noqa: PT017
            noticed += 1
        else:
            assert files.digest(found) == files.digest(arrays)
    assert noticed > len(content) / 2


def test_values_exchanged_with_a_valid_zip_are_noticed(file):
    """Edited by hand and saved again: the zip is right, the checksum is not."""
    with np.load(file) as f:
        arrays = {k: f[k] for k in f.files}
    arrays["state/head.bias"] = arrays["state/head.bias"] + 1
    with open(file, "wb") as f:
        np.savez(f, **arrays)
    with pytest.raises(RunError, match="checksum"):
        files.load_ticket(file)


# ---------------------------------------------------------------------------- writing


def full_disk(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "file"
    files.write_file(path, b"old")
    return path


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(old, where, monkeypatch):
    monkeypatch.setattr(os, where, full_disk)
    with pytest.raises(RunError, match=r"cannot write .*file: No space left.*nothing was changed"):
        files.write_file(old, b"new")
    assert old.read_bytes() == b"old"
    assert os.listdir(old.parent) == ["file"]


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="there is no /dev/full")
def test_a_disk_that_is_really_full(old, monkeypatch):
    """The temporary file is a link to /dev/full, where every write fails."""
    temporary = temporary_path(old)
    temporary.symlink_to("/dev/full")
    with pytest.raises(RunError, match="No space left on device"):
        files.write_file(old, b"new" * 100_000)
    assert old.read_bytes() == b"old"
    assert os.listdir(old.parent) == ["file"]


def test_an_interrupt_while_writing_leaves_the_old_file_and_no_other(old, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_file(old, b"new")
    assert old.read_bytes() == b"old"
    assert os.listdir(old.parent) == ["file"]


def test_the_content_is_on_the_disk_before_the_name_is_changed(old, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: calls.append("fsync") or fsync(f))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append("replace") or replace(a, b))
    files.write_file(old, b"new")
    assert calls == ["fsync", "replace"]
    assert old.read_bytes() == b"new"


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match=r"cannot write .*Not a directory"):
        files.write_file(tmp_path / "file" / "x", b"")
    with pytest.raises(RunError, match=r"cannot write to .*`out`"):
        files.prepare_directory(tmp_path / "file" / "x")
    with pytest.raises(RunError, match="File exists"):
        files.prepare_directory(tmp_path / "file")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
def test_a_folder_where_not_even_root_can_write():
    with pytest.raises(RunError, match="cannot write to /proc/nowhere"):
        files.prepare_directory(Path("/proc/nowhere"))
    with pytest.raises(RunError, match="cannot write to /proc/self"):
        files.prepare_directory(Path("/proc/self"))


def test_preparing_leaves_nothing_behind(tmp_path):
    files.prepare_directory(tmp_path / "a" / "b")
    files.prepare_directory(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []


# ---------------------------------------------------------------------------- records


RECORDS = [record(i, 1, 1, 0.1 * i, loss=1 / 3) for i in range(3)]


@pytest.fixture
def recorded(tmp_path):
    for made in RECORDS:
        path = files.level_path(tmp_path, made.level)
        path.mkdir()
        made.write(path / "record.json")
        files.finalize(path)
    return tmp_path


def test_records_come_back_as_they_were(recorded, tmp_path):
    assert read_records(tmp_path / "nothing") == []
    assert read_records(recorded) == RECORDS


def test_a_level_counts_from_the_moment_it_is_done(recorded):
    (recorded / "level_01" / files.DONE).unlink()
    assert read_records(recorded) == RECORDS[:1]


@pytest.mark.parametrize(("name", "damage"), [
    ("record.json", lambda text: text.replace(b'"accuracy": 0.1', b'"accuracy": 0.9')),
    ("record.json", lambda text: text[:-20]),
    ("record.json", lambda text: text + b" "),
    ("record.json", lambda text: b""),
    (files.DONE, lambda text: text[:-20]),
    (files.DONE, lambda text: b""),
    (files.DONE, lambda text: b"[]"),
    (files.DONE, lambda text: b"{}"),
    (files.DONE, lambda text: text.replace(b"0", b"1")),
])  # fmt: skip
def test_damaged_records_are_named(recorded, name, damage):
    path = recorded / "level_01" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=r"level_01/(record\.json|done) is damaged"):
        read_records(recorded)


def test_records_that_are_missing_or_cannot_be_read_are_named(recorded):
    path = recorded / "level_01" / "record.json"
    path.unlink()
    with pytest.raises(RunError, match=r"record\.json is missing"):
        read_records(recorded)
    path.mkdir()
    with pytest.raises(RunError, match=r"record\.json cannot be read \(Is a directory"):
        read_records(recorded)


def test_a_link_is_relative_and_moves_with_its_folder(tmp_path):
    (tmp_path / "runs" / "stages" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "run").mkdir()
    path = tmp_path / "runs" / "run" / "level"
    for name in ("b", "a", "a"):  # another target replaces the old one
        files.link(path, tmp_path / "runs" / "stages" / name)
    (tmp_path / "runs").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "run" / "level").is_dir()
    assert os.listdir(tmp_path / "moved" / "run") == ["level"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match=r"cannot link .*folder to"):
        files.link(tmp_path / "folder", tmp_path / "moved")


def test_equal_configurations_share_a_key_and_others_do_not():
    key = files.content_key({"a": 1, "b": None})[:8]
    assert key == files.content_key({"b": None, "a": 1})[:8]
    assert len(key) == 8
    assert (
        len({key, files.content_key({"a": 2, "b": None})[:8], files.content_key({"a": 1})[:8]}) == 3
    )


# ---------------------------------------------------------------------------- killed runs


class Killed(BaseException):
    """What nothing catches: the process is gone."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_killed_at_any_write_goes_on_to_the_same_bits(tmp_path, monkeypatch, after):
    """Dies before or after its 1st, 2nd, ... file is in place; the next run finishes it."""
    run(tmp_path / "whole")
    whole = files_of(tmp_path / "whole")
    write, count = files.write_file, 0

    def dying(path, content):
        nonlocal left
        left -= 1
        if left < 0 and not after:
            raise Killed
        write(path, content)
        if left < 0:
            raise Killed

    while True:
        left, directory = count, tmp_path / f"{count}"
        monkeypatch.setattr(files, "write_file", dying)
        try:
            run(directory)
        except Killed:
            pass
        else:
            break  # it wrote all its files
        monkeypatch.setattr(files, "write_file", write)
        run(directory)
        assert files_of(directory) == whole, f"killed at write {count}"
        count += 1
    # config.json; network.json and start.npz; stage, end, record, checks and done, and the table
    # beside the link, of three levels
    assert count == 3 + 3 * 6


def test_a_run_killed_in_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    run(tmp_path / "whole")

    def dying(*_):
        raise Killed

    with monkeypatch.context() as m:
        m.setattr("quatgrad.train.evaluate", dying)
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    run(tmp_path / "killed")
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("choice", [
    {}, {"optimizer_state": "kept", "rewind": "weights"}, {"rewind_epoch": 1},
    {"rewind_epoch": 1, "optimizer_state": "restored", "order": "fresh",
     "score_from": "start", "score": "synflow", "pruning_steps": 3},
])  # fmt: skip
@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_a_run_killed_after_a_checkpoint_goes_on_from_it(tmp_path, monkeypatch, epoch, choice):
    """Killed in the middle of an epoch: that one is trained again, and no other."""
    once = count_epochs(monkeypatch)
    whole, _ = run(tmp_path / "whole", 2, **choice)
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    before = count_epochs(monkeypatch, die_in=epoch)
    with pytest.raises(Killed):
        run(tmp_path / "killed", 2, **choice)
    after = count_epochs(monkeypatch)
    records, _ = run(tmp_path / "killed", 2, **choice)
    assert len(before) + len(after) == len(once) + 1
    assert timeless(records) == timeless(whole)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def count_epochs(monkeypatch, die_in=None):
    """A list that grows with every epoch that begins; the one numbered `die_in` is not finished."""
    from quatgrad.data import batches

    begun = []

    def counted(*args):
        begun.append(args[-1])
        for i, batch in enumerate(batches(*args)):
            if len(begun) == die_in and i == 1:
                raise Killed
            yield batch

    monkeypatch.setattr("quatgrad.train.batches", counted)
    return begun


def test_a_checkpoint_that_is_damaged_or_of_another_start(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    count_epochs(monkeypatch, die_in=2)
    with pytest.raises(Killed):
        run(tmp_path)
    path = tmp_path / "level_00" / "checkpoint.npz"
    content = path.read_bytes()
    count_epochs(monkeypatch)
    path.write_bytes(content[:-100])
    with pytest.raises(RunError, match=r"checkpoint\.npz is damaged"):
        run(tmp_path)
    path.write_bytes(content)
    model = lenet(seed=1)  # a checkpoint of seed 0 does not fit
    (path.parent / "start.npz").unlink()
    other, _ = run(tmp_path, model=model)
    fresh, _ = run(tmp_path / "fresh", model=lenet(seed=1))
    assert timeless(other) == timeless(fresh)
    assert not path.exists()


def test_two_processes_cannot_work_in_one_directory(tmp_path):
    run(tmp_path, 0)
    with lock(tmp_path), pytest.raises(RunError, match="another process is at work in"):
        run(tmp_path, 1)
    run(tmp_path, 1)


def test_a_process_killed_again_and_again_ends_with_the_same_bits(tmp_path, capsys):
    """kill -9 in the first level, in a later one, and in the other network; then finish."""
    command = ["--preset", "smoke", "--epochs", "30", "--levels", "4", "--quiet"]
    if main([*command, "--out", str(tmp_path / "whole")]):
        pytest.fail(capsys.readouterr().err)
    out = tmp_path / "killed"
    for victim in ("real/level_00/start.npz", "real/level_01/done", "quaternion/level_01/done"):
        process = subprocess.Popen(
            [sys.executable, ROOT / "experiments" / "lth.py", *command, "--out", out],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while process.poll() is None and not list(out.glob(f"*/trial0/{victim}")):
            time.sleep(0.001)
        process.kill()
        _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"it ended before it was killed: {err}"
    assert main([*command, "--out", str(out)]) == 0
    (whole,), (killed,) = (tmp_path / "whole").glob("digits-*"), out.glob("digits-*")
    for algebra in ("real", "quaternion"):
        assert files_of(killed / "trial0" / algebra) == files_of(whole / "trial0" / algebra)
    assert (killed / "comparison.csv").read_bytes() == (whole / "comparison.csv").read_bytes()
    assert (killed / "accuracy.svg").read_bytes() == (whole / "accuracy.svg").read_bytes()


def test_the_kill_test_itself_finds_no_difference(tmp_path):
    """experiments/kill_test.py, with a few kills where its record has a hundred."""
    result = tmp_path / "result.json"
    command = [sys.executable, ROOT / "experiments" / "kill_test.py", "--kills", "3", "--result"]
    ended = subprocess.run([*command, result], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads((result).read_text())
    assert (told["kills"], told["different"], told["finished levels lost"]) == (3, [], [])
    assert sum(told["killed in"].values()) == 3
    recorded = json.loads((ROOT / "experiments" / "results" / "kill-test.json").read_text())
    assert recorded["kills"] >= 100
    assert (recorded["different"], recorded["finished levels lost"]) == ([], [])


# ------------------------------------------------------------------- damaged runs, continued


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "finished"
    run(directory)
    return directory


@pytest.fixture
def finished_run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run", symlinks=True))


def test_a_run_goes_on_where_only_the_last_level_is_needed(finished_run):
    end_of(finished_run, 1).unlink()
    records, _ = run(finished_run, levels=3)
    assert len(records) == 4


@pytest.mark.parametrize("levels", [2, 3])
def test_a_last_level_that_is_missing_or_damaged_is_named(finished_run, levels):
    path = end_of(finished_run, 2)
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(RunError, match=r"level_02-\w+/end\.npz is missing"):
        run(finished_run, levels)
    path.write_bytes(content[:-10])
    with pytest.raises(RunError, match=r"level_02-\w+/end\.npz is damaged"):
        run(finished_run, levels)


def test_the_file_of_another_level_is_named(finished_run):
    shutil.copy(end_of(finished_run, 1), end_of(finished_run, 2))
    with pytest.raises(RunError, match=r"level_02-\w+/end\.npz is damaged"):
        run(finished_run, levels=3)


def test_masks_lost_or_exchanged_are_noticed(finished_run):
    """The state is right, the masks are those of a dense network: resume without masks."""
    path = end_of(finished_run, 2)
    end = files.load_ticket(path)
    files.save_ticket(path, Ticket({n: np.ones_like(m) for n, m in end.masks.items()}, end.state))
    with pytest.raises(RunError, match=r"end\.npz is damaged"):
        run(finished_run, levels=3)


def test_the_start_of_another_run_is_noticed(finished_run):
    files.write_arrays(finished_run / "level_00" / "start.npz", lenet(seed=7).state_dict())
    with pytest.raises(RunError, match=r"start\.npz is damaged"):
        run(finished_run, levels=3)


def test_records_of_a_finished_run_are_checked(finished_run):
    path = finished_run / "level_01" / "record.json"
    path.write_text(path.read_text().replace('"level": 1', '"level": 7'))
    with pytest.raises(RunError, match=r"record\.json is damaged"):
        run(finished_run)


def test_a_stage_edited_by_hand_is_named(finished_run):
    path = finished_run / "level_01" / "stage.json"
    path.write_text(path.read_text().replace('"keep": 0.6', '"keep": 0.5'))
    with pytest.raises(RunError, match=r"stage\.json was changed by hand"):
        run(finished_run)


def test_a_level_whose_parent_was_run_again_to_another_end_is_named(finished_run):
    """The dense level is deleted, and comes out otherwise: later levels are not of it."""
    shutil.rmtree((finished_run / "level_00").resolve())
    with pytest.raises(
        RunError, match=r"level_01-\w+/record.json was made from stages that have been run"
    ):
        run(finished_run, model=lenet(seed=1))


def test_a_level_that_is_deleted_is_trained_again_to_the_same_bits(finished_run):
    before = files_of(finished_run)
    for level in (0, 1):
        shutil.rmtree((finished_run / f"level_0{level}").resolve())
    run(finished_run)
    assert files_of(finished_run) == before


def test_fewer_levels_are_answered_and_the_others_kept(finished_run):
    before = files_of(finished_run)
    records, _ = run(finished_run, levels=1)
    assert timeless(records) == before["records"][:2]
    assert files_of(finished_run) == before
