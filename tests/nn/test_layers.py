"""Layers: shapes, modes, statistics, and what they say of inputs that do not fit."""

import numpy as np
import pytest

from quatgrad import Tensor, generator, nn, ops
from quatgrad.errors import ShapeError

RNG = np.random.default_rng(3)


def x(*shape):
    return Tensor(RNG.standard_normal(shape, dtype=np.float32))


@pytest.mark.parametrize(
    ("make", "given", "out", "weights"),
    [
        (lambda r: nn.Linear(6, 5, rng=r), (2, 6), (2, 5), 30 + 5),
        (lambda r: nn.QLinear(8, 12, rng=r), (2, 8), (2, 12), 8 * 12 // 4 + 12),
        (lambda r: nn.QLinear(8, 12, bias=False, rng=r), (2, 3, 8), (2, 3, 12), 24),
        (lambda r: nn.Conv2d(3, 5, 3, 2, 1, rng=r), (2, 7, 6, 3), (2, 4, 3, 5), 135 + 5),
        (lambda r: nn.QConv2d(8, 4, (3, 1), rng=r), (2, 5, 5, 8), (2, 3, 5, 4), 24 + 4),
        (lambda r: nn.BatchNorm2d(4), (2, 3, 3, 4), (2, 3, 3, 4), 8),
        (lambda r: nn.MaxPool2d(2), (2, 5, 4, 3), (2, 2, 2, 3), 0),
        (lambda r: nn.AvgPool2d(3, 1, 1), (2, 5, 4, 3), (2, 5, 4, 3), 0),
        (lambda r: nn.GlobalAvgPool2d(), (2, 5, 4, 3), (2, 3), 0),
        (lambda r: nn.Flatten(), (2, 5, 4, 3), (2, 60), 0),
        (lambda r: nn.LearnedEncoder(3, rng=r), (2, 5, 4, 3), (2, 5, 4, 4), 3 * 9 * 4 + 8),
    ],
)
def test_shapes_and_numbers_of_weights(make, given, out, weights):
    layer = make(generator(0, "layer"))
    y = layer(x(*given))
    assert y.shape == out
    assert y.dtype == np.float32
    assert layer.num_parameters() == weights
    if weights:
        y.sum().backward()
        assert all(p.grad.shape == p.shape for p in layer.parameters())


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (lambda r: nn.QLinear(6, 8, rng=r), None, "QLinear: .*multiple of 4; got 6 -> 8"),
        (lambda r: nn.QConv2d(4, 10, 3, rng=r), None, "QConv2d: .*multiple of 4; got 4 -> 10"),
        (lambda r: nn.QConv2d(0, 4, 3, rng=r), None, "got 0 -> 4"),
        (lambda r: nn.QLinear(8, 8, rng=r), (2, 4), r"takes 8 input .*\(2, 4\) has 4"),
        (lambda r: nn.QConv2d(8, 8, 3, rng=r), (1, 5, 5, 4), "takes 8 input .* has 4"),
        (lambda r: nn.Linear(8, 8, rng=r), (2, 4), "takes 8 input .* has 4"),
        (lambda r: nn.Conv2d(8, 8, 3, rng=r), (1, 8, 5, 5), "takes 8 input .* has 5"),
        (lambda r: nn.BatchNorm2d(3), (2, 4), "expected 3 channels; .* has 4"),
    ],
)
def test_wrong_channels_name_what_was_expected_and_what_came(make, given, message):
    with pytest.raises(ShapeError, match=message):
        make(generator(0))(x(*given))


def test_component_names_the_weights_of_quaternion_layers_only():
    rng = generator(0)
    assert nn.QLinear(4, 4, rng=rng).weight.components == 4
    assert nn.QConv2d(4, 4, 1, rng=rng).weight.components == 4
    assert nn.Linear(4, 4, rng=rng).weight.components == 1


def test_the_same_generator_gives_the_same_layer():
    a, b, c = (nn.QConv2d(4, 8, 3, rng=generator(s, "w")) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.weight.data, b.weight.data)
    assert (a.weight.data != c.weight.data).all()


def test_flatten_keeps_component_blocks():
    """Component a of quaternion (h, w, q) is entry (a, h, w, q), so a QLinear may follow."""
    maps = x(2, 3, 5, 8)
    got = nn.Flatten()(maps).data.reshape(2, 4, 3, 5, 2)
    for a in range(4):
        np.testing.assert_array_equal(got[:, a], maps.data[..., 2 * a : 2 * a + 2])
    odd = x(2, 3, 5, 3)
    np.testing.assert_array_equal(nn.Flatten()(odd).data, odd.data.reshape(2, -1))


