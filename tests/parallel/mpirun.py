"""Programs under mpirun: in a network of their own, where that is allowed, so on loopback alone."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
#: Processes talk through memory; nothing of MPI listens. The two of root are for containers.
QUIET = {
    "OMPI_MCA_btl": "self,sm", "OMPI_MCA_pml": "ob1", "PMIX_MCA_ptl_base_if_include": "lo",
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # fmt: skip
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
    return [*loopback(), MPIRUN, "--oversubscribe", "-n", str(n), sys.executable, *program]


def environment(**more):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PRTE_"))}
    return keep | QUIET | {"PYTHONPATH": str(ROOT)} | more


def mpirun(n, *program, timeout=240, check=True, **more):
    """Run a program by n processes: what `subprocess.run` gives."""
    done = subprocess.run(
        command(n, *map(str, program)), env=environment(**more), timeout=timeout,
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done
