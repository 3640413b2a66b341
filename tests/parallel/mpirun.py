"""Programs under mpirun: in a network of their own, where that is allowed, so on loopback alone."""

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "experiments"))

import mpi_here  # noqa: E402
from mpi_here import MPIRUN as MPIRUN  # noqa: E402

#: A network of its own has only a loopback device.
ALONE = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]


@cache
def loopback():
    """The words before a command that give it a network of its own, if this machine allows that."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return []
    tried = subprocess.run([*ALONE, "true"], capture_output=True, check=False)
    return [] if tried.returncode else ALONE


def command(n, *program):
    return [*loopback(), *mpi_here.command(n, *program)]


def environment(**more):
    return mpi_here.environment(PYTHONPATH=str(ROOT), **more)


def mpirun(n, *program, timeout=240, check=True, **more):
    """Run a program by n processes: what `subprocess.run` gives."""
    done = subprocess.run(
        command(n, *program), env=environment(**more), timeout=timeout,
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done
