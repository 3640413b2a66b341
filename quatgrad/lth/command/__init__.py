"""The command line: `main` runs it, as do python -m quatgrad.lth.command and quatgrad-lth."""

from quatgrad.lth.command.cli import main

__all__ = ["main"]
