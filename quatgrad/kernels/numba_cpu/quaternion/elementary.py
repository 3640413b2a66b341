"""exp, log, sin, cos and the arc tangent without a branch or a call, for loops that vectorise.

A loop that calls the C library computes one number at a time. These are a few operations on
float64 each, within an ulp or so over the ranges stated. The reductions and the coefficients are
from fdlibm (Sun Microsystems 1993) and, for the arc tangent, from Cephes (Moshier 1984).
"""

import numpy as np

from quatgrad.kernels.numba_cpu.jit import formula

# Added to a number, it leaves the nearest integer in the last bits.
_ROUND = 1.5 * 2.0**52

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_HALF_PI = 1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21


@formula
def _bits(x):
    return np.float64(x).view(np.int64)


@formula
def _number(bits):
    return np.int64(bits).view(np.float64)


@formula
def exp(x):
    """e^x for |x| < 700: 2^k e^r with |r| < ln 2 / 2."""
    rounded = x * 1.44269504088896338700 + _ROUND
    k = rounded - _ROUND
    high, low = x - k * _LN2_HIGH, k * _LN2_LOW
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666019037e-01
        + t * (-2.77777777770155933842e-03
        + t * (6.61375632143793436117e-05
        + t * (-1.65339022054652515390e-06
        + t * 4.13813679705723846039e-08)))
    )  # fmt: skip
    power = _number((_bits(rounded) + 1023) << 52)
    return (1 - ((low - (r * c) / (2 - c)) - high)) * power


@formula
def log(x, less_1):
    """log x for normal x > 0; less_1 is x - 1, better known than x for x in (0.71, 1.41)."""
    k, m = _split(x)
    f = less_1 if k == 0 else m - 1
    half, rest = _log_rest(f)
    return k * _LN2_HIGH - ((half - (rest + k * _LN2_LOW)) - f)


@formula
def power(x, t):
    """(x^t, is that right?) for normal x > 0, |t| < 512 and 2^-1000 < x^t < 2^1000.

    x = 2^k m, and x^t = 2^(t k) m^t. Of t k = n + r the whole part n is exact.
    """
    k, m = _split(x)
    half, rest = _log_rest(m - 1)
    high = (t + 1.5 * 2.0**36) - 1.5 * 2.0**36  # to a multiple of 2^-16: k times it is exact
    n = (high * k + _ROUND) - _ROUND
    r = (high * k - n) + (t - high) * k
    y = r * 6.93147180559945286227e-01 + t * ((m - 1) - (half - rest))
    return exp(y) * _number((np.int64(n) + 1023) << 52), (abs(t) < 512) & (abs(n) < 1000)


@formula
def _split(x):
    """(k, m): x = 2^k m with m in [sqrt 1/2, sqrt 2)."""
    bits = _bits(x) - _SQRT_HALF
    k = _number((bits >> 52) + _ROUND_BITS) - _ROUND
    return k, _number((bits & 0xFFFFFFFFFFFFF) + _SQRT_HALF)


@formula
def _log_rest(f):
    """(h, r) with log(1 + f) = f - (h - r)."""
    s = f / (2 + f)
    t = s * s
    u = t * t
    r = t * (
        6.666666666666735130e-01
        + u
        * (2.857142874366239149e-01 + u * (1.818357216161805012e-01 + u * 1.479819860511658591e-01))
    ) + u * (
        3.999999999940941908e-01 + u * (2.222219843214978396e-01 + u * 1.531383769920937332e-01)
    )
    half = 0.5 * f * f
    return half, s * (half + r)


_SQRT_HALF = int(np.float64(0.5**0.5).view(np.int64))
_ROUND_BITS = int(np.float64(_ROUND).view(np.int64))


@formula
def sin_cos(x):
    """(sin x, cos x) for 0 <= x < 10^5: from r = x - k pi / 2, |r| <= pi / 4."""
    rounded = x * 6.36619772367581382433e-01 + _ROUND
    k = rounded - _ROUND
    quadrant = _bits(rounded)
    r = ((x - k * _HALF_PI[0]) - k * _HALF_PI[1]) - k * _HALF_PI[2]
    t = r * r
    s = r + r * t * (
        -1.66666666666666324348e-01
        + t * (8.33333333332248946124e-03
        + t * (-1.98412698298579493134e-04
        + t * (2.75573137070700676789e-06
        + t * (-2.50507602534068634195e-08
        + t * 1.58969099521155010221e-10))))
    )  # fmt: skip
    tail = t * t * (
        4.16666666666666019037e-02
        + t * (-1.38888888888741095749e-03
        + t * (2.48015872894767294178e-05
        + t * (-2.75573143513906633035e-07
        + t * (2.08757232129817482790e-09
        + t * -1.13596475577881948265e-11))))
    )  # fmt: skip
    half = 0.5 * t
    whole = 1 - half
    c = whole + (((1 - whole) - half) + tail)
    odd = quadrant & 1
    sine, cosine = (c if odd else s), (s if odd else c)
    return (-sine if quadrant & 2 else sine, -cosine if (quadrant + 1) & 2 else cosine)


@formula
def angle(y, x):
    """atan2(y, x) in [0, pi], for y >= 0 and not x = y = 0."""
    a = abs(x)
    top, bottom = min(a, y), max(a, y)
    # The angle of (bottom, top) is at most pi/4; above pi/8 it is pi/4 less another such.
    large = top > 0.41421356237309503 * bottom
    num = top - bottom if large else top
    den = top + bottom if large else bottom
    t = num / den
    z = t * t
    p = (((-8.750608600031904122785e-1 * z - 1.615753718733365076637e1) * z
          - 7.500855792314704667340e1) * z - 1.228866684490136173410e2) * z \
        - 6.485021904942025371773e1  # fmt: skip
    q = ((((z + 2.485846490142306297962e1) * z + 1.650270098316988542046e2) * z
          + 4.328810604912902668951e2) * z + 4.853903996359136964868e2) * z \
        + 1.945506571482613964425e2  # fmt: skip
    small = t + t * (z * p / q)
    # c pi/4 +- small, and the bits of pi/4 that a float64 leaves out
    c = 1.0 if large else 0.0
    sign = 1.0
    if y > a:
        c, sign = 2.0 - c, -sign
    if x < 0:
        c, sign = 4.0 - c, -sign
    return c * 7.85398163397448278999e-01 + (sign * small + c * 3.06161699786838301793e-17)


@formula
def signed(a, x):
    """a >= 0 with the sign of x, of a zero too."""
    return _number(_bits(a) | (_bits(x) & _SIGN))


_SIGN = -(2**63)


@formula
def signed_angle(y, x):
    """atan2(y, x) in [-pi, pi], and 0 with the sign of y for x = y = 0."""
    none = (x == 0) & (y == 0)
    return signed(0.0 if none else angle(abs(y), 1.0 if none else x), y)


@formula
def sine(x):
    """sin x for |x| < 10^5."""
    s, _ = sin_cos(abs(x))
    return -s if x < 0 else s
