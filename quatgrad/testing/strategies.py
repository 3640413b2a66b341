"""Hypothesis strategies for whatever works on quaternions: the package's own functions, and yours.

    @given(quaternions(np.float64, "unit"), quaternion_arrays((3,), np.float64, "huge"))
    def test_my_op_keeps_the_norm(p, q): ...

    @given(broadcasting_shapes(2), st.data())
    def test_my_op_broadcasts(shapes, data):
        p, q = (data.draw(quaternion_arrays(shape)) for shape in shapes)

    @given(quaternion_arrays((2, 3)).flatmap(lambda q: st.tuples(st.just(q), layouts(q))))
    def test_my_op_does_not_look_at_memory(pair): ...

Hypothesis comes with `pip install 'quatgrad[dev]'`; `quatgrad.testing` itself works without.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from quatgrad.arrays import Array, check_dtype
from quatgrad.errors import OptionError
from quatgrad.quaternion import normalize
from quatgrad.testing.gradients import LAYOUTS

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "quatgrad.testing.strategies needs hypothesis: pip install hypothesis"
    ) from error


def quaternions(dtype: Any = np.float32, kind: str = "finite") -> st.SearchStrategy[Array]:
    """One quaternion (4,) of a kind; see `quaternion_arrays`."""
    return quaternion_arrays((), dtype, kind)


def quaternion_arrays(
    shape: int | tuple[int, ...], dtype: Any = np.float32, kind: str = "finite"
) -> st.SearchStrategy[Array]:
    """Arrays (*shape, 4) of quaternions, all of one kind:

    "finite"      0 and 1e-100 to 1e100 in each component (float32: 1e-10 to 1e10), both signs
    "unit"        of norm 1, up to rounding
    "pure"        w = 0
    "real"        x = y = z = 0
    "near_one"    1 + 10^-n d or -1 + 10^-n d, n = 1 to 16, the components of d in [-1, 1]
    "half_turn"   pure and unit: rotations by pi
    "subnormal"   components below the smallest normal number
    "huge"        components from 1e300 to 1e308, or 0 (float32: 1e36 to 3e38): |q|^2 overflows
    "special"     finite, but one component, in any slot, is NaN or an infinity

    Errors: `OptionError` for another kind.
    """
    check_dtype(dtype, "quaternion_arrays")
    if kind not in KINDS:
        raise OptionError(f"quaternions of kind {kind!r}; the kinds are {', '.join(KINDS)}")
    shape = (shape,) if isinstance(shape, int) else shape
    numbers, finish = KINDS[kind]
    arrays = hnp.arrays(dtype, (*shape, 4), elements=numbers(np.dtype(dtype)))

    def finished(q: Array) -> st.SearchStrategy[Array]:
        done = finish(q)
        return done if isinstance(done, st.SearchStrategy) else st.just(done)

    return arrays.flatmap(finished)


def broadcasting_shapes(
    count: int = 2, max_dims: int = 3, max_side: int = 4
) -> st.SearchStrategy[tuple[tuple[int, ...], ...]]:
    """`count` shapes that broadcast, sides of 0 and 1 and missing axes included."""
    return hnp.mutually_broadcastable_shapes(
        num_shapes=count, min_side=0, max_dims=max_dims, max_side=max_side
    ).map(lambda drawn: drawn.input_shapes)


def layouts(a: Array) -> st.SearchStrategy[Array]:
    """The array a as it is, or an equal one elsewhere in memory, laid out in some other way:

    transposed (Fortran), reversed (negative strides), sliced (gaps between entries), read-only.
    """
    names = list(LAYOUTS) if a.ndim else ["contiguous", "read-only"]

    def lay(name: str) -> Array:
        store, show = LAYOUTS[name]
        return show(np.array(store(a), order="C"))

    return st.sampled_from(names).map(lay)


# -------------------------------------------------------------------------------------- kinds

Numbers = Callable[[np.dtype], "st.SearchStrategy[float]"]
Finish = Callable[[Array], "Array | st.SearchStrategy[Array]"]


def _between(*bounds: tuple[float, float]) -> Numbers:
    """0, and floats with a size between two bounds: first for float32, then for float64."""

    def numbers(dtype: np.dtype) -> st.SearchStrategy[float]:
        low, high = (float(dtype.type(b)) for b in bounds[dtype == np.float64])
        how: Any = {"width": 8 * dtype.itemsize, "allow_subnormal": low < np.finfo(dtype).tiny}
        return st.just(0.0) | st.floats(low, high, **how) | st.floats(-high, -low, **how)

    return numbers


def _unit(q: Array) -> Array:
    q[(q == 0).all(axis=-1), -1] = 1
    return normalize(q)


def _pure(q: Array) -> Array:
    q[..., 0] = 0
    return q


def _real(q: Array) -> Array:
    q[..., 1:] = 0
    return q


def _near_one(q: Array) -> st.SearchStrategy[Array]:
    def add(sign: int, n: int) -> Array:
        return (sign * np.eye(4)[0] + 10.0**-n * q).astype(q.dtype)

    return st.builds(add, st.sampled_from((1, -1)), st.integers(1, 16))


def _special(q: Array) -> st.SearchStrategy[Array]:
    def put(slot: int, value: float) -> Array:
        q[..., slot] = value
        return q

    return st.builds(put, st.integers(0, 3), st.sampled_from((np.nan, np.inf, -np.inf)))


_finite = _between((1e-10, 1e10), (1e-100, 1e100))
_around = _between((1e-6, 1), (1e-6, 1))
_subnormal = _between((1.4e-45, 1.17e-38), (5e-324, 2.22e-308))
_huge = _between((1e36, 3e38), (1e300, 1e308))

#: The components drawn, and what is then done to them.
KINDS: dict[str, tuple[Numbers, Finish]] = {
    "finite": (_finite, lambda q: q),
    "unit": (_around, _unit),
    "pure": (_finite, _pure),
    "real": (_finite, _real),
    "near_one": (_around, _near_one),
    "half_turn": (_around, lambda q: _unit(_pure(q))),
    "subnormal": (_subnormal, lambda q: q),
    "huge": (_huge, lambda q: q),
    "special": (_finite, _special),
}
