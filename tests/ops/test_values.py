"""Values of every op against NumPy or the formula, extremes included, and what errors say."""

import inspect
import math

import numpy as np
import pytest
from scipy import linalg, special, stats

from quatgrad import Tensor, ops
from quatgrad.errors import DataError, OptionError, QuatgradError, ShapeError

_rng = np.random.default_rng(2)
X, Y = _rng.standard_normal((2, 3, 4))
HEAT = np.array([[1, 0.3, 0, 0.9], [0, 0, 1, 1], [0.5, 0, 0, 0.01]])
P = _rng.uniform(0.5, 2, (3, 4))
Z = _rng.standard_normal((2, 3, 5))
MAP = _rng.standard_normal((2, 5, 4, 8))
W, QW = _rng.standard_normal((3, 2, 8, 6)), _rng.standard_normal((4, 3, 2, 2, 1))
B6, B4 = _rng.standard_normal(6), _rng.standard_normal(4)
MASK = _rng.random((3, 4)) < 0.5
LABELS = [2, 0, 3]


def hamilton(p, q):
    """The product as a school book writes it."""
    a, b, c, d = np.moveaxis(p, -1, 0)
    e, f, g, h = np.moveaxis(q, -1, 0)
    return np.stack(
        [
            a * e - b * f - c * g - d * h,
            a * f + b * e + c * h - d * g,
            a * g - b * h + c * e + d * f,
            a * h + b * g - c * f + d * e,
        ],
        axis=-1,
    )


def conv(x, w, stride, padding):
    """Window by window."""
    x = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    U, V = w.shape[:2]
    rows, cols = (range(0, n - k + 1, stride) for n, k in ((x.shape[1], U), (x.shape[2], V)))
    return np.stack(
        [
            np.stack([np.tensordot(x[:, i : i + U, j : j + V], w, 3) for j in cols], axis=1)
            for i in rows
        ],
        axis=1,
    )


def hamilton_conv(x, w, stride, padding):
    """The real convolution with each Hamilton product written out, weight on the left."""
    units = np.eye(4)
    *_, P, Q = w.shape
    y = 0
    for a in range(4):
        for b in range(4):
            part = conv(x[..., b * P : (b + 1) * P], w[a], stride, padding)
            y = y + np.einsum("c,...q->...cq", hamilton(units[a], units[b]), part)
    return y.reshape(*y.shape[:3], 4 * Q)


def hamilton_linear(x, w):
    return hamilton_conv(x[:, None, None], w[:, None, None], 1, 0)[:, 0, 0]


def conv_transpose(x, w, stride, padding, extra, product=np.matmul):
    """Every pixel sends its product with the weight to a window."""
    (N, I, J, _), (U, V) = x.shape, w.shape[-4:-2]
    y = 0
    for i, j, u, v in np.ndindex(I, J, U, V):
        part = product(x[:, i, j], w[..., u, v, :, :])
        if np.isscalar(y):
            H, W = stride * (I - 1) + U + extra, stride * (J - 1) + V + extra
            y = np.zeros((N, H, W, part.shape[-1]))
        y[:, i * stride + u, j * stride + v] += part
    return y[:, padding : y.shape[1] - padding, padding : y.shape[2] - padding]


def quaternions(x):
    """(..., 4Q) in component blocks -> (..., Q, 4)."""
    return x.reshape(*x.shape[:-1], 4, -1).swapaxes(-1, -2)


def blocks(q):
    return q.swapaxes(-1, -2).reshape(*q.shape[:-2], -1)


def rotation(x, w, s):
    """sum_p s w x w^-1, quaternion by quaternion."""
    x, w = quaternions(x)[..., None, :], np.moveaxis(w, 0, -1)
    inverse = w * [1, -1, -1, -1] / (w * w).sum(-1, keepdims=True)
    return blocks((s[..., None] * hamilton(hamilton(w, x), inverse)).sum(-3))


def rotation_weight(w, s):
    """A matrix row by row: what becomes of the unit vectors."""
    return rotation(np.eye(4 * s.shape[0]), w, s)


def longest(x, axis):
    """The longest quaternion of a window."""
    q = np.moveaxis(quaternions(x), (1, 2), (-3, -2))  # (N, Q, window, 4)
    q = q.reshape(*q.shape[:2], -1, 4)
    first = (q * q).sum(-1).argmax(-1)
    return blocks(
        np.stack([[q[n, c, first[n, c]] for c in range(q.shape[1])] for n in range(len(q))])
    )


def modrelu(x, b):
    q = quaternions(x)
    length = np.linalg.norm(q, axis=-1)
    return blocks(q * (np.maximum(length + b, 0) / length)[..., None])


