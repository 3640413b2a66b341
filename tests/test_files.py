"""Locks: one process at a time, free after a kill, and no trace of them. Folders that appear whole.

Files that are written whole: tests/lth/test_ticket_and_store.py.
"""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import filelock
import pytest

from quatgrad import files
from quatgrad.errors import RunError
from quatgrad.files import (
    HOST,
    LOCK,
    lock,
    lock_between_hosts,
    temporary_path,
    whole_folder,
    write_whole,
)

HOLDER = """
import sys, time
from pathlib import Path
from quatgrad.files import lock
with lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""
#: The same where every lock fails with the error of this name.
WITHOUT_LOCKS = (
    """
import errno, fcntl, os, sys
def flock(file, how):
    raise OSError(getattr(errno, sys.argv[2]), os.strerror(getattr(errno, sys.argv[2])))
fcntl.flock = flock
"""
    + HOLDER
)
needs_flock = pytest.mark.skipif(os.name != "posix", reason="there is no flock")


@pytest.fixture
def holder(tmp_path):
    """Another process, which has the lock of the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_the_lock_of_a_killed_process_is_free(tmp_path, holder):
    with pytest.raises(RunError, match=f"another process is at work in {tmp_path}; wait for it"):
        lock(tmp_path).__enter__()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert os.listdir(tmp_path) == [LOCK]
    with lock(tmp_path):
        pass
    assert os.listdir(tmp_path) == []


def test_who_waits_is_told_and_goes_on_when_the_other_dies(tmp_path, holder, capsys):
    thread = threading.Timer(0.3, holder.kill)
    thread.start()
    with lock(tmp_path, wait=True):
        assert not thread.is_alive()
    assert f"waiting for another process to finish {tmp_path}" in capsys.readouterr().err


def test_of_many_one_is_in_the_block_though_each_deletes_the_file(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with lock(tmp_path, wait=True):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (len(most), max(most)) == (80, 1)
    assert os.listdir(tmp_path) == []


def test_an_error_in_the_block_frees_the_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        _ = 1 / 0
    with lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_locked(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match=r"cannot work in .*file: .*; choose another folder"):
        lock(tmp_path / "file").__enter__()


def test_a_folder_is_whole_or_absent(tmp_path):
    path, scratch = tmp_path / "folder", tmp_path / ".making"
    scratch.mkdir()
    (scratch / "old").write_bytes(b"from a killed process")
    with pytest.raises(ZeroDivisionError), whole_folder(path, scratch) as folder:
        (folder / "a").write_bytes(b"%d" % (1 / 0))
    assert os.listdir(tmp_path) == []
    with whole_folder(path, scratch) as folder:
        (folder / "a").write_bytes(b"all")
        assert not path.exists()
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(path) == ["a"]


# --------------------------------------------------------------- file systems without locks


@needs_flock
@pytest.mark.parametrize("name", ["ENOSYS", "EBADF", "ENOLCK", "ENOTSUP", "EOPNOTSUPP"])
def test_without_locks_a_file_is_the_lock_and_one_line_says_how_to_go_on(
    tmp_path, monkeypatch, capsys, name
):
    """Who is killed is found on this host; of another host the file is deleted by hand."""
    import fcntl

    def no_lock(*args):
        raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))

    command = [sys.executable, "-c", WITHOUT_LOCKS, tmp_path, name]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    holder = subprocess.Popen(command, **pipes)
    assert holder.stdout.readline() == "locked\n"
    monkeypatch.setattr(fcntl, "flock", no_lock)
    files.notice.cache_clear()
    with pytest.raises(RunError, match="another process is at work"):
        lock(tmp_path).__enter__()
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{tmp_path} is on a file system without locks" in told
    assert "delete its .lock" in told
    holder.kill()
    assert holder.communicate()[1].count("\n") == 1
    with lock(tmp_path, wait=True):
        assert os.listdir(tmp_path) == [LOCK]
    with lock(tmp_path), pytest.raises(RunError, match="at work"):
        lock(tmp_path).__enter__()
    assert os.listdir(tmp_path) == []


@needs_flock
def test_other_errors_of_a_lock_are_errors(tmp_path, monkeypatch):
    import fcntl

    def broken(*args):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(RunError, match="Input/output error; choose another folder"):
        lock(tmp_path).__enter__()


def test_only_what_dead_processes_of_this_host_left_is_removed(tmp_path):
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    others = [f".a.{HOST}.{alive.pid}.tmp", f".a.elsewhere.{dead.pid}.tmp", f".a.{dead.pid}.tmp",
              ".a.tmp", f".a.{HOST}.x.tmp", "a"]  # fmt: skip
    gone = [f".a.{HOST}.{dead.pid}.tmp", f".b.{HOST}.{2**70}.tmp", temporary_path(tmp_path / "c")]
    for name in (*others, *gone):
        (tmp_path / name).touch()
    files.remove_abandoned(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(others)
    alive.communicate(b"\n")


def test_temporary_names_have_host_and_process_and_fit_the_file_system(tmp_path):
    name = temporary_path(tmp_path / ("a" * 250)).name
    assert f".{HOST}.{os.getpid()}." in name
    assert len(name) < 150
    files.write_whole(tmp_path / ("a" * 250), b"whole")
    assert os.listdir(tmp_path) == ["a" * 250]


def test_a_block_between_hosts_is_of_one_and_free_a_minute_after_a_kill(tmp_path, monkeypatch):
    path = tmp_path / ".sealing"
    monkeypatch.setattr(files, "MINUTE", 0.2)
    path.write_text("123\nanother-host\n")  # as filelock writes it
    began = time.monotonic()
    with lock_between_hosts(path):
        assert time.monotonic() - began >= 0.2
        with pytest.raises(filelock.Timeout):
            filelock.SoftFileLock(path).acquire(timeout=0)
    assert os.listdir(tmp_path) == []


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no file"):
        write_whole(tmp_path / "pipe", b"abc")
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]
