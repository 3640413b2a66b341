"""GRU and LSTM: a whole sequence is one operation, with its gradient through all steps by formula.

Weights are real, (P, gates H), or quaternions, (4, P, gates Q), with the gates side by side in the
last axis. Gates of quaternions act on each component by itself.
"""

from typing import Any

from quatgrad.arrays import Array, array_module, asarray
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.ops.conv import linear
from quatgrad.ops.operands import check_operands
from quatgrad.ops.sequence import check_lengths


class GateWeight(Function):
    """The real weight W (4P, gates 4Q) that acts as w (4, P, gates Q) does on each gate; dw folds.

    A gate of W holds its four components side by side: [1 | i | j | k] of the first gate, ...
    """

    owns_grads = True

    def __init__(self, gates: int):
        self.gates = gates

    def forward(self, w):
        return self.exchange(kernel("expand")(w), 4, self.gates)

    def backward(self, g):
        return kernel("fold")(self.exchange(g, self.gates, 4))

    def exchange(self, W: Array, a: int, b: int) -> Array:
        """Columns (a, b, Q) -> (b, a, Q)."""
        P, Q = len(W), W.shape[1] // (a * b)
        return W.reshape(P, a, b, Q).swapaxes(1, 2).reshape(P, a * b * Q)


class Recurrence(Function):
    """What GRU and LSTM share: lengths, direction, and the gradient of the weight of the state."""

    owns_grads = True

    def __init__(self, lengths: Array, reverse: bool):
        self.lengths, self.reverse = lengths, reverse

    def state_weight_grad(self, y: Array, du: Array) -> Array:
        """sum_nt h[n,t]^T du[n,t], h the state before step t."""
        xp, (N, T, H) = array_module(y), y.shape
        h = xp.zeros_like(y)
        if self.reverse:
            h[:, :-1] = y[:, 1:]
        else:
            h[:, 1:] = y[:, :-1]
        return kernel("matmul")(h.reshape(N * T, H).T, du.reshape(N * T, du.shape[2]))


class GRU(Recurrence):
    """h' = n + z (h - n), n = tanh(x_n + r (h U_n + c)), r = s(x_r + h U_r), z = s(x_z + h U_z).

    s = sigmoid. Gradients: backwards through the same steps, see the kernel `gru_dx`.
    """

    def forward(self, x, U, c):
        y, gates, m = kernel("gru")(x, U, c, self.lengths, self.reverse)
        self.save_for_backward(y, U, gates, m)
        return y

    def backward(self, g):
        dx, du = kernel("gru_dx")(g, *self.saved, self.lengths, self.reverse)
        y, H = self.saved[0], g.shape[2]
        dc = kernel("sum_over")(du[:, :, 2 * H :], (0, 1))
        return dx, self.state_weight_grad(y, du), dc


class LSTM(Recurrence):
    """h' = o tanh(c'), c' = f c + i n; i, f, o = sigmoid and n = tanh of x + h U.

    Gradients: backwards through the same steps, see the kernel `lstm_dx`.
    """

    def forward(self, x, U):
        y, gates, cells = kernel("lstm")(x, U, self.lengths, self.reverse)
        self.save_for_backward(y, U, gates, cells)
        return y

    def backward(self, g):
        y, U, gates, cells = self.saved
        dx = kernel("lstm_dx")(g, U, gates, cells, self.lengths, self.reverse)
        return dx, self.state_weight_grad(y, dx)


def gru(
    x: Tensor,
    w_x: Tensor,
    w_h: Tensor,
    b: Tensor,
    c: Tensor,
    lengths: Any = None,
    reverse: bool = False,
) -> Tensor:
    """h_t = (1 - z) n + z h_(t-1) from h = 0, with r, z = sigmoid(W x + U h + b) and
    n = tanh(W_n x + b_n + r (U_n h + c)); gates in the order r, z, n.

    x (N, T, P), w_x (P, 3H), w_h (H, 3H), b (3H,), c (H,) -> all h (N, T, H); of quaternions
    w_x (4, P/4, 3H/4), w_h (4, H/4, 3H/4). A state after the end of its sequence, t >= lengths[n],
    is 0. `reverse`: from the last step to the first. Source: Cho et al., arXiv:1406.1078, in
    cuDNN's form, which is PyTorch's with one bias less.
    """
    x, w_x, w_h, b, c = as_tensors("gru", x, w_x, w_h, b, c)
    L, gates, U = _gates("gru", 3, x, w_x, w_h, b, lengths)
    check_operands("gru", x, c=(c, U.shape[:1]))
    return GRU(L, reverse)(gates, U, c)


def lstm(
    x: Tensor, w_x: Tensor, w_h: Tensor, b: Tensor, lengths: Any = None, reverse: bool = False
) -> Tensor:
    """h_t = o tanh(c_t), c_t = f c_(t-1) + i n, from 0: i, f, n, o of W x + U h + b, in this order.

    x (N, T, P), w_x (P, 4H), w_h (H, 4H), b (4H,) -> all h (N, T, H); else as `gru`. Sources:
    Hochreiter & Schmidhuber 1997, Gers et al. 2000; of quaternions Parcollet et al.,
    arXiv:1806.04418.
    """
    x, w_x, w_h, b = as_tensors("lstm", x, w_x, w_h, b)
    L, gates, U = _gates("lstm", 4, x, w_x, w_h, b, lengths)
    return LSTM(L, reverse)(gates, U)


def _gates(
    op: str, count: int, x: Tensor, w_x: Tensor, w_h: Tensor, b: Tensor, lengths: Any
) -> tuple[Array, Tensor, Tensor]:
    """Lengths, W x + b (N, T, gates H), and the real weight U (H, gates H)."""
    L = asarray(check_lengths(op, x, lengths))
    H = b.size // count
    four, lead = (4, (4,)) if w_x.ndim == 3 else (1, ())
    if w_x.ndim not in (2, 3) or b.ndim != 1 or b.size % (count * four) or x.shape[2] % four:
        raise ShapeError(
            f"{op}: x (N, T, P), w_x (P, {count}H) or of quaternions (4, P/4, {count}H/4), "
            f"b ({count}H,); got {x.shape}, {w_x.shape} and {b.shape}"
        )
    columns = count * H // four
    check_operands(
        op,
        x,
        w_x=(w_x, (*lead, x.shape[2] // four, columns)),
        w_h=(w_h, (*lead, H // four, columns)),
    )
    W, U = (w if four == 1 else GateWeight(count)(w) for w in (w_x, w_h))
    return L, linear(x, W, b), U
