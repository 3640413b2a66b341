"""What goes in and out of tensors: nothing becomes a number by accident, no gradient is lost."""

import asyncio
import copy
import operator
import pickle

import numpy as np
import pytest

from quatgrad import Parameter, Tensor, nn, no_grad, ops
from quatgrad.autograd import Function
from quatgrad.errors import DTypeError, GraphError, OptionError, ShapeError
from quatgrad.nn import Buffer
from quatgrad.optim import SGD


def leaf(*values):
    return Tensor(list(values), requires_grad=True)


# ------------------------------------------------------------------------------ numbers in

NO_NUMBERS = {
    "None": None,
    "text": "2",
    "bytes": b"2",
    "with None": [1, None],
    "with text": [1.0, "2"],
    "nested None": [[None], [2]],
    "NumPy's text": np.str_("2"),
    "objects": np.array([1, None]),
    "complex": 1 + 2j,
    "complex list": [1, 2j],
    "a date": np.datetime64("2020-01-01"),
    "ragged": [[1, 2], [3]],
    "a dict": {"a": 1},
    "a set": {1, 2},
}
DOORS = {
    "Tensor": Tensor,
    "Parameter": Parameter,
    "x + b": lambda b: leaf(1, 2) + b,
    "b * x": lambda b: b * leaf(1, 2),
    "x @ b": lambda b: leaf(1, 2) @ b,
    "x ** b": lambda b: leaf(1, 2) ** b,
    "where": lambda b: ops.where([True, False], b, leaf(1, 2)),
    "mse_loss": lambda b: ops.mse_loss(leaf(1, 2), b),
    "exp": ops.exp,
    "concatenate": lambda b: ops.concatenate([leaf(1, 2), b]),
    "data": lambda b: setattr(Tensor([1.0, 2]), "data", b),
    "backward": lambda b: (leaf(1, 2) * 2).backward(b),
}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused_at_every_door(door, value):
    with pytest.raises((DTypeError, ShapeError, GraphError)) as caught:
        door(value)
    assert len(str(caught.value)) < 300


def test_a_bias_that_is_not_there_is_no_bias_of_nan():
    layer = nn.Linear(2, 2, bias=False, rng=np.random.default_rng(0))
    with pytest.raises(DTypeError, match="an array holds numbers; got None"):
        Tensor([[1.0, 2.0]]) @ layer.weight + layer.bias


@pytest.mark.parametrize(
    "two", [2, np.int64(2), np.float64(2), np.float16(2), np.uint8(2), True + 1]
)
def test_numpys_numbers_are_numbers(two):
    x = leaf(1, 2)
    y = ((x * two + two) / two) ** two
    y.sum().backward()
    assert y.dtype == x.grad.dtype == np.float32
    np.testing.assert_array_equal(y.data, [4, 9])
    np.testing.assert_array_equal(x.grad, [4, 6])
    assert Tensor(np.int64(2)).data == 2


# --------------------------------------------------------------------------- gradients out

NUMPY = {
    "concatenate": lambda a: np.concatenate([a, a * a]),
    "stack": lambda a: np.stack([a, a]),
    "dot": lambda a: np.dot(a, a),
    "reshape": lambda a: np.reshape(a, (2, 1)),
    "asarray": np.asarray,
    "array, copied": np.array,
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "where": lambda a: np.where([True, False], a, 0),
    "einsum": lambda a: np.einsum("i,i", a, a),
    "linalg.norm": np.linalg.norm,
    "clip": lambda a: np.clip(a, 0, 1),
    "exp, a ufunc": np.exp,
    "write into an array": lambda a: np.zeros(2).__setitem__(slice(None), a),
    "Tensor of a list": lambda a: Tensor([a[0] * 2, a[1] * 3]),
    "Parameter of a list": lambda a: Parameter([a[0], a[1]]),
    "a list as an operand": lambda a: 0 * a + [a[0] * a[0], a[1]],
    "a tuple as an operand": lambda a: a @ (a[0], a[1]),
    "a nested list": lambda a: Tensor([[a[0], 1.0], [2.0, a[1]]]),
    "another dtype": lambda a: np.asarray(a, np.float64),
}


