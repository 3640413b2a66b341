"""Scaled dot-product attention over the steps of a sequence."""

from typing import Any

from quatgrad.arrays import Array, asarray
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import OptionError, ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.ops.operands import check_operands
from quatgrad.ops.sequence import check_lengths
from quatgrad.scalars import integer


class Attention(Function):
    """y_i = sum_j a_ij v_j, a_ij = softmax_j (q_i . k_j / sqrt(D)), in each head of D numbers.

    With da = g v^T and ds = a (da - sum_j a da) / sqrt(D): dq = ds k, dk = ds^T q, dv = a^T g.
    """

    owns_grads = noted_inside = True

    def __init__(self, lengths: Array, heads: int, components: int, causal: bool):
        self.lengths, self.heads = lengths, heads
        self.components, self.causal = components, causal

    def forward(self, q, k, v):
        how = self.lengths, self.heads, self.components, self.causal
        y, a = kernel("attention")(q, k, v, *how)
        self.save_for_backward(q, k, v, a)
        return y

    def backward(self, g):
        return kernel("attention_dx")(g, *self.saved, self.lengths, self.components)


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    components: int = 1,
    causal: bool = False,
    lengths: Any = None,
) -> Tensor:
    """Each step i takes a mean of the v_j, weighted by how well its q_i meets their k_j.

    q, k, v (N, T, C) -> y (N, T, C). The features are cut into heads; with components 4 a head
    has the same quaternions of each block [1 | i | j | k], and q . k = sum_d Re(conj(q_d) k_d), so
    that turning all q and k by one unit quaternion, q u and k u, changes nothing. j <= i if causal;
    i and j < lengths[n], if there are any: then y_i = 0. Source: Vaswani et al., arXiv:1706.03762.
    """
    q, k, v = as_tensors("attention", q, k, v)
    given = asarray(check_lengths("attention", q, lengths))
    check_operands("attention", q, k=(k, q.shape), v=(v, q.shape))
    heads = integer(heads, "attention: heads")
    if components not in (1, 4):
        raise OptionError(f"attention: components are 1 or 4; got {components}")
    if heads < 1 or q.shape[2] % (heads * components):
        unit = "quaternions" if components == 4 else "features"
        raise ShapeError(
            f"attention: {heads} heads of as many whole {unit} each do not fit into "
            f"{q.shape[2] // components} {unit}"
        )
    return Attention(given, heads, components, bool(causal))(q, k, v)
