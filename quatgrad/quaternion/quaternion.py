"""Quaternions for people: arrays of them that add, multiply and print as numbers do.

    >>> p, q = Quaternion(1, 2, 3, 4), Quaternion(0, 1, 0, 0)
    >>> p * q, abs(q), ~p
    (-2 + 1i + 4j - 3k, np.float32(1.0), 1 - 2i - 3j - 4k)

A `Quaternion` is one array of components (..., 4), of NumPy or CuPy, and nothing else; each
operation is a function of `quatgrad.quaternion` on it. For gradients use Tensors: see
`quatgrad.ops`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module, check_dtype, new_array, real_array, to_numpy
from quatgrad.errors import DTypeError
from quatgrad.kernels.registry import kernel
from quatgrad.quaternion import algebra, functions
from quatgrad.quaternion.checks import check, same_dtype
from quatgrad.quaternion.random import Shape, Source, random, random_unit
from quatgrad.quaternion.rotations import rotate, to_rotation_matrix


def _operators(ufunc: np.ufunc) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two methods of an operator, such as __add__ and __radd__, from its ufunc."""

    def forward(self: Quaternion, other: Any) -> Any:
        return ufunc(self, other) if _is_operand(other) else NotImplemented

    def backward(self: Quaternion, other: Any) -> Any:
        return ufunc(other, self) if _is_operand(other) else NotImplemented

    return forward, backward


def _method(f: Callable[[Array], Array], doc: str) -> Callable[[Quaternion], Quaternion]:
    """A method: a function of the components, which gives quaternions again."""

    def method(self: Quaternion) -> Quaternion:
        return Quaternion(f(self.components))

    method.__doc__, method.__name__ = doc, f.__name__
    return method


def _part(index: Any, doc: str) -> property:
    """A property: some components of every quaternion, as a view that can be written to."""

    def read(self: Quaternion) -> Array:
        return self.components[..., index]

    def write(self: Quaternion, value: Any) -> None:
        self.components[..., index] = real_array(value, self.dtype, array_module(self.components))

    return property(read, write, doc=doc)


