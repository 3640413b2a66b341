"""The rectifier, and sums of gradients."""

from quatgrad.arrays import Array, array_module
from quatgrad.kernels.cupy_gpu.cuda import contiguous, launch_for_packs
from quatgrad.kernels.cupy_gpu.cudnn import upcast
from quatgrad.kernels.registry import register


@register
def relu(x: Array) -> Array:
    """`reference.relu`."""
    return _each("relu", x)


@register
def relu_dx(g: Array, y: Array) -> Array:
    """`reference.relu_dx`."""
    return _each("relu_dx", g, y)


@register
def add(a: Array, b: Array) -> Array:
    """`reference.add`; bits if both are."""
    if a.dtype != b.dtype:
        a, b = upcast(a), upcast(b)
    return _each("add", a, b) if a.shape == b.shape else a + b


@register
def add_to(a: Array, b: Array) -> Array:
    """`reference.add_to`; bits if both are."""
    return add(a, b)


def _each(name: str, *arrays: Array) -> Array:
    """A kernel on maps of one shape, entry by entry."""
    rows = contiguous(*arrays)
    y = array_module(*rows).empty(arrays[0].shape, rows[0].dtype)  # one number makes a row of one
    launch_for_packs("activation", name, y.size, y.dtype, *rows, y)
    return y
