"""Networks for the tests of plans: every layer and operation that a plan has a step for."""

import numpy as np

from quatgrad import Tensor, models, no_grad, ops
from quatgrad.nn import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    MaxPool2d,
    ModReLU,
    Module,
    QBatchNorm2d,
    QConv2d,
    QConvTranspose2d,
    QDropout,
    QLinear,
    QMaxPool2d,
    QVarianceNorm2d,
    ReLU,
    RotationConv2d,
    RotationLinear,
    Sequential,
)


class Call(Module):
    """A function of Tensors as a layer."""

    def __init__(self, f):
        self.f = f

    def forward(self, x):
        return self.f(x)


class Residual(Module):
    """y = f(x) + x, or x + f(x)."""

    def __init__(self, *modules, first=True):
        self.body, self.first = Sequential(*modules), first

    def forward(self, x):
        return self.body(x) + x if self.first else x + self.body(x)


class Concat(Module):
    """Two convolutions side by side."""

    def __init__(self, a, b):
        self.a, self.b = a, b

    def forward(self, x):
        return ops.concatenate([self.a(x), self.b(x)], axis=-1)


class Gate(Module):
    """Squeeze and excitation: each channel times a number that depends on its mean."""

    def __init__(self, channels, rng):
        self.linear = Linear(channels, channels, rng=rng)

    def forward(self, x):
        g = ops.sigmoid(self.linear(ops.global_avg_pool2d(x)))
        return x * g.reshape(x.shape[0], 1, 1, x.shape[-1])


