"""Weights of PyTorch in and out. Against PyTorch itself where it is installed."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quatgrad import Tensor, interop, models, nn, no_grad
from quatgrad.errors import DataError, OptionError, ShapeError
from quatgrad.kernels import reference

# ------------------------------------------------------------------------------------ names


def resnet(algebra="real", name="resnet8", seed=0):
    net = models.create(name, algebra, num_classes=8, width=8, image_size=(8, 8), seed=seed)
    rng = np.random.default_rng(seed)
    for n, t in net.named_state():
        if t.ndim == 1:
            t.data = (rng.random(t.shape) + (0.5 if "var" in n else 0)).astype(np.float32)
    return net


@pytest.mark.parametrize("style", interop.RESNETS)
@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize("name", ["resnet8", "resnet50"])
def test_out_and_in_again_is_the_same_network(tmp_path, name, algebra, style):
    net, other = resnet(algebra, name), resnet(algebra, name, seed=1)
    interop.save_torch(net, tmp_path / "w.safetensors", style)
    interop.from_torch(other, tmp_path / "w.safetensors")
    for (n, a), (_, b) in zip(net.named_state(), other.named_state(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=n)


def test_the_names_are_those_of_torchvision():
    names = set(interop.to_torch(resnet()))
    assert {
        "conv1.weight",
        "bn1.running_mean",
        "layer1.0.conv2.weight",
        "layer2.0.bn1.bias",
    } < names
    assert {"layer3.0.downsample.0.weight", "layer3.0.downsample.1.running_var", "fc.bias"} < names
    names = set(interop.to_torch(resnet("quaternion"), "pytorch-cifar"))
    assert {"layer3.0.shortcut.0.k_weight", "linear.r_weight", "linear.bias"} < names


def test_counts_and_names_of_parallel_training_do_not_matter():
    state = {f"module.{n}": a for n, a in interop.to_torch(resnet()).items()}
    other = resnet(seed=1)
    interop.from_torch(other, state | {"module.bn1.num_batches_tracked": np.int64(7)})
    np.testing.assert_array_equal(other.stem.weight.numpy(), resnet().stem.weight.numpy())


# ---------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("library", interop.LIBRARIES)
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_quaternion_weights_compute_what_the_library_computes(library, kind):
    """The block matrix [r -i -j -k; i r -k j; ...] of the library's weights times the maps."""
    rng = np.random.default_rng(0)
    P, Q = 2, 3  # quaternions
    shapes = {
        "orkis": {"conv": (Q, P, 1, 1), "linear": (P, Q)},
        "htorch": {"conv": (P, Q, 1, 1), "linear": (P, Q)},
        "qytorch": {"conv": (Q, P, 1, 1), "linear": (Q, P)},
    }
    parts = rng.standard_normal((4, *shapes[library][kind])).astype(np.float32)
    outputs_first = library == "qytorch" or (library == "orkis" and kind == "conv")
    matrices = parts.reshape(4, *parts.shape[1:3])
    matrices = matrices if outputs_first else matrices.transpose(0, 2, 1)  # each (Q, P)
    r, i, j, k = matrices if library != "qytorch" else matrices * [[[1]], [[-1]], [[-1]], [[-1]]]
    block = np.block([[r, -i, -j, -k], [i, r, -k, j], [j, k, r, -i], [k, -j, i, r]])
    layer = (
        nn.QConv2d(4 * P, 4 * Q, 1, bias=False, rng=rng)
        if kind == "conv"
        else nn.QLinear(4 * P, 4 * Q, bias=False, rng=rng)
    )
    state = {f"{c}_weight": a for c, a in zip("rijk", parts, strict=True)}
    interop.from_torch(layer, state, library)
    x = rng.standard_normal((5, 4 * P)).astype(np.float32)
    y = layer(Tensor(x.reshape(5, 1, 1, -1) if kind == "conv" else x)).numpy().reshape(5, -1)
    np.testing.assert_allclose(y, x @ block.T, atol=1e-5)
    for name, a in interop.to_torch(layer, library=library).items():
        np.testing.assert_array_equal(a, state[name])
    assert reference.expand(layer.weight.data).shape[-2:] == (4 * P, 4 * Q)


