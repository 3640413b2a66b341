"""Sums, matrix products, the rectifier, GELU, dropout, and changes of dtype, as formulas."""

import math

from quatgrad.arrays import BFLOAT16_BITS, Array, array_module, special
from quatgrad.kernels.reference.sums import sum_over
from quatgrad.kernels.registry import register


@register
def add(a: Array, b: Array) -> Array:
    """y = a + b, broadcasting."""
    return upcast(a) + upcast(b)


@register
def add_to(a: Array, b: Array) -> Array:
    """a + b of one shape, which may be written to a."""
    return add(a, b)


@register
def matmul(a: Array, b: Array) -> Array:
    """y = a b, matrices in the last two axes, the leading ones broadcast."""
    return a @ b


@register
def relu(x: Array) -> Array:
    """y = max(x, 0); NaN stays NaN."""
    return array_module(x).maximum(x, 0)


@register
def relu_dx(g: Array, y: Array) -> Array:
    """dx = g where y > 0, else 0."""
    return array_module(g).where(y > 0, g, g.dtype.type(0))


@register
def bias_relu(x: Array, b: Array) -> Array:
    """y = max(x + b, 0), x (..., C), b (C,); y takes the memory of x."""
    x += b
    return array_module(x).maximum(x, 0, out=x)


@register
def bias_relu_dx(g: Array, y: Array) -> tuple[Array, Array]:
    """dx = g where y > 0, else 0; db, its sum over all axes but the last."""
    dx = relu_dx(g, y)
    return dx, sum_over(dx, tuple(range(dx.ndim - 1)))


@register
def gelu(x: Array) -> Array:
    """y = x P(Z <= x) for Z normal."""
    return x * _normal_cdf(x)


@register
def gelu_dx(g: Array, x: Array) -> Array:
    """dx = g (P(Z <= x) + x e^(-x^2/2) / sqrt(2 pi))."""
    density = array_module(x).exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return g * (_normal_cdf(x) + x * density)


@register
def dropout(x: Array, keep: Array, p: float) -> Array:
    """y = x / (1 - p) where an entry is kept, else 0."""
    gain = x.dtype.type(1) / x.dtype.type(1 - p)
    return array_module(x).where(keep, x * gain, 0)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1 + special(x).erf(x * math.sqrt(0.5)))


@register
def cast_input(x: Array) -> Array:
    """x as convolutions and their gradients read it: here x itself.

    A rung that rounds the factors can round each once, for both products in which it stands.
    """
    return x


@register
def upcast(x: Array) -> Array:
    """x; as float32 if it holds bfloat16 numbers: the upper 16 bits of float32, as uint16."""
    return (x.astype("u4") * 2**16).view("f4") if x.dtype == BFLOAT16_BITS else x
