"""Differentiable operations. Each is a `Function` (formula and derivative) and a lower-case door.

    arithmetic   + - * / **, exp log sqrt abs clip where, matmul
    shape        reshape transpose pad getitem concatenate stack broadcast_to
    reduce       sum mean var max logsumexp
    activation   relu leaky_relu gelu sigmoid tanh softmax modrelu dropout
    conv         linear conv2d conv_transpose2d
    pool         max_pool2d avg_pool2d global_avg_pool2d quaternion_max_pool2d
    norm         batch_norm
    conv_norm_act   convolution, batch norm, residual and activation in one
    loss         cross_entropy mse_loss
    detection    focal_loss smooth_l1_loss
    embedding layer_norm attention    embedding, layer_norm, attention: of transformers
    recurrent    gru lstm: a whole sequence is one operation
    sequence     mean_over_time conv1d, pack unpack: only the steps that are there
    csr          csr_matmul: a constant matrix of few entries, as a graph's, times a dense one
    algebra      exp, log, sqrt, powers, rotations of quaternions: ops.algebra.exp, ...

and of quaternions

    hamilton     hamilton (entry by entry), hamilton_linear hamilton_conv2d ..._conv_transpose2d
    rotation     rotation_weight rotation_linear rotation_conv2d
    quaternion_norm   variance_norm whitening_norm
    table_weight      the weight of a layer over any algebra of four components: for quatgrad.sham

Importing this package gives `Tensor` its operators and methods, the table below, and the engine
the kernels that add gradients and widen bfloat16 numbers.
"""

from collections.abc import Callable
from typing import Any

from quatgrad import autograd
from quatgrad.arrays import BFLOAT16_BITS, Array
from quatgrad.autograd import Tensor
from quatgrad.errors import GraphError
from quatgrad.kernels import registry
from quatgrad.ops import activation, arithmetic, reduce, shape
from quatgrad.ops import algebra as algebra
from quatgrad.ops.activation import dropout, gelu, leaky_relu, modrelu, relu, sigmoid, softmax, tanh
from quatgrad.ops.arithmetic import absolute, clip, exp, log, matmul, power, sqrt, where
from quatgrad.ops.attention import attention
from quatgrad.ops.conv import conv2d, conv_transpose2d, linear
from quatgrad.ops.conv_norm_act import conv_norm_act
from quatgrad.ops.csr import CSR, csr_matmul
from quatgrad.ops.detection import focal_loss, smooth_l1_loss
from quatgrad.ops.embedding import embedding
from quatgrad.ops.hamilton import (
    hamilton,
    hamilton_conv2d,
    hamilton_conv_transpose2d,
    hamilton_linear,
)
from quatgrad.ops.layer_norm import layer_norm
from quatgrad.ops.loss import cross_entropy, mse_loss
from quatgrad.ops.norm import batch_norm
from quatgrad.ops.pool import avg_pool2d, global_avg_pool2d, max_pool2d, quaternion_max_pool2d
from quatgrad.ops.quaternion_norm import variance_norm, whitening_norm
from quatgrad.ops.recurrent import gru, lstm
from quatgrad.ops.reduce import logsumexp, max, mean, sum, var
from quatgrad.ops.rotation import rotation_conv2d, rotation_linear, rotation_weight
from quatgrad.ops.sequence import conv1d, mean_over_time, pack, unpack
from quatgrad.ops.shape import (
    broadcast_to,
    concatenate,
    flatten,
    getitem,
    pad,
    reshape,
    stack,
    transpose,
)

#: a + b is Tensor.__add__, and 1 + b is Tensor.__radd__.
BINARY = {
    "add": arithmetic.add,
    "sub": arithmetic.sub,
    "mul": arithmetic.mul,
    "truediv": arithmetic.div,
    "pow": arithmetic.power,
    "matmul": arithmetic.matmul,
}
OTHERS = {
    "__neg__": arithmetic.neg,
    "__getitem__": shape.getitem,
    "T": property(shape.transpose),
    "abs": arithmetic.absolute,
    "__abs__": arithmetic.absolute,
    "view": shape.reshape,
    "argmax": reduce.argmax,
}
#: Operations that are methods of the same name: x.exp().
METHODS = {
    arithmetic: "exp log sqrt clip",
    shape: "reshape transpose flatten",
    reduce: "sum mean var max",
    activation: "relu",
}


def _in_place(name: str, f: Callable[[Any, Any], Tensor]) -> Callable[[Tensor, Any], Tensor]:
    """`a += b` of a result is a = a + b. A leaf that learns, or is state, would stay as it was."""

    def update(a: Tensor, b: Any) -> Tensor:
        if type(a) is not Tensor or (a.requires_grad and a._node is None):
            raise GraphError(
                f"__i{name}__: an operator cannot write to a {type(a).__name__} that is a leaf: "
                "assign to its value, p.data = p.data - lr * p.grad, or use an optimizer"
            )
        return f(a, b)

    return update


def _comparison(name: str) -> Callable[[Tensor, Any], Any]:
    """Comparisons stay outside the graph: they give a plain bool array."""

    def compare(a: Tensor, b: Any) -> Any:
        b = b.data if isinstance(b, Tensor) else b
        return getattr(a.data, name)(b)

    return compare


def _add(a: Array, b: Array) -> Array:
    return registry.kernel("add")(a, b)


def _add_to(a: Array, b: Array) -> Array:
    return registry.kernel("add_to")(a, b)


def _upcast(a: Array) -> Array:
    """a, or the float32 numbers that it stands for if it holds bfloat16 ones."""
    return registry.kernel("upcast")(a) if a.dtype == BFLOAT16_BITS else a


for _name, _f in BINARY.items():
    setattr(Tensor, f"__{_name}__", _f)
    setattr(Tensor, f"__i{_name}__", _in_place(_name, _f))
    setattr(Tensor, f"__r{_name}__", lambda a, b, f=_f: f(b, a))
for _name, _member in OTHERS.items():
    setattr(Tensor, _name, _member)
for _module, _names in METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, getattr(_module, _name))
for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
    setattr(Tensor, _name, _comparison(_name))
autograd.add, autograd.add_to, autograd.upcast = _add, _add_to, _upcast
Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]  # == compares entries
