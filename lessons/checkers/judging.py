"""What checkers are made of: verdicts in words, and comparisons that point at the mistake.

A judge is a function of an answer that raises `Wrong` with a sentence for the student:

    @exercise
    def slope(answer):
        agree("the slope of x^2 at 3", answer(3.0), 6.0, "finite difference")

and `slope(answer)` then prints one of

    slope: not answered yet
    slope: the slope of x^2 at 3 is wrong: you -6, finite difference +6.
        The sign is turned round.
    slope: correct
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

import numpy as np

from mine import keep


class Open(Exception):  # noqa: N818 - a verdict, no error
    """The answer is still blank."""


class Wrong(Exception):  # noqa: N818
    """The answer is wrong; the message says where, and how."""


def exercise(judge: Callable[[Any], None]) -> Callable[[Any], None]:
    """The checker made of a judge: it prints the verdict on an answer, and never raises.

    A function that is correct is kept in `my/`. `check.verdict(answer)` is the verdict alone.
    """

    @wraps(judge)
    def check(answer: Any) -> None:
        verdict = _verdict(judge, answer)
        print(f"{judge.__name__}: {verdict}")
        if verdict == "correct" and (kept := keep(judge.__name__, answer)):
            print(f"    {kept}")

    check.verdict = partial(_verdict, judge)  # type: ignore[attr-defined]
    return check


def _verdict(judge: Callable[[Any], None], answer: Any) -> str:
    try:
        judge(_asked(answer))
    except Open as is_open:
        return f"not answered yet{is_open}"
    except Wrong as wrong:
        return str(wrong)
    except Exception as error:  # the student's own code: anything may happen in there
        lines = [at.lineno for at in traceback.extract_tb(error.__traceback__)
                 if at.name == getattr(answer, "__name__", "")]  # fmt: skip
        where = f" in line {lines[-1]} of the cell" if lines else ""
        return f"it stops{where} with {type(error).__name__}: {error}"
    return "correct"


def _asked(answer: Any) -> Any:
    """The answer, if there is one; a function that returns nothing is one still to be written."""
    if answer is ...:
        raise Open
    if not callable(answer) or isinstance(answer, type):
        return answer

    @wraps(answer)
    def asked(*args: Any, **options: Any) -> Any:
        value = answer(*args, **options)
        if value is None or value is ...:
            raise Open(": it returns nothing")
        return value

    return asked


def agree(
    what: str,
    got: Any,
    want: Any,
    source: str | None = "expected",
    *,
    mistakes: Mapping[str, Any] | None = None,
    components: bool = False,
    tolerance: float = 1e-5,
) -> None:
    """Raise `Wrong` unless |got - want| <= tolerance max(1, max|want|) at every entry.

    The message names the worst entry, along which component if the last axis has 1, i, j, k, both
    values and where the right one comes from (None: only yours, where the right one would be the
    answer); and then the mistake, if got is what one gives: `mistakes` maps a sentence to the
    value that follows from it; sign, factor, transposition and a constant offset are recognised
    without.
    """
    if got is None or got is ...:
        raise Open
    want = np.asarray(want, np.float64)
    try:
        got = np.asarray(got, np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"{what} is no array of numbers: {got!r}") from None
    if _close(got, want, tolerance):
        return
    known = (sentence for sentence, value in (mistakes or {}).items()
             if _close(got, np.asarray(value, np.float64), tolerance))  # fmt: skip
    why = next(known, None) or _common_mistake(got, want, tolerance)
    if got.shape != want.shape:
        where = f"{what} has shape {got.shape}; it should have {want.shape}"
    else:
        where = _worst_entry(what, got, want, source, components)
    raise Wrong(f"{where}.\n    {why}" if why else where)


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    if a.shape != b.shape:
        return False
    bound = tolerance * max(1.0, np.abs(b).max(initial=0.0))
    return bool((np.abs(a - b) <= bound).all())  # NaN is not close


def _worst_entry(
    what: str, got: np.ndarray, want: np.ndarray, source: str | None, components: bool
) -> str:
    error = np.nan_to_num(np.abs(got - want), nan=np.inf)
    at = tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape))
    index = at[:-1] if components else at
    place = f" along {'1ijk'[at[-1]]}" if components else ""
    place += f" at [{', '.join(map(str, index))}]" if index else ""
    right = f", {source} {want[at]:+.4g}" if source else ""
    return f"{what} is wrong{place}: you {got[at]:+.4g}{right}"


def _common_mistake(got: np.ndarray, want: np.ndarray, tolerance: float) -> str:
    if got.shape != want.shape:
        return "It is transposed." if _close(got.T, want, tolerance) else ""
    if _close(-got, want, tolerance):
        return "The sign is turned round."
    norm = float((want * want).sum())
    factor = float((got * want).sum()) / norm if norm else 0.0
    if factor and _close(got, factor * want, tolerance):
        return f"It is {factor:.3g} times what it should be."
    offset = float((got - want).mean())
    if got.size > 1 and _close(got, want + offset, tolerance):
        return f"Every entry is off by {offset:+.3g}."
    if got.ndim > 1 and _close(got.T, want, tolerance):
        return "It is transposed."
    return ""
