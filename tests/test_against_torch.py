"""Against PyTorch in float64: operations, optimizers, and three steps of a quaternion ResNet.

PyTorch's maps are (N, C, H, W) and its weights (Q, P, U, V). The quaternion weights are expanded
here once more, in torch, from the block matrix as the paper draws it.
"""

import numpy as np
import pytest

from quatgrad import Parameter, Tensor, models, nn, ops, optim

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def leaf(a):
    """A torch tensor of its own that wants a gradient."""
    return torch.tensor(np.ascontiguousarray(a), requires_grad=True)


def agree(ours, theirs, tolerance=1e-12):
    """Equal up to `tolerance` times the largest entry."""
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    ours = ours.numpy() if isinstance(ours, Tensor) else ours
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype == np.float64
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * (1e-300 + abs(theirs).max()))


def maps(x):
    """(N, C, H, W) -> (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def to_torch_maps(x):
    return leaf(x.transpose(0, 3, 1, 2))


def block_matrix(w, axes):
    """The paper's weight (4Q, 4P, ...) of w = (r, i, j, k); `axes` make each part (Q, P, ...)."""
    r, i, j, k = (part.permute(axes) for part in w)
    rows = [(r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r)]
    return torch.cat([torch.cat(row, dim=1) for row in rows], dim=0)


# -------------------------------------------------------------------------------- operations

GEOMETRIES = [  # H, W, window, stride, padding
    (6, 5, (3, 3), (1, 1), (1, 1)),
    (7, 8, (3, 3), (2, 2), (1, 1)),
    (5, 9, (1, 1), (2, 2), (0, 0)),
    (8, 6, (2, 3), (1, 2), (1, 0)),
    (9, 5, (5, 1), (3, 1), (2, 2)),
    (4, 4, (4, 4), (1, 1), (0, 0)),
]
geometries = pytest.mark.parametrize(("H", "W", "window", "stride", "padding"), GEOMETRIES)


@geometries
@pytest.mark.parametrize("bias", [False, True])
def test_conv2d_and_its_gradients(H, W, window, stride, padding, bias):
    x, w, b = numbers(2, H, W, 3), numbers(*window, 3, 4, seed=1), numbers(4, seed=2)
    ours = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    theirs = [to_torch_maps(x), leaf(w.transpose(3, 2, 0, 1)), leaf(b)]
    y = ops.conv2d(ours[0], ours[1], ours[2] if bias else None, stride, padding)
    z = F.conv2d(theirs[0], theirs[1], theirs[2] if bias else None, stride, padding)
    agree(y, maps(z))
    g = numbers(*y.shape, seed=3)
    y.backward(g)
    maps(z).backward(torch.tensor(g))
    agree(ours[0].grad, maps(theirs[0].grad))
    agree(ours[1].grad, theirs[1].grad.permute(2, 3, 1, 0))
    if bias:
        agree(ours[2].grad, theirs[2].grad)


@geometries
def test_hamilton_conv2d_is_torchs_convolution_with_the_papers_block_matrix(
    H, W, window, stride, padding
):
    x, w, b = numbers(2, H, W, 12), numbers(4, *window, 3, 2, seed=1), numbers(8, seed=2)
    ours = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    tx, tw, tb = to_torch_maps(x), leaf(w), leaf(b)
    y = ops.hamilton_conv2d(*ours, stride, padding)
    z = F.conv2d(tx, block_matrix(tw, (3, 2, 0, 1)), tb, stride, padding)
    agree(y, maps(z))
    g = numbers(*y.shape, seed=3)
    y.backward(g)
    maps(z).backward(torch.tensor(g))
    agree(ours[0].grad, maps(tx.grad))
    agree(ours[1].grad, tw.grad)
    agree(ours[2].grad, tb.grad)


