"""CuPy arrays give what NumPy's do: on the stand-in, and on a GPU where there is one."""

import sys

import cupy_on_cpu
import numpy as np
import pytest
from blobs import blobs

from quatgrad import Tensor, models, quaternion, use_backend
from quatgrad.arrays import asarray, to_numpy
from quatgrad.backend import get_backend
from quatgrad.lth.command import cli
from quatgrad.lth.store.stage import read_records
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD
from quatgrad.train import Recipe, train


def trained(algebra):
    dataset = blobs()
    model = models.create("resnet8", algebra, dataset.num_classes, dataset.input_shape[2], width=8)
    train(model, dataset, Recipe(epochs=1, batch_size=20, lr=0.01), progress=False)
    return model.state_dict()


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_training_agrees_with_the_cpu(device, algebra):
    found = trained(algebra)
    with use_backend("numpy"):
        expected = trained(algebra)
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
@pytest.mark.parametrize(("name", "width"), [("resnet8", 8), ("conv-2", 8), ("lenet-300-100", 12)])
def test_only_images_and_labels_move(stand_in, name, width, algebra):
    model = models.create(name, algebra, image_size=(8, 8), width=width)
    optimizer = SGD(model.parameters(), 0.9, nesterov=True, weight_decay=1e-4)
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 4)).astype(np.float32)

    def step():
        loss = cross_entropy(model(Tensor(images)), np.array([3, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(0.01)

    step()
    with cupy_on_cpu.counted() as counts:
        step()
    assert counts["to_device"] == 2
    assert counts["to_host"] == 0
    assert counts["kernel sgd_masked"] == 1


def test_training_on_a_gpu_needs_no_numba(stand_in, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "numba" or "numba_cpu" in n]:
        monkeypatch.setitem(sys.modules, name, None)
    assert all(np.isfinite(a).all() for a in trained("quaternion").values())


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_lottery_tickets_agree_with_the_cpu(solved, tmp_path, precision):
    """Masks, rewinding and all invariants on device arrays; the levels end as NumPy's do."""
    found = []
    for backend in ("cupy", "numpy"):
        out = tmp_path / backend
        options = ["--preset", "smoke", "--quiet", "--backend", backend, "--out", str(out)]
        options += ["--precision", precision if backend == "cupy" else "float32"]
        assert cli.main(options) == 0
        found.append({p.name: read_records(p) for p in out.glob("*/trial0/*")})
    on_device, on_cpu = found
    assert on_device.keys() == on_cpu.keys() == {"real", "quaternion"}
    for algebra, records in on_device.items():
        for mine, true in zip(records, on_cpu[algebra], strict=True):
            assert (mine.backend, mine.precision) == ("cupy", precision)
            assert mine.checks == true.checks
            assert mine.weights_left == true.weights_left
            accurate = 0.1 if precision == "bf16" else 0.02
            assert mine.accuracy == pytest.approx(true.accuracy, abs=accurate)


@pytest.mark.parametrize(
    "name", ["conjugate", "norm", "inverse", "normalize", "exp", "log", "sqrt"]
)
def test_the_algebra_agrees_with_the_cpu(device, name):
    q = np.random.default_rng(0).standard_normal((50, 4))
    f = getattr(quaternion, name)
    np.testing.assert_allclose(to_numpy(f(asarray(q))), f(q), rtol=1e-13, atol=1e-14)


def test_a_tensor_stays_where_it_was_made(device):
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    assert get_backend() == "cupy"
    assert type(x.grad).__module__.startswith("cupy")