def test_flatten_then_qlinear_is_a_convolution_with_a_window_as_large_as_the_map():
    maps = x(2, 3, 2, 8)
    layer = nn.QLinear(3 * 2 * 8, 4, bias=False, rng=generator(0))
    w = Tensor(layer.weight.data.reshape(4, 3, 2, 2, 1))
    expected = ops.hamilton_conv2d(maps, w).reshape(2, 4)
    np.testing.assert_allclose(layer(nn.Flatten()(maps)).data, expected.data, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------- batch norm


def test_batch_norm_statistics_follow_the_batches():
    norm = nn.BatchNorm2d(3, momentum=0.25)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        batch = Tensor((2 + 3 * RNG.standard_normal((4, 3, 2, 3))).astype(np.float32))
        y = norm(batch)
        rows = batch.data.reshape(-1, 3).astype(float)
        mean = 0.75 * mean + 0.25 * rows.mean(0)
        var = 0.75 * var + 0.25 * rows.var(0, ddof=1)
        np.testing.assert_allclose(y.data.reshape(-1, 3).mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(y.data.reshape(-1, 3).std(0), 1, rtol=1e-3)
    np.testing.assert_allclose(norm.running_mean.data, mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.data, var, rtol=1e-5)


def test_batch_norm_in_evaluation_uses_the_running_statistics_and_leaves_them():
    norm = nn.BatchNorm2d(2).eval()
    norm.running_mean.data, norm.running_var.data = [1, 2], [4, 9]
    norm.scale.data, norm.shift.data = [1, 2], [0, 1]
    y = norm(Tensor([[3.0, 5], [1, 2]]))
    np.testing.assert_allclose(y.data, [[1, 3], [0, 1]], rtol=1e-5)
    np.testing.assert_array_equal(norm.running_mean.data, [1, 2])
    assert norm(Tensor([[3.0, 5]])).shape == (1, 2)  # one row is enough
    y = norm(Tensor([[3.0, 5]], requires_grad=True))
    norm.running_mean.data = [7, 7]
    y.sum().backward()  # the graph has its own copy of the statistics
    np.testing.assert_allclose(norm.scale.grad, [1, 1], rtol=1e-5)


def test_batch_norm_of_one_row_says_what_to_do():
    with pytest.raises(ShapeError, match=r"call .eval\(\) first"):
        nn.BatchNorm2d(2)(Tensor([[3.0, 5]]))


# ------------------------------------------------------------------------------- dropout


def test_dropout_drops_the_share_and_scales_the_rest():
    layer = nn.Dropout(0.25, rng=generator(0, "dropout"))
    y = layer(Tensor(np.ones(100_000, np.float32))).data
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75], rtol=1e-6)
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.01)


def test_dropout_is_off_in_evaluation_and_on_again_in_training():
    layer = nn.Sequential(nn.Dropout(0.5, rng=generator(0)))
    ones = Tensor(np.ones(1000, np.float32))
    assert (layer.eval()(ones).data == 1).all()
    assert (layer.train()(ones).data != 1).all()


def test_dropout_gives_the_gradient_to_what_it_kept():
    ones = Tensor(np.ones(100, np.float32), requires_grad=True)
    y = nn.Dropout(0.5, rng=generator(0))(ones)
    y.sum().backward()
    np.testing.assert_array_equal(ones.grad, y.data)


@pytest.mark.parametrize(
    "layer",
    [
        lambda r: nn.Linear(8, 12, rng=r),
        lambda r: nn.QLinear(8, 12, rng=r),
        lambda r: nn.Conv2d(8, 12, 3, 2, 1, rng=r),
        lambda r: nn.QConv2d(8, 12, 3, padding=1, dilation=2, rng=r),
    ],
)
def test_a_rectifier_after_a_layer_is_one_operation_in_training_with_the_same_bits(layer):
    net = nn.Sequential(layer(generator(0, "layer")), nn.ReLU())
    net.modules[0].bias.data = generator(1, "bias").standard_normal(12, np.float32)
    shape = (3, 6, 6, 8) if isinstance(net.modules[0], nn.Conv2d) else (5, 8)
    results = []
    for mode in (True, False):
        v = Tensor(generator(2, "x").standard_normal(shape, np.float32), requires_grad=True)
        y = net.train(mode)(v)
        assert str(y._node) == ("BiasReLU" if mode else "ReLU")
        (y * y).sum().backward()
        results.append([y.numpy(), v.grad, *(p.grad for p in net.parameters())])
        net.zero_grad()
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_bias_of_another_length_is_refused_before_the_kernel():
    net = nn.Sequential(nn.Linear(8, 12, rng=generator(0)), nn.ReLU())
    net.modules[0].bias = nn.Linear(8, 4, rng=generator(0)).bias
    with pytest.raises(ShapeError, match="bias"):
        net(x(2, 8))