def whitening(x, gamma, shift):
    q = quaternions(x - x.reshape(-1, x.shape[-1]).mean(0))
    y = np.empty_like(q)
    for c in range(q.shape[-2]):
        V = np.cov(q[..., c, :].reshape(-1, 4).T, bias=True) + 1e-5 * np.eye(4)
        y[..., c, :] = q[..., c, :] @ linalg.inv(linalg.sqrtm(V)) @ gamma[..., c].T
    return blocks(y) + shift


def variance_norm(x, scale, shift):
    q = quaternions(x - x.mean((0, 1, 2)))
    var = (q * q).sum(-1).mean((0, 1, 2))
    return blocks(q * (scale / np.sqrt(var + 1e-5))[:, None]) + shift


def fresh(op, *states):
    """A norm in training, its running statistics made on the spot."""

    def f(x, scale, shift):
        return op(x, scale, shift, *(Tensor(np.zeros(s, x.dtype)) for s in states), True)

    return f


def pool(x, how, size, stride):
    N, H, W, C = x.shape
    tiles = [
        how(x[:, i : i + size, j : j + size], axis=(1, 2))
        for i in range(0, H - size + 1, stride)
        for j in range(0, W - size + 1, stride)
    ]
    return np.stack(tiles, 1).reshape(N, (H - size) // stride + 1, -1, C)


def norm(x, scale, shift):
    return scale * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5) + shift


def batch_norm(training):
    def f(x, scale, shift):
        state = [Tensor(np.full(8, v, x.dtype)) for v in (0.5, 2)]
        return ops.batch_norm(x, scale, shift, *state, training)

    return f


def conv_norm_act(x, w, scale, shift, *residual):
    state = [Tensor(np.full(6, v, x.dtype)) for v in (0.5, 2)]
    return ops.conv_norm_act(x, w, scale, shift, *state, (2, 2), (1, 1), 0.1, 1e-5, True, *residual)


def entropy(z, t):
    return -(t * np.log(np.exp(z) / np.exp(z).sum(1, keepdims=True))).sum() / len(z)


def huber(d, beta):
    return np.where(abs(d) < beta, d**2 / (2 * beta), abs(d) - beta / 2)


def focal(z, t, gamma, beta):
    p = 1 / (1 + np.exp(-z))
    wrong = (1 - t * 1.0) ** beta * p**gamma * np.log(1 - p)
    return -np.where(t == 1, (1 - p) ** gamma * np.log(p), wrong).mean()


def attend(q, k, v):
    """One head, causal, row by row."""
    y = np.empty_like(v)
    for n in range(len(q)):
        for i in range(q.shape[1]):
            e = np.exp(k[n, : i + 1] @ q[n, i] / np.sqrt(q.shape[2]))
            y[n, i] = e / e.sum() @ v[n, : i + 1]
    return y


def quaternion_norm(x, gain, shift):
    """Of each position: quaternions less their mean, over the root of their mean square / 4."""
    q = x.reshape(*x.shape[:-1], 4, -1)
    d = q - q.mean(-1, keepdims=True)
    s = np.sqrt((d * d).sum(-2, keepdims=True).mean(-1, keepdims=True) / 4 + 1e-5)
    return (gain * d / s).reshape(x.shape) + shift


def recurrent_steps(step, states, x, *weights):
    """All h of a cell: `step` takes and gives `states` arrays (N, H), h the first."""
    y, state = [], [np.zeros((len(x), weights[1].shape[0]))] * states
    for t in range(x.shape[1]):
        state = step(x[:, t], *state, *weights)
        y.append(state[0])
    return np.stack(y, 1)


def gru_step(x, h, w_x, w_h, b, c):
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (np.split(a, 3, -1) for a in (x @ w_x + b, h @ w_h))
    r, z = special.expit(x_r + h_r), special.expit(x_z + h_z)
    return ((1 - z) * np.tanh(x_n + r * (h_n + c)) + z * h,)


def lstm_step(x, h, c, w_x, w_h, b):
    i, f, n, o = np.split(x @ w_x + h @ w_h + b, 4, -1)
    c = special.expit(f) * c + special.expit(i) * np.tanh(n)
    return special.expit(o) * np.tanh(c), c


GATES = [_rng.standard_normal(shape) for shape in ((5, 24), (6, 24), (24,), (6,))]  # H = 6
TOKENS = np.array([[2, 0, 2], [1, 1, 0]])
#: (2, 3): [[0, X00, 0], [X01, 0, X02]]
ENTRIES = (X[0, :3], np.array([0, 1, 1]), np.array([1, 0, 2]), (2, 3))

ONE_HOT = np.eye(4)[LABELS]

