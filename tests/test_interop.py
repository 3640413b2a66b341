"""Weights of PyTorch in and out. Against PyTorch itself where it is installed."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quatgrad import Tensor, interop, models, nn
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
