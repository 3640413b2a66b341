"""The networks: published parameter counts, twins, shapes, seeds, messages.

ResNet counts: "Large Neural Networks at a Fraction" (PMLR 233); LeNet and Conv-2/4/6: its
predecessor at CODS-COMAD 2023 (doi:10.1145/3570991.3570997), which trained real nets on RGB and
quaternion nets on RGB with a fourth, grey channel.
"""

import math

import numpy as np
import pytest

from quatgrad import Tensor, models, no_grad, ops
from quatgrad.errors import OptionError, QuatgradError, ShapeError

ALGEBRAS = pytest.mark.parametrize("algebra", ["real", "quaternion"])

# ------------------------------------------------------------------------- published counts

# classes, model: parameters real, quaternion, published in millions; prunable weights, real and
# quaternion; tensors they are in, as many times 4 in a quaternion net
RESNETS = {
    (100, "resnet18"): (11_220_708, 2_812_452, "11.22", "2.81", 11_211_008, 2_802_752, 21),
    (100, "resnet34"): (21_328_868, 5_345_060, "21.33", "5.35", 21_311_744, 5_327_936, 37),
    (100, "resnet50"): (23_705_828, 5_966_372, "23.71", "5.97", 23_652_608, 5_913_152, 54),
    (100, "resnet101"): (42_697_956, 10_753_572, "42.70", "10.75", 42_592_512, 10_648_128, 105),
    (100, "resnet152"): (58_341_604, 14_699_044, "58.34", "14.70", 58_190_080, 14_547_520, 156),
    (1000, "resnet18"): (11_682_408, 2_928_552, "11.68", "2.93", 11_671_808, 2_917_952, 21),
    (1000, "resnet34"): (21_790_568, 5_461_160, "21.79", "5.46", 21_772_544, 5_443_136, 37),
    (1000, "resnet50"): (25_549_928, 6_428_072, "25.55", "6.43", 25_495_808, 6_373_952, 54),
    (1000, "resnet101"): (44_542_056, 11_215_272, "44.54", "11.22", 44_435_712, 11_108_928, 105),
    (1000, "resnet152"): (60_185_704, 15_160_744, "60.19", "15.16", 60_033_280, 15_008_320, 156),
}


def prunable(net):
    return sum(p.size for _, p in net.prunable_parameters())


@ALGEBRAS
@pytest.mark.parametrize(("classes", "name"), RESNETS, ids=str)
def test_resnets_have_the_published_numbers_of_parameters(name, classes, algebra):
    row, at = RESNETS[classes, name], algebra == "quaternion"
    net = models.create(name, algebra, num_classes=classes)
    assert net.num_parameters() == row[at]
    assert f"{row[at] / 1e6:.2f}" == row[2 + at]
    assert prunable(net) == row[4 + at]
    components = [p.components for _, p in net.prunable_parameters()]
    assert set(components) == {4 if at else 1}
    assert len(components) == row[6]


# model, classes, algebra -> weights, biases
CONV_NETS = {
    ("conv-2", 10, "real"): (4_300_992, 650),
    ("conv-2", 10, "quaternion"): (1_077_312, 650),
    ("conv-4", 10, "real"): (2_425_024, 906),
    ("conv-4", 10, "quaternion"): (608_320, 906),
    ("conv-4", 100, "real"): (2_448_064, 996),
    ("conv-4", 100, "quaternion"): (631_360, 996),
    ("conv-6", 10, "real"): (2_261_184, 1418),
    ("conv-6", 10, "quaternion"): (567_360, 1418),
    ("conv-6", 100, "real"): (2_284_224, 1508),
    ("conv-6", 100, "quaternion"): (590_400, 1508),
}


@pytest.mark.parametrize(("name", "classes", "algebra"), CONV_NETS, ids=str)
def test_conv_nets_for_cifar_have_the_published_numbers_of_parameters(name, classes, algebra):
    weights, biases = CONV_NETS[name, classes, algebra]
    if algebra == "quaternion" and classes == 100:
        weights -= 256 * 100 * 3 // 4  # they kept a real head; ours is a quaternion one
    channels = 3 if algebra == "real" else 4
    net = models.create(name, algebra, num_classes=classes, in_channels=channels)
    assert prunable(net) == weights
    assert net.num_parameters() == weights + biases


