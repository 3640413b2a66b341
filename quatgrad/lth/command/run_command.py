"""What all commands share: one line for everything wrong, and an exit code."""

import os
import signal
import sys
from collections.abc import Callable, Sequence

from quatgrad.errors import QuatgradError
from quatgrad.lth.command.arguments import current, with_flags
from quatgrad.lth.search.signals import Interrupted, at_once, handled


def run_command(
    prog: str, command: Callable[[list[str]], int], argv: Sequence[str] | None = None
) -> int:
    """Run a command with these arguments, by default those of the process; its exit code.

    That of the command; 2 after one line that says what is wrong; 130 or 143 if interrupted; 141
    if nobody reads what it prints.
    """
    try:
        with handled(at_once):
            return command([current(a) for a in (sys.argv[1:] if argv is None else argv)])
    except QuatgradError as error:
        print(f"{prog}: error: {with_flags(str(error))}", file=sys.stderr)
        return 2
    except MemoryError as error:
        advice = "choose a smaller --batch-size, --width or --model"
        print(f"{prog}: error: out of memory ({error}); {advice}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # | head: nobody reads on, and flushing at exit would fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as error:
        saved = error.saved if isinstance(error, Interrupted) else ""
        text = (
            f"saved {saved}; the same command goes on from there"
            if saved
            else "the same command goes on from the last checkpoint"
        )
        print(f"interrupted; {text}", file=sys.stderr)
        return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)
