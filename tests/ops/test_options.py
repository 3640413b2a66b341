"""Options: NumPy's numbers are numbers, what is none is refused, and nothing is a size too."""

import math

import numpy as np
import pytest
from blobs import blobs

from quatgrad import Tensor, models, nn, ops, quaternion, use_backend, use_kernels
from quatgrad.errors import DTypeError, OptionError, RunError, ShapeError
from quatgrad.ops import algebra
from quatgrad.quaternion import Quaternion
from quatgrad.train import Recipe, train

i64, f64 = np.int64, np.float64


def x(*shape):
    values = 0.5 + np.arange(math.prod(shape), dtype=np.float32).reshape(shape) / 7
    return Tensor(values, requires_grad=True)


#: Each takes a kind of whole number and a kind of real number.
OPTIONS = {
    "sum": lambda i, f: ops.sum(x(2, 3), i(0), keepdims=True),
    "mean of two axes": lambda i, f: ops.mean(x(2, 3), (i(0), i(-1))),
    "max": lambda i, f: ops.max(x(2, 3), axis=i(1)),
    "var": lambda i, f: ops.var(x(4, 3), i(0), ddof=i(1)),
    "logsumexp": lambda i, f: ops.logsumexp(x(2, 3), i(-1)),
    "softmax": lambda i, f: ops.softmax(x(2, 3), i(0)),
    "reshape": lambda i, f: x(2, 3).reshape(i(6)),
    "reshape to a tuple": lambda i, f: x(2, 3).reshape((i(3), i(-1))),
    "transpose": lambda i, f: x(2, 3).transpose(i(1), i(0)),
    "broadcast_to": lambda i, f: ops.broadcast_to(x(3), i(2), i(3)),
    "pad": lambda i, f: ops.pad(x(2), ((i(1), i(2)),), f(0.1)),
    "pad by reflection": lambda i, f: ops.pad(x(4), ((i(1), i(2)),), mode="reflect"),
    "getitem": lambda i, f: x(4, 3)[i(1), i(0) : i(2)],
    "concatenate": lambda i, f: ops.concatenate([x(2, 3), x(2, 1)], i(1)),
    "stack": lambda i, f: ops.stack([x(2), x(2)], i(-1)),
    "clip": lambda i, f: ops.clip(x(5), f(0.6), f(0.8)),
    "leaky_relu": lambda i, f: ops.leaky_relu(x(5) - 0.7, f(0.1)),
    "dropout": lambda i, f: ops.dropout(x(8, 4), f(0.5), i(3), components=i(4)),
    "cross_entropy": lambda i, f: ops.cross_entropy(x(2, 3), [i(0), i(2)], f(0.1)),
    "smooth_l1_loss": lambda i, f: ops.smooth_l1_loss(x(3), 0.5 * x(3), beta=f(0.2)),
    "focal_loss": lambda i, f: ops.focal_loss(x(3), [0, 1, 0.5], f(1.5), f(3)),
    "conv2d": lambda i, f: ops.conv2d(
        x(1, 5, 5, 4), x(3, 3, 2, 4), None, i(2), (i(1), i(0)), i(1), i(2)
    ),
    "conv_transpose2d": lambda i, f: ops.conv_transpose2d(
        x(1, 2, 2, 4), x(3, 3, 4, 4), None, i(2), i(0), i(1)
    ),
    "max_pool2d": lambda i, f: ops.max_pool2d(x(1, 4, 4, 3), i(2), i(1), i(1)),
    "avg_pool2d": lambda i, f: ops.avg_pool2d(x(1, 4, 4, 3), np.array([i(2), i(3)])),
    "quaternion_max_pool2d": lambda i, f: ops.quaternion_max_pool2d(x(1, 4, 4, 4), i(2)),
    "power": lambda i, f: x(3) ** f(1.5),
    "algebra.power": lambda i, f: algebra.power(x(3, 4), f(0.5)),
    "algebra.power, whole": lambda i, f: algebra.power(x(3, 4), i(3)),
    "algebra.slerp": lambda i, f: algebra.slerp(x(2, 4), x(1, 4) * 2, f(0.3)),
    "Linear": lambda i, f: nn.Linear(i(3), i(2), rng=i(0))(x(2, 3)),
    "QLinear": lambda i, f: nn.QLinear(i(4), i(8), rng=i(0))(x(2, 4)),
    "RotationLinear": lambda i, f: nn.RotationLinear(i(4), i(8), rng=i(0))(x(2, 4)),
    "Conv2d": lambda i, f: nn.Conv2d(i(3), i(4), i(3), i(2), i(1), rng=i(0))(x(1, 5, 5, 3)),
    "QConv2d": lambda i, f: nn.QConv2d(i(8), i(4), (i(3), 1), groups=i(1), rng=i(0))(x(1, 5, 5, 8)),
    "MaxPool2d": lambda i, f: nn.MaxPool2d(i(2))(x(1, 4, 4, 3)),
    "Dropout": lambda i, f: nn.Dropout(f(0.5), rng=i(1))(x(9)),
    "BatchNorm2d": lambda i, f: nn.BatchNorm2d(i(3), f(0.1), f(1e-3))(x(4, 3)),
    "BatchNorm2d in evaluation": lambda i, f: nn.BatchNorm2d(i(3), f(0.1), f(1e-3)).eval()(x(4, 3)),
    "QVarianceNorm2d": lambda i, f: nn.QVarianceNorm2d(i(4), f(0.1), f(1e-3))(x(4, 4)),
    "QBatchNorm2d": lambda i, f: nn.QBatchNorm2d(i(4), f(0.1), f(1e-3)).eval()(x(4, 4)),
}  # fmt: skip


