"""Lottery tickets of real and quaternion networks: python experiments/lth.py --help."""

import sys

from quatgrad.lth.command.cli import main

if __name__ == "__main__":  # Dask imports this file in its workers
    sys.exit(main())