@pytest.mark.parametrize(
    ("algebra", "size", "channels", "weights", "total"),
    [
        ("real", (28, 28), 1, 266_200, 266_610),
        ("real", (14, 14), 4, 266_200, 266_610),  # each 2x2 square of pixels a quaternion
        ("quaternion", (14, 14), 4, 67_300, 67_710),
    ],
)
def test_lenet_for_mnist_has_the_published_number_of_parameters(
    algebra, size, channels, weights, total
):
    net = models.create("lenet-300-100", algebra, in_channels=channels, image_size=size)
    assert prunable(net) == weights
    assert net.num_parameters() == total
    assert [p.shape[-1] for _, p in net.prunable_parameters()][-1] == 10


# ------------------------------------------------------------------ real and quaternion twins

# Every model, as narrow as makes sense, so that all of them are quick.
SMALL = {name: {"width": 24 if name.startswith("lenet") else 8} for name in models.MODELS}
SMALL["conv-6"] |= {"image_size": (9, 11)}


def small(name, algebra="quaternion", **options):
    options = {"image_size": (5, 7), "num_classes": 8} | SMALL[name] | options
    return models.create(name, algebra, **options), options["image_size"]


def images(size, N=4, channels=4, seed=0):
    x = np.random.default_rng(seed).standard_normal((N, *size, channels))
    return Tensor(x.astype(np.float32))