def value_and_gradients(f, whole, real):
    y = f(whole, real)
    leaves, todo = [], [y._node]
    while todo:
        for parent in todo.pop().parents:
            (todo if hasattr(parent, "parents") else leaves).append(parent)
    y.sum().backward()
    return [y.data, *(t.grad for t in leaves if t is not None)]


@pytest.mark.parametrize("kind", [(i64, f64), (np.int16, np.longdouble)])
@pytest.mark.parametrize("f", OPTIONS.values(), ids=OPTIONS)
def test_numpys_numbers_do_what_pythons_do(f, kind):
    ours, theirs = value_and_gradients(f, *kind), value_and_gradients(f, int, float)
    assert len(ours) == len(theirs) > 1
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


NO_NUMBER = (None, "1", [1], np.ones(2), 1j, Tensor(1.0, requires_grad=True))
REALS = {
    "slope": lambda v: ops.leaky_relu(x(3), v),
    "smoothing": lambda v: ops.cross_entropy(x(2, 3), [0, 1], v),
    "beta": lambda v: ops.smooth_l1_loss(x(3), x(3), beta=v),
    "gamma": lambda v: ops.focal_loss(x(2), [0, 1], v),
    "p": lambda v: ops.dropout(x(3), v, 0),
    "Dropout": lambda v: nn.Dropout(v, rng=0),
    "momentum": lambda v: nn.BatchNorm2d(3, momentum=v),
    "eps": lambda v: nn.QBatchNorm2d(4, eps=v),
    "pad": lambda v: ops.pad(x(1), ((1, 1),), v),
}
WHOLE = {
    "axis": lambda v: ops.softmax(x(3), v),
    "ddof": lambda v: ops.var(x(3), ddof=v),
    "size": lambda v: x(1).reshape(1, v),
    "window": lambda v: nn.Conv2d(3, 4, v, rng=0),
    "padding": lambda v: nn.Conv2d(3, 4, 3, padding=v, rng=0),
    "stride": lambda v: ops.max_pool2d(x(1, 4, 4, 1), 2, (v, 1)),
    "groups": lambda v: nn.Conv2d(4, 4, 3, groups=v, rng=0),
    "features": lambda v: nn.Linear(3, v, rng=0),
    "channels": lambda v: nn.BatchNorm2d(v),
    "rng": lambda v: nn.Linear(3, 3, rng=v),
    "dropout's rng": lambda v: ops.dropout(x(3), 0.5, v),
    "axis of concatenate": lambda v: ops.concatenate([x(3)], v),
    "a width": lambda v: ops.pad(x(1), ((v, 1),)),
    "random": lambda v: quaternion.random((3, v), 0),
    "a seed": lambda v: quaternion.random(3, v),
}