#: name -> (op, the same in NumPy, inputs)
VALUES = {
    "add": (lambda a, b: a + b, np.add, X, Y[0]),
    "sub": (lambda a, b: a - b, np.subtract, X, Y[:, :1]),
    "mul": (lambda a, b: a * b, np.multiply, X, Y),
    "div": (lambda a, b: a / b, np.divide, X, P),
    "rsub": (lambda a: 1 - a, lambda a: 1 - a, X),
    "rdiv": (lambda a: 1 / a, lambda a: 1 / a, P),
    "pow": (lambda a, b: a**b, np.power, P, Y),
    "rpow": (lambda a: 2**a, lambda a: 2**a, X),
    "square": (lambda a: a**2, np.square, X),
    "neg": (lambda a: -a, np.negative, X),
    "exp": (ops.exp, np.exp, X),
    "log": (ops.log, np.log, P),
    "sqrt": (ops.sqrt, np.sqrt, P),
    "abs": (lambda x: x.abs(), np.abs, X),
    "clip": (lambda x: x.clip(-0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5), X),
    "clip one side": (lambda x: x.clip(high=0.5), lambda x: np.minimum(x, 0.5), X),
    "where": (lambda a, b: ops.where(MASK, a, b), lambda a, b: np.where(MASK, a, b), X, Y[0]),
    "where number": (lambda a: ops.where(MASK, a, 0), lambda a: np.where(MASK, a, 0), X),
    "matmul": (ops.matmul, np.matmul, X, Y.T),
    "matmul batched": (ops.matmul, np.matmul, Z, _rng.standard_normal((5, 2))),
    "matmul broadcast": (ops.matmul, np.matmul, Z[:, None], _rng.standard_normal((4, 5, 2))),
    "matmul vector matrix": (ops.matmul, np.matmul, X[0], Y.T),
    "matmul matrix vector": (ops.matmul, np.matmul, X, Y[0]),
    "matmul vector vector": (ops.matmul, np.matmul, X[0], Y[0]),
    "matmul vector batch": (ops.matmul, np.matmul, B6[:3], Z),
    "matmul batch vector": (ops.matmul, np.matmul, Z, B6[:5]),
    "linear": (ops.linear, lambda x, w, b: x @ w + b, X, Y.T, B6[:3]),
    "reshape": (lambda x: x.reshape(2, -1), lambda x: x.reshape(2, -1), X),
    "reshape tuple": (lambda x: x.reshape((6, 2)), lambda x: x.reshape(6, 2), X),
    "flatten": (lambda x: x.flatten(), lambda x: x.reshape(2, 15), Z),
    "transpose": (lambda x: x.transpose(2, 0, 1), lambda x: x.transpose(2, 0, 1), Z),
    "T": (lambda x: x.T, np.transpose, Z),
    "broadcast_to": (
        lambda x: ops.broadcast_to(x, 2, 3, 4), lambda x: np.broadcast_to(x, (2, 3, 4)), X,
    ),
    "pad": (lambda x: ops.pad(x, ((1, 0), (0, 2)), 3.0),
            lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=3), X),
    "getitem": (lambda x: x[1:, ..., None, ::-2], lambda x: x[1:, ..., None, ::-2], Z),
    "getitem repeated": (lambda x: x[[0, 2, 0]], lambda x: x[[0, 2, 0]], X),
    "getitem pairs": (lambda x: x[[0, 2, 0], [1, 1, 1]], lambda x: x[[0, 2, 0], [1, 1, 1]], X),
    "getitem mask": (lambda x: x[MASK], lambda x: x[MASK], X),
    "concatenate": (lambda a, b: ops.concatenate([a, b], 1), lambda a, b: np.hstack([a, b]), X, Y),
    "stack": (lambda a, b: ops.stack([a, b], -1), lambda a, b: np.stack([a, b], -1), X, Y),
    "sum": (lambda x: x.sum((0, 2)), lambda x: x.sum((0, 2)), Z),
    "sum of all": (lambda x: x.sum(keepdims=True), lambda x: x.sum(keepdims=True), Z),
    "mean": (lambda x: x.mean(-1), lambda x: x.mean(-1), Z),
    "var": (lambda x: x.var(1, ddof=1), lambda x: x.var(1, ddof=1), Z),
    "max": (lambda x: x.max((0, 1)), lambda x: x.max((0, 1)), Z),
    "logsumexp": (lambda x: ops.logsumexp(x, 1), lambda x: special.logsumexp(x, 1), Z),
    "relu": (lambda x: x.relu(), lambda x: np.maximum(x, 0), X),
    "leaky_relu": (ops.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x), X),
    "gelu": (ops.gelu, lambda x: x * stats.norm.cdf(x), X),
    "sigmoid": (ops.sigmoid, lambda x: 1 / (1 + np.exp(-x)), X),
    "tanh": (ops.tanh, np.tanh, X),
    "softmax": (ops.softmax, lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True), Z),
    "softmax axis": (lambda x: ops.softmax(x, 0), lambda x: special.softmax(x, 0), Z),
    "hamilton": (ops.hamilton, hamilton, X, Y[0]),
    "hamilton_linear": (ops.hamilton_linear, hamilton_linear, MAP[:, 0, 0], QW[:, 0, 0]),
    "hamilton_conv2d": (lambda x, w, b: ops.hamilton_conv2d(x, w, b, 2, 1),
                        lambda x, w, b: hamilton_conv(x, w, 2, 1) + b, MAP, QW, B4),
    "conv2d": (lambda x, w, b: ops.conv2d(x, w, b, 2, 1),
               lambda x, w, b: conv(x, w, 2, 1) + b, MAP, W, B6),
    "conv2d dilated": (
        lambda x, w: ops.conv2d(x, w, None, 2, 1, (1, 2)),
        lambda x, w: conv(x, np.insert(w, 1, 0, axis=1), 2, 1), MAP, W,
    ),
    "conv2d reflected": (
        lambda x, w: ops.conv2d(x, w, None, 1, 2, padding_mode="reflect"),
        lambda x, w: conv(np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect"), w, 1, 0), MAP, W,
    ),
    "conv_transpose2d": (lambda x, w, b: ops.conv_transpose2d(x, w, b, 3, 1, 2),
                         lambda x, w, b: conv_transpose(x, w, 3, 1, 2) + b, MAP, W, B6),
    "hamilton_conv_transpose2d": (
        lambda x, w, b: ops.hamilton_conv_transpose2d(x, w, b, 2, 1),
        lambda x, w, b: conv_transpose(x, w, 2, 1, 0, hamilton_linear) + b, MAP, QW, B4,
    ),
    "rotation_linear": (ops.rotation_linear, rotation, MAP, QW[:, 0, 0], QW[0, 1, 0]),
    "rotation_conv2d": (
        lambda x, w, s: ops.rotation_conv2d(x, w, s, None, 2, 1),
        lambda x, w, s: conv(
            x, np.array([[rotation_weight(w[:, u, v], s[u, v]) for v in (0, 1)] for u in range(3)]),
            2, 1,
        ), MAP, QW, QW[1],
    ),
    "rotation_weight": (ops.rotation_weight, rotation_weight, QW[:, 0, 0], QW[0, 1, 0]),
    "quaternion_max_pool2d": (lambda x: ops.quaternion_max_pool2d(x, 2, 1),
                              lambda x: pool(x, longest, 2, 1), MAP),
    "modrelu": (ops.modrelu, modrelu, MAP, np.array([-1.5, 0.5])),
    "variance_norm": (fresh(ops.variance_norm, 8, 2), variance_norm, MAP, B4[:2], MAP[0, 0, 1]),
    "whitening_norm": (fresh(ops.whitening_norm, 8, (2, 4, 4)), whitening,
                       MAP, MAP[1, :4, :4, :2], MAP[0, 0, 1]),
    "max_pool2d": (lambda x: ops.max_pool2d(x, 2), lambda x: pool(x, np.max, 2, 2), MAP),
    "avg_pool2d": (lambda x: ops.avg_pool2d(x, 3, 1), lambda x: pool(x, np.mean, 3, 1), MAP),
    "global_avg_pool2d": (ops.global_avg_pool2d, lambda x: x.mean((1, 2)), MAP),
    "batch_norm": (batch_norm(True), norm, MAP, MAP[0, 0, 0], MAP[0, 0, 1]),
    "batch_norm eval": (batch_norm(False), lambda x, s, b: s * (x - 0.5) / np.sqrt(2 + 1e-5) + b,
                        MAP, MAP[0, 0, 0], MAP[0, 0, 1]),
    "conv_norm_act": (conv_norm_act, lambda x, w, s, b: np.maximum(norm(conv(x, w, 2, 1), s, b), 0),
                  MAP, W, B6, B6[::-1]),
    "conv_norm_act and residual": (
        conv_norm_act, lambda x, w, s, b, r: np.maximum(norm(conv(x, w, 2, 1), s, b) + r, 0),
        MAP, W, B6, B6[::-1], MAP[:, 2:, 1:, 2:]),
    "dropout": (lambda x: ops.dropout(x, 0.3, np.random.default_rng(0)),
                lambda x: x * (np.random.default_rng(0).random(x.shape, np.float32) >= 0.3) / 0.7,
                MAP),
    "cross_entropy": (lambda z: ops.cross_entropy(z, LABELS), lambda z: entropy(z, ONE_HOT), X),
    "cross_entropy smoothed": (lambda z: ops.cross_entropy(z, LABELS, 0.2),
                               lambda z: entropy(z, 0.8 * ONE_HOT + 0.05), X),
    "embedding": (lambda E: ops.embedding(E, TOKENS), lambda E: E[TOKENS], X),
    "layer_norm": (
        ops.layer_norm,
        lambda x, a, b: a * (x - x.mean(-1, keepdims=True))
        / np.sqrt(x.var(-1, keepdims=True) + 1e-5) + b, Z, B6[:5], B6[1:],
    ),
    "layer_norm quaternion": (lambda x, a, b: ops.layer_norm(x, a, b, 4), quaternion_norm,
                              MAP, B4[:2], MAP[0, 0, 1]),
    "attention": (lambda q, k, v: ops.attention(q, k, v, 1, causal=True), attend, Z, Z[::-1], -Z),
    "gru": (ops.gru, lambda *a: recurrent_steps(gru_step, 1, *a),
            Z, GATES[0][:, :18], GATES[1][:, :18], GATES[2][:18], GATES[3]),
    "lstm": (ops.lstm, lambda *a: recurrent_steps(lstm_step, 2, *a), Z, *GATES[:3]),
    "mean_over_time": (lambda x: ops.mean_over_time(x, [2, 3]),
                       lambda x: np.stack([x[0, :2].mean(0), x[1].mean(0)]), Z),
    "pack": (lambda x: ops.pack(x, [2, 3]), lambda x: np.concatenate([x[0, :2], x[1]]), Z),
    "unpack": (lambda x: ops.unpack(x, [3, 2]),
               lambda x: np.stack([x[:3], np.concatenate([x[3:], 0 * x[:1]])]), np.vstack(Z)[:5]),
    "conv1d": (lambda x, w: ops.conv1d(x, w, causal=True),
               lambda x, w: conv(np.pad(x, ((0, 0), (1, 0), (0, 0)))[:, None], w, 1, 0)[:, 0],
               MAP[:, 0], W[:1]),
    "csr_matmul": (
        lambda x: ops.csr_matmul(ops.CSR.from_entries(*ENTRIES), x),
        lambda x: np.array([[0, X[0, 0], 0], [X[0, 1], 0, X[0, 2]]]) @ x, X,
    ),
    "mse_loss": (ops.mse_loss, lambda x, y: ((x - y) ** 2).mean(), X, Y),
    "smooth_l1_loss": (lambda x, y: ops.smooth_l1_loss(x, y, [0, 1, 1, 2], 0.5),
                       lambda x, y: (huber(x - y, 0.5) * [0, 1, 1, 2]).mean(), X, Y),
    "focal_loss": (lambda z: ops.focal_loss(z, HEAT), lambda z: focal(z, HEAT, 2, 4), X),
    "focal_loss as cross-entropy": (lambda z: ops.focal_loss(z, HEAT == 1, 0, 0),
                                    lambda z: focal(z, HEAT == 1, 0, 0), X),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", VALUES)
def test_value_shape_and_dtype(name, dtype):
    f, formula, *inputs = VALUES[name]
    expected = formula(*inputs)
    y = f(*(Tensor(x.astype(dtype)) for x in inputs))
    assert y.dtype == dtype
    assert y.shape == np.shape(expected)
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(y.data, expected, rtol=tolerance, atol=tolerance)


def test_every_public_op_has_a_value():
    aliases = {"absolute": "abs", "power": "pow"}
    public = {n for n, f in vars(ops).items() if inspect.isfunction(f) and n[0] != "_"}
    assert len(public) > 40
    missing = {n for n in public if aliases.get(n, n) not in VALUES}
    assert not missing


# ------------------------------------------------------------------------------- extremes


def both(*values):
    return [Tensor(np.array(values, dtype), requires_grad=True) for dtype in (np.float32, float)]


def test_sigmoid_does_not_overflow_and_keeps_small_values():
    for x in both(-1000.0, -40, 0, 40, 1000):
        y = ops.sigmoid(x)
        np.testing.assert_allclose(y.data, [0, math.exp(-40), 0.5, 1, 1], rtol=1e-6)
        y.sum().backward()
        np.testing.assert_allclose(x.grad, [0, math.exp(-40), 0.25, 0, 0], rtol=1e-6, atol=1e-17)


def test_softmax_and_logsumexp_of_large_entries():
    for x in both(1e4, 1e4, -1e4):
        np.testing.assert_allclose(ops.softmax(x).data, [0.5, 0.5, 0])
        y = ops.logsumexp(x)
        np.testing.assert_allclose(y.data, 1e4 + math.log(2), rtol=1e-7)
        y.backward()
        np.testing.assert_allclose(x.grad, [0.5, 0.5, 0], rtol=1e-3)


def test_logsumexp_of_minus_infinity():
    for x in both(-np.inf, 1, 2):
        y = ops.logsumexp(x)
        np.testing.assert_allclose(y.data, np.logaddexp(1, 2), rtol=1e-6)
        y.backward()
        np.testing.assert_allclose(x.grad, special.softmax([-np.inf, 1, 2]), rtol=1e-6)
    with np.errstate(divide="ignore"):
        assert ops.logsumexp(Tensor([-np.inf, -np.inf])).item() == -np.inf
    assert ops.logsumexp(Tensor([np.inf, 1.0])).item() == np.inf


def test_cross_entropy_at_logits_of_1e4():
    for dtype in (np.float32, np.float64):
        z = Tensor(np.array([[1e4, -1e4], [1e4, -1e4]], dtype), requires_grad=True)
        loss = ops.cross_entropy(z, [0, 1])
        assert loss.item() == 1e4  # (0 + 2e4) / 2
        loss.backward()
        np.testing.assert_allclose(z.grad, [[0, 0], [0.5, -0.5]])


def test_a_focal_loss_at_logits_of_1e4():
    for dtype in (np.float32, np.float64):
        z = Tensor(np.array([1e4, -1e4, -1e4, 1e4], dtype), requires_grad=True)
        loss = ops.focal_loss(z, [0, 1, 0, 1])
        assert loss.item() == 5e3  # two are wrong, and all the more the larger they are
        loss.backward()
        np.testing.assert_allclose(z.grad, [0.25, -0.25, 0, 0])


def test_a_focal_loss_cares_less_for_what_is_right_and_for_what_is_near_a_one():
    def slope(z, t):
        leaf = Tensor([z], requires_grad=True)
        ops.focal_loss(leaf, [t]).backward()
        return abs(leaf.grad[0])

    assert slope(-4.0, 0.0) < slope(-2.0, 0.0) / 10
    assert slope(0.0, 0.8) < slope(0.0, 0.2) / 100


@pytest.mark.parametrize("smoothing", [0, 0.1])
def test_cross_entropy_of_equal_logits_is_ln_K(smoothing):
    for K in (2, 10, 100):
        z = Tensor(np.full((3, K), 7.0))
        loss = ops.cross_entropy(z, [0, 1, K - 1], smoothing).item()
        assert loss == pytest.approx(math.log(K), rel=1e-12)


def test_labels_that_are_overwritten_after_the_loss_change_nothing():
    z, labels = Tensor(X, requires_grad=True), np.array(LABELS)
    loss = ops.cross_entropy(z, labels)
    labels[:] = 1
    loss.backward()
    expected = (special.softmax(X, axis=1) - np.eye(X.shape[1])[LABELS]) / len(X)
    np.testing.assert_allclose(z.grad, expected)


def test_cross_entropy_takes_labels_of_any_integer_dtype():
    for dtype in (np.uint8, np.int32, np.int64):
        assert ops.cross_entropy(Tensor(X), np.array(LABELS, dtype)).item() == pytest.approx(
            entropy(X, ONE_HOT)
        )


def test_division_by_numbers_whose_square_overflows():
    a, b = Tensor([1e25, 1e-25], requires_grad=True), Tensor([1e25, 1e-25], requires_grad=True)
    (a / b).sum().backward()
    np.testing.assert_allclose(b.grad, [-1e-25, -1e25], rtol=1e-6)


def test_powers_of_zero_have_the_documented_derivatives():
    x = Tensor([0.0, 0, 0], requires_grad=True)
    e = Tensor([0.0, 1, 2], requires_grad=True)
    y = x**e
    np.testing.assert_array_equal(y.data, [1, 0, 0])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 0])
    np.testing.assert_array_equal(e.grad, [0, 0, 0])


