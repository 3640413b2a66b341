"""What a user of PyTorch types without thinking works, or says what to type."""

import numpy as np
import pytest

from quatgrad import Tensor, data, models, nn, ops
from quatgrad.errors import ShapeError

RNG = np.random.default_rng(0)


def test_the_window_is_called_kernel_size():
    for layer in (
        nn.Conv2d,
        nn.QConv2d,
        nn.ConvTranspose2d,
        nn.QConvTranspose2d,
        nn.RotationConv2d,
    ):
        assert layer(4, 4, kernel_size=3, rng=RNG).weight.shape[-4:-2] == (3, 3)
    for pool in (nn.MaxPool2d, nn.QMaxPool2d, nn.AvgPool2d):
        assert pool(kernel_size=2)(Tensor(np.ones((1, 4, 4, 4), np.float32))).shape == (1, 2, 2, 4)


def test_gradients_of_a_module_are_forgotten():
    layer = nn.Linear(3, 2, rng=RNG)
    layer(Tensor(np.ones((4, 3), np.float32))).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    layer.zero_grad()
    assert all(p.grad is None for p in layer.parameters())


def test_argmax_and_view():
    a = np.array([[1.0, 5.0, 2.0], [7.0, 0.0, 3.0]], np.float32)
    x = Tensor(a, requires_grad=True)
    np.testing.assert_array_equal(x.argmax(axis=1), [1, 0])
    assert x.argmax() == 3
    y = x.view(3, 2)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones((2, 3)))
    np.testing.assert_array_equal(y.numpy(), a.reshape(3, 2))


def test_a_state_that_fits_in_part_says_what_was_left():
    net = models.create("lenet-12", image_size=(2, 2), num_classes=3)
    state = net.state_dict()
    body = {n: a + 1 for n, a in state.items() if not n.startswith("3.")}
    before = net.state_dict()
    missing, unknown = net.load_state_dict(body | {"old.weight": np.zeros(2)}, strict=False)
    assert missing == ["3.bias", "3.weight"]
    assert unknown == ["old.weight"]
    np.testing.assert_array_equal(net.state_dict()["1.weight"], before["1.weight"] + 1)
    np.testing.assert_array_equal(net.state_dict()["3.weight"], before["3.weight"])
    assert net.load_state_dict(state) == ([], [])
    with pytest.raises(ShapeError, match=r"missing 3\.bias, 3\.weight, unknown nothing"):
        net.load_state_dict(body)
    with pytest.raises(ShapeError, match=r"1\.weight is"):
        net.load_state_dict({"1.weight": np.zeros((1, 1), np.float32)}, strict=False)


def test_a_dataset_is_a_line():
    digits = data.load("digits")
    assert repr(digits) == (
        "Dataset(digits: 1,437 training, 360 test images of 8 x 8 x 1, 10 classes)"
    )
    assert "144 validation" in repr(digits.split_validation(0.1, 0))
    assert repr(digits.test) == "Split(360 x 8 x 8 x 1)"


def test_a_module_of_several_inputs():
    class Sum(nn.Module):
        def forward(self, x, y, scale=1.0):
            return ops.relu(x + y * scale)

    a, b = (Tensor(np.full(3, v, np.float32)) for v in (1.0, -2.0))
    np.testing.assert_array_equal(Sum()(a, b).numpy(), 0)
    np.testing.assert_array_equal(Sum()(a, b, scale=-1.0).numpy(), 3)
