"""What all commands share: one line for everything wrong, and an exit code."""

import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

from quatgrad.errors import QuatgradError, line
from quatgrad.lth.command.arguments import current, with_flags
from quatgrad.lth.search.signals import Interrupted, at_once, handled
from quatgrad.parallel.mpi import let_the_first_speak, speak_to_terminal


def run_command(
    prog: str, command: Callable[[list[str]], int], argv: Sequence[str] | None = None
) -> int:
    """Run a command with these arguments, by default those of the process; its exit code.

    That of the command; 2 after one line that says what is wrong; 130 or 143 if interrupted; 141
    if nobody reads what it prints.
    """
    _prepare_streams()
    try:
        with handled(at_once):
            try:
                return command([current(a) for a in (sys.argv[1:] if argv is None else argv)])
            finally:
                sys.stdout.flush()  # an error of a full disk comes here, and not after the end
    except BrokenPipeError:  # | head: nobody reads on
        _silence(sys.stdout)
        return 141
    except (QuatgradError, MemoryError, OSError) as error:
        try:
            sys.stdout.flush()
        except OSError:
            _silence(sys.stdout)
        let_the_first_speak()
        _say(f"{prog}: error: {with_flags(line(error))}")
        return 2
    except KeyboardInterrupt as error:
        saved = error.saved if isinstance(error, Interrupted) else ""
        text = (
            f"saved {saved}; the same command goes on from there"
            if saved
            else "the same command goes on from the last checkpoint"
        )
        speak_to_terminal()
        _say(f"interrupted; {text}")
        return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)


def _prepare_streams() -> None:
    """Have a stdout and stderr that print everything: what is not in their alphabet as escapes.

    A closed one goes nowhere; else the first file that is opened would have its number, and what
    compiled code prints would be written into it.
    """
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # full, or nobody reads: the exit code says the rest
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Write nowhere from now on: flushing at exit would fail again."""
    with suppress(OSError, ValueError):  # a stream without a file needs nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