# --------------------------------------------------------------------------------- bad input


def test_what_is_missing_and_what_is_left_is_named():
    state = interop.to_torch(resnet())
    with pytest.raises(ShapeError, match=r"there is no fc\.bias"):
        interop.from_torch(resnet(), {n: a for n, a in state.items() if n != "fc.bias"})
    more = {f"more.{i}": np.zeros(1) for i in range(5)}
    with pytest.raises(ShapeError, match=r"no place for more\.0, more\.1, more\.2 and 2 more"):
        interop.from_torch(resnet(), state | more)
    with pytest.raises(ShapeError, match=r"conv1.weight is \(8, 4, 7, 7\), which makes \(7, 7, 4"):
        interop.from_torch(resnet(), state | {"conv1.weight": np.zeros((8, 4, 7, 7))})
    with pytest.raises(ShapeError, match="a weight of 4 axes was expected"):
        interop.from_torch(resnet(), state | {"conv1.weight": np.zeros((8, 4))})


def test_nothing_is_written_where_one_weight_does_not_fit():
    net, state = resnet(seed=1), interop.to_torch(resnet())
    before = net.state_dict()
    with pytest.raises(ShapeError):
        interop.from_torch(net, state | {"fc.bias": np.zeros(3, np.float32)})
    for n, a in net.state_dict().items():
        np.testing.assert_array_equal(a, before[n])


# ---------------------------------------------------------------------- a map that is flattened


def small(C, algebra="real"):
    """A convolution from 4 to C channels, flattened from 2 x 3 pixels, and two linear layers."""
    rng = np.random.default_rng(0)
    linear = {"real": nn.Linear, "quaternion": nn.QLinear}[algebra]
    conv = {"real": nn.Conv2d, "quaternion": nn.QConv2d}[algebra](4, C, 1, rng=rng)
    layers = conv, nn.Flatten(), linear(6 * C, 8, rng=rng), nn.ReLU(), linear(8, 8, rng=rng)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("C", [4, 8, 6])
