"""Batch normalization of quaternions (..., 4Q): by their variance, or whitened.

`batch_norm`, which knows no quaternions, gives each component variance 1 ("split"). These two
give E |y|^2 = 1 to begin with, as published; whitening also makes the components uncorrelated.
"""

from typing import Any

from quatgrad.arrays import array_module
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import ShapeError
from quatgrad.kernels.parts import check_whole
from quatgrad.kernels.registry import kernel
from quatgrad.ops.norm import count_rows, update_running_stats
from quatgrad.ops.operands import check_operands
from quatgrad.ops.shape import concatenate
from quatgrad.scalars import number


class Whiten(Function):
    """y = Γ S (x - mean) + shift for quaternions as vectors of 4, S = (V + eps I)^(-1/2).

    V = E (x - mean)(x - mean)^T. With C = sum g (x - mean)^T: dΓ = C S, dS = Γ^T C, and

        dx = (Γ S)^T (g - mean g) + (dV + dV^T) (x - mean) / M,

    where, in the basis of the eigenvectors of V + eps I with values l,
    dV_ij = -dS_ij / (sqrt(l_i l_j) (sqrt l_i + sqrt l_j)): finite also where values are equal.
    """

    def __init__(self, eps: float, mean: Any = None, cov: Any = None):
        self.eps, self.mean, self.cov, self.given = eps, mean, cov, mean is not None

    def forward(self, x, gamma, shift):
        xp = array_module(x)
        rows = x.reshape(-1, 4, x.shape[-1] // 4)  # (..., 4Q) -> (M, 4, Q)
        if not self.given:
            self.mean = rows.mean(axis=0, dtype="float64")  # (4, Q)
            centred = rows - self.mean
            self.cov = xp.einsum("mbq,mcq->qbc", centred, centred) / len(rows)  # (Q, 4, 4)
        finite = xp.isfinite(self.cov).all(axis=(1, 2))[:, None]  # (Q, 1); LAPACK knows no NaN
        cov = xp.where(finite[..., None], self.cov, 0)
        values, basis = xp.linalg.eigh(cov)  # (Q, 4), (Q, 4, 4)
        roots = xp.sqrt(xp.maximum(values, 0) + self.eps)  # rounding makes zeros negative
        roots = xp.where(finite, roots, xp.nan)
        S = (basis / roots[:, None, :]) @ basis.swapaxes(1, 2)  # (Q, 4, 4)
        self.save_for_backward(x, gamma, S, roots, basis)
        A = xp.einsum("bdq,qdc->qbc", gamma, S).astype(x.dtype)
        y = xp.einsum("qbc,mcq->mbq", A, rows - self.mean.astype(x.dtype))
        return y.reshape(x.shape) + shift  # (M, 4, Q) -> (..., 4Q)

    def backward(self, g):
        x, gamma, S, roots, basis = self.saved
        xp = array_module(g)
        rows, g = (a.reshape(-1, 4, a.shape[-1] // 4) for a in (x, g))  # (..., 4Q) -> (M, 4, Q)
        centred = rows - self.mean.astype(x.dtype)
        C = xp.einsum("mbq,mcq->qbc", g, centred, dtype="float64")
        dgamma = (C @ S).transpose(1, 2, 0).astype(x.dtype)  # (Q, 4, 4) -> (4, 4, Q)
        dshift = kernel("sum_over")(g, 0)
        A = xp.einsum("bdq,qdc->qbc", gamma, S).astype(x.dtype)
        if self.given:
            dx = xp.einsum("qcb,mcq->mbq", A, g)
        else:
            dS = basis.swapaxes(1, 2) @ xp.einsum("cbq,qcd->qbd", gamma, C) @ basis
            left, right = roots[:, :, None], roots[:, None, :]
            dV = basis @ (-dS / (left * right * (left + right))) @ basis.swapaxes(1, 2)
            dV = ((dV + dV.swapaxes(1, 2)) / len(rows)).astype(x.dtype)
            dx = xp.einsum("qcb,mcq->mbq", A, g - dshift / len(rows))
            dx += xp.einsum("qbc,mcq->mbq", dV, centred)
        return dx.reshape(x.shape), dgamma, dshift.reshape(-1)


def whitening_norm(
    x: Tensor,
    gamma: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_cov: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = Γ (V + eps I)^(-1/2) (x - mean) + shift: each quaternion has the covariance Γ Γ^T.

    x (..., 4Q) in component blocks, gamma (4, 4, Q), shift and running_mean (4Q,), running_cov
    (Q, 4, 4). V is the 4 x 4 covariance matrix over all rows of x; for modes and `momentum` see
    `batch_norm`. The root is the symmetric one: turning x turns what Γ acts on, no axis comes
    first. A direction in which x does not vary, as with fewer than 5 rows, stays at 0.
    Source: Trabelsi et al., arXiv:1705.09792; Gaudet & Maida, arXiv:1712.04604; the symmetric
    root, Huang et al., arXiv:1804.08450. The code published with the second does not whiten.
    """
    x, gamma, shift = as_tensors("whitening_norm", x, gamma, shift)
    Q, eps = _quaternions("whitening_norm", x, gamma), number(eps, "eps")
    check_operands(
        "whitening_norm", x, gamma=(gamma, (4, 4, Q)), shift=(shift, (4 * Q,)),
        running_mean=(running_mean, (4 * Q,)), running_cov=(running_cov, (Q, 4, 4)),
    )  # fmt: skip
    if not training:
        mean, cov = running_mean.data.reshape(4, -1).copy(), running_cov.data.astype("float64")
        return Whiten(eps, mean, cov)(x, gamma, shift)
    check_whole("whitening_norm")
    M = count_rows("whitening_norm", x.shape)
    op = Whiten(eps)
    y = op(x, gamma, shift)
    update_running_stats(running_mean, op.mean.reshape(-1).astype(x.dtype), momentum)
    update_running_stats(running_cov, (op.cov * (M / (M - 1))).astype(x.dtype), momentum)
    return y


def variance_norm(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = scale (x - mean) / sqrt(var + eps) + shift with var = E |x - mean|^2 of a quaternion.

    x (..., 4Q) in component blocks; scale and running_var (Q,), shift and running_mean (4Q,).
    The four components keep their proportions. For modes and `momentum` see `batch_norm`.
    """
    x, scale, shift = as_tensors("variance_norm", x, scale, shift)
    Q, eps = _quaternions("variance_norm", x, scale), number(eps, "eps")
    check_operands(
        "variance_norm", x, scale=(scale, (Q,)), shift=(shift, (4 * Q,)),
        running_mean=(running_mean, (4 * Q,)), running_var=(running_var, (Q,)),
    )  # fmt: skip
    if training:
        check_whole("variance_norm")
        M, rows = count_rows("variance_norm", x.shape), tuple(range(x.ndim - 1))
        mean = x.mean(rows)  # (..., 4Q) -> (4Q,)
        centred = x - mean
        var = (centred * centred).mean(rows).reshape(4, -1).sum(0)  # (4Q,) -> (4, Q) -> (Q,)
        update_running_stats(running_mean, mean.data, momentum)
        update_running_stats(running_var, var.data * (M / (M - 1)), momentum)
    else:
        centred, var = x - running_mean.detach(), running_var.detach()
    factor = scale / (var + eps).sqrt()  # (Q,), the same for all four components
    return centred * concatenate([factor] * 4) + shift


def _quaternions(op: str, x: Tensor, parameter: Tensor) -> int:
    """Q of x (..., 4Q), for which the parameter (..., Q) is made."""
    Q = parameter.shape[-1] if parameter.ndim else 0
    if x.ndim == 0 or x.shape[-1] != 4 * Q:
        raise ShapeError(
            f"{op}: expected {4 * Q} channels ({Q} quaternions); the input has shape {x.shape}"
        )
    return Q
