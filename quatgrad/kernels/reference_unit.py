"""A convolution, its batch norm, a sum and a rectifier, as one: part of the reference rung.

A rung that keeps what lies between them in fewer bits moves less memory.
"""

from __future__ import annotations

from typing import Any

from quatgrad.arrays import Array

Pair = tuple[int, int]


def conv_norm(
    x: Array, w: Array, scale: Array, shift: Array, shortcut: Array | None,
    stride: Pair, padding: Pair, eps: float, rectify: bool,
) -> tuple[Array, Array, Array, Array, Array, Array | None]:  # fmt: skip
    """y = scale z + shift, z = (c - mean) / sqrt(var + eps), c = conv(x, w); max(y, 0) if rectify.

    w has four axes, or five: of quaternions. A shortcut is added to y before the rectifier.
    Returns y, mean, var and, for the gradient, x, c and perhaps the weight as the product read it.
    """
    reference, conv, _, _ = _parts(w)
    x = reference.wide(x)
    c = conv(x, w, stride, padding)
    y, mean, var = reference.batch_norm(c, scale, shift, eps)
    y = y if shortcut is None else y + reference.wide(shortcut)
    return reference.relu(y) if rectify else y, mean, var, x, c, None


def conv_norm_dx(
    g: Array, x: Array, c: Array, y: Array | None, mean: Array, var: Array,
    w: Array, scale: Array, shift: Array, shape: tuple[int, ...],
    stride: Pair, padding: Pair, eps: float, rectify: bool, wanted: bool = True,
    read: Array | None = None,
) -> tuple[Array | None, Array, Array, Array, Array | None]:  # fmt: skip
    """dx (None if it is not wanted), dw, dscale, dshift, dshortcut, by the rules of the four.

    y is given, and dshortcut returned, where there was a shortcut and a rectifier; `read` is the
    weight as `conv_norm` returned it.
    """
    reference, _, conv_dx, conv_dw = _parts(w)
    g, x, c = map(reference.wide, (g, x, c))  # of a rung that keeps bits
    if y is not None:
        g = reference.relu_dx(g, reference.wide(y))
    elif rectify:
        g = reference.relu_dx(g, reference.batch_norm_eval(c, mean, var, scale, shift, eps))
    dc, dscale, dshift = reference.batch_norm_dx(g, c, mean, var, scale, eps)
    dx = conv_dx(dc, w, shape, stride, padding) if wanted else None
    dw = conv_dw(x, dc, (w.shape[-4], w.shape[-3]), stride, padding)
    return dx, dw, dscale, dshift, g if y is not None else None


def _parts(w: Array) -> tuple[Any, ...]:
    """This rung, and its convolution for a weight: with dx and dw."""
    from quatgrad.kernels import reference  # which imports this file

    name = "hamilton_conv2d" if w.ndim == 5 else "conv2d"
    return reference, *(getattr(reference, name + end) for end in ("", "_dx", "_dw"))