def test_inputs_of_a_flattened_map_stand_in_pytorchs_order(C):
    net = small(C)
    x = np.random.default_rng(1).standard_normal((5, 2, 3, 4)).astype(np.float32)
    state = interop.to_torch(net)
    maps = net.modules[0](Tensor(x)).numpy().transpose(0, 3, 1, 2)  # (N, C, H, W)
    y = np.maximum(maps.reshape(5, -1) @ state["2.weight"].T + state["2.bias"], 0)
    y = y @ state["4.weight"].T + state["4.bias"]
    np.testing.assert_allclose(y, net(Tensor(x)).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_a_flattened_map_goes_out_and_in_again(algebra):
    net, other = small(8, algebra), small(8, algebra)
    for p in other.parameters():
        p.data = p.data + 1
    interop.from_torch(other, interop.to_torch(net))
    for (n, a), (_, b) in zip(net.named_state(), other.named_state(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=n)


def test_a_flattened_map_of_another_size_is_refused():
    state = interop.to_torch(small(8))
    state["2.weight"] = state["2.weight"][:, :24]
    with pytest.raises(ShapeError, match=r"2\.weight is \(8, 24\), which makes \(24, 8\) here"):
        interop.from_torch(small(8), state)


def test_quaternions_of_a_flattened_map_stand_in_the_librarys_order():
    """Their flattened map is (4, Q, H, W): each component's inputs in the order (Q, H, W)."""
    net = small(8, "quaternion")
    ours, theirs = net.modules[2].weight.numpy(), interop.to_torch(net)["2.j_weight"]
    np.testing.assert_array_equal(
        theirs.reshape(2, 2, 3, 2), ours[2].reshape(2, 3, 2, 2).transpose(2, 0, 1, 3)
    )


def test_a_norm_behind_a_flattened_map_goes_with_it():
    rng = np.random.default_rng(0)
    norm = nn.BatchNorm2d(24)
    for _, t in norm.members():
        t.data = (1 + rng.random(24)).astype(np.float32)
    net = nn.Sequential(nn.Conv2d(3, 4, 1, rng=rng), nn.Flatten(), norm, nn.Linear(24, 2, rng=rng))
    x, state = rng.standard_normal((5, 2, 3, 3)).astype(np.float32), interop.to_torch(net)
    maps = net.modules[0](Tensor(x)).numpy().transpose(0, 3, 1, 2).reshape(5, -1)
    scaled = (maps - state["2.running_mean"]) / np.sqrt(state["2.running_var"] + norm.eps)
    y = (scaled * state["2.weight"] + state["2.bias"]) @ state["3.weight"].T + state["3.bias"]
    with no_grad():
        np.testing.assert_allclose(net.eval()(Tensor(x)).numpy(), y, rtol=1e-4, atol=1e-5)
    other = nn.Sequential(nn.Conv2d(3, 4, 1, rng=1), nn.Flatten(), nn.BatchNorm2d(24),
                          nn.Linear(24, 2, rng=1))  # fmt: skip
    interop.from_torch(other, state)
    for (n, a), (_, b) in zip(net.named_state(), other.named_state(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=n)


class TwoHeads(nn.Module):
    """Both read the map."""

    def __init__(self):
        self.conv, self.flat = nn.Conv2d(4, 8, 1, rng=0), nn.Flatten()
        self.one, self.other = nn.Linear(48, 2, rng=1), nn.Linear(48, 3, rng=2)


class TwoHeadsOfAPixel(nn.Module):
    """Its order is the same in PyTorch."""

    def __init__(self):
        self.conv, self.flat = nn.Conv2d(4, 8, 1, rng=0), nn.Flatten()
        self.one, self.other = nn.Linear(8, 2, rng=1), nn.Linear(8, 3, rng=2)


class HeadBeforeTheMap(nn.Module):
    """Which is named behind it."""

    def __init__(self):
        self.conv, self.head = nn.Conv2d(4, 8, 1, rng=0), nn.Linear(48, 2, rng=1)
        self.flat = nn.Flatten()


class NormBehind(nn.Module):
    """Which stands before the linear layer in forward."""

    def __init__(self):
        self.conv, self.flat = nn.Conv2d(4, 8, 1, rng=0), nn.Flatten()
        self.head, self.norm = nn.Linear(48, 2, rng=1), nn.BatchNorm2d(48)


class Declared(nn.Module):
    """Layers by kind: norms of the maps are named behind the Flatten."""

    def __init__(self):
        self.conv1, self.conv2 = nn.Conv2d(4, 16, 1, rng=0), nn.Conv2d(16, 8, 1, rng=1)
        self.flat, self.bn1, self.bn2 = nn.Flatten(), nn.BatchNorm2d(16), nn.BatchNorm2d(8)
        self.fc = nn.Linear(48, 2, rng=2)


class ActorAndCritic(nn.Module):
    """Two heads on a layer as wide as the map."""

    def __init__(self):
        self.conv, self.flat = nn.Conv2d(4, 8, 1, rng=0), nn.Flatten()
        self.fc = nn.Linear(48, 48, rng=1)
        self.actor, self.critic = nn.Linear(48, 4, rng=2), nn.Linear(48, 1, rng=3)


def towers(count):
    """Each flattens its own map."""
    tower = nn.Conv2d(4, 8, 1, rng=0), nn.Flatten(), nn.Linear(48, 5, rng=1)
    other = nn.Conv2d(4, 8, 1, rng=2), nn.Flatten(), nn.Linear(48, 5, rng=3)
    return nn.Sequential(nn.Sequential(*tower), nn.Sequential(*(other if count == 2 else tower)))


@pytest.mark.parametrize(
    ("net", "turned"),
    [
        (Declared(), ["fc"]),
        (ActorAndCritic(), ["fc"]),
        (towers(1), ["0.2", "1.2"]),
        (towers(2), ["0.2", "1.2"]),
        (TwoHeadsOfAPixel(), []),
    ],
    ids=lambda x: type(x).__name__,
)
def test_which_layers_are_put_into_another_order(net, turned):
    """Of the others, weights are only transposed."""
    state = interop.to_torch(net)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Linear):
            same = np.array_equal(state[f"{name}.weight"], layer.weight.numpy().T)
            assert same == (name not in turned), name
        if isinstance(layer, nn.BatchNorm2d):
            np.testing.assert_array_equal(state[f"{name}.weight"], layer.scale.numpy())


class ConvAfterTheHead(nn.Module):
    """Which stands before it in forward."""

    def __init__(self):
        self.conv, self.flat = nn.Conv2d(4, 8, 1, rng=0), nn.Flatten()
        self.head, self.late = nn.Linear(96, 2, rng=1), nn.Conv2d(8, 16, 1, rng=2)


@pytest.mark.parametrize(
    ("net", "what"),
    [
        (TwoHeads(), "other seems to read a flattened map, as a layer before it"),
        (NormBehind(), "norm seems to read a flattened map"),
        (HeadBeforeTheMap(), "a linear layer may read a map that is flattened behind it"),
        (ConvAfterTheHead(), "late is named behind a flattened map"),
        (
            nn.Sequential(nn.Conv2d(4, 6, 1, rng=0), nn.Flatten(), nn.QLinear(24, 4, rng=1)),
            "2 has quaternions of a map of 6 channels",
        ),
    ],
)
def test_a_flattened_map_whose_readers_are_not_known_is_refused(net, what):
    with pytest.raises(OptionError, match=f"{what}.*nothing says in which order"):
        interop.to_torch(net)


def test_components_of_different_shapes_are_refused():
    net = nn.Sequential(nn.QLinear(8, 8, rng=0))
    state = interop.to_torch(net)
    state["0.i_weight"] = state["0.i_weight"][:1]
    with pytest.raises(ShapeError, match="the four components of a quaternion weight have shapes"):
        interop.from_torch(net, state)


def test_a_flattened_image_of_unknown_channels_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 5, rng=0))
    with pytest.raises(OptionError, match="how many channels its map has"):
        interop.to_torch(net)
    lenet = models.create("lenet-12", in_channels=8, image_size=(4, 4))
    assert set(interop.to_torch(lenet)) == {f"{k}.{n}" for k in (1, 3) for n in ("weight", "bias")}


