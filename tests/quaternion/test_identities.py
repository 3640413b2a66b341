"""Every identity of `quatgrad.testing.identities`, within its bound, in both precisions."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quatgrad import kernels
from quatgrad.testing import identities
from quatgrad.testing.identity_table import IDENTITIES, ONE, Identity, draw, error
from quatgrad.testing.strategies import layouts, quaternion_arrays

ALL = pytest.mark.parametrize("one", IDENTITIES, ids=lambda one: f"{one.number}-{one.name}")
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@ALL
@DTYPES
@given(seed=st.integers(0, 2**32 - 1))
def test_identity(one, dtype, seed):
    worst = max(one.errors(np.random.default_rng(seed), 64, dtype))
    assert worst <= one.eps, f"{one.formula}: {worst:.1f} eps, allowed are {one.eps}"


@ALL
@DTYPES
@pytest.mark.parametrize("kind", ["unit", "near_one", "half_turn"])
@settings(max_examples=10)
@given(data=st.data())
def test_identity_on_edges_and_layouts_of_the_public_strategies(one, dtype, kind, data):
    rng, arguments = np.random.default_rng(0), []
    for name in inspect.signature(one.sides).parameters:
        argument = draw(name, rng, 6, dtype)
        if name in "pqrklu":
            drawn = quaternion_arrays((6,), dtype, "unit" if name == "u" else kind)
            argument = data.draw(drawn.flatmap(layouts), label=name)
        arguments.append(argument)
    for left, right, scale in one.sides(*arguments):
        assert error(left, right, scale) <= one.eps, one.formula


@ALL
@DTYPES
def test_identity_on_the_reference_rung(one, dtype):
    with kernels.use_kernels("reference"):
        assert max(one.errors(np.random.default_rng(0), 2000, dtype)) <= one.eps


def test_an_error_is_seen_whatever_its_kind():
    q = np.ones((3, 4))
    off = q.copy()
    off[1, 2] += 2.0**-52
    assert error(q, q) == 0
    assert error(off, q) == 1
    assert error(off, q, np.array([1, 4, 1])) == 0.25
    assert error(np.where(off == 1, 1, np.nan), q) == np.inf
    assert error(q.astype(np.float32), q) == np.inf
    assert error(q[:2], q) == np.inf


@DTYPES
def test_samples_meet_the_edges(dtype):
    k = draw("k", np.random.default_rng(0), 2000, dtype)
    assert k.dtype == dtype
    assert (k[:, 0] == 0).any()
    assert (k[:, 1:] == 0).all(axis=1).any()
    eps = np.finfo(dtype).eps
    for unit in (ONE, -ONE):
        distance = np.linalg.norm(k - unit, axis=1)
        assert ((distance > 0) & (distance < 4 * eps)).any()


def test_the_command_prints_a_line_for_each_and_says_whether_all_hold(capsys, monkeypatch):
    assert identities.main(["--samples", "200"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(IDENTITIES) + 1
    wrong = Identity(99, "q = 2 q", 1.0, lambda q: [(q, 2 * q, 1)])
    monkeypatch.setattr(identities, "IDENTITIES", [wrong])
    assert identities.main(["--samples", "200"]) == 1
    assert "<--" in capsys.readouterr().out
