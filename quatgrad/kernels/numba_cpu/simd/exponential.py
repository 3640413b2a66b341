"""e^x and what is made of it, in float32, without a branch or a call: for loops that vectorise.

Each is within a few units in the last place, of its size or of 1. Constants are of float32: one of
Python's own would make everything around it float64, in vectors half as long.
"""

import numpy as np

from quatgrad.kernels.numba_cpu.jit import formula

f = np.float32
# Added to a number, it leaves the nearest integer in the last bits.
_ROUND = f(1.5 * 2.0**23)
_LOG2_E, _LN2_HIGH, _LN2_LOW = f(1.44269504), f(0.693359375), f(-2.12194440e-4)
_LOW, _HIGH = f(-87.0), f(88.0)
#: Of (e^r - 1 - r) / r^2 for |r| < ln 2 / 2, highest first (Cephes, Moshier 1984).
_C = tuple(
    f(c)
    for c in (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
)
_C0, _C1, _C2, _C3, _C4, _C5 = _C
_ONE, _TWO, _BIAS = f(1), f(2), np.int32(127)
#: Of erf, after Abramowitz and Stegun 7.1.26, good to 1.5e-7.
_P = f(0.3275911)
_E1, _E2, _E3, _E4, _E5 = (
    f(c) for c in (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
)
_ROOT_HALF, _DENSITY, _HALF = f(0.70710678118654752), f(0.3989422804014327), f(0.5)


@formula
def exp(x):
    """e^x, of x cut off at -87 and 88; NaN stays NaN."""
    x = _LOW if x < _LOW else x
    x = _HIGH if x > _HIGH else x
    rounded = x * _LOG2_E + _ROUND
    k = rounded - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = ((((_C0 * r + _C1) * r + _C2) * r + _C3) * r + _C4) * r + _C5
    power = np.int32((np.float32(rounded).view(np.int32) + _BIAS) << 23).view(np.float32)
    return (p * r * r + r + _ONE) * power


@formula
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return _ONE / (_ONE + exp(-x))


@formula
def tanh(x):
    """1 - 2 / (1 + e^2x)."""
    return _ONE - _TWO / (_ONE + exp(_TWO * x))


@formula
def normal(x):
    """P(Z <= x) for Z normal, and its density e^(-x^2/2) / sqrt(2 pi)."""
    a = abs(x) * _ROOT_HALF
    t, power = _ONE / (_ONE + _P * a), exp(-a * a)
    tail = _HALF * t * (_E1 + t * (_E2 + t * (_E3 + t * (_E4 + t * _E5)))) * power
    return tail if x < 0 else _ONE - tail, _DENSITY * power