# -------------------------------------------------------------------------- names of one's own


class Own(nn.Module):
    def __init__(self):
        self.module = nn.Linear(4, 4, rng=0)
        self.head = self.again = nn.Linear(4, 4, rng=1)


def test_names_of_ones_own_are_kept_and_a_shared_layer_goes_in_again():
    net, other = Own(), Own()
    state = interop.to_torch(net)
    assert {"module.weight", "head.weight", "again.bias"} <= set(state)
    other.head.weight.data = other.head.weight.data * 2
    interop.from_torch(other, state)
    np.testing.assert_array_equal(other.again.weight.numpy(), net.head.weight.numpy())


def test_dropout_before_the_head_has_nothing_to_exchange():
    net = models.create("resnet8", "real", width=8, dropout=0.5)
    assert "fc.weight" in interop.to_torch(net)
    interop.from_torch(models.create("resnet8", "real", width=8), interop.to_torch(net))


@pytest.mark.parametrize(
    "layer",
    [
        nn.RotationLinear(8, 8, rng=0),
        nn.QVarianceNorm2d(8),
        nn.Conv1d(4, 8, 3, rng=0),
        models.create("lenet-12", "plus", image_size=(4, 4)).modules[1],
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_that_only_look_like_theirs_are_refused(layer):
    with pytest.raises(OptionError, match=f"belongs to a {type(layer).__name__}"):
        interop.to_torch(nn.Sequential(layer))


def test_names_nobody_knows():
    with pytest.raises(OptionError, match="did you mean 'torchvision'"):
        interop.to_torch(resnet(), "torchvison")
    with pytest.raises(OptionError, match="did you mean 'orkis'"):
        interop.to_torch(resnet("quaternion"), library="orki")
    with pytest.raises(OptionError, match="bias belongs to a ModReLU, which PyTorch does not have"):
        interop.to_torch(nn.ModReLU(4))


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(DataError, match=r"is a pickle of PyTorch: give torch\.load\("):
        interop.from_torch(resnet(), tmp_path / "net.pth")
    with pytest.raises(DataError, match="there is no file"):
        interop.from_torch(resnet(), tmp_path / "net.safetensors")
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "net.safetensors")
    with pytest.raises(ShapeError, match=r"there is no conv1\.weight"):
        interop.from_torch(resnet(), tmp_path / "net.safetensors")
    with pytest.raises(DataError, match="cannot write"):
        interop.save_torch(resnet(), tmp_path / "none" / "net.safetensors")


# ------------------------------------------------------------------------------- PyTorch itself


def torch_resnet18(torch):
    """ResNet-18 in its form for small images, with the names of torchvision."""
    N = torch.nn

    class Block(N.Module):
        def __init__(self, P, Q, stride):
            super().__init__()
            self.conv1, self.bn1 = N.Conv2d(P, Q, 3, stride, 1, bias=False), N.BatchNorm2d(Q)
            self.conv2, self.bn2 = N.Conv2d(Q, Q, 3, 1, 1, bias=False), N.BatchNorm2d(Q)
            self.downsample = None
            if stride > 1 or P != Q:
                short = N.Conv2d(P, Q, 1, stride, bias=False)
                self.downsample = N.Sequential(short, N.BatchNorm2d(Q))

        def forward(self, x):
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    class ResNet(N.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = N.Conv2d(4, 64, 3, 1, 1, bias=False), N.BatchNorm2d(64)
            P = 64
            for stage in range(4):
                Q = 64 * 2**stage
                blocks = Block(P, Q, 2 if stage else 1), Block(Q, Q, 1)
                setattr(self, f"layer{stage + 1}", N.Sequential(*blocks))
                P = Q
            self.fc = N.Linear(512, 100)

        def forward(self, x):
            x = self.bn1(self.conv1(x)).relu()
            for stage in range(4):
                x = getattr(self, f"layer{stage + 1}")(x)
            return self.fc(x.mean((2, 3)))

    return ResNet()


@pytest.mark.torch
def test_resnet18_computes_the_same_in_pytorch_and_here(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_resnet18(torch)
    for norm in theirs.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
    theirs.eval()
    x = np.random.default_rng(0).standard_normal((2, 16, 16, 4)).astype(np.float32)
    with torch.no_grad():
        logits = theirs(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()
    ours = models.create("resnet18", "real", num_classes=100).eval()
    interop.from_torch(ours, theirs.state_dict())
    y = ours(Tensor(x)).numpy()
    np.testing.assert_allclose(y, logits, atol=1e-5 * abs(logits).max())

    interop.save_torch(ours, tmp_path / "w.safetensors")
    back = {n: torch.from_numpy(a) for n, a in load_file(tmp_path / "w.safetensors").items()}
    again = torch_resnet18(torch).eval()
    missing, unexpected = again.load_state_dict(back, strict=False)
    assert not unexpected
    assert all(n.endswith("num_batches_tracked") for n in missing)
    with torch.no_grad():
        z = again(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()
    np.testing.assert_array_equal(z, logits)
