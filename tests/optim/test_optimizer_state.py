"""What an optimizer is given fits its parameters, or it is refused before compiled code sees it."""

import pickle

import numpy as np
import pytest

from quatgrad import Parameter, optim, use_backend, use_kernels
from quatgrad.errors import DTypeError, OptionError, QuatgradError, ShapeError

f32 = np.float32


def ones(*shape, dtype=f32):
    return np.ones(shape, dtype)


def parameter(*shape):
    p = Parameter(ones(*shape))
    p.grad = ones(*shape)
    return p


def adam_state(m, v, t=3):
    return {"0/m": m, "0/v": v, "0/t": np.asarray(t)}


@pytest.fixture(params=["reference", "numpy", "numba"], autouse=True)
def _rung(request):
    with use_kernels("reference") if request.param == "reference" else use_backend(request.param):
        yield


STATES = {
    "shorter": (optim.SGD, {"0/velocity": ones(3)}, ShapeError),
    "longer": (optim.SGD, {"0/velocity": ones(2, 40_000)}, ShapeError),
    "transposed": (optim.SGD, {"0/velocity": ones(3, 2)}, ShapeError),
    "a number": (optim.SGD, {"0/velocity": np.float32(1)}, ShapeError),
    "another dtype": (optim.SGD, {"0/velocity": ones(2, 3, dtype=np.float64)}, DTypeError),
    "integers": (optim.SGD, {"0/velocity": np.ones((2, 3), int)}, DTypeError),
    "None": (optim.SGD, {"0/velocity": None}, ShapeError),
    "m of Adam": (optim.Adam, adam_state(ones(3), ones(2, 3)), ShapeError),
    "v of Adam": (optim.Adam, adam_state(ones(2, 3), ones(6)), ShapeError),
    "t of Adam, broken": (optim.Adam, adam_state(ones(2, 3), ones(2, 3), 1.5), OptionError),
    "t of Adam, several": (optim.Adam, adam_state(ones(2, 3), ones(2, 3), [1, 2]), OptionError),
    "SGD's into Adam": (optim.Adam, {"0/velocity": ones(2, 3)}, ShapeError),
    "Adam's into SGD": (optim.SGD, adam_state(ones(2, 3), ones(2, 3)), ShapeError),
    "half of Adam's": (optim.Adam, {"0/m": ones(2, 3)}, ShapeError),
    "a second parameter": (optim.SGD, {"1/velocity": ones(2, 3)}, ShapeError),
    "parameter -1": (optim.SGD, {"-1/velocity": ones(2, 3)}, ShapeError),
    "no number": (optim.SGD, {"velocity": ones(2, 3)}, ShapeError),
}  # fmt: skip


@pytest.mark.parametrize(("make", "state", "error"), STATES.values(), ids=STATES)
def test_state_that_does_not_fit_is_refused_and_nothing_is_restored(make, state, error):
    p = parameter(2, 3)
    optimizer = make([p])
    optimizer.step(0.1)
    before, weights = optimizer.state_dict(), p.data.copy()
    with pytest.raises(error) as caught:
        optimizer.load_state_dict(state)
    assert len(str(caught.value)) < 300
    after = optimizer.state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before.keys() | after.keys())
    assert np.array_equal(p.data, weights)


def test_the_state_of_another_optimizer_is_refused_by_its_names():
    with pytest.raises(ShapeError, match=r"Adam.*\['velocity'\].*\['m', 'v', 't'\]"):
        optim.Adam([parameter(2)]).load_state_dict({"0/velocity": ones(2)})


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize(
    "grad",
    [ones(3), ones(3, 2), ones(2, 3, dtype=np.float64), ones(1, 3), [[1, 1, 1], [1, 1, 1]], 1, 1.0],
)
def test_a_gradient_that_does_not_fit_is_refused_before_any_parameter_moves(make, grad):
    p, q = parameter(4), parameter(2, 3)
    q.grad = grad
    optimizer = make([p, q])
    with pytest.raises(QuatgradError, match=r"parameter 1 is float32 of shape \(2, 3\), its grad"):
        optimizer.step(0.1)
    assert (p.data == 1).all()
    assert optimizer.state == [{}, {}]