def test_hamilton_linear_is_torchs_linear_with_the_papers_block_matrix():
    x, w, b = numbers(5, 12), numbers(4, 3, 2, seed=1), numbers(8, seed=2)
    ours = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    theirs = [leaf(a) for a in (x, w, b)]
    y = ops.hamilton_linear(*ours)
    z = F.linear(theirs[0], block_matrix(theirs[1], (1, 0)), theirs[2])
    agree(y, z)
    g = numbers(*y.shape, seed=3)
    y.backward(g)
    z.backward(torch.tensor(g))
    for ours_, theirs_ in zip(ours, theirs, strict=True):
        agree(ours_.grad, theirs_.grad)


@pytest.mark.parametrize("shape", [(4, 5, 3, 6), (2, 1, 1, 3), (3, 8, 8, 1)])
def test_batch_norm_trains_evaluates_and_keeps_statistics_alike(shape):
    C = shape[-1]
    bn = in_float64(nn.BatchNorm2d(C))
    bn.scale.data, bn.shift.data = numbers(C, seed=1), numbers(C, seed=2)
    twin = torch.nn.BatchNorm2d(C, dtype=torch.float64)
    twin.load_state_dict(
        {
            "weight": torch.tensor(bn.scale.numpy()),
            "bias": torch.tensor(bn.shift.numpy()),
            "running_mean": torch.zeros(C),
            "running_var": torch.ones(C),
            "num_batches_tracked": torch.tensor(0),
        }
    )
    for step in range(3):
        for mode in (True, False):
            bn.train(mode)
            twin.train(mode)
            x = 3 + 2 * numbers(*shape, seed=10 * step + mode)
            tx = to_torch_maps(x)
            ours = Tensor(x, requires_grad=True)
            y, z = bn(ours), twin(tx)
            agree(y, maps(z))
            g = numbers(*shape, seed=20 + step)
            y.backward(g)
            maps(z).backward(torch.tensor(g))
            pair = x.size // C == 2  # z is then +-1 and dx nearly 0, a difference of large numbers
            agree(ours.grad, maps(tx.grad), 1e-9 if pair else 1e-12)
            agree(bn.running_mean, twin.running_mean)
            agree(bn.running_var, twin.running_var)
    agree(bn.scale.grad, twin.weight.grad)  # summed over the six backward passes
    agree(bn.shift.grad, twin.bias.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_cross_entropy_with_label_smoothing(smoothing, scale):
    z, labels = scale * numbers(7, 5), np.array([0, 1, 2, 3, 4, 4, 0])
    ours, theirs = Tensor(z, requires_grad=True), leaf(z)
    loss = ops.cross_entropy(ours, labels, smoothing)
    twin = F.cross_entropy(theirs, torch.tensor(labels), label_smoothing=smoothing)
    agree(loss, twin)
    loss.backward()
    twin.backward()
    agree(ours.grad, theirs.grad)


POOLS = [
    (6, 6, (2, 2), (2, 2), (0, 0)),
    (7, 9, (3, 3), (2, 2), (1, 1)),
    (5, 8, (2, 3), (1, 2), (1, 0)),
    (9, 4, (3, 2), (3, 1), (0, 1)),
]


@pytest.mark.parametrize(("H", "W", "window", "stride", "padding"), POOLS)
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling(H, W, window, stride, padding, kind):
    x = numbers(2, H, W, 5)
    ours, theirs = Tensor(x, requires_grad=True), to_torch_maps(x)
    y = getattr(ops, f"{kind}_pool2d")(ours, window, stride, padding)
    z = getattr(F, f"{kind}_pool2d")(theirs, window, stride, padding)
    agree(y, maps(z))
    g = numbers(*y.shape, seed=1)
    y.backward(g)
    maps(z).backward(torch.tensor(g))
    agree(ours.grad, maps(theirs.grad))


ELEMENTWISE = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "gelu": F.gelu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: F.softmax(x, dim=-1),
    "logsumexp": lambda x: torch.logsumexp(x, dim=(0, 1)),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations(name):
    x = 4 * numbers(20, 30)
    ours, theirs = Tensor(x, requires_grad=True), leaf(x)
    y, z = getattr(ops, name)(ours), ELEMENTWISE[name](theirs)
    agree(y, z)
    g = numbers(*y.shape, seed=1)
    y.backward(g)
    z.backward(torch.tensor(g))
    agree(ours.grad, theirs.grad)


# -------------------------------------------------------------------------------- optimizers

OPTIMIZERS = [  # the same names and options in both
    ("SGD", {}),
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05}),
    ("Adam", {}),
    ("Adam", {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
def test_twenty_steps_of_each_optimizer_at_changing_rates(name, options):
    """Least squares through a tanh; the weight gets no gradient at every seventh step."""
    x, target = numbers(8, 5), numbers(8, 3, seed=1)
    start = [numbers(5, 3, seed=2), numbers(3, seed=3)]
    ours, theirs = [Parameter(a) for a in start], [leaf(a) for a in start]
    optimizer = getattr(optim, name)(ours, **options)
    twin = getattr(torch.optim, name)(theirs, lr=1.0, **options)
    for step in range(20):
        lr = 0.02 * (1 + step % 3)
        loss = ops.mse_loss(ops.tanh(Tensor(x) @ ours[0] + ours[1]), target)
        twin_loss = F.mse_loss(
            torch.tanh(torch.tensor(x) @ theirs[0] + theirs[1]), torch.tensor(target)
        )
        agree(loss, twin_loss, 1e-11)
        optimizer.zero_grad()
        twin.zero_grad()
        loss.backward()
        twin_loss.backward()
        if step % 7 == 6:
            ours[0].grad = theirs[0].grad = None
        optimizer.step(lr)
        twin.param_groups[0]["lr"] = lr
        twin.step()
        for a, b in zip(ours, theirs, strict=True):
            agree(a, b, 1e-11)


# ---------------------------------------------------------------------- a quaternion network


def in_float64(module):
    for _, t in module.named_state():
        t._array = t._array.astype(np.float64)
    return module


class TorchQConv(torch.nn.Module):
    """Four real weights, put together to the paper's block matrix, and torch's convolution."""

    def __init__(self, P, Q, size, stride=1, padding=0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(4, size, size, P // 4, Q // 4))
        self.how = {"stride": stride, "padding": padding}

    def forward(self, x):
        return F.conv2d(x, block_matrix(self.weight, (3, 2, 0, 1)), **self.how)


class TorchQLinear(torch.nn.Module):
    def __init__(self, P, Q):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(4, P // 4, Q // 4))
        self.bias = torch.nn.Parameter(torch.empty(Q))

    def forward(self, x):
        return F.linear(x, block_matrix(self.weight, (1, 0)), self.bias)


class TorchBlock(torch.nn.Module):
    def __init__(self, P, Q, stride):
        super().__init__()
        self.conv1 = TorchQConv(P, Q, 3, stride, 1)
        self.bn1 = torch.nn.BatchNorm2d(Q)
        self.conv2 = TorchQConv(Q, Q, 3, 1, 1)
        self.bn2 = torch.nn.BatchNorm2d(Q)
        self.shortcut = torch.nn.Sequential()
        if stride != 1 or P != Q:
            self.shortcut = torch.nn.Sequential(
                TorchQConv(P, Q, 1, stride), torch.nn.BatchNorm2d(Q)
            )

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class TorchQResNet8(torch.nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.stem = TorchQConv(4, width, 3, 1, 1)
        self.bn = torch.nn.BatchNorm2d(width)
        self.stages = torch.nn.Sequential(
            TorchBlock(width, width, 1),
            TorchBlock(width, 2 * width, 2),
            TorchBlock(2 * width, 4 * width, 2),
        )
        self.head = TorchQLinear(4 * width, classes)

    def forward(self, x):
        x = self.stages(F.relu(self.bn(self.stem(x))))
        return self.head(x.mean(dim=(2, 3)))


BN_NAMES = {"scale": "weight", "shift": "bias"}


def torch_names(net):
    """Our names of parameters and statistics -> those of the mirror."""
    names = {}
    for name, t in net.named_state():
        *path, last = name.split(".")
        if path[0] == "stages":
            del path[2]  # each of our stages is a list, here of one block
        names[name] = ".".join([*path, BN_NAMES.get(last, last)])
        assert t.dtype == np.float64
    return names


def twins(seed=0):
    net = in_float64(models.create("resnet8", "quaternion", num_classes=8, width=16, seed=seed))
    rng = np.random.default_rng(seed)
    for p in net.parameters():
        if p.ndim == 1:  # off their neutral start
            p.data = p.data + 0.2 * rng.standard_normal(p.shape)
    mirror = TorchQResNet8(16, 8).double()
    names, state = torch_names(net), mirror.state_dict()
    counters = {n for n in state if n.endswith("num_batches_tracked")}
    assert set(names.values()) == state.keys() - counters
    for ours, theirs in names.items():
        state[theirs] = torch.tensor(dict(net.named_state())[ours].numpy().copy())
    mirror.load_state_dict(state)
    return net, mirror, names


def test_three_steps_of_a_quaternion_resnet_with_all_gradients_and_statistics():
    net, mirror, names = twins()
    optimizer = optim.SGD(net.parameters(), momentum=0.9, nesterov=True, weight_decay=5e-4)
    their_optimizer = torch.optim.SGD(
        mirror.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    for step in range(3):
        x, labels = numbers(6, 12, 10, 4, seed=step), np.arange(6) + step % 3
        logits, their_logits = net(Tensor(x)), mirror(torch.tensor(x.transpose(0, 3, 1, 2)))
        agree(logits, their_logits, 1e-9)
        loss = ops.cross_entropy(logits, labels, smoothing=0.1)
        their_loss = F.cross_entropy(their_logits, torch.tensor(labels), label_smoothing=0.1)
        agree(loss, their_loss, 1e-9)
        optimizer.zero_grad()
        their_optimizer.zero_grad()
        loss.backward()
        their_loss.backward()
        gradients = {n: p.grad for n, p in mirror.named_parameters()}
        for name, p in net.named_parameters():
            agree(p.grad, gradients[names[name]], 1e-9)
        optimizer.step(0.1)
        their_optimizer.step()
        state = mirror.state_dict()
        for name, t in net.named_state():
            agree(t, state[names[name]], 1e-9)


def test_a_quaternion_resnet_in_evaluation_and_the_gradient_at_its_input():
    net, mirror, _ = twins(seed=1)
    x = numbers(3, 9, 11, 4)
    net(Tensor(x))
    mirror(torch.tensor(x.transpose(0, 3, 1, 2)))  # move the running statistics
    net.eval()
    mirror.eval()
    ours, theirs = Tensor(x, requires_grad=True), to_torch_maps(x)
    y, z = net(ours), mirror(theirs)
    agree(y, z, 1e-9)
    g = numbers(3, 8, seed=1)
    y.backward(g)
    z.backward(torch.tensor(g))
    agree(ours.grad, maps(theirs.grad), 1e-9)


# --------------------------------------------------------------------------------- detection


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_smooth_l1_and_its_gradients(beta):
    x, y = numbers(4, 5), numbers(4, 5, seed=1)
    ours, theirs = [[kind(a) for a in (x, y)] for kind in (Parameter, leaf)]
    loss, twin = ops.smooth_l1_loss(*ours, beta=beta), F.smooth_l1_loss(*theirs, beta=beta)
    agree(loss, twin)
    loss.backward()
    twin.backward()
    for a, b in zip(ours, theirs, strict=True):
        agree(a.grad, b.grad)


@pytest.mark.parametrize("gamma", [0, 2, 1.5])
def test_focal_loss_and_its_gradient(gamma):
    z, t = 4 * numbers(4, 5), np.random.default_rng(1).integers(0, 2, (4, 5)).astype(float)
    ours, theirs = Parameter(z), leaf(z)
    loss = ops.focal_loss(ours, t, gamma)
    entropy = F.binary_cross_entropy_with_logits(theirs, torch.tensor(t), reduction="none")
    twin = ((1 - torch.exp(-entropy)) ** gamma * entropy).mean()
    agree(loss, twin)
    loss.backward()
    twin.backward()
    agree(ours.grad, theirs.grad)
