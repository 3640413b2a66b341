"""Real networks to quaternion ones and back: exact where the algebra allows, nearest elsewhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quatgrad import Tensor, generator, models, nn, ops
from quatgrad.kernels import reference
from quatgrad.lth.ticket.mask_constraint import mask_of, set_mask
from quatgrad.nn import convert

NETS = {
    "lenet-300-100": {"width": 24, "image_size": (5, 6)},
    "conv-4": {"width": 4, "image_size": (8, 9)},
    "resnet8": {"width": 8, "image_size": (7, 6)},
    "resnet50": {"width": 4, "image_size": (7, 6)},
}


def doubled(net):
    """The net in float64, so that equal sums in another order are equal to 1e-10."""
    for _, t in net.named_state():
        t._array = t._array.astype(np.float64)
    return net


def trained(name, algebra, classes, **options):
    """A net that has seen a batch: its running statistics are not at their start."""
    net = models.create(name, algebra, classes, **NETS[name], **options)
    net(images(name, options.get("in_channels", 4), np.float32))
    return doubled(net).eval()


def images(name, channels=4, dtype=np.float64):
    size = 6, *NETS[name]["image_size"], channels
    return Tensor(np.random.default_rng(0).standard_normal(size).astype(dtype))


def kinds(net):
    return {type(m) for _, m in net.named_modules()}


def close(a, b):
    np.testing.assert_allclose(a.data, b.data, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("classes", [8, 10])
@pytest.mark.parametrize("name", NETS)
def test_the_real_twin_of_a_model_computes_the_same_and_converts_back_exactly(name, classes):
    net = trained(name, "quaternion", classes)
    before, x = net.state_dict(), images(name)
    twin = convert.to_real(net)
    assert not kinds(twin) & {nn.QConv2d, nn.QLinear}
    close(twin(x), net(x))
    back = convert.to_quaternion(twin)
    assert not back.training
    for (a, p), (b, q) in zip(net.named_state(), back.named_state(), strict=True):
        assert a == b
        if a != "head.weight" or classes == 8:
            assert type(p) is type(q)
            np.testing.assert_array_equal(p.data, q.data)
    for key, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
    twin.train()(x)  # a model of its own: it trains, the other stays
    for key, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("name", NETS)
def test_a_real_model_becomes_the_nearest_quaternion_one(name):
    net = trained(name, "real", 10)
    twin = convert.to_quaternion(net)
    assert sum(p.size for p in twin.parameters()) < 0.6 * sum(p.size for p in net.parameters())
    assert twin(images(name)).shape == (6, 10)
    assert [n for n, _ in twin.named_state()] == [n for n, _ in net.named_state()]


def test_what_does_not_divide_by_four_or_has_groups_stays():
    r = generator(0)
    net = nn.Sequential(
        nn.LearnedEncoder(3, rng=r), nn.Conv2d(4, 8, 3, groups=2, rng=r), nn.Conv2d(8, 6, 1, rng=r)
    )
    twin = convert.to_quaternion(net)
    assert kinds(twin) == kinds(net)
    for (_, p), (_, q) in zip(net.named_state(), twin.named_state(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
        assert p is not q


@given(seed=st.integers(0, 2**32))
def test_the_projection_is_orthogonal(seed):
    """What is left over is orthogonal to every quaternion weight, so none is nearer."""
    rng = np.random.default_rng(seed)
    layer = doubled(nn.Linear(8, 12, rng=generator(0)))
    layer.weight.data = rng.integers(-99, 99, (8, 12)).astype(float)
    w = convert.to_quaternion(layer).weight.data
    rest = layer.weight.data - reference.expand(w)
    other = reference.expand(rng.standard_normal((4, 2, 3)))
    np.testing.assert_allclose((rest * other).sum(), 0, atol=1e-9 * np.abs(rest).sum())
    again = convert.to_quaternion(convert.to_real(convert.to_quaternion(layer)))
    np.testing.assert_array_equal(again.weight.data, w)


OPTIONS = {
    "groups": (lambda r: nn.QConv2d(8, 16, 3, 2, 1, groups=2, rng=r), nn.Conv2d),
    "dilated": (
        lambda r: nn.QConv2d(8, 4, 2, dilation=2, padding=1, padding_mode="reflect", rng=r),
        nn.Conv2d,
    ),
    "transposed": (
        lambda r: nn.QConvTranspose2d(8, 4, 3, 2, 1, False, 1, rng=r), nn.ConvTranspose2d,
    ),
    "transposed groups": (
        lambda r: nn.QConvTranspose2d(8, 8, 2, groups=2, rng=r), nn.ConvTranspose2d,
    ),
    "rotation": (lambda r: nn.RotationConv2d(8, 4, 3, 2, 1, dilation=2, rng=r), nn.Conv2d),
    "rotation linear": (lambda r: nn.RotationLinear(8, 4, rng=r), nn.Linear),
    "linear": (lambda r: nn.QLinear(8, 4, False, rng=r), nn.Linear),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_layers_keep_their_options(name):
    make, kind = OPTIONS[name]
    layer = doubled(make(generator(0)))
    for p in layer.parameters():
        p.data = np.random.default_rng(p.size).standard_normal(p.shape)
    twin = convert.to_real(layer)
    assert type(twin) is kind
    x = Tensor(np.random.default_rng(0).standard_normal((2, 5, 6, 8)))
    close(twin(x), layer(x))
    assert repr(twin)
    assert twin.weight.components == 1
    back = convert.to_quaternion(twin)
    assert back.weight.components == 4
    if "rotation" not in name:  # a rotation x -> w x w^-1 is no product w x
        close(back(x), layer(x))
    assert vars(back).keys() == vars(layer).keys() - {"scale"}


class Tree(nn.Module):
    """Layers in every place that a module may hold one, one of them twice."""

    def __init__(self, rng):
        shared = nn.QLinear(4, 4, rng=rng)
        self.first, self.list = shared, [shared, nn.ReLU(), nn.QBatchNorm2d(4)]
        self.table = {"a": (nn.QLinear(4, 8, rng=rng), nn.QDropout(0.5, rng=rng)), "n": 3}

    def forward(self, x):
        x = self.first(x)
        for layer in (*self.list, *self.table["a"]):
            x = layer(x)
        return x


def test_a_tree_of_lists_tuples_and_dicts():
    net = doubled(Tree(generator(0))).eval()
    twin = convert.to_real(net)
    assert type(twin) is Tree
    assert twin.first is twin.list[0]
    assert type(twin.first) is type(twin.table["a"][0]) is nn.Linear
    assert type(twin.list[2]) is nn.QBatchNorm2d
    assert twin.table["n"] == 3
    x = Tensor(np.random.default_rng(0).standard_normal((3, 4)))
    close(twin(x), net(x))
    assert type(net.first) is nn.QLinear


def test_a_subclass_with_a_forward_of_its_own_is_left_alone():
    class Odd(nn.QLinear):
        def forward(self, x):
            return ops.relu(super().forward(x))

    net = nn.Sequential(Odd(4, 4, rng=generator(0)))
    assert type(convert.to_real(net).modules[0]) is Odd


def test_zeros_of_a_pruned_weight_stay_and_its_mask_does_not():
    layer = nn.QLinear(4, 4, rng=generator(0))
    set_mask(layer.weight, np.array([True, False, True, False]).reshape(4, 1, 1))
    twin = convert.to_real(layer)
    assert (twin.weight.data == 0).sum() == 8
    assert mask_of(twin.weight) is None


def test_a_network_of_convolutions_over_time_is_converted_too():
    options = {"num_classes": 6, "in_channels": 24, "width": 16, "image_size": (20, 1)}
    net = doubled(models.create("fcn", "quaternion", **options)).eval()
    net.parameters()[0].requires_grad = False
    twin = convert.to_real(net)
    assert nn.QConv1d not in kinds(twin)
    assert not twin.parameters()[0].requires_grad
    x = Tensor(np.random.default_rng(0).standard_normal((2, 20, 24)))
    close(twin(x), net(x))
    close(convert.to_quaternion(twin)(x), net(x))
