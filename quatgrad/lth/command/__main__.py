"""python -m quatgrad.lth.command: the same as quatgrad-lth."""

import sys

from quatgrad.lth.command.cli import main

if __name__ == "__main__":
    sys.exit(main())
