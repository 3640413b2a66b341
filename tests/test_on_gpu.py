"""What must hold on a GPU: CuPy arrays give what NumPy's do. Elsewhere skipped, with the reason."""

import numpy as np
import pytest

from quatgrad import Tensor, data, models, quaternion, use_backend
from quatgrad.backend import asarray, get_backend, to_numpy
from quatgrad.errors import BackendError
from quatgrad.train import Recipe, train

pytestmark = pytest.mark.cupy


@pytest.fixture
def on_gpu():
    try:
        with use_backend("cupy"):
            yield
    except BackendError as error:
        pytest.skip(str(error))


def trained(algebra):
    digits = data.load("digits").subset(100, 0)
    model = models.create("resnet8", algebra, image_size=(4, 4))
    train(model, digits, Recipe(epochs=1, batch_size=20, lr=0.01), progress=False)
    return model.state_dict()


@pytest.mark.parametrize("algebra", ["real", "quaternion"])
def test_training_agrees_with_the_cpu(on_gpu, algebra):
    found = trained(algebra)
    with use_backend("numpy"):
        expected = trained(algebra)
    for name, array in found.items():
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "name", ["conjugate", "norm", "inverse", "normalize", "exp", "log", "sqrt"]
)
def test_the_algebra_agrees_with_the_cpu(on_gpu, name):
    q = np.random.default_rng(0).standard_normal((50, 4))
    f = getattr(quaternion, name)
    np.testing.assert_allclose(to_numpy(f(asarray(q))), f(q), rtol=1e-13, atol=1e-14)


def test_a_tensor_stays_where_it_was_made(on_gpu):
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    assert get_backend() == "cupy"
    assert type(x.grad).__module__.startswith("cupy")
