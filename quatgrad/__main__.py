"""python -m quatgrad: what is here, what it can compute with, and what to type next."""

import platform
import sys

import numpy

import quatgrad
from quatgrad import backend
from quatgrad.errors import BackendError
from quatgrad.lth.command.run_command import run_command

COMMANDS = """\
quatgrad-lth          lottery tickets: train, prune, rewind, compare; --help says more
quatgrad-predict      the classes of pictures, by a network that was exported
quatgrad-models       every network and what it costs
quatgrad-reproduce    the figures and claims of the papers
quatgrad-lessons      eighteen lessons, copied into a folder and opened
python -c "import quatgrad; help(quatgrad)"
"""


def command(arguments: list[str]) -> int:
    """Print it."""
    print(f"quatgrad {quatgrad.__version__}, Python {platform.python_version()}, "
          f"NumPy {numpy.__version__}\n")  # fmt: skip
    for name in backend.BACKENDS:
        try:
            backend.check(name)
            print(f"backend {name}: ready")
        except BackendError as error:
            print(error)
    print(f"\n{quatgrad.__doc__}\n{COMMANDS}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("quatgrad", command))
