"""Exceptions, and the message for an unknown name: what happened, what came, what to do."""

import re
from collections.abc import Iterable
from difflib import get_close_matches


class QuatgradError(Exception):
    """Base of every error that quatgrad raises on purpose; commands turn it into one line."""


class ShapeError(QuatgradError, ValueError):
    """An array has a shape that the operation cannot use."""


class DTypeError(QuatgradError, TypeError):
    """An array has a dtype other than float32 or float64, or two dtypes are mixed."""


class GraphError(QuatgradError, RuntimeError):
    """The graph cannot be differentiated: used twice, overwritten, or an op broke its promise."""


class BackendError(QuatgradError, RuntimeError):
    """A backend or kernel is unknown, or cannot run on this machine."""


class OptionError(QuatgradError, ValueError):
    """An option has an unknown name or an impossible value."""


class DataError(QuatgradError, ValueError):
    """A dataset is missing, truncated or not what it claims to be."""


class RunError(QuatgradError, RuntimeError):
    """A run on disk cannot be written, read or continued."""


class DivergedError(RunError):
    """A training diverged: its loss is no number any more."""


class InvariantError(QuatgradError, AssertionError):
    """A lottery-ticket invariant was violated: the numbers of this run must not be used."""


def brief(value: object, length: int = 60) -> str:
    """What a message quotes of a file: the text of `value` on one line, cut after `length`."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else f"{text[:length]} ..."


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """A message: unknown model 'resnet19': did you mean 'resnet18'? choose one of resnet8, ..."""
    known = list(known)
    return f"unknown {kind} {name!r}: {meant(str(name), known)}choose one of {', '.join(known)}"


def meant(name: str, known: Iterable[str]) -> str:
    """A question, "did you mean 'resnet18'? ", where a known name is near; else nothing."""
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


def line(error: BaseException) -> str:
    """An error as one line of at most 500 characters."""
    text = str(error)
    if isinstance(error, MemoryError):
        text = f"out of memory ({text}); choose a smaller `batch_size`, `width` or `model`"
    elif isinstance(error, OSError) and error.filename is not None:
        text = (
            f"cannot read or write {error.filename}: {error.strerror}; give another path, or "
            "yourself the right to this one"
        )
    elif isinstance(error, OSError):
        text = f"cannot write: {error.strerror or text}"
    elif not isinstance(error, QuatgradError):
        text = f"{type(error).__name__}: {text}"
    return one_line(text)


def one_line(text: str) -> str:
    """Text without line breaks and control characters; what is long without its middle."""
    text = re.sub(
        r"[\x00-\x1f\x7f-\x9f]", lambda c: f"\\x{ord(c[0]):02x}", "; ".join(text.split("\n"))
    )
    return text if len(text) <= 480 else f"{text[:280]} ... {text[-190:]}"