class Quaternion:
    """w + x i + y j + z k: one quaternion, or an array of them, of any shape.

    Quaternion(1, 2, 3, 4)         four numbers, or four arrays of numbers that broadcast
    Quaternion(a)                  an array (..., 4): it is wrapped, not copied, so writing to the
                                   quaternions writes to it; a list is copied
    Quaternion(5)                  a real number
    Quaternion.random((5, 3), seed=0), Quaternion.random_unit((5, 3), seed=0)

    float32, unless given float64 or `dtype`. `q.components` is the array, and so is
    `np.asarray(q)`; the shape, length, index and axes of q are those of it without the last axis.

    p + q, p - q, p * q, p / q = p q^-1, q ** t, ~q = conjugate, abs(q), -q, p == q (an array of
    bool), p @ q of matrices. The other operand may be a number, or an array of real numbers of
    q's shape; float32 and float64 arrays do not mix. The ufuncs of these operators and np.exp,
    log, sqrt, square, reciprocal, conjugate, isfinite, isnan, isinf work on quaternions, and so do
    np.concatenate, stack, sum, mean, copy, shape, ndim, size. Any other function of NumPy raises a
    TypeError: call it with q.components. np.save and np.savez write the components, which
    Quaternion(np.load(file)) reads; pickle and copy keep the class.
    """

    __slots__ = ("components",)
    __array_priority__ = 1000
    __hash__ = None  # type: ignore[assignment]  # it can be written to

    components: Array

    def __init__(self, *parts: Any, dtype: Any = None):
        if len(parts) not in (1, 4):
            raise TypeError(
                f"Quaternion takes 4 numbers (or arrays of them), or one array (..., 4), or a "
                f"real number; got {len(parts)} arguments"
            )
        if dtype is not None:
            check_dtype(dtype, "Quaternion: the new array")
        c = _stack(parts, dtype) if len(parts) == 4 else _wrap(parts[0], dtype)
        self.components = c.astype(dtype or c.dtype, copy=False)

    @classmethod
    def random(cls, shape: Shape = (), *, seed: Source, dtype: Any = np.float32) -> Quaternion:
        """`quatgrad.quaternion.random`: four normal components; `seed` may be a generator."""
        return cls(random(shape, seed, dtype))

    @classmethod
    def random_unit(cls, shape: Shape = (), *, seed: Source, dtype: Any = np.float32) -> Quaternion:
        """`quatgrad.quaternion.random_unit`: uniform among rotations; `seed` may be a generator."""
        return cls(random_unit(shape, seed, dtype))

    # ------------------------------------------------------------------------- components

    w = _part(0, "The real part (...).")
    x = _part(1, "The part of i (...).")
    y = _part(2, "The part of j (...).")
    z = _part(3, "The part of k (...).")
    real = _part(0, "The real part (...): w.")
    vector = _part(slice(1, None), "The vector part (..., 3): x, y, z.")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.components, dtype, copy=copy)

    # ------------------------------------------------------------------------ as an array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array of quaternions: of the components, without their last axis."""
        return self.components.shape[:-1]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of quaternions."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """dtype of the components: float32 or float64."""
        return self.components.dtype

    @property
    def T(self) -> Quaternion:  # noqa: N802
        """The axes in reverse order, a view; not conjugated: (p @ q).T != q.T @ p.T."""
        return Quaternion(self.components.transpose(*range(self.ndim)[::-1], self.ndim))

    def reshape(self, *shape: Any) -> Quaternion:
        """The same quaternions in another shape; a view where the array's reshape is one."""
        if len(shape) == 1 and isinstance(shape[0], Iterable):
            (shape,) = shape
        return Quaternion(self.components.reshape(*shape, 4))

    def astype(self, dtype: Any) -> Quaternion:
        """A copy in float32 or float64."""
        return Quaternion(self.components.copy(), dtype=dtype)

    def copy(self) -> Quaternion:
        """A copy."""
        return Quaternion(self.components.copy())

    __copy__ = copy

    def sum(self, axis: int | None = None) -> Quaternion:
        """The sum over one axis, or over all."""
        return Quaternion(self._total(axis))

    def mean(self, axis: int | None = None) -> Quaternion:
        """The mean over one axis, or over all. For rotations see `mean_rotation`."""
        total = self._total(axis)
        return Quaternion(total / (self.components.size // max(total.size, 1)))

    def _total(self, axis: int | None) -> Array:
        return kernel("sum_over")(self.components, _axes(axis, self.ndim))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single Quaternion has no length; its norm is abs(q)")
        return self.shape[0]

    def __iter__(self) -> Iterator[Quaternion]:
        return (self[n] for n in range(len(self)))

    def __getitem__(self, index: Any) -> Quaternion:
        return Quaternion(self.components[_index(index)])

    def __setitem__(self, index: Any, value: Any) -> None:
        if not _is_operand(value):
            raise TypeError(f"write a Quaternion or real numbers; got a {type(value).__name__}")
        self.components[_index(index)] = _quaternions(value, self)

    def __bool__(self) -> bool:
        raise TypeError("a Quaternion is neither true nor false; ask (q != 0).any() or .all()")

    # ------------------------------------------------------------------------- arithmetic

    __add__, __radd__ = _operators(np.add)
    __sub__, __rsub__ = _operators(np.subtract)
    __mul__, __rmul__ = _operators(np.multiply)
    __truediv__, __rtruediv__ = _operators(np.divide)
    __pow__, __rpow__ = _operators(np.power)
    __matmul__, __rmatmul__ = _operators(np.matmul)
    __eq__, _ = _operators(np.equal)
    __ne__, _ = _operators(np.not_equal)

    def __neg__(self) -> Quaternion:
        return Quaternion(-self.components)

    def __pos__(self) -> Quaternion:
        return self.copy()

    def __abs__(self) -> Array:
        return algebra.norm(self.components)[()]  # of one quaternion, a number

    def __invert__(self) -> Quaternion:
        return self.conjugate()

    conjugate = _method(algebra.conjugate, "w - x i - y j - z k; also ~q.")
    inverse = _method(algebra.inverse, "q^-1; also 1 / q.")
    normalize = _method(algebra.normalize, "q / |q|, of norm 1.")
    exp = _method(functions.exp, "e^q.")
    log = _method(functions.log, "The logarithm with a vector part of length <= pi.")
    sqrt = _method(functions.sqrt, "The root with real part >= 0.")

    def rotate(self, v: Any) -> Array:
        """vec(q v q^-1), the vectors v (..., 3), turned."""
        if not hasattr(v, "dtype"):
            v = real_array(v, self.dtype, array_module(self.components))
        return rotate(self.components, v)

    def to_rotation_matrix(self) -> Array:
        """R (..., 3, 3) with R v = q.rotate(v)."""
        return to_rotation_matrix(self.components)

    # ------------------------------------------------------------------------------ NumPy

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if method != "__call__" or ufunc not in UFUNCS:
            raise TypeError(
                f"np.{name} is not defined for quaternions; for that of each component, "
                f"np.{name}(q.components)"
            )
        if options:
            raise TypeError(
                f"np.{name} of quaternions takes no {', '.join(options)}=; write r[...] = np.{name}"
                "(...) into a Quaternion r"
            )
        if not all(map(_is_operand, inputs)):
            return NotImplemented
        y = UFUNCS[ufunc](*inputs)
        return Quaternion(y) if ufunc not in NOT_QUATERNIONS else y

    def __array_function__(self, f: Any, types: Any, args: Any, options: Any) -> Any:
        if f in ON_COMPONENTS:
            args, options = _stored(args), {k: _stored(v) for k, v in options.items()}
            return f(*args, **options)
        if f not in FUNCTIONS:
            raise TypeError(
                f"np.{f.__name__} is not defined for quaternions; for that of the components "
                f"(..., 4), np.{f.__name__}(q.components)"
            )
        return FUNCTIONS[f](*args, **options)

    # ------------------------------------------------------------------------------- text

    def __repr__(self) -> str:
        c = np.ascontiguousarray(to_numpy(self.components))
        if not self.shape:
            return _text(c, _number)
        whole = c.view(f"V{4 * c.itemsize}")[..., 0]
        texts = np.array2string(
            whole,
            separator=", ",
            prefix="Quaternion(",
            formatter={"void": lambda q: _text(np.frombuffer(q, c.dtype), _number)},
        )
        shape = f", shape={self.shape}" if not self.size else ""
        dtype = f", dtype={c.dtype}" if c.dtype != np.float32 else ""
        return f"Quaternion({texts}{shape}{dtype})"

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        if self.shape:
            raise TypeError("only a single Quaternion takes a format; of an array, format each")
        return _text(to_numpy(self.components), lambda x: format(x, spec))


# ------------------------------------------------------------------------------ what goes in


def _wrap(x: Any, dtype: Any) -> Array:
    """The components of Quaternion(x)."""
    if isinstance(x, Quaternion):
        return x.components
    if isinstance(x, Real):
        return _stack((x, 0, 0, 0), dtype)
    if not hasattr(x, "dtype"):
        x = new_array(x, dtype)
    check("Quaternion", x)
    return x


def _stack(parts: Sequence[Any], dtype: Any) -> Array:
    """Four numbers or arrays of numbers as components (..., 4)."""
    arrays = [p for p in parts if getattr(p, "ndim", 0)]
    if dtype is None:
        found = {np.dtype(p.dtype) for p in arrays or parts if _is_float(p)}
        if len(found) > 1:
            raise DTypeError(
                f"Quaternion: parts of {' and '.join(sorted(map(str, found)))} do not mix; convert "
                "with .astype, or give dtype="
            )
        dtype = found.pop() if found else np.float32
        check_dtype(dtype, "Quaternion: a part")
    xp = array_module(*arrays)
    return xp.stack(xp.broadcast_arrays(*(real_array(p, dtype, xp) for p in parts)), axis=-1)


def _is_float(x: Any) -> bool:
    return hasattr(x, "dtype") and x.dtype.kind == "f"


def _is_operand(x: Any) -> bool:
    """Is x a Quaternion, a real number, or an array of real numbers?"""
    if isinstance(x, Quaternion | Real):
        return True
    is_array = isinstance(x, np.ndarray | np.generic) or array_module(x) is not np
    return is_array and x.dtype.kind in "biuf"


def _reals(x: Any, q: Quaternion) -> Array:
    """The real numbers x (...) as (..., 1) beside q."""
    if getattr(x, "ndim", 0) and _is_float(x):
        same_dtype("Quaternion", x, q.components)
    return real_array(x, q.dtype, array_module(q.components))[..., None]


def _quaternions(x: Any, q: Quaternion) -> Array:
    """Components of x, of a Quaternion or of real numbers, beside those of q."""
    if isinstance(x, Quaternion):
        same_dtype("Quaternion", x.components, q.components)
        return x.components
    x = _reals(x, q)
    return x * array_module(x).asarray([1, 0, 0, 0], dtype=x.dtype)


def _pair(p: Any, q: Any) -> tuple[Array, Array]:
    some = p if isinstance(p, Quaternion) else q
    return _quaternions(p, some), _quaternions(q, some)


def _index(index: Any) -> tuple[Any, ...]:
    """The same index for the components: all of their last axis."""
    index = index if isinstance(index, tuple) else (index,)
    here = any(i is Ellipsis for i in index)
    return (*index, slice(None)) if here else (*index, Ellipsis, slice(None))


def _axis(axis: int, ndim: int) -> int:
    """Axis of quaternions as axis of components."""
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def _axes(axis: int | None, ndim: int) -> Any:
    return tuple(range(ndim)) if axis is None else _axis(axis, ndim)


def _components_of_all(name: str, arrays: Sequence[Any]) -> list[Array]:
    for q in arrays:
        if not isinstance(q, Quaternion):
            raise TypeError(
                f"np.{name}: quaternions go with quaternions only; got a {type(q).__name__}"
            )
        same_dtype(f"np.{name}", arrays[0].components, q.components)
    return [q.components for q in arrays]


# ----------------------------------------------------------------------------- what it does


def _multiply(p: Any, q: Any) -> Array:
    if isinstance(p, Quaternion) and isinstance(q, Quaternion):
        return algebra.multiply(p.components, q.components)
    if isinstance(p, Quaternion):
        return p.components * _reals(q, p)
    return _reals(p, q) * q.components


def _divide(p: Any, q: Any) -> Array:
    if isinstance(q, Quaternion):
        return algebra.divide(*_pair(p, q))
    return p.components / _reals(q, p)


def _power(q: Any, t: Any) -> Array:
    if isinstance(t, Quaternion):
        return functions.general_power(*_pair(q, t))
    if isinstance(t, Integral):  # a whole number: a product of products
        return functions.power(q.components, int(t))
    return functions.power(q.components, _reals(t, q)[..., 0])


def _concatenate(arrays: Sequence[Any], axis: int = 0) -> Quaternion:
    parts = _components_of_all("concatenate", arrays)
    return Quaternion(array_module(*parts).concatenate(parts, axis=_axis(axis, arrays[0].ndim)))


def _stack_quaternions(arrays: Sequence[Any], axis: int = 0) -> Quaternion:
    parts = _components_of_all("stack", arrays)
    return Quaternion(array_module(*parts).stack(parts, axis=_axis(axis, arrays[0].ndim + 1)))


def _stored(x: Any) -> Any:
    """x with every Quaternion in it as an array on the host."""
    if isinstance(x, tuple | list):
        return type(x)(map(_stored, x))
    return to_numpy(x.components) if isinstance(x, Quaternion) else x


#: What a ufunc does: from Quaternions and real numbers to components.
UFUNCS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: lambda p, q: np.add(*_pair(p, q)),
    np.subtract: lambda p, q: np.subtract(*_pair(p, q)),
    np.multiply: _multiply,
    np.divide: _divide,
    np.power: _power,
    np.matmul: lambda p, q: algebra.matmul(*_pair(p, q)),
    np.negative: lambda q: -q.components,
    np.positive: lambda q: q.components.copy(),
    np.conjugate: lambda q: algebra.conjugate(q.components),
    np.exp: lambda q: functions.exp(q.components),
    np.log: lambda q: functions.log(q.components),
    np.sqrt: lambda q: functions.sqrt(q.components),
    np.square: lambda q: algebra.multiply(q.components, q.components),
    np.reciprocal: lambda q: algebra.inverse(q.components),
    np.absolute: abs,
    np.equal: lambda p, q: np.equal(*_pair(p, q)).all(axis=-1),
    np.not_equal: lambda p, q: np.not_equal(*_pair(p, q)).any(axis=-1),
    np.isfinite: lambda q: np.isfinite(q.components).all(axis=-1),
    np.isnan: lambda q: np.isnan(q.components).any(axis=-1),
    np.isinf: lambda q: np.isinf(q.components).any(axis=-1),
}  # np.add and the like pass CuPy arrays on to CuPy

#: Those whose value is an array of numbers (...).
NOT_QUATERNIONS = {np.absolute, np.equal, np.not_equal, np.isfinite, np.isnan, np.isinf}

#: Functions that are not ufuncs.
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.concatenate: _concatenate,
    np.stack: _stack_quaternions,
    np.sum: Quaternion.sum,
    np.mean: Quaternion.mean,
    np.copy: Quaternion.copy,
    np.shape: lambda q: q.shape,
    np.ndim: lambda q: q.ndim,
    np.size: lambda q: q.size,
}

#: Functions to which quaternions are their components.
ON_COMPONENTS = {np.save, np.savez, np.savez_compressed}


# -------------------------------------------------------------------------------------- text


def _text(c: np.ndarray, number: Callable[[Any], str]) -> str:
    """1 + 2i + 3j - 4k, each number written by `number`."""
    text = number(c[0])
    for x, letter in zip(c[1:], "ijk", strict=True):
        minus = np.signbit(x) and not np.isnan(x)
        text += f" {'-' if minus else '+'} {number(abs(x))}{letter}"
    return text


def _number(x: Any) -> str:
    """A number as NumPy prints it, but 2 and not 2.0."""
    digits = np.get_printoptions()["precision"]
    plain = x == 0 or not np.isfinite(x) or 1e-4 <= abs(x) < 1e8
    write = np.format_float_positional if plain else np.format_float_scientific
    return write(x, precision=digits, unique=True, trim="-")
