"""What a command prints, where it cannot print: closed, full and ASCII streams."""

import os
import subprocess
import sys

import pytest

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")


def shell(redirection, *arguments, **environment):
    """The command with its streams redirected: (exit code, stdout, stderr)."""
    line = '"$0" -m quatgrad.lth.command "$@" ' + redirection
    ended = subprocess.run(["sh", "-c", line, sys.executable, *map(str, arguments)], check=False,
                           capture_output=True, env=os.environ | environment)  # fmt: skip
    return ended.returncode, ended.stdout.decode("latin-1"), ended.stderr.decode("latin-1")


@needs_full
@pytest.mark.parametrize("arguments", [["list"], ["gc"], ["list", "--json"], ["--help"]])
def test_a_full_stdout_is_one_line(tmp_path, arguments):
    code, _, err = shell("> /dev/full", *arguments, "--out", tmp_path)
    assert code == (0 if arguments == ["--help"] else 2) or "No space left" in err
    assert err.count("\n") <= 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err


@needs_full
def test_a_full_stdout_while_a_network_trains(tmp_path):
    code, _, err = shell("> /dev/full", "--preset", "smoke", "--levels", "0", "--out", tmp_path)
    assert (code, err) == (2, "quatgrad-lth: error: cannot write: No space left on device\n")


@needs_full
def test_a_full_stderr_leaves_the_exit_code(tmp_path):
    assert shell("2> /dev/full", "show", "x", "--out", tmp_path) == (2, "", "")
    assert shell("> /dev/full 2> /dev/full", "list", "--out", tmp_path)[0] == 2


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_file(tmp_path, closed):
    code, _, err = shell(closed, "--preset", "smoke", "--levels", "0", "--algebra", "real",
                         "--backend", "numpy", "--out", tmp_path)  # fmt: skip
    assert (code, err) == (0, "")
    (run,) = tmp_path.glob("digits-*")
    assert shell("", "verify", run)[0] == 0
    assert shell(closed, "show", "x", "--out", tmp_path)[::2] == (2, "") or "2>&-" not in closed


@pytest.mark.parametrize("coding", ["ascii", "latin-1", "cp1252"])
def test_letters_that_a_stream_has_not(tmp_path, coding):
    out = tmp_path / "läufe-四元数"
    out.mkdir()
    for arguments in (["show", "x", "--out", out], ["compare", "é", "四", "--out", out]):
        code, _, err = shell("", *arguments, PYTHONIOENCODING=coding, PYTHONUTF8="0")
        assert code == 2
        assert err.count("\n") == 1
        assert "Traceback" not in err
    smoke = ["--preset", "smoke", "--levels", "0", "--algebra", "real", "--backend", "numpy"]
    code, printed, err = shell("", *smoke, "--out", out, PYTHONIOENCODING=coding)
    assert (code, err) == (0, "")
    assert "Picture: " in printed