@pytest.mark.parametrize("classes", [8, 10])
@pytest.mark.parametrize("name", models.MODELS)
def test_a_quaternion_layer_has_exactly_a_quarter_of_the_weights_of_its_real_twin(name, classes):
    real, _ = small(name, "real", num_classes=classes)
    quaternion, _ = small(name, num_classes=classes)
    twins = list(zip(real.named_state(), quaternion.named_state(), strict=True))
    for (n, r), (m, q) in twins:
        assert n == m
        assert type(r) is type(q)
        if r.ndim == 1 or (classes == 10 and r.shape[-1] == 10):
            assert q.shape == r.shape  # biases, batch norm, and the real head for ten classes
        else:
            *window, P, Q = r.shape
            assert q.shape == (4, *window, P // 4, Q // 4)
            assert (q.components, r.components) == (4, 1)
            assert 4 * q.size == r.size


@pytest.mark.parametrize("name", models.MODELS)
@ALGEBRAS
def test_biases_and_batch_norm_are_not_prunable_and_start_neutral(name, algebra):
    net, _ = small(name, algebra)
    names = {n for n, _ in net.prunable_parameters()}
    for n, t in net.named_state():
        assert t.dtype == np.float32
        assert (n in names) == n.endswith("weight")
        if n not in names:
            start = 1 if n.endswith(("scale", "running_var")) else 0
            np.testing.assert_array_equal(t.numpy(), start)
        else:
            assert t.numpy().std() > 0


# ----------------------------------------------------------------------------------- forward


RUN = ("lenet-300-100", "conv-2", "conv-4", "conv-6", "resnet8", "resnet14", "resnet18", "resnet50")


@pytest.mark.parametrize("name", RUN)  # the others are deeper, of the same blocks
@ALGEBRAS
def test_every_kind_of_model_runs_and_learns_in_training_and_repeats_itself_in_evaluation(
    name, algebra
):
    net, size = small(name, algebra)
    x = images(size)
    y = net(x)
    assert y.shape == (4, 8)
    assert y.dtype == np.float32
    ops.cross_entropy(y, np.arange(4)).backward()
    for n, p in net.named_parameters():
        assert p.grad is not None, n
        assert np.isfinite(p.grad).all(), n
    net.eval()
    with no_grad():
        y = net(x).numpy()
        assert np.isfinite(y).all()
        np.testing.assert_array_equal(net(x).numpy(), y)
        one_by_one = [net(Tensor(x.data[n : n + 1])).numpy()[0] for n in range(4)]
    scale = np.abs(y).max()
    np.testing.assert_allclose(one_by_one, y, atol=1e-5 * scale)  # an image is judged by itself


ODD = [(2, 3), (5, 5), (17, 13)]
NAMES = ("resnet8", "resnet18", "resnet50", "lenet-300-100", "conv-2")


@pytest.mark.parametrize(
    ("name", "size"),
    [(name, size) for name in NAMES for size in ODD] + [("resnet18", (1, 1)), ("conv-4", (4, 7))],
    ids=str,
)
@ALGEBRAS
def test_maps_of_odd_sizes_fit(name, size, algebra):
    net, _ = small(name, algebra, image_size=size, num_classes=12)
    assert net(images(size)).shape == (4, 12)


def test_resnets_halve_odd_maps_upwards():
    net, _ = small("resnet18")
    x = ops.relu(net.bn(net.stem(images((9, 13)))))
    sizes = []
    for stage in net.stages:
        x = stage(x)
        sizes.append(x.shape[1:])
    assert sizes == [(9, 13, 8), (5, 7, 16), (3, 4, 32), (2, 2, 64)]


@pytest.mark.parametrize("classes", [10, 100])
@ALGEBRAS
def test_an_untrained_resnet_favours_no_class_much(algebra, classes):
    net = models.create("resnet8", algebra, classes, image_size=(16, 16), init="he")
    with no_grad():
        loss = ops.cross_entropy(net(images((16, 16), N=32)), np.arange(32) % classes).item()
    assert 0.8 * math.log(classes) < loss < 1.3 * math.log(classes)


@pytest.mark.parametrize("name", ["resnet8", "conv-2", "lenet-300-100"])
@ALGEBRAS
def test_a_learned_encoder_makes_quaternions_of_any_number_of_channels(name, algebra):
    plain, size = small(name, algebra)
    net, _ = small(name, algebra, in_channels=3, learned_encoder=True)
    assert net(images(size, channels=3)).shape == (4, 8)
    encoder, inner = net.modules
    assert encoder(images(size, channels=3)).shape == (4, *size, 4)
    assert net.num_parameters() == plain.num_parameters() + 3 * 3 * 3 * 4 + 2 * 4
    for a, b in zip(inner.parameters(), plain.parameters(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


# ------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize("name", ["resnet8", "conv-2", "lenet-300-100"])
@ALGEBRAS
def test_weights_are_those_of_the_seed(name, algebra):
    first, again, other = (small(name, algebra, seed=s)[0].state_dict() for s in (1, 1, 2))
    assert list(first) == list(again) == list(other)
    for n in first:
        np.testing.assert_array_equal(first[n], again[n])
        assert not n.endswith("weight") or (first[n] != other[n]).any(), n


def test_no_two_layers_start_with_the_same_numbers():
    net, _ = small("resnet8")
    firsts = [p.numpy().ravel()[0] for _, p in net.prunable_parameters()]
    assert len(set(firsts)) == len(firsts)


@pytest.mark.parametrize("name", ["resnet8", "conv-2"])
@ALGEBRAS
def test_a_state_brings_a_net_of_another_seed_to_the_same_outputs(name, algebra):
    net, size = small(name, algebra, seed=1)
    net(images(size))  # moves the running statistics
    other, _ = small(name, algebra, seed=2)
    other.load_state_dict(net.state_dict())
    x = images(size, seed=1)
    np.testing.assert_array_equal(net.eval()(x).numpy(), other.eval()(x).numpy())


# ---------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"name": "resnet81"}, OptionError, r"unknown model 'resnet81': did you mean 'resnet"),
        ({"name": "zzz"}, OptionError, r"unknown model 'zzz': choose one of lenet-300-100, conv-2"),
        ({"algebra": "octonion"}, OptionError, r"unknown algebra 'octonion': .*real, quaternion"),
        ({"init": "ones"}, OptionError, r"'ones' for quaternion weights: .*xavier, he, polar"),
        ({"algebra": "real", "init": "polar"}, OptionError, r"'polar' for real weights"),
        ({"num_classes": 0}, OptionError, "num_classes is at least 1; got 0"),
        ({"width": 10}, ShapeError, r"multiple of 4; got 4 -> 10"),
        ({"in_channels": 3}, ShapeError, r"multiple of 4; got 3 -> 16"),
        ({"name": "lenet-300-100", "width": 32}, ShapeError, r"multiple of 4; got 32 -> 10"),
        ({"name": "conv-6", "image_size": (4, 4)}, ShapeError, r"4x4 are too small for 3 pool"),
        ({"name": "conv-4", "image_size": (9, 3)}, ShapeError, r"9x3 are too small for 2 pool"),
        ({"name": "conv-2", "image_size": (1, 1)}, ShapeError, r"choose .* a lenet or a resnet"),
    ],
    ids=str,
)
def test_what_cannot_be_created_is_refused_with_advice(options, error, message):
    with pytest.raises(error, match=message) as caught:
        models.create(**{"name": "resnet8", "algebra": "quaternion"} | options)
    assert isinstance(caught.value, QuatgradError)


@ALGEBRAS
def test_images_with_other_channels_are_refused(algebra):
    net, size = small("resnet8", algebra)
    with pytest.raises(ShapeError, match=r"takes 4 input channels.* has 3"):
        net(images(size, channels=3))
