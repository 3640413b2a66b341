"""Figures and tables of both papers: python experiments/reproduce.py --help."""

import sys

from quatgrad.paper.reproduce import main

sys.exit(main())