def odd(rng):
    """Name -> a model (9, 7, 4) -> vector: what networks of the package do not have."""
    head = lambda *modules: Sequential(*modules, GlobalAvgPool2d())  # noqa: E731
    conv = lambda *a, **k: Conv2d(*a, rng=rng, **k)  # noqa: E731
    qconv = lambda *a, **k: QConv2d(*a, rng=rng, **k)  # noqa: E731
    return {
        "5x3 window, stride 2x1": head(conv(4, 6, (5, 3), (2, 1), (2, 0)), ReLU()),
        "no padding": head(conv(4, 5, 3), ReLU(), conv(5, 3, 3)),
        "much padding": head(conv(4, 5, 3, padding=3), conv(5, 4, 1, 3)),
        "stride 3": head(qconv(4, 8, 3, 3, 1), ReLU(), qconv(8, 4, 2)),
        "dilation": head(conv(4, 6, 3, padding=2, dilation=2), ReLU()),
        "quaternion dilation": head(qconv(4, 8, 3, 2, padding=2, dilation=(1, 2))),
        "groups": head(conv(4, 8, 3, groups=4), conv(8, 6, 1, groups=2)),
        "quaternion groups": head(qconv(4, 16, 3, padding=1), qconv(16, 8, 3, groups=2)),
        "reflect": head(conv(4, 6, 3, padding=2, padding_mode="reflect"), ReLU()),
        "circular": head(qconv(4, 4, 3, padding=1, padding_mode="circular"), ReLU()),
        "transposed": head(ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, rng=rng), ReLU()),
        "quaternion transposed": head(QConvTranspose2d(4, 8, 2, 2, rng=rng), ReLU()),
        "rotation": head(RotationConv2d(4, 8, 3, padding=1, rng=rng), ReLU()),
        "whitening": head(qconv(4, 8, 3), QBatchNorm2d(8), ReLU()),
        "variance norm": head(qconv(4, 8, 3, padding=1), QVarianceNorm2d(8), ReLU()),
        "norm first": head(BatchNorm2d(4), ReLU(), conv(4, 6, 3), BatchNorm2d(6)),
        "norm after a rectifier": head(conv(4, 6, 3, padding=1), ReLU(), BatchNorm2d(6)),
        "max pool": head(conv(4, 6, 3, padding=1), MaxPool2d(2)),
        "padded max pool": head(conv(4, 6, 3, padding=1), MaxPool2d(3, 2, padding=1)),
        "quaternion max pool": head(qconv(4, 8, 3, padding=1), QMaxPool2d(3, 2, padding=1)),
        "longest of four": head(qconv(4, 8, 3, padding=1), QMaxPool2d(2)),
        "average pool": head(conv(4, 6, 3, padding=1), AvgPool2d(3, 2, padding=1), ReLU()),
        "dropout": head(Dropout(0.5, rng=rng), conv(4, 8, 3), QDropout(0.5, rng=rng)),
        "modrelu": head(qconv(4, 8, 3, padding=1), ModReLU(8), qconv(8, 4, 1)),
        "residual": head(Residual(conv(4, 4, 3, padding=1)), ReLU(), Residual(ReLU())),
        "residual on the right": head(Residual(conv(4, 4, 1), first=False), ReLU()),
        "residual, norm after": head(Residual(qconv(4, 4, 3, padding=1)), BatchNorm2d(4)),
        "twice the same": head(conv(4, 4, 1), Call(lambda x: x + x), ReLU()),
        "read again": head(conv(4, 4, 3, padding=1), Call(lambda x: x.relu() - x)),
        "concatenated": head(Concat(conv(4, 3, 3), conv(4, 5, 3)), conv(8, 4, 1)),
        "gate": head(conv(4, 6, 3, padding=1), Gate(6, rng), ReLU()),
        "functions": head(Call(lambda x: ops.gelu(x) * 2 - ops.tanh(x) / 3), conv(4, 4, 3)),
        "more functions": head(Call(lambda x: ops.leaky_relu(-x, 0.1) ** 2 + abs(x).sqrt())),
        "exponential": head(Call(lambda x: 1 / (1 + (x.clip(-3, 3)).exp()) + (x * x + 1).log())),
        "constants": head(Call(lambda x: 1 - x + np.float32([1, 2, 3, 4])), conv(4, 4, 1)),
        "a constant map": head(Call(lambda x: x * np.arange(63, dtype="f").reshape(9, 7, 1) + 1)),
        "slices": head(Call(lambda x: x[:, ::2, 1:, ::-1]), conv(4, 4, 2)),
        "padded with a number": head(Call(lambda x: ops.pad(x, [(0, 0)] + [(1, 2)] * 3, 3.0))),
        "mean and maximum": Call(lambda x: x.mean(2).max(1) + x.sum((1, 2), True)[:, 0, 0]),
        "flat": Sequential(Call(lambda x: x.flatten()), Linear(252, 8, rng=rng), ReLU()),
        "flat quaternions": Sequential(Flatten(), QLinear(252, 8, rng=rng), ReLU()),
        "linear on pixels": head(QLinear(4, 8, rng=rng), ReLU(), Linear(8, 3, rng=rng)),
        "rotation of a vector": Sequential(Flatten(), RotationLinear(252, 8, rng=rng)),
        "only a sum": Call(lambda x: x.flatten()),
    }  # fmt: skip


def trained(model, shape, seed=0, density=None, whole=False):
    """The model with statistics as after training, in evaluation mode, and masks of a density."""
    rng = np.random.default_rng(seed)
    masks = {}
    for name, w in model.weight_parameters():
        if density is not None:
            whole_ones = whole and w.components == 4
            mask = rng.random(w.shape[1:] if whole_ones else w.shape) < density
            masks[name] = np.broadcast_to(mask, w.shape).copy()
            w.data = w.data * masks[name]
    for name, t in model.named_state():
        if t.ndim == 1 and t.size > 1:
            t.data = (t.data + 0.2 * rng.standard_normal(t.shape)).astype(np.float32)
        if "running_var" in name:
            t.data = np.abs(t.data) + np.float32(0.3)
    model.eval()
    return model, masks or None


def logits(model, x):
    """What the model itself gives."""
    with no_grad():
        return np.asarray(model(Tensor(x)).data)


def created(name, algebra, **options):
    """A small one of the package."""
    width = 24 if name.startswith("lenet") else 8
    options = {"image_size": (16, 16), "num_classes": 12, "width": width} | options
    return models.create(name, algebra, **options)
