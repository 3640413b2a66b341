"""Checks of arguments, which all functions of the algebra share."""

import numpy as np

from quatgrad.arrays import Array, array_module, check_dtype
from quatgrad.errors import DTypeError, ShapeError


def check_array(name: str, x: Array) -> None:
    """Raise `DTypeError` unless x is an array of float32 or float64."""
    if array_module(x) is np and not isinstance(x, np.ndarray):
        raise DTypeError(
            f"{name}: takes a NumPy or CuPy array; got a {type(x).__name__} (of a list make "
            "np.array(q, np.float32); for Tensors use quatgrad.ops)"
        )
    check_dtype(x.dtype, f"{name}: the array")


def check(name: str, q: Array) -> None:
    """Raise unless q is an array of quaternions: (..., 4), float32 or float64."""
    check_array(name, q)
    if q.ndim == 0 or q.shape[-1] != 4:
        raise ShapeError(
            f"{name}: quaternions lie along the last axis, of size 4; got shape {q.shape}"
        )


def check_square(name: str, M: Array, size: int) -> None:
    """Raise unless M is an array of matrices (..., size, size)."""
    if M.shape[-2:] != (size, size):
        raise ShapeError(f"{name}: takes matrices (..., {size}, {size}); got shape {M.shape}")


def check_pair(name: str, p: Array, q: Array) -> None:
    """Raise unless p and q are quaternions of one dtype whose leading axes broadcast."""
    check(name, p)
    check(name, q)
    same_dtype(name, p, q)
    if p.shape != q.shape:
        broadcast(
            name, p.shape, q.shape, "all axes before the last must be equal, or 1, or missing"
        )


def same_dtype(name: str, p: Array, q: Array) -> None:
    """Raise `DTypeError` where one is float32 and the other float64."""
    if p.dtype != q.dtype:
        raise DTypeError(f"{name}: {p.dtype} and {q.dtype} do not mix; convert one with .astype")


def broadcast(name: str, a: tuple[int, ...], b: tuple[int, ...], advice: str) -> None:
    """Raise unless the shapes broadcast."""
    try:
        np.broadcast_shapes(a, b)
    except ValueError:
        raise ShapeError(f"{name}: shapes {a} and {b} do not broadcast; {advice}") from None
