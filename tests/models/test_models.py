"""The networks: twins, shapes, starts, seeds, messages."""

import math

import numpy as np
import pytest

from quatgrad import Tensor, models, no_grad, ops
from quatgrad.errors import OptionError, QuatgradError, ShapeError
from quatgrad.models.equal import equal_width

ALGEBRAS = pytest.mark.parametrize("algebra", ["real", "quaternion"])

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
    names = {n for n, _ in net.weight_parameters()}
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


# ------------------------------------------------------------------------------ first weights


def bound(limit, *arrays):
    """All lie within the limit, and together they come close to it."""
    largest = max(np.abs(a).max() for a in arrays)
    return 0.98 * limit < largest <= np.float32(limit)


@pytest.mark.parametrize("name", ["lenet-300-100", "conv-2"])
def test_a_real_net_of_the_predecessor_starts_as_in_pytorch(name):
    net = models.create(name, "real", 100, image_size=(8, 8), init="predecessor", real_head=True)
    state = net.state_dict()
    for key, w in state.items():
        if key.endswith("weight"):
            b = 1 / math.sqrt(math.prod(w.shape[:-1]))  # fan_in
            assert bound(b, w, state[key.replace("weight", "bias")]), key
            assert 0.4 * b < np.abs(state[key.replace("weight", "bias")]).mean() < 0.6 * b, key


def test_a_quaternion_net_of_the_predecessor_starts_with_biases_at_0_but_the_real_heads():
    net = models.create("lenet-300-100", "quaternion", image_size=(14, 14), init="predecessor")
    first, second, head = [m for m in net.modules if hasattr(m, "weight")]
    for layer in (first, second):
        P = layer.weight.shape[1]
        assert (layer.weight.data**2).sum(0).mean() == pytest.approx(1 / (2 * P), rel=0.1)
        np.testing.assert_array_equal(layer.bias.data, 0)
    assert bound(0.1, head.weight.data, head.bias.data)
    assert np.abs(head.bias.data).max() > 0.05


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("name", RUN)
@ALGEBRAS
def test_xavier_holds_for_every_layer_and_the_head(name, algebra, classes):
    """Each tensor, and each component by itself, is U(-b, b), b^2 = 6 / (fan_in + fan_out)."""
    net, _ = small(
        name, algebra, num_classes=classes, init="xavier", width=64 if "res" in name else 48
    )
    for key, w in net.weight_parameters():
        *window, P, Q = w.shape[w.components > 1 :]
        for component in w.numpy().reshape(w.components, -1):
            b = math.sqrt(6 / (math.prod(window) * (P + Q)))
            assert np.abs(component).max() <= np.float32(b), key
            spread = 3 / math.sqrt(component.size)  # 3 sigma and more: Var u^2 = 4/45 b^4
            assert (component**2).mean() == pytest.approx(b * b / 3, rel=spread), key
    for key, p in net.named_parameters():
        assert p.ndim > 1 or key.endswith("scale") or not p.numpy().any(), key


def test_a_head_for_100_classes_is_real_on_demand():
    for real_head, shape in ((True, (256, 100)), (False, (4, 64, 25))):
        net = small("conv-4", num_classes=100, width=64, real_head=real_head)[0]
        assert net.parameters()[-2].shape == shape


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
    firsts = [p.numpy().ravel()[0] for _, p in net.weight_parameters()]
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
        (
            {"name": "zzz"},
            OptionError,
            r"unknown model 'zzz': choose one of lenet-300-100, lenet-12",
        ),
        ({"input_shape": (8, 8, 1)}, OptionError, r"unknown option 'input_shape': choose one of"),
        ({"algebra": "octonion"}, OptionError, r"unknown algebra 'octonion': .*real, quaternion"),
        ({"init": "ones"}, OptionError, r"of quaternion weights 'ones': .*xavier, he, polar"),
        ({"algebra": "real", "init": "polar"}, OptionError, r"of real weights 'polar'"),
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


def test_sizes_may_be_numpys_and_the_network_is_saved(tmp_path):
    sizes = {"num_classes": np.int64(10), "width": np.int32(12), "image_size": np.array([4, 4])}
    net = models.create("lenet-12", in_channels=np.int8(4), **sizes)
    net.save(tmp_path / "net.safetensors")
    assert net.architecture["image_size"] == [4, 4]
    with pytest.raises(OptionError, match=r"a whole number; got 2\.5"):
        models.create("lenet-12", width=2.5)


def test_a_network_of_moduli_has_an_equal_one():
    assert equal_width("modulus-300-100", 300, image_size=(4, 4)) % 12 == 0
