"""Locks: one process at a time, free after a kill, and no trace of them. Folders that appear whole.

Files that are written whole: tests/lth/test_ticket_and_store.py.
"""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from quatgrad.errors import RunError
from quatgrad.files import LOCK, lock, whole_folder

HOLDER = """
import sys, time
from pathlib import Path
from quatgrad.files import lock
with lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


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