def test_kinks_have_the_documented_derivatives():
    for f, at, slope in (
        (ops.relu, 0.0, 0),
        (ops.absolute, 0.0, 0),
        (ops.leaky_relu, 0.0, 0.01),
        (lambda x: ops.clip(x, -1, 1), 1.0, 1),
        (lambda x: ops.clip(x, -1, 1), -1.0, 1),
    ):
        x = Tensor([at], requires_grad=True)
        f(x).backward()
        assert x.grad == np.float32(slope)


def test_three_equal_winners_of_max_share_the_gradient():
    x = Tensor([2.0, 5, 5, 5], requires_grad=True)
    (6 * x.max()).backward()
    np.testing.assert_array_equal(x.grad, [0, 2, 2, 2])


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_max_pooling_gives_the_gradient_to_the_first_of_equals(kernels):
    from quatgrad import use_backend

    with use_backend(kernels):
        x = Tensor(np.zeros((1, 4, 4, 1), np.float32), requires_grad=True)
        ops.max_pool2d(x, 2).sum().backward()
        expected = np.zeros((4, 4))
        expected[::2, ::2] = 1
        np.testing.assert_array_equal(x.grad[0, :, :, 0], expected)


def test_max_pooling_never_sees_its_padding_and_average_pooling_counts_it_as_zeros():
    x = Tensor(np.full((1, 2, 2, 1), -3.0))
    assert (ops.max_pool2d(x, 3, 1, 1).data == -3).all()
    np.testing.assert_allclose(ops.avg_pool2d(x, 3, 1, 1).data, -3 * 4 / 9)


