"""python -m quatgrad.lth.command: the same as quatgrad-lth."""

import sys

from quatgrad.lth.command.cli import main

sys.exit(main())
