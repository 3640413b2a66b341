"""Layer norm over the features of each position, real or of quaternions."""

from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.ops.operands import check_operands
from quatgrad.scalars import number


class LayerNorm(Function):
    """y = gain z + shift, z = (x - mean) / sqrt(var + eps), for each row (..., C).

    With h = gain g: dx = (h - mean(h) - z mean(h z)) / sqrt(var + eps); dgain = sum g z,
    dshift = sum g. Of quaternions each component has a mean of its own, and all share var.
    """

    owns_grads = noted_inside = True

    def __init__(self, components: int, eps: float):
        self.components, self.eps = components, eps

    def forward(self, x, gain, shift):
        y, *saved = kernel("layer_norm")(x, gain, shift, self.components, self.eps)
        self.save_for_backward(*saved, gain)
        return y

    def backward(self, g):
        return kernel("layer_norm_dx")(g, *self.saved, self.components)


def layer_norm(
    x: Tensor, gain: Tensor, shift: Tensor, components: int = 1, eps: float = 1e-5
) -> Tensor:
    """y = gain (x - mean) / sqrt(var + eps) + shift over the last axis; x (..., C), shift (C,).

    components 1: mean and var of all C numbers, gain (C,). Ba et al., arXiv:1607.06450.
    components 4: the mean quaternion of x (..., 4Q), var = mean |x - mean|^2 / 4, gain (Q,) real:
    with shift 0 it commutes with x -> x u and x -> u x for |u| = 1, which components 1 does not.
    """
    x, gain, shift = as_tensors("layer_norm", x, gain, shift)
    C = x.shape[-1] if x.ndim else 0
    if not C or C % components:
        raise ShapeError(
            f"layer_norm: {components} component blocks do not fit into the last axis of {x.shape}"
        )
    check_operands("layer_norm", x, gain=(gain, (C // components,)), shift=(shift, (C,)))
    return LayerNorm(components, number(eps, "eps"))(x, gain, shift)
