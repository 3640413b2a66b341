"""The strategies draw what they promise, and serve to test somebody's own op."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from quatgrad import Tensor, ops
from quatgrad import quaternion as alg
from quatgrad.errors import DTypeError, OptionError
from quatgrad.testing.strategies import (
    KINDS,
    broadcasting_shapes,
    layouts,
    quaternion_arrays,
    quaternions,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def holds(kind, q):
    """What the docstring promises of each quaternion of a kind."""
    info, w, v = np.finfo(q.dtype), q[..., 0], q[..., 1:]
    size = np.abs(q)
    if kind == "special":
        return ((~np.isfinite(q)).sum(axis=-1) == 1).all()
    if kind in ("finite", "pure", "real", "huge"):
        low, high = {("huge", "float32"): (1e36, 3e38), ("huge", "float64"): (1e300, 1e308)}.get(
            (kind, q.dtype.name), (1e-10, 1e10) if info.bits == 32 else (1e-100, 1e100)
        )
        low, high = (q.dtype.type(x) for x in (low, high))
        part = {"pure": (w == 0).all(), "real": (v == 0).all()}.get(kind, True)
        return part and ((size == 0) | ((size >= low) & (size <= high))).all()
    if kind == "subnormal":
        return (size < info.tiny).all()
    if kind == "near_one":
        return (np.abs(np.abs(w) - 1) <= 0.11).all() and (np.abs(v) <= 0.11).all()
    unit = (np.abs(alg.norm(q) - 1) <= 4 * info.eps).all()
    return unit and (kind == "unit" or (w == 0).all())


@pytest.mark.parametrize("kind", KINDS)
@DTYPES
@given(st.data())
def test_each_kind_is_what_it_says(kind, dtype, data):
    q = data.draw(quaternion_arrays((2, 3), dtype, kind))
    assert q.shape == (2, 3, 4)
    assert q.dtype == dtype
    assert holds(kind, q)
    q = data.draw(quaternions(dtype, kind))
    assert q.shape == (4,)
    assert holds(kind, q)


def test_every_slot_can_be_special_and_quaternions_can_be_rare():
    for slot in range(4):
        for value in (np.nan, np.inf, -np.inf):
            q = find(
                quaternions(np.float32, "special"),
                lambda q, s=slot, x=value: np.array_equal(q[s], x, equal_nan=True),
            )
            assert np.isfinite(np.delete(q, slot)).all()
    find(quaternions(np.float64, "subnormal"), lambda q: (q != 0).all())
    find(quaternions(np.float64, "huge"), lambda q: (q < 0).any())
    find(quaternions(np.float64, "near_one"), lambda q: q[0] < 0)
    find(quaternion_arrays(2), lambda q: (q[0] != q[1]).all())


@given(broadcasting_shapes(3))
def test_shapes_broadcast(shapes):
    assert len(shapes) == 3
    np.broadcast_shapes(*shapes)


def test_shapes_with_zeros_ones_and_missing_axes_are_drawn():
    find(broadcasting_shapes(2), lambda s: 0 in s[0] and len(s[1]) > len(s[0]))
    find(broadcasting_shapes(2), lambda s: 1 in s[0] and 3 in s[1] and len(s[0]) == len(s[1]))


@given(quaternion_arrays((2, 3)).flatmap(lambda q: st.tuples(st.just(q), layouts(q))))
def test_layouts_hold_the_same_numbers_elsewhere(pair):
    q, other = pair
    np.testing.assert_array_equal(q, other)
    assert not np.shares_memory(q, other)
    assert other.dtype == q.dtype


def test_every_layout_is_drawn():
    q = np.arange(24.0).reshape(2, 3, 4)
    find(layouts(q), lambda a: a.flags.f_contiguous)
    find(layouts(q), lambda a: a.strides[-1] < 0)
    find(layouts(q), lambda a: a.strides[-1] > a.itemsize and not a.flags.f_contiguous)
    find(layouts(q), lambda a: not a.flags.writeable)
    assert find(layouts(np.array(1.0)), lambda a: not a.flags.writeable).shape == ()


def test_unknown_kinds_and_dtypes_are_refused():
    with pytest.raises(OptionError, match=r"of kind 'odd'; the kinds are finite, unit"):
        quaternions(np.float32, "odd")
    with pytest.raises(DTypeError, match="float32 or float64"):
        quaternions(int)


# ------------------------------------------------------------- a user's own op, and its tests


def mirror(p, q):
    """-p conj(q) p, the reflection of q through the hyperplane across the unit p; on arrays."""
    return -alg.multiply(p, alg.multiply(alg.conjugate(q), p))


def careless(p, q):
    """The same by somebody who writes into his argument."""
    q[..., 1:] *= -1
    return -alg.multiply(p, alg.multiply(q, p))


def check_mirror(op, kind):
    @settings(phases=[Phase.generate], report_multiple_bugs=False)  # found: that will do
    @given(broadcasting_shapes(2), st.data())
    def keeps_norms_and_is_its_own_inverse(shapes, data):
        p = data.draw(quaternion_arrays(shapes[0], np.float64, "unit"))
        q = data.draw(quaternion_arrays(shapes[1], np.float64, kind))
        q = data.draw(layouts(q))
        before = q.copy()
        y = op(p, q)
        np.testing.assert_array_equal(q, before)
        assert y.shape == (*np.broadcast_shapes(*shapes), 4)
        back = op(p, y) - q
        assert (alg.norm(back) <= 1e-14 * alg.norm(y)).all()

    keeps_norms_and_is_its_own_inverse()


@pytest.mark.parametrize("kind", ["finite", "unit", "half_turn", "near_one"])
def test_a_right_op_passes(kind):
    check_mirror(mirror, kind)


def test_a_careless_op_is_found_out():
    with pytest.raises((AssertionError, ValueError)):
        check_mirror(careless, "finite")


@given(quaternion_arrays((3,), np.float64, "unit"), quaternion_arrays((3,), np.float64))
def test_an_op_on_tensors_is_tested_alike(p, q):
    y = ops.hamilton(Tensor(p), Tensor(q)).numpy()
    assert np.allclose(alg.norm(y), alg.norm(q), rtol=1e-14, atol=0)


def test_without_hypothesis_the_rest_of_testing_works_and_the_message_says_what_to_install():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import quatgrad.testing\n"
        "try: import quatgrad.testing.strategies\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs hypothesis: pip install hypothesis" in run.stdout