@pytest.mark.parametrize("f", NUMPY.values(), ids=NUMPY)
@pytest.mark.parametrize("kind", ["leaf", "result", "parameter"])
def test_numpy_never_takes_a_tensor_that_needs_a_gradient(f, kind):
    a = {"leaf": leaf(2, 3), "result": leaf(2, 3) * 1, "parameter": Parameter([2.0, 3])}[kind]
    with pytest.raises((GraphError, TypeError)):
        f(a)


def test_the_refusal_says_what_to_write():
    a = leaf(2, 3)
    with pytest.raises(GraphError, match=r"t\.detach\(\)\.numpy\(\)"):
        np.asarray(a)
    np.testing.assert_array_equal(np.asarray(a.detach().numpy()), [2, 3])
    np.testing.assert_array_equal(np.concatenate([a.detach(), a.detach()]), [2, 3, 2, 3])
    with no_grad():
        np.testing.assert_array_equal(np.asarray(a * 2), [4, 6])


# ----------------------------------------------------------------------------- in-place


UPDATES = (
    operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.imatmul,
)  # fmt: skip


@pytest.mark.parametrize("update", UPDATES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("make", [leaf, lambda *v: Parameter(list(v)), lambda *v: Buffer(list(v))])
def test_an_operator_that_would_not_write_to_a_leaf_is_refused(update, make):
    p = make(1, 2)
    with pytest.raises(GraphError, match=r"p\.data = p\.data - lr \* p\.grad"):
        update(p, np.float64(2))
    with no_grad(), pytest.raises(GraphError):
        update(p, p)
    np.testing.assert_array_equal(p.data, [1, 2])


def test_results_and_constants_may_be_added_up():
    x, total = leaf(1, 2), Tensor(0.0)
    y = x * x
    y += x
    y *= 2
    for entry in y:
        total += entry
    total.backward()
    np.testing.assert_array_equal(x.grad, [6, 10])


def test_the_loop_that_the_message_proposes_learns():
    net = nn.Linear(2, 1, rng=np.random.default_rng(0))
    losses = []
    for _ in range(20):
        loss = ops.mse_loss(net(Tensor([[1.0, 2.0]])), [[3.0]])
        for p in net.parameters():
            p.grad = None
        loss.backward()
        for p in net.parameters():
            p.data = p.data - 0.05 * p.grad
        losses.append(loss.item())
    assert losses[-1] < 1e-3 < losses[0]


# ------------------------------------------------------------------------- text and copies


def test_a_tensor_of_one_entry_takes_a_format():
    x = leaf(1.234)
    assert f"{x:.2f} {x.sum():.1f} {Tensor(0.5):5.1%}" == "1.23 1.2 50.0%"
    assert f"{x}" == str(x)
    with pytest.raises(ValueError, match="size 1"):
        format(leaf(1, 2), ".2f")


def test_abs_is_a_function_of_tensors():
    x = leaf(-2, 3)
    abs(x).sum().backward()
    np.testing.assert_array_equal(abs(x).data, [2, 3])
    np.testing.assert_array_equal(x.grad, [-1, 1])


@pytest.mark.parametrize("f", [copy.deepcopy, pickle.dumps, lambda y: copy.copy(y[-1])])
def test_a_graph_however_deep_is_not_copied(f):
    y = leaf(1)
    for _ in range(5000):
        y = y * 1.0
    with pytest.raises(GraphError, match=r"result of Mul has a graph.*t\.detach\(\)"):
        f([y])
    f([y.detach()])


def test_leaves_are_copied_with_what_they_hold():
    p = Parameter([1.0, 2])
    (p * p).sum().backward()
    for q in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        np.testing.assert_array_equal(q.data, p.data)
        np.testing.assert_array_equal(q.grad, p.grad)
        assert q.requires_grad


@pytest.mark.parametrize("kind", ["flag", "file"])
def test_weights_in_read_only_memory_are_copied_when_they_are_written(kind, tmp_path):
    """joblib maps the weights of a large model."""
    net = nn.Sequential(nn.Linear(3, 2, rng=np.random.default_rng(0)), nn.BatchNorm2d(2))
    before = net.state_dict()
    for i, (_, t) in enumerate(net.named_state()):
        if kind == "file":
            np.save(tmp_path / f"{i}.npy", t.data)
            t._array = np.load(tmp_path / f"{i}.npy", mmap_mode="r")
        else:
            t._array.flags.writeable = False
    optimizer = SGD(net.parameters(), 0.9)
    for _ in range(2):
        (net(Tensor(np.eye(3, dtype=np.float32))) ** 2).mean().backward()
        optimizer.step(0.1)
        optimizer.zero_grad()
    after = net.state_dict()
    assert not any(np.array_equal(before[name], after[name]) for name in before)
    for i, name in enumerate(before if kind == "file" else ()):
        np.testing.assert_array_equal(np.load(tmp_path / f"{i}.npy"), before[name])


# -------------------------------------------------------------------------------- no_grad


def test_a_decorated_generator_records_nothing_and_its_caller_does():
    x = leaf(1, 2)

    @no_grad()
    def steps(n):
        got = []
        try:
            for i in range(n):
                got.append((yield x * i))
        except KeyError:
            yield x + 1
        finally:
            got.append((x * 2).requires_grad)
        return got

    generator = steps(3)
    for i, y in enumerate(generator):
        assert not y.requires_grad
        assert (x * i).requires_grad
    generator = steps(2)
    next(generator)
    assert not generator.send("a").requires_grad
    with pytest.raises(StopIteration) as end:
        generator.send("b")
    assert end.value.value == ["a", "b", False]
    generator = steps(2)
    next(generator)
    assert not generator.throw(KeyError()).requires_grad
    generator.close()
    assert (x * 1).requires_grad


def test_a_function_that_returns_a_generator_and_nested_blocks_record_nothing():
    x = leaf(1, 2)
    for y in no_grad()(lambda: (x * i for i in range(3)))():
        assert not y.requires_grad
        assert (x * 1).requires_grad
    block = no_grad()
    with block:
        with block:
            assert not (x * 1).requires_grad
        assert not (x * 1).requires_grad
    assert (x * 1).requires_grad

    @no_grad()
    def down(n):
        return down(n - 1) if n else (x * 1).requires_grad

    assert not down(3)
    assert down.__name__ == "down"


def test_a_coroutine_is_no_function_to_decorate():
    async def one():
        with no_grad():
            return (leaf(1) * 2).requires_grad

    async def many():
        yield 1

    for f in (one, many):
        with pytest.raises(GraphError, match="inside"):
            no_grad()(f)
    assert asyncio.run(one()) is False


# --------------------------------------------------------------------------- errors inside


class Raises(Function):
    def __init__(self, error):
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("temperature must be positive"),
        np.linalg.LinAlgError("Eigenvalues did not converge"),
        OptionError("of the user's"),
        UnicodeDecodeError("utf8", b"", 0, 1, "no text"),
        KeyError("x"),
        ZeroDivisionError("x"),
        FloatingPointError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_of_a_forward_pass_stays_as_it_is(error):
    with pytest.raises(type(error)) as caught:
        Raises(error)(Tensor([1.0]))
    assert caught.value is error


def test_shapes_that_do_not_fit_are_shape_errors():
    for f in (
        lambda: Tensor([1.0, 2]) + Tensor([1.0, 2, 3]),
        lambda: Tensor([1.0, 2]).reshape(3),
        lambda: Tensor([1.0, 2]).sum(axis=1),
        lambda: ops.softmax(Tensor([1.0]), 3),
        lambda: ops.concatenate([Tensor([1.0]), Tensor([[1.0]])]),
        lambda: ops.broadcast_to(Tensor([1.0, 2]), 3),
        lambda: Tensor([[1.0, 2]]).transpose(0),
        lambda: ops.where([True] * 3, Tensor([1.0, 2]), 0.0),
        lambda: Tensor([[1.0, 2]]) @ Tensor([[1.0, 2]]),
    ):
        with pytest.raises(ShapeError):
            f()
