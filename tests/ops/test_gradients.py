"""Every op's gradient, of every input, at every entry: see `quatgrad.testing.check_gradients`.

A new Function needs an entry in `CASES`; the test at the end says so.
"""

from contextlib import contextmanager

import numpy as np
import pytest

from quatgrad import Tensor, ops, use_backend, use_kernels
from quatgrad.autograd import Function
from quatgrad.kernels.numba_cpu.machine.arena import Arena
from quatgrad.kernels.numba_cpu.machine.recorder import Recorder
from quatgrad.ops import algebra
from quatgrad.ops.activation import (
    GELU,
    BiasReLU,
    Dropout,
    LeakyReLU,
    ModReLU,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from quatgrad.ops.arithmetic import (
    Abs,
    Add,
    Binary,
    Clip,
    Div,
    Exp,
    FromOutput,
    Log,
    MatMul,
    Mul,
    Neg,
    Pow,
    Sqrt,
    Sub,
    Where,
)
from quatgrad.ops.attention import Attention
from quatgrad.ops.conv import Conv, ConvTranspose
from quatgrad.ops.conv_norm_act import ConvNormAct
from quatgrad.ops.csr import CSR, CSRMatMul
from quatgrad.ops.detection import Focal, SmoothL1
from quatgrad.ops.embedding import Embedding
from quatgrad.ops.hamilton import Hamilton, HamiltonConv, HamiltonConvTranspose, HamiltonLinear
from quatgrad.ops.layer_norm import LayerNorm
from quatgrad.ops.loss import MSE, CrossEntropy
from quatgrad.ops.norm import BatchNorm, BatchNormEval
from quatgrad.ops.pool import AvgPool, MaxPool, Pool, QuaternionMaxPool
from quatgrad.ops.quaternion_norm import Whiten
from quatgrad.ops.recurrent import GRU, LSTM, GateWeight, Recurrence
from quatgrad.ops.reduce import LogSumExp, Max, Mean, Reduction, Sum, Var
from quatgrad.ops.rotation import RotationWeight
from quatgrad.ops.sequence import MeanOverTime, Pack, Unpack
from quatgrad.ops.shape import (
    BroadcastTo,
    Concatenate,
    GetItem,
    Pad,
    PadMode,
    Reshape,
    Transpose,
    Vectors,
)
from quatgrad.ops.table_weight import TableWeight, table_conv2d, table_linear, table_weight
from quatgrad.step_calls import no_reading
from quatgrad.testing import check_gradients, taylor_rate

# ------------------------------------------------------------------------------- inputs

_rng = np.random.default_rng(1)


def normal(*shape):
    return _rng.standard_normal(shape)


def positive(*shape):
    return _rng.uniform(0.5, 2, shape)


def off_zero(*shape):
    """Away from 0, of either sign."""
    return positive(*shape) * _rng.choice([-1, 1], shape)


def distinct(*shape):
    """No two entries near each other: no ties, no change of winner."""
    return _rng.permutation(np.linspace(-1, 1, int(np.prod(shape)))).reshape(shape)


MASK = _rng.random((3, 4)) < 0.5
#: 1, a positive number, and quaternions nearly real: where sin t / t must be a series.
NEAR_ONE = np.array([[1, 0, 0, 0], [2, 0, 0, 0], [1, 1e-3, 0, -1e-3], [0.5, 1e-9, 0, 0]])
LABELS = np.array([2, 0, 4, 2])
#: Targets of a focal loss: ones, zeros, and what is near a one.
HEAT = np.array([[1, 0.3, 0, 0.9], [0, 0, 1, 1], [0.5, 0, 0, 0.01]])
MEAN, VARIANCE = normal(3), positive(3)


def batch_norm(x, scale, shift):
    return BatchNorm(1e-5)(x, scale, shift)


def conv_norm_act(*inputs, relu=False):
    return ConvNormAct((2, 1), (1, 0), 1e-3, relu)(*inputs)


def batch_norm_eval(x, scale, shift):
    mean, var = (Tensor(a.astype(x.dtype)) for a in (MEAN, VARIANCE))
    return BatchNormEval(mean, var, 1e-5)(x, scale, shift)


def whiten(x, gamma, shift):
    return Whiten(1e-2)(x, gamma, shift)


def whiten_eval(x, gamma, shift):
    rng = np.random.default_rng(0)
    root = rng.standard_normal((2, 4, 4))
    mean, cov = rng.standard_normal((4, 2)), root @ root.swapaxes(1, 2)
    return Whiten(1e-2, mean.astype(x.dtype), cov.astype(x.dtype))(x, gamma, shift)


def binary(op, left, right):
    """Shapes that broadcast in every way: equal, against a number, stretched, missing axes."""
    return [
        (op, left(3, 4), right(3, 4)),
        (op, left(), right()),
        (op, left(3, 4), right()),
        (op, left(4), right(3, 4)),
        (op, left(3, 1, 5), right(2, 1)),
        (op, left(1, 1), right(3)),
        (lambda a: op(a, a), np.abs(left(3, 4))),  # one tensor, used twice
    ]


def reduction(op, draw):
    return [
        (op, draw(3, 4)),
        (op, draw(5)),
        (lambda x: op(x, 0), draw(3, 4)),
        (lambda x: op(x, -1, keepdims=True), draw(3, 4)),
        (lambda x: op(x, (0, 2)), draw(3, 5, 2)),
        (lambda x: op(x, (-1, 0), keepdims=True), draw(3, 5, 2)),
        (lambda x: op(x, keepdims=True), draw(2, 3)),
    ]


def convolution(op, lead, channels):
    """Odd maps; strides and paddings apart; windows of 1, even, as large as the map, oblong."""
    P, Q = channels
    weight = lambda U, V: normal(*lead, U, V, P, Q)  # noqa: E731
    C = P * (4 if lead else 1)
    how = lambda stride, padding: lambda x, w: op(x, w, None, stride, padding)  # noqa: E731
    return [
        (how(1, 1), normal(2, 4, 3, C), weight(3, 3)),
        (how(2, 1), normal(1, 5, 5, C), weight(3, 3)),
        (how(2, 1), normal(1, 4, 4, C), weight(3, 3)),  # the last row meets no window
        (how(1, 0), normal(2, 3, 3, C), weight(1, 1)),
        (how(2, 0), normal(2, 3, 4, C), weight(1, 1)),
        (how(3, 0), normal(1, 5, 4, C), weight(2, 2)),  # gaps between windows
        (how(1, 0), normal(1, 3, 4, C), weight(3, 4)),
        (how((2, 1), (0, 2)), normal(1, 4, 3, C), weight(2, 3)),
        (how(1, 2), normal(1, 2, 2, C), weight(3, 3)),
        (lambda x, w, b: op(x, w, b, 1, 1), normal(1, 3, 3, C), weight(3, 3), normal(Q * C // P)),
        (lambda x, w: op(x, w, dilation=(2, 1)), normal(1, 5, 3, C), weight(2, 2)),
        (lambda x, w: op(x, w, None, 2, 2, (3, 2)), normal(1, 5, 4, C), weight(2, 3)),
        (lambda x, w: op(x, w, None, 1, (1, 2), padding_mode="reflect"),
         normal(1, 3, 3, C), weight(3, 2)),
    ]  # fmt: skip


def grouped(op, lead, **options):
    """Two groups of 2 -> 1 and three of 1 -> 2 channels, or quaternions."""
    four = 4 if lead else 1
    f = lambda groups: lambda x, w: op(x, w, None, 2, 1, groups=groups, **options)  # noqa: E731
    return [
        (f(2), normal(2, 3, 3, four * 4), normal(*lead, 3, 3, 2, 2)),
        (f(3), normal(1, 2, 3, four * 3), normal(*lead, 3, 2, 1, 6)),
    ]


def transposed(op, lead):
    P, Q, four = 2, 1, 4 if lead else 1
    how = lambda *options: lambda x, w: op(x, w, None, *options)  # noqa: E731
    return [
        (how(), normal(2, 2, 3, four * P), normal(*lead, 3, 2, P, Q)),
        (how(2, 1), normal(1, 3, 2, four * P), normal(*lead, 3, 3, P, Q)),
        (how((3, 2), (0, 1), (2, 1)), normal(1, 2, 3, four * P), normal(*lead, 2, 3, P, Q)),
        (how(2), normal(1, 2, 2, four * P), normal(*lead, 1, 1, P, Q)),
        (op, normal(1, 2, 2, four * P), normal(*lead, 2, 2, P, Q), normal(four * Q)),
        *grouped(op, lead, output_padding=1),
    ]


def pooling(op):
    how = lambda *options: lambda x: op(x, *options)  # noqa: E731
    return [
        (how(2), distinct(2, 4, 6, 3)),
        (how(2), distinct(1, 5, 3, 2)),  # the last row and column meet no window
        (how(3, 2, 1), distinct(2, 5, 5, 2)),
        (how(3, 1), distinct(1, 4, 5, 2)),  # overlapping windows
        (how(2, 3), distinct(1, 5, 5, 1)),  # gaps between windows
        (how((1, 3), (2, 1), (0, 1)), distinct(1, 3, 4, 2)),
        (how(1), distinct(1, 2, 3, 2)),
    ]


#: A matrix (4, 3) in compressed rows: one is empty, and one entry stands twice.
MATRIX = CSR.from_entries(
    normal(6).astype(np.float32), np.array([3, 0, 1, 0, 3, 3]), np.array([2, 0, 1, 2, 0, 2]), (4, 3)
)


def attends(*options, **named):
    return lambda q, k, v: ops.attention(q, k, v, *options, **named)


def recurrence(op, gates):
    """Real and quaternion weights, both directions, sequences of different lengths."""
    more = (normal(4),) if op is ops.gru else ()  # the second bias
    short = lambda **how: lambda *a: op(*a, lengths=[3, 1], **how)  # noqa: E731
    real = normal(2, 3, 5), normal(5, gates * 4), normal(4, gates * 4), normal(gates * 4), *more
    four = normal(2, 3, 8), normal(4, 2, gates), normal(4, 1, gates), normal(gates * 4), *more
    one = normal(1, 1, 1), normal(1, gates * 4), normal(4, gates * 4), normal(gates * 4), *more
    return [
        (op, *real),
        (lambda *a: op(*a, reverse=True), *real),
        (short(), *real),
        (short(reverse=True), *four),
        (op, *four),
        (op, *one),
    ]


#: Function -> its cases: (f, input, ...), f maps Tensors to a Tensor.
CASES = {
    Add: binary(ops.arithmetic.add, normal, normal),
    Sub: binary(ops.arithmetic.sub, normal, normal),
    Mul: binary(ops.arithmetic.mul, normal, normal),
    Div: binary(ops.arithmetic.div, normal, off_zero),
    Pow: [
        *binary(ops.power, positive, normal),
        (lambda x: x**2, np.array([-1.5, 0, 2])),
        (lambda x: x**0, np.array([-1.5, 0, 2])),
        (lambda x: x**-1.5, positive(3)),
        (lambda x: 2**x, normal(3)),
    ],
    Neg: [(ops.arithmetic.neg, normal(3, 4)), (ops.arithmetic.neg, normal())],
    Exp: [(ops.exp, normal(3, 4)), (ops.exp, normal())],
    Log: [(ops.log, positive(3, 4)), (ops.log, positive())],
    Sqrt: [(ops.sqrt, positive(3, 4)), (ops.sqrt, positive())],
    Abs: [(ops.absolute, off_zero(3, 4)), (ops.absolute, np.zeros(2))],
    Clip: [
        (lambda x: ops.clip(x, -0.45, 0.45), distinct(3, 4)),
        (lambda x: ops.clip(x, low=0.1), distinct(5)),
        (lambda x: ops.clip(x, high=0.1), distinct(5)),
    ],
    Where: [
        (lambda a, b: ops.where(MASK, a, b), normal(3, 4), normal(3, 4)),
        (lambda a, b: ops.where(MASK, a, b), normal(4), normal(3, 1)),
        (lambda a, b: ops.where(MASK[0], a, b), normal(3, 1), normal()),
        (lambda a, b: ops.where([1, 0, 1], a, b), normal(3), normal(3)),
    ],
    MatMul: [
        (ops.matmul, normal(3, 4), normal(4, 2)),
        (ops.matmul, normal(1, 1), normal(1, 1)),
        (ops.matmul, normal(4), normal(4)),
        (ops.matmul, normal(4), normal(4, 3)),
        (ops.matmul, normal(3, 4), normal(4)),
        (ops.matmul, normal(2, 3, 4), normal(2, 4, 5)),
        (ops.matmul, normal(2, 1, 3, 4), normal(5, 4, 2)),
        (ops.matmul, normal(3), normal(2, 3, 2)),
        (ops.matmul, normal(2, 2, 3), normal(3)),
        (lambda x: x @ x, normal(3, 3)),
        (ops.linear, normal(5, 3), normal(3, 2), normal(2)),
        (ops.linear, normal(2, 3, 4), normal(4, 5), normal(5)),
        (ops.linear, normal(4), normal(4, 5), normal(5)),
    ],
    ReLU: [(ops.relu, off_zero(3, 4)), (ops.relu, off_zero())],
    BiasReLU: [  # which writes over its input
        (lambda x, b: BiasReLU()(x * 1, b), off_zero(3, 4), 0.1 * normal(4)),
        (lambda x, b: BiasReLU()(x * 1, b), off_zero(2, 3, 3, 2), 0.1 * normal(2)),
    ],
    LeakyReLU: [(ops.leaky_relu, off_zero(3, 4)), (lambda x: ops.leaky_relu(x, 0.3), off_zero(5))],
    GELU: [(ops.gelu, 2 * normal(3, 4)), (ops.gelu, normal())],
    Sigmoid: [(ops.sigmoid, 3 * normal(3, 4)), (ops.sigmoid, normal())],
    Tanh: [(ops.tanh, normal(3, 4)), (ops.tanh, normal())],
    Softmax: [
        (ops.softmax, normal(3, 4)),
        (lambda x: ops.softmax(x, 0), normal(3, 4)),
        (lambda x: ops.softmax(x, 1), normal(2, 3, 2)),
        (ops.softmax, normal(3, 1)),
    ],
    Dropout: [
        (lambda x: ops.dropout(x, 0.4, 0), normal(3, 4)),
        (lambda x: ops.dropout(x, 0.5, 1, components=4), normal(5, 8)),
    ],
    ModReLU: [
        (ops.modrelu, off_zero(3, 2, 8), np.array([0.5, -0.5])),
        (ops.modrelu, off_zero(4, 8), np.array([-9.0, -0.1])),  # one is off
        (ops.modrelu, off_zero(4), np.array([0.3])),
        (ops.modrelu, np.zeros((2, 4)), np.array([-0.1])),
    ],
    Embedding: [
        (lambda E: ops.embedding(E, np.array([[1, 0, 1], [4, 1, 1]])), normal(5, 3)),
        (lambda E: ops.embedding(E, [2]), normal(3, 1)),
        (lambda E: ops.embedding(E, np.int64(1)), normal(2, 4)),
        (lambda E: ops.embedding(E, np.zeros((2, 0), int)), normal(2, 4)),  # no token
    ],
    LayerNorm: [
        (ops.layer_norm, normal(3, 5), normal(5), normal(5)),
        (ops.layer_norm, normal(2, 3, 4), normal(4), normal(4)),
        (ops.layer_norm, normal(7), normal(7), normal(7)),
        (lambda x, a, b: ops.layer_norm(x, a, b, 4), normal(2, 3, 12), normal(3), normal(12)),
        (lambda x, a, b: ops.layer_norm(x, a, b, 4, 0.1), normal(70, 8), normal(2), normal(8)),
    ],
    Attention: [
        (attends(1), normal(2, 3, 5), normal(2, 3, 5), normal(2, 3, 5)),
        (attends(3, causal=True), normal(1, 4, 6), normal(1, 4, 6), normal(1, 4, 6)),
        (attends(2, 4), normal(2, 3, 8), normal(2, 3, 8), normal(2, 3, 8)),
        (attends(2, 4, True, [3, 1]), normal(2, 3, 16), normal(2, 3, 16), normal(2, 3, 16)),
        (attends(1, lengths=[2, 5]), normal(2, 5, 3), normal(2, 5, 3), normal(2, 5, 3)),
        (attends(1, causal=True), normal(2, 1, 2), normal(2, 1, 2), normal(2, 1, 2)),
        (lambda x: ops.attention(x, x, x, 2, causal=True), normal(2, 3, 4)),
    ],
    GateWeight: [
        (lambda w: GateWeight(3)(w), normal(4, 2, 6)),
        (lambda w: GateWeight(4)(w), normal(4, 1, 4)),
    ],
    GRU: recurrence(ops.gru, 3),
    LSTM: recurrence(ops.lstm, 4),
    MeanOverTime: [
        (ops.mean_over_time, normal(2, 3, 4)),
        (lambda x: ops.mean_over_time(x, [1, 3]), normal(2, 3, 4)),
    ],
    Pack: [
        (lambda x: ops.pack(x, [1, 3, 2]), normal(3, 3, 4)),
        (lambda x: ops.pack(x, [2]), normal(1, 3, 1)),
    ],
    Unpack: [
        (lambda x: ops.unpack(x, [1, 3, 2]), normal(6, 4)),
        (lambda x: ops.unpack(x, [1]), normal(1, 1)),
    ],
    CSRMatMul: [
        (lambda x: ops.csr_matmul(MATRIX, x), normal(3, 5)),
        (lambda x: ops.csr_matmul(MATRIX.transposed, x), normal(4, 1)),
    ],
    Conv: [
        *convolution(ops.conv2d, (), (2, 3)),
        *grouped(ops.conv2d, ()),
        (ops.conv1d, normal(2, 5, 3), normal(1, 4, 3, 2), normal(2)),
        (lambda x, w: ops.conv1d(x, w, None, 2, True), normal(2, 4, 3), normal(1, 3, 3, 2)),
    ],
    ConvTranspose: transposed(ops.conv_transpose2d, ()),
    algebra.Conjugate: [(algebra.conjugate, normal(3, 4)), (algebra.conjugate, normal(4))],
    algebra.Norm: [(algebra.norm, normal(3, 2, 4)), (algebra.norm, normal(4))],
    algebra.Inverse: [(algebra.inverse, off_zero(3, 4)), (algebra.inverse, off_zero(4))],
    algebra.Normalize: [(algebra.normalize, off_zero(2, 3, 4)), (algebra.normalize, off_zero(4))],
    algebra.Intrinsic: [
        (f, q)
        for q in (off_zero(3, 4), positive(2, 1, 4), NEAR_ONE)
        for f in (
            algebra.exp,
            algebra.log,
            algebra.sqrt,
            lambda q: algebra.power(q, 1.7),
            lambda q: algebra.power(q, -0.4),
            lambda q: algebra.power(q, 3),
        )
    ],
    algebra.Rotate: [
        (algebra.rotate, off_zero(4), normal(3)),
        (algebra.rotate, off_zero(3, 4), normal(3, 3)),
        (algebra.rotate, off_zero(2, 1, 4), normal(3, 3)),
        (algebra.rotate, off_zero(4), normal(2, 3, 3)),
    ],
    algebra.MatMul: [
        (algebra.matmul, normal(2, 3, 4), normal(3, 1, 4)),
        (algebra.matmul, normal(2, 2, 3, 4), normal(3, 2, 4)),
        (algebra.matmul, normal(1, 3, 4), normal(5, 3, 2, 4)),
    ],
    Hamilton: [
        (ops.hamilton, normal(4), normal(4)),
        (ops.hamilton, normal(3, 4), normal(3, 4)),
        (ops.hamilton, normal(2, 1, 4), normal(3, 4)),
        (ops.hamilton, normal(4), normal(2, 3, 4)),
        (lambda q: ops.hamilton(q, q), normal(3, 4)),
        (lambda p, q: algebra.slerp(p, q, 0.3), off_zero(3, 4), off_zero(3, 4)),
        (algebra.general_power, positive(3, 4), normal(3, 4)),
    ],
    HamiltonLinear: [
        (ops.hamilton_linear, normal(3, 8), normal(4, 2, 3)),
        (ops.hamilton_linear, normal(1, 4), normal(4, 1, 1)),
        (ops.hamilton_linear, normal(5, 12), normal(4, 3, 1), normal(4)),
        (ops.hamilton_linear, normal(2, 3, 4), normal(4, 1, 2), normal(8)),
        (ops.hamilton_linear, normal(8), normal(4, 2, 1)),
    ],
    HamiltonConv: [
        *convolution(ops.hamilton_conv2d, (4,), (2, 1)),
        *grouped(ops.hamilton_conv2d, (4,)),
        (lambda x, w: ops.conv1d(x, w, causal=True), normal(1, 3, 8), normal(4, 1, 2, 2, 1)),
    ],
    HamiltonConvTranspose: transposed(ops.hamilton_conv_transpose2d, (4,)),
    TableWeight: [
        (table_weight, normal(4, 3, 2), normal(4, 4, 4)),
        (table_weight, normal(4, 2, 1, 2, 3), normal(4, 4, 4)),
        (table_linear, normal(3, 8), normal(4, 2, 1), normal(4, 4, 4), normal(4)),
        (lambda x, w, t, b: table_conv2d(x, w, t, b, 2, 1),
         normal(1, 4, 3, 4), normal(4, 2, 2, 1, 2), normal(4, 4, 4), normal(8)),
    ],
    RotationWeight: [
        (ops.rotation_weight, off_zero(4, 3, 2), normal(3, 2)),
        (ops.rotation_weight, off_zero(4, 2, 1, 2, 3), normal(2, 1, 2, 3)),
        (ops.rotation_linear, normal(3, 8), off_zero(4, 2, 1), normal(2, 1), normal(4)),
        (lambda x, w, s, b: ops.rotation_conv2d(x, w, s, b, 2, 1, 2),
         normal(1, 4, 3, 4), off_zero(4, 2, 2, 1, 2), normal(2, 2, 1, 2), normal(8)),
    ],
    CrossEntropy: [
        (lambda z: ops.cross_entropy(z, LABELS), normal(4, 5)),
        (lambda z: ops.cross_entropy(z, LABELS, smoothing=0.1), normal(4, 5)),
        (lambda z: ops.cross_entropy(z, [0], smoothing=0.9), normal(1, 2)),
    ],
    MSE: [
        (ops.mse_loss, normal(3, 4), normal(3, 4)),
        (ops.mse_loss, normal(), normal()),
    ],
    SmoothL1: [
        (ops.smooth_l1_loss, 2 * normal(3, 4), normal(3, 4)),
        (lambda x, y: ops.smooth_l1_loss(x, y, MASK, 0.3), normal(3, 4), normal(3, 4)),
        (lambda x, y: ops.smooth_l1_loss(x, y, HEAT[:, 1:], 2.5), 3 * normal(5, 3, 3),
         normal(5, 3, 3)),
        (lambda x: ops.smooth_l1_loss(x, HEAT.tolist()), normal(3, 4)),
        (ops.smooth_l1_loss, normal(), normal()),
    ],
    Focal: [
        (lambda z: ops.focal_loss(z, HEAT), 2 * normal(3, 4)),
        (lambda z: ops.focal_loss(z, HEAT, 0.5, 1.5), 2 * normal(3, 4)),
        (lambda z: ops.focal_loss(z, MASK, 0, 0), 2 * normal(3, 4)),
        (lambda z: ops.focal_loss(z, HEAT[:, 1:, None]), normal(3, 3, 1)),
        (lambda z: ops.focal_loss(z, 1.0), normal()),
    ],
    BatchNorm: [
        (batch_norm, normal(2, 4, 3, 3), normal(3), normal(3)),
        (batch_norm, normal(5, 3), normal(3), normal(3)),
        (batch_norm, normal(2, 1), normal(1), normal(1)),
        (batch_norm, 3 + 0.5 * normal(7, 2), positive(2), normal(2)),
    ],
    ConvNormAct: [
        (conv_norm_act, normal(2, 5, 4, 3), normal(3, 2, 3, 2), normal(2), normal(2)),
        (conv_norm_act, normal(2, 5, 4, 4), normal(4, 3, 2, 1, 1), normal(4), normal(4)),
        (lambda *a: conv_norm_act(*a, relu=True),
         normal(2, 5, 4, 3), normal(3, 2, 3, 2), normal(2), normal(2)),
        (lambda *a: conv_norm_act(*a, relu=True),
         normal(2, 5, 4, 4), normal(4, 3, 2, 1, 1), normal(4), normal(4), normal(2, 3, 3, 4)),
    ],
    BatchNormEval: [
        (batch_norm_eval, normal(2, 2, 3, 3), normal(3), normal(3)),
        (batch_norm_eval, normal(1, 3), normal(3), normal(3)),
    ],
    Whiten: [
        (whiten, normal(9, 8), normal(4, 4, 2), normal(8)),
        (whiten, normal(2, 2, 2, 8), normal(4, 4, 2), normal(8)),
        (whiten, normal(3, 4), normal(4, 4, 1), normal(4)),  # singular: three rows span two
        (whiten_eval, normal(1, 8), normal(4, 4, 2), normal(8)),
        (whiten_eval, normal(2, 3, 1, 8), normal(4, 4, 2), normal(8)),
    ],
    QuaternionMaxPool: [
        (lambda x: ops.quaternion_max_pool2d(x, 2), distinct(2, 4, 5, 8)),
        (lambda x: ops.quaternion_max_pool2d(x, 3, 2, 1), distinct(1, 5, 4, 4)),
        (lambda x: ops.quaternion_max_pool2d(x, (1, 2), (2, 1), (0, 1)), distinct(1, 3, 3, 8)),
    ],
    MaxPool: pooling(ops.max_pool2d),
    AvgPool: pooling(ops.avg_pool2d),
    Sum: reduction(ops.sum, normal),
    Mean: [*reduction(ops.mean, normal), (ops.global_avg_pool2d, normal(2, 3, 5, 2))],
    Var: [*reduction(ops.var, normal), (lambda x: ops.var(x, 0, ddof=1), normal(3, 4))],
    Max: [
        *reduction(ops.max, distinct),
        (ops.max, np.array([1.0, 3, 3, 2])),  # of two equal winners each gets half
        (lambda x: ops.max(x, 1), np.array([[1.0, 1], [2, 3]])),
    ],
    LogSumExp: [*reduction(ops.logsumexp, normal), (ops.logsumexp, np.array([0, 30.0]))],
    Reshape: [
        (lambda x: x.reshape(4, -1), normal(2, 3, 2)),
        (lambda x: x.reshape(()), normal(1, 1)),
        (lambda x: x.reshape(1, 1), normal()),
        (ops.flatten, normal(2, 3, 2)),
    ],
    Transpose: [
        (ops.transpose, normal(2, 3, 4)),
        (lambda x: x.transpose(1, 2, 0), normal(2, 3, 4)),
        (lambda x: x.transpose(-1, 0, -2), normal(2, 3, 4)),
        (lambda x: x.T, normal(3)),
    ],
    Vectors: [
        (lambda x: Vectors(1)(x), normal(2, 3, 2, 3)),
        (lambda x: Vectors(4)(x), normal(2, 3, 1, 8)),
    ],
    BroadcastTo: [
        (lambda x: ops.broadcast_to(x, 2, 3, 4), normal(3, 1)),
        (lambda x: ops.broadcast_to(x, (3, 4)), normal()),
        (lambda x: ops.broadcast_to(x, (1, 3)), normal(1, 3)),
    ],
    Pad: [
        (lambda x: ops.pad(x, ((1, 0), (2, 3))), normal(2, 3)),
        (lambda x: ops.pad(x, ((0, 1),), value=7.0), normal(3)),
    ],
    PadMode: [
        (lambda x: ops.pad(x, ((1, 0), (0, 0), (2, 1)), mode="reflect"), normal(2, 2, 3)),
        (lambda x: ops.pad(x, ((2, 3), (0, 1)), mode="replicate"), normal(2, 3)),
        (lambda x: ops.pad(x, ((0, 1), (1, 2)), mode="circular"), normal(3, 2)),
        (lambda x: ops.pad(x, ((5, 4),), mode="reflect"), normal(3)),  # there and back again
        (lambda x: ops.pad(x, ((5, 4),), mode="circular"), normal(2)),
    ],
    GetItem: [
        (lambda x: x[1], normal(3, 4)),
        (lambda x: x[-1, 2], normal(3, 4)),
        (lambda x: x[::2, ::-1], normal(3, 4)),
        (lambda x: x[..., None, 1:], normal(3, 4)),
        (lambda x: x[[0, 2, 0, 0]], normal(3, 4)),  # an entry taken three times
        (lambda x: x[[0, 1, 0], [2, 2, 2]], normal(3, 4)),
        (lambda x: x[:, np.array([1, 1])], normal(3, 4)),
        (lambda x: x[MASK], normal(3, 4)),
        (lambda x: x[np.int64(1)], normal(3)),
        (lambda x: x[()], normal()),
    ],
    Concatenate: [
        (lambda a, b: ops.concatenate([a, b]), normal(2, 3), normal(1, 3)),
        (lambda a, b, c: ops.concatenate([a, b, c], -1), normal(2, 1), normal(2, 3), normal(2, 2)),
        (lambda a: ops.concatenate([a, a]), normal(3)),
        (lambda a, b: ops.stack([a, b], 1), normal(2, 3), normal(2, 3)),
        (lambda a, b: ops.stack([a, b], -1), normal(), normal()),
    ],
}  # fmt: skip
BASES = {
    Binary,
    FromOutput,
    Reduction,
    Pool,
    Recurrence,
}  # what subclasses share: none computes by itself
ROWS = [
    pytest.param(op, case, id=f"{op.__name__}-{i}")
    for op, cases in CASES.items()
    for i, case in enumerate(cases)
]


@contextmanager
def numerics(name):
    """A backend, or a rung of the kernel ladder."""
    with use_kernels(name) if name == "reference" else use_backend(name):
        yield


# -------------------------------------------------------------------------------- tests


@pytest.mark.parametrize("kernels", ["numpy", "numba", "reference"])
@pytest.mark.parametrize(("op", "case"), ROWS)
def test_gradients(op, case, kernels):
    f, *inputs = case
    with numerics(kernels):
        check_gradients(f, *inputs, name=op.__name__)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("op", "case"), ROWS)
def test_a_record_repeats_the_passes_on_other_numbers(op, case, dtype):
    f, *inputs = case
    with use_backend("numba"):
        tensors = [Tensor(x.astype(dtype), requires_grad=True) for x in inputs]
        kept = []

        def passes():
            for t in tensors:
                t.grad = None
            y = f(*tensors)
            y.backward(np.linspace(1, 2, y.size, dtype=dtype).reshape(y.shape))
            kept[:] = [y]

        def results():
            return [kept[0].numpy().tobytes(), *(t.grad.tobytes() for t in tensors)]

        passes()  # compiles
        recorder = Recorder(Arena())
        with no_reading(recorder):
            recorder.run(passes)
        if recorder.refused:
            assert op.__module__.endswith("algebra") or op in (Hamilton, BatchNormEval)
            return
        for t, x in zip(tensors, inputs, strict=True):
            t.data = (1.25 * x).astype(dtype)
        recorder.repeat()
        repeated = results()
        passes()
        assert repeated == results()


@pytest.mark.parametrize("kernels", ["numpy", "numba", "reference"])
@pytest.mark.parametrize(("op", "case"), [row for row in ROWS if row.values[0].owns_grads])
def test_owned_gradients_are_held_by_nobody_else(op, case, kernels, monkeypatch):
    """Or a leaf would keep an array that is written to elsewhere."""
    f, *inputs = case
    gradients, met = Function.gradients, []

    def spy(node, g):
        saved = [a for a in node.saved if isinstance(a, np.ndarray)]
        shares = gradients(node, g)
        if isinstance(node, op):
            met.append(([g, *saved], [d for d in shares if d is not None]))
        return shares

    monkeypatch.setattr(Function, "gradients", spy)
    with numerics(kernels):
        y = f(*(Tensor(x, requires_grad=True) for x in inputs))
        y.backward(np.ones(y.shape, y.dtype))
    assert met
    for held, shares in met:
        for i, d in enumerate(shares):
            assert not any(np.may_share_memory(d, a) for a in held + shares[:i])


@pytest.mark.parametrize(
    "op",
    [
        Hamilton, HamiltonLinear, HamiltonConv, Conv, MatMul, BatchNorm, GELU, LogSumExp, ModReLU,
        RotationWeight, TableWeight, Whiten,
    ],
)  # fmt: skip
def test_taylor_rate_is_2(op):
    f, *inputs = CASES[op][0]
    along = normal(*inputs[0].shape)
    rest = [Tensor(x) for x in inputs[1:]]
    assert taylor_rate(lambda x: f(x, *rest), inputs[0], along) >= 1.98  # infinite where linear


@pytest.mark.parametrize(
    "op", [Hamilton, HamiltonLinear, HamiltonConv, HamiltonConvTranspose, Conv, MatMul]
)
def test_products_are_bilinear_so_the_remainder_is_exactly_quadratic(op):
    """Along a direction in both factors at once, taken as one vector."""
    f, a, b = CASES[op][0]
    both = np.concatenate([a.ravel(), b.ravel()])

    def of_both(z):
        return f(z[: a.size].reshape(a.shape), z[a.size :].reshape(b.shape))

    assert taylor_rate(of_both, both, normal(both.size)) == pytest.approx(2, abs=1e-3)


def test_in_a_deep_network_the_rate_is_2_too():
    q, w, v = normal(5, 8), normal(4, 2, 3), normal(12, 3)

    def net(w):
        h = ops.tanh(ops.hamilton_linear(Tensor(q), w))
        return ops.cross_entropy(h @ Tensor(v), [0, 1, 2, 1, 0], smoothing=0.1)

    assert taylor_rate(net, w, normal(*w.shape)) == pytest.approx(2, abs=0.02)


def _below(cls):
    return {cls}.union(*map(_below, cls.__subclasses__()))


def test_every_function_has_a_case():
    ours = {c for c in _below(Function) if c.__module__.startswith("quatgrad.")} - {Function}
    ours = {c for c in ours if not c.__module__.startswith("quatgrad.testing.")}  # tools, no ops
    assert all("forward" not in vars(base) for base in BASES - {FromOutput})
    assert not hasattr(FromOutput, "value")  # its forward needs the value of a subclass
    missing = ours - BASES - CASES.keys()
    assert not missing, f"no gradient case for {sorted(c.__name__ for c in missing)}"


@pytest.mark.parametrize(("op", "case"), ROWS)
def test_each_case_runs_the_op_it_is_listed_under(op, case):
    f, *inputs = case
    y = f(*(Tensor(x, requires_grad=True) for x in inputs))
    todo, met = [y._node], set()
    while todo:
        node = todo.pop()
        if isinstance(node, Function):
            met.add(type(node))
            todo.extend(node.parents)
    assert op in met
