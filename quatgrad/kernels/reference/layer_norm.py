"""Layer norm of the last axis, real or of quaternions, as formulas."""

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.reference.sums import sum_over
from quatgrad.kernels.registry import register


@register
def layer_norm(
    x: Array, gain: Array, shift: Array, components: int, eps: float
) -> tuple[Array, Array, Array]:
    """y = gain z + shift, z = (x - mean) / sqrt(var + eps), statistics of each of M rows.

    x (..., C) in `components` blocks, each with a mean of its own; var is the mean of all squares;
    gain (C / components,), shift (C,). Returns y, z and 1 / sqrt(var + eps) (M,).
    """
    d = x.reshape(-1, components, x.shape[-1] // components)
    d = d - d.mean(axis=2, keepdims=True)
    inv = 1 / array_module(x).sqrt((d * d).mean(axis=(1, 2)) + x.dtype.type(eps))
    z = d * inv[:, None, None]
    return (gain * z).reshape(x.shape) + shift, z.reshape(x.shape), inv


@register
def layer_norm_dx(
    g: Array, z: Array, inv: Array, gain: Array, components: int
) -> tuple[Array, Array, Array]:
    """dx = inv (h - mean(h) - z mean(h z)) with h = gain g; dgain = sum g z, dshift = sum g.

    The first mean is over a block, the second over the row.
    """
    C = g.shape[-1]
    blocks = (-1, components, C // components)
    rows, z = g.reshape(blocks), z.reshape(blocks)
    h = gain * rows
    slope = (h * z).mean(axis=(1, 2), keepdims=True)
    dx = inv[:, None, None] * (h - h.mean(axis=2, keepdims=True) - z * slope)
    return dx.reshape(g.shape), sum_over(rows * z, (0, 1)), sum_over(g.reshape(-1, C), 0)