def test_state_that_was_overwritten_is_refused():
    optimizer = optim.SGD([parameter(2, 3)])
    optimizer.step(0.1)
    optimizer.state[0]["velocity"] = ones(2)
    with pytest.raises(ShapeError, match="velocity"):
        optimizer.step(0.1)


@pytest.mark.parametrize("lr", [None, "0.1", [0.1], np.ones(2), np.array("1"), 1j, parameter(1)])
def test_a_rate_that_is_no_number_is_refused(lr):
    p = parameter(2)
    with pytest.raises(OptionError, match="the learning rate is a number; got"):
        optim.SGD([p]).step(lr)
    assert (p.data == 1).all()


@pytest.mark.parametrize("lr", [np.float64(0.5), np.float32(0.5), np.array(0.5), np.int64(1), 1])
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
def test_numpys_numbers_are_rates(make, lr):
    p, q = parameter(2), parameter(2)
    for parameter_, rate in ((p, lr), (q, float(lr))):
        make([parameter_]).step(rate)
    assert p.dtype == np.float32
    assert np.array_equal(p.data, q.data)


@pytest.mark.parametrize(
    "make",
    [
        lambda p, f: optim.SGD(p, f(0.5), True, f(0.1)),
        lambda p, f: optim.Adam(p, (f(0.5), f(0.75)), f(0.1), f(0.1)),
    ],
)
def test_numpys_numbers_are_options(make):
    p, q = parameter(3), parameter(3)
    for parameter_, kind in ((p, np.float64), (q, float)):
        optimizer = make([parameter_], kind)
        for _ in range(3):
            optimizer.step(0.1)
    assert np.array_equal(p.data, q.data)


@pytest.mark.parametrize("option", [{"momentum": None}, {"weight_decay": "1"}])
def test_options_that_are_no_numbers_are_refused(option):
    with pytest.raises(OptionError, match=f"{next(iter(option))} is a number"):
        optim.SGD([parameter(2)], **option)


def test_what_is_saved_is_restored_and_goes_on_with_the_same_bits():
    p, q = parameter(2, 3), parameter(2, 3)
    first, second = optim.Adam([p]), optim.Adam([q])
    first.step(0.1)
    q.data = p.data
    second.load_state_dict(first.state_dict())
    first.step(0.1)
    second.step(0.1)
    assert np.array_equal(p.data, q.data)


@pytest.mark.parametrize("kind", [lambda p: optim.SGD(p, 0.9), optim.Adam])
def test_a_state_in_another_order_of_axes_is_taken(kind):
    p, q = parameter(2, 3), parameter(2, 3)
    first, second = kind([p]), kind([q])
    first.step(0.1)
    q.data = p.data
    kept = {n: np.array(a, order="F") for n, a in first.state_dict().items()}
    second.load_state_dict(kept)
    for one in (first, second):
        one.step(0.1)
    np.testing.assert_array_equal(p.data, q.data)


def test_an_optimizer_whose_memory_is_mapped_read_only_steps():
    """As joblib hands large arrays to its workers."""
    p = parameter(3)
    optimizer = optim.SGD([p], 0.9)
    optimizer.step(0.1)
    optimizer.state[0]["velocity"].flags.writeable = False
    again = pickle.loads(pickle.dumps(optimizer, protocol=5))
    for one in (optimizer, again):
        v = one.state[0]["velocity"].copy()
        v.flags.writeable = False
        one.__setstate__({**vars(one), "state": [{"velocity": v}]})
        one.parameters[0]._array.flags.writeable = False
        one.step(0.1)
    np.testing.assert_array_equal(again.parameters[0].data, p.data)