def test_the_weight_of_a_quaternion_layer_stands_on_the_left():
    i, j, k = np.eye(4)[1:]
    y = ops.hamilton_linear(Tensor(j[None]), Tensor(i.reshape(4, 1, 1)))
    np.testing.assert_array_equal(y.data, k[None])  # i j = k, and j i = -k


def test_batch_norm_of_channels_far_from_zero():
    x = (1e4 + _rng.standard_normal((64, 8, 8, 1))).astype(np.float32)
    ones, zeros = Tensor([1.0]), Tensor([0.0])
    y = ops.batch_norm(Tensor(x), ones, zeros, Tensor([0.0]), Tensor([1.0]), True)
    assert abs(y.data.mean()) < 1e-2
    assert y.data.std() == pytest.approx(1, rel=1e-2)


# --------------------------------------------------------------------------------- errors


def t(*shape):
    return Tensor(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ops.cross_entropy(t(3, 4), [0, 4, 9]), DataError,
         "label 4 at position 1 is out of range: there are 4 classes, 0 to 3"),
        (lambda: ops.cross_entropy(t(3, 4), [0, 1, -1]), DataError, "label -1 at position 2"),
        (lambda: ops.cross_entropy(t(2, 4), [0.0, 1.0]), ShapeError, "labels; got float64"),
        (lambda: ops.cross_entropy(t(2, 4), [True, False]), ShapeError, "labels; got bool"),
        (lambda: ops.cross_entropy(t(2, 4), [0, 1, 2]), ShapeError, r"2 rows .* got .*\(3,\)"),
        (lambda: ops.cross_entropy(t(4), [0]), ShapeError, r"\(N, classes\); got shape \(4,\)"),
        (lambda: ops.cross_entropy(t(1, 4), [0], 1.0), OptionError, r"in \[0, 1\); got 1.0"),
        (lambda: ops.mse_loss(t(3), t(3, 1)), ShapeError, r"\(3,\) and y of shape \(3, 1\)"),
        (lambda: ops.smooth_l1_loss(t(3), t(3, 1)), ShapeError, r"\(3,\) and y of .* \(3, 1\)"),
        (lambda: ops.smooth_l1_loss(t(3), t(3), [1, 1]), ShapeError, r"\(2,\) do not stretch to"),
        (lambda: ops.smooth_l1_loss(t(3), t(3), beta=0), OptionError, "beta is above 0; got 0.0"),
        (lambda: ops.focal_loss(t(3), [0, 1]), ShapeError, r"targets of shape \(2,\)"),
        (lambda: ops.focal_loss(t(2), [0, 1.5]), DataError, r"not in \[0, 1\]"),
        (lambda: ops.focal_loss(t(2), [0, 1], -1), OptionError, "at least 0; got -1.0 and 4.0"),
        (lambda: ops.linear(t(2, 3), t(4, 5)), ShapeError, r"takes 4 input .* \(2, 3\) has 3"),
        (lambda: ops.conv2d(t(1, 5, 5, 3), t(3, 3, 4, 5)), ShapeError, "takes 4 input .* has 3"),
        (lambda: ops.hamilton_linear(t(2, 4), t(4, 2, 1)), ShapeError,
         r"takes 8 input channels \(2 quaternions\); .* has 4"),
        (lambda: ops.hamilton_conv2d(t(1, 5, 5, 4), t(4, 3, 3, 2, 1)), ShapeError,
         r"takes 8 input channels \(2 quaternions\); .* has 4"),
        (lambda: ops.conv2d(t(1, 5, 5, 2), t(4, 3, 3, 2, 2)), ShapeError,
         r"conv2d: the weight is \(U, V, P, Q\); got shape \(4, 3, 3, 2, 2\)"),
        (lambda: ops.conv2d(t(1, 5, 5, 2), t(3, 2, 2)), ShapeError, r"\(U, V, P, Q\); got"),
        (lambda: ops.conv_transpose2d(t(1, 5, 5, 2), t(4, 3, 3, 2, 2)), ShapeError, "U, V, P, Q"),
        (lambda: ops.hamilton_conv2d(t(1, 5, 5, 8), t(3, 3, 2, 2)), ShapeError,
         r"the weight is \(4, U, V, P, Q\); got shape \(3, 3, 2, 2\)"),
        (lambda: ops.hamilton_conv_transpose2d(t(1, 5, 5, 8), t(5, 3, 3, 2, 2)), ShapeError,
         r"the weight is \(4, U, V, P, Q\); got shape \(5, 3, 3, 2, 2\)"),
        (lambda: ops.hamilton_linear(t(2, 8), t(2, 2)), ShapeError, r"is \(4, P, Q\); got"),
        (lambda: ops.hamilton_linear(t(2, 8), t(3, 2, 2)), ShapeError, r"is \(4, P, Q\); got"),
        (lambda: conv_norm_act(t(1, 5, 5, 8), t(5, 3, 3, 2, 2), t(8), t(8)), ShapeError,
         r"the weight is \(4, U, V, P, Q\)"),
        (lambda: ops.hamilton(t(2, 3), t(4)), ShapeError, r"p holds .* size 4; got shape \(2, 3\)"),
        (lambda: ops.conv2d(t(1, 2, 5, 3), t(3, 3, 3, 5)), ShapeError,
         r"window of \(3, 3\) does not fit into maps of \(2, 5\) with padding \(0, 0\)"),
        (lambda: ops.conv2d(t(5, 5, 3), t(3, 3, 3, 5)), ShapeError, "channels last"),
        (lambda: ops.conv2d(t(1, 5, 5, 3), t(3, 3, 3, 5), stride=0), OptionError, "at least 1"),
        (lambda: ops.conv2d(t(1, 5, 5, 3), t(3, 3, 3, 5), padding=-1), OptionError, r"\(-1, -1\)"),
        (lambda: ops.max_pool2d(t(1, 2, 2, 1), 3), ShapeError, "MaxPool: a window .* does not fit"),
        (lambda: ops.max_pool2d(t(1, 4, 4, 1), 2, 1, 2), OptionError, "at most half of the window"),
        (lambda: ops.avg_pool2d(t(1, 4, 4, 1), 3, 1, (0, 2)), OptionError, "at most half"),
        (lambda: ops.batch_norm(t(2, 3), t(4), t(4), t(4), t(4), True), ShapeError,
         "expected 4 channels; .* has 3"),
        (lambda: ops.batch_norm(t(1, 3), t(3), t(3), t(3), t(3), True), ShapeError, r"\.eval\(\)"),
        (lambda: conv_norm_act(t(1, 5, 5, 3), t(3, 3, 3, 6), t(4), t(4)), ShapeError,
         "a norm of 4 channels follows a convolution that gives 6"),
        (lambda: conv_norm_act(t(0, 5, 5, 3), t(3, 3, 3, 6), t(6), t(6)), ShapeError,
         r"\.eval\(\)"),
        (lambda: conv_norm_act(t(1, 5, 5, 3), t(3, 3, 3, 6), t(6), t(6), t(1, 5, 5, 6)), ShapeError,
         r"residual of shape \(1, 5, 5, 6\) is added to maps of shape \(1, 3, 3, 6\)"),
        (lambda: ops.conv_norm_act(t(1, 5, 5, 3), t(3, 3, 3, 6), *[t(6)] * 4, (1, 1), (1, 1), 0.1,
                                   1e-5, False, t(1, 5, 5, 6)), OptionError, "give relu=True"),
        (lambda: ops.dropout(t(3), 1.0, None), OptionError, "0 <= p < 1; got 1.0"),
        (lambda: ops.matmul(t(2, 3), t(4, 5)), ShapeError, r"MatMul: .* \(2, 3\) and \(4, 5\)"),
        (lambda: ops.matmul(t(2, 3), 2.0), ShapeError, "MatMul"),
        (lambda: t(2, 3).reshape(5), ShapeError, r"Reshape: .* \(2, 3\)"),
        (lambda: t(2, 3).sum(axis=2), ShapeError, "Sum: .*axis 2"),
        (lambda: ops.concatenate([t(2, 3), t(2, 4)]), ShapeError, "Concatenate"),
        (lambda: ops.concatenate([]), QuatgradError, "Concatenate"),
        (lambda: ops.where(np.array([True, False]), t(3), t(3)), ShapeError, "Where"),
    ],
)  # fmt: skip
def test_errors_say_what_was_expected_and_what_came(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_index_out_of_range_is_an_index_error():
    for call in (lambda: t(3)[3], lambda: ops.stack([t(2), t(2)], 2)):
        with pytest.raises(IndexError):
            call()
