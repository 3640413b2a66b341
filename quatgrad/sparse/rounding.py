"""A plan with the weights that few bits can hold: what a device computes with, on this machine."""

from dataclasses import replace

import numpy as np

from quatgrad.arrays import Array
from quatgrad.errors import OptionError, unknown
from quatgrad.sparse.plan import Plan
from quatgrad.sparse.steps import Layer, Step

WEIGHTS = ("float32", "float16", "int8")


def rounded(plan: Plan, weights: str) -> Plan:
    """The plan with each weight w of a layer as it is written, in float32.

    float16: the nearest. int8: round(w / s_q) s_q for each output feature q, `int8_scale`. Shifts
    and scales stay float32. Errors: `OptionError` for unknown `weights`, and numbers that these
    cannot hold.
    """
    if weights not in WEIGHTS:
        raise OptionError(unknown("weights", weights, WEIGHTS))
    steps = [_rounded(step, weights) for step in plan.steps.steps]
    return replace(plan, steps=replace(plan.steps, steps=steps))


def _rounded(step: Step, weights: str) -> Step:
    if not isinstance(step, Layer) or weights == "float32":
        return step
    w = np.where(step.alive, step.weight, np.float32(0))
    if weights == "int8":
        s = int8_scale(w)
        return replace(step, weight=(np.rint(w / s) * s).astype(np.float32))
    return replace(step, weight=to_float16(w).astype(np.float32))


def int8_scale(w: Array) -> Array:
    """s_q = max |w_q| / 127 for each output feature q of w (..., Q); 1 where all are 0.

    `OptionError` where a weight is no number.
    """
    largest = abs(w).reshape(-1, w.shape[-1]).max(axis=0, initial=0)
    if not np.isfinite(largest).all():
        raise OptionError("a weight is infinite or no number, for which int8 has no scale")
    scale = (largest / 127).astype(np.float32)
    return np.where(scale == 0, np.float32(1), scale)


def to_float16(w: Array) -> Array:
    """w in 16 bits; `OptionError` where that is no number."""
    with np.errstate(over="ignore"):
        small = w.astype(np.float16)
    if not np.isfinite(small).all():
        raise OptionError("a weight is too large for float16, or no number: write float32")
    return small
