"""Lottery tickets of real and quaternion networks: python experiments/lth.py --help."""

import sys

from quatgrad.lth.command import main

sys.exit(main())