@pytest.mark.parametrize("f", [*REALS.values(), *WHOLE.values()], ids=[*REALS, *WHOLE])
@pytest.mark.parametrize("value", NO_NUMBER, ids=repr)
def test_what_is_no_number_is_no_option(f, value):
    with pytest.raises(OptionError) as caught:
        f(value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("f", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("value", [3.0, f64(3), 2.5, np.array(3.0)], ids=repr)
def test_3_point_0_is_no_whole_number(f, value):
    with pytest.raises(OptionError, match="is a whole number; got"):
        f(value)


def test_windows_have_two_numbers():
    for size in [(3, 3, 5), (3,), (), [1, 2, 3], np.ones(3, int)]:
        with pytest.raises(OptionError, match="or two for rows and columns"):
            nn.Conv2d(3, 4, size, rng=0)
        with pytest.raises(OptionError):
            ops.avg_pool2d(x(1, 4, 4, 1), 2, size)
    with pytest.raises(OptionError, match="Conv2d: padding is a whole number; got 'same'"):
        nn.Conv2d(3, 4, 3, padding="same", rng=0)
    assert nn.Conv2d(3, 4, [3, 1], rng=0).window.size == (3, 1)


def test_a_seed_is_a_generator_and_bounds_are_numbers():
    for kind in (nn.Linear, nn.QLinear, nn.RotationLinear):
        assert np.array_equal(kind(4, 4, rng=0).weight.data, kind(4, 4, rng=i64(0)).weight.data)
        assert not np.array_equal(kind(4, 4, rng=0).weight.data, kind(4, 4, rng=1).weight.data)
    assert nn.LearnedEncoder(3, rng=0)(x(1, 5, 5, 3)).shape == (1, 5, 5, 4)
    for bound in ("0", [1], np.ones(3), x(1)):
        with pytest.raises(OptionError, match="clip: a bound is a number"):
            ops.clip(x(3), bound)
    for condition in ("yes", None, [None, True], np.array(["a"])):
        with pytest.raises(DTypeError, match="where: the condition"):
            ops.where(condition, 1.0, 2.0)


# -------------------------------------------------------------------------- quaternions


I, J = np.eye(4, dtype=np.float32)[1:3]
TAKING = {
    "slerp": lambda v: quaternion.slerp(I, J, v),
    "from_axis_angle": lambda v: quaternion.from_axis_angle(I[1:], v),
    "Quaternion(1, 2, 3, v)": lambda v: Quaternion(1, 2, 3, v),
    "Quaternion(v, 0, 0, 0) of float64": lambda v: Quaternion(v, 0, 0, 0, dtype=f64),
    "q.w = v": lambda v: setattr(Quaternion(1, 2, 3, 4), "w", v),
    "q.vector = v": lambda v: setattr(Quaternion(1, 2, 3, 4), "vector", [1, 2, v]),
    "q[()] = v": lambda v: Quaternion(1, 2, 3, 4).__setitem__((), v),
    "q * v": lambda v: Quaternion(1, 2, 3, 4) * v,
    "q ** v": lambda v: Quaternion(1, 2, 3, 4) ** v,
    "q.rotate": lambda v: Quaternion(1, 2, 3, 4).rotate([0, 1, v]),
    "Quaternion of a list": lambda v: Quaternion([1, 2, 3, v]),
    "Quaternion of a list, with dtype": lambda v: Quaternion([1, 2, 3, v], dtype=f64),
    "power": lambda v: quaternion.power(I, v),
}


@pytest.mark.parametrize("f", TAKING.values(), ids=TAKING)
@pytest.mark.parametrize("value", [None, "1", 1j, np.array(None), b"1"], ids=repr)
def test_no_quaternion_is_made_of_what_is_no_number(f, value):
    with pytest.raises(TypeError):
        f(value)


@pytest.mark.parametrize("f", TAKING.values(), ids=TAKING)
@pytest.mark.parametrize("value", [1, i64(1), f64(1), np.float32(1), np.uint8(1)], ids=repr)
def test_quaternions_are_made_of_numpys_numbers(f, value):
    f(value)


def test_sizes_of_quaternions_are_numpys_numbers():
    q = Quaternion(np.ones((2, 3, 4), np.float32))
    assert q.reshape(i64(6)).shape == q.reshape((i64(6),)).shape == (6,)
    assert q.sum(axis=i64(0)).shape == (3,)
    assert quaternion.random(i64(3), i64(0)).shape == (3, 4)
    assert np.array_equal(quaternion.random(3, 0), quaternion.random(i64(3), i64(0)))


# ------------------------------------------------------------------------- nothing in it


@pytest.fixture(params=["reference", "numpy", "numba"])
def rung(request):
    with use_kernels("reference") if request.param == "reference" else use_backend(request.param):
        yield


def backward(y):
    y.sum().backward()
    return y


def test_statistics_of_nothing_are_nan_and_silent(rung):
    for shape, axis in [((0,), None), ((0, 3), 0), ((3, 0), 1), ((0, 0), (0, 1))]:
        for f in (ops.mean, ops.var):
            t = x(*shape)
            y = backward(f(t, axis))
            assert np.isnan(y.data).all()
            assert y.dtype == t.grad.dtype == np.float32
            assert t.grad.shape == shape
            assert f(x(*shape), axis, keepdims=True).ndim == len(shape)
    for t in (x(0), x(3, 0)):
        assert np.isnan(backward(ops.mse_loss(t, x(*t.shape))).item())
        assert np.isnan(backward(ops.smooth_l1_loss(t, x(*t.shape))).item())
        assert np.isnan(backward(ops.focal_loss(t, x(*t.shape))).item())
        assert t.grad.shape == t.shape
    assert np.isnan(backward(ops.cross_entropy(x(0, 3), [])).item())
    for shape, axis, ddof in [((1,), None, 1), ((3, 1), 1, 1), ((2, 2), 0, 3)]:
        t = x(*shape)
        assert np.isnan(backward(ops.var(t, axis, ddof=ddof)).data).all()
        assert np.isnan(t.grad).all()
    assert ops.var(x(0, 3), 1).shape == (0,)


def test_softmax_sum_and_logsumexp_of_nothing(rung):
    for t in (x(3, 0), x(0, 3), x(0)):
        y = backward(ops.softmax(t))
        assert y.shape == t.grad.shape == t.shape
    t = x(3, 0)
    y = backward(ops.logsumexp(t, 1))
    assert (y.data == -np.inf).all()
    assert y.shape == (3,)
    assert t.grad.shape == (3, 0)
    assert ops.logsumexp(x(0), keepdims=True).shape == (1,)
    assert (ops.sum(x(3, 0), 1).data == 0).all()
    with pytest.raises(ShapeError, match="Max"):
        ops.max(x(3, 0), 1)


def test_a_number_has_no_axis(rung):
    for f in (ops.sum, ops.mean, ops.var, ops.max, ops.logsumexp):
        for axis in (0, -1, (0,), 1):
            with pytest.raises(ShapeError):
                f(x(), axis)
        assert backward(f(x(), ())).shape == ()


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-12", "conv-2", "resnet8"])
def test_a_batch_of_nothing_goes_through_networks(name, algebra, rung):
    width = {"width": 4} if name == "resnet8" else {}
    net = models.create(name, algebra, image_size=(8, 8), **width).eval()
    assert net(Tensor(np.zeros((0, 8, 8, 4), np.float32))).shape == (0, 10)


def test_flatten_of_nothing_and_of_a_number():
    assert ops.flatten(x(0, 3, 2)).shape == (0, 6)
    assert nn.Flatten()(x(0, 2, 2, 4)).shape == (0, 16)
    assert ops.hamilton_linear(x(0, 3, 8), x(4, 2, 1)).shape == (0, 3, 4)
    with pytest.raises(ShapeError, match="flatten"):
        ops.flatten(x())
    with pytest.raises(ShapeError, match="Flatten"):
        nn.Flatten()(x(2, 4))


def test_no_channels_are_refused_by_layers_and_weights(rung):
    for make in (
        lambda n: nn.Linear(n, 2, rng=0),
        lambda n: nn.Linear(2, n, rng=0),
        lambda n: nn.Conv2d(n, 2, 3, rng=0),
        lambda n: nn.ConvTranspose2d(2, n, 3, rng=0),
        lambda n: nn.BatchNorm2d(n),
        lambda n: nn.QBatchNorm2d(n),
        lambda n: nn.QLinear(4, n, rng=0),
        lambda n: nn.ModReLU(n),
    ):
        for n in (0, -4):
            with pytest.raises(ShapeError, match=f"got .*{n}"):
                make(n)
    for f in (
        lambda: ops.linear(x(2, 0), x(0, 3)),
        lambda: ops.conv2d(x(1, 4, 4, 0), x(3, 3, 0, 2)),
        lambda: ops.hamilton_linear(x(2, 0), x(4, 0, 3)),
        lambda: ops.hamilton_conv2d(x(1, 4, 4, 4), x(4, 3, 3, 1, 0)),
    ):
        with pytest.raises(ShapeError, match="no entries"):
            f()
    with pytest.raises(ShapeError, match="no channels"):
        ops.batch_norm(x(5, 0), x(0), x(0), x(0).detach(), x(0).detach(), True)


# ------------------------------------------------------------------------------ diverging


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_whitening_of_nan_is_nan_where_it_is(bad, rung):
    a = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32)
    a[0, 0] = bad
    layer, t = nn.QBatchNorm2d(8), Tensor(a, requires_grad=True)
    with np.errstate(all="ignore"):
        y = layer(t)
        y.sum().backward()
        after = layer.eval()(Tensor(np.ones((2, 8), np.float32)))
    for values in (y.data, t.grad, after.data):
        assert np.isnan(values[:, ::2]).all()  # the first quaternion
        assert np.isfinite(values[:, 1::2]).all()


def test_training_that_diverges_says_so():
    layers = nn.Linear(64, 8, rng=0), nn.QBatchNorm2d(8), nn.Linear(8, 3, rng=1)
    with pytest.raises(RunError, match="training diverged"):
        train(nn.Sequential(nn.Flatten(), *layers), blobs(), Recipe(2, 16, 1e30), progress=False)
