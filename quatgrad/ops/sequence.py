"""What sequences (N, T, C) of different lengths share; means and convolutions over time."""

from typing import Any

import numpy as np

from quatgrad.arrays import Array, array_module, asarray, to_numpy
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import DataError, DTypeError, ShapeError
from quatgrad.ops.conv import conv2d
from quatgrad.ops.hamilton import hamilton_conv2d
from quatgrad.ops.shape import pad
from quatgrad.scalars import integer


class MeanOverTime(Function):
    """y[n] = sum_t x[n,t] / L_n over t < L_n; dx[n,t] = g[n] / L_n there, else 0."""

    owns_grads = True

    def __init__(self, lengths: Array):
        self.lengths = lengths

    def forward(self, x):
        return (x * self.shares(x)).sum(axis=1)

    def backward(self, g):
        return g[:, None] * self.shares(g)

    def shares(self, x: Array) -> Array:
        """(N, T, 1): 1 / L_n inside the sequence, 0 after its end."""
        xp, T = array_module(x), self.shapes[0][1]
        inside = xp.arange(T) < self.lengths[:, None]
        return (inside / self.lengths[:, None]).astype(x.dtype)[:, :, None]


def mean_over_time(x: Tensor, lengths: Any = None) -> Tensor:
    """y[n] = mean of x[n, t] over t < lengths[n] (all t without); x (N, T, C) -> y (N, C)."""
    (x,) = as_tensors("mean_over_time", x)
    return MeanOverTime(asarray(check_lengths("mean_over_time", x, lengths)))(x)


class Pack(Function):
    """Of sequences (N, T, C) those steps, one after another: y[r] = x[steps[r]]; others get 0."""

    owns_grads = True

    def __init__(self, lengths: np.ndarray, T: int):
        self.sizes = len(lengths), T
        self.steps = asarray(np.flatnonzero(np.arange(T) < lengths[:, None]))  # n T + t for t < L_n

    def forward(self, x):
        return x.reshape(-1, x.shape[2])[self.steps]

    def backward(self, g):
        N, T = self.sizes
        dx = array_module(g).zeros((N * T, g.shape[1]), g.dtype)
        dx[self.steps] = g
        return dx.reshape(N, T, -1)


class Unpack(Pack):
    """The transpose of `Pack`: y[steps[r]] = x[r], and 0 elsewhere."""

    forward, backward = Pack.backward, Pack.forward


def pack(x: Tensor, lengths: Any) -> Tensor:
    """x[n, t] for t < lengths[n], one after another; x (N, T, C) -> y (R, C), R = sum of lengths.

    What treats each step by itself, as a linear layer does, then computes nothing that pads.
    """
    (x,) = as_tensors("pack", x)
    return Pack(check_lengths("pack", x, lengths), x.shape[1])(x)


def unpack(x: Tensor, lengths: Any) -> Tensor:
    """The inverse of `pack`: x (R, C) -> y (N, T, C), T the longest; 0 after the end of each."""
    (x,) = as_tensors("unpack", x)
    L = to_numpy(lengths)
    total = L.sum() if L.ndim == 1 and L.dtype.kind in "iu" else None
    if x.ndim != 2 or not total or total != len(x):
        raise ShapeError(
            f"unpack: takes steps (R, C) and integer lengths (N,) whose sum is R; got {x.shape} "
            f"and lengths of {L.dtype} {L.shape}" + (f" whose sum is {total}" if total else "")
        )
    return Unpack(_check_range("unpack", L, L.max()), int(L.max()))(x)


def check_sequences(op: str, x: Tensor) -> None:
    """Raise `ShapeError` unless x is (N, T, C) with T >= 1."""
    if x.ndim != 3 or not x.shape[1]:
        raise ShapeError(f"{op}: takes sequences (N, T, C) of one step or more; got {x.shape}")


def check_lengths(op: str, x: Tensor, lengths: Any) -> np.ndarray:
    """The lengths (N,) of the sequences of x (N, T, C) as int64, T for each where None is given.

    On the host, so that a device need not be waited for. Raises `DataError` for a length that is
    not 1 to T, `ShapeError` for another number of them.
    """
    check_sequences(op, x)
    N, T = x.shape[:2]
    L = np.full(N, T) if lengths is None else to_numpy(lengths)
    if L.shape != (N,) or L.dtype.kind not in "iu":
        raise ShapeError(f"{op}: {N} sequences want {N} integer lengths; got {L.dtype} {L.shape}")
    return _check_range(op, L, T)


def _check_range(op: str, L: np.ndarray, T: int) -> np.ndarray:
    """L as int64; `DataError` for a length that is not 1 to T."""
    wrong = np.flatnonzero((L < 1) | (L > T))
    if wrong.size:
        raise DataError(
            f"{op}: the length of sequence {wrong[0]} is {L[wrong[0]]}, but its steps are 1 to {T}"
        )
    return L.astype(np.int64)


def check_integers(op: str, a: Any, size: int, what: str) -> Array:
    """a as an int64 array on the backend; `DataError` for an entry that is not 0 to size - 1."""
    host = to_numpy(a)
    if host.dtype.kind not in "iu":
        raise DTypeError(f"{op}: {what}s are integers; got {host.dtype}")
    wrong = np.argwhere((host < 0) | (host >= size))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise DataError(
            f"{op}: {what} {host[at]} at {at} is out of range: there are {size}, 0 to {size - 1}"
        )
    return asarray(host.astype(np.int64))


def conv1d(
    x: Tensor, w: Tensor, b: Tensor | None = None, dilation: int = 1, causal: bool = False
) -> Tensor:
    """y[n,t,q] = sum_vp w[0,v,p,q] x[n, t + d (v - before), p] (+ b), 0 outside the sequence.

    x (N, T, P), w (1, V, P, Q) -> y (N, T, Q), or of quaternions w (4, 1, V, P, Q), x (N, T, 4P).
    before = V - 1 if causal, so that y[t] sees no later step; else (V - 1) // 2.
    """
    check_sequences("conv1d", x)
    if w.ndim not in (4, 5) or w.shape[-4] != 1:
        raise ShapeError(
            f"conv1d: a weight (1, V, P, Q), or (4, 1, V, P, Q) of quaternions; got {w.shape}"
        )
    d = integer(dilation, "conv1d: dilation")
    reach = d * (w.shape[-3] - 1)
    before = reach if causal else d * ((w.shape[-3] - 1) // 2)
    N, T, C = x.shape
    maps = pad(x, ((0, 0), (before, reach - before), (0, 0))).reshape(N, 1, T + reach, C)
    conv = conv2d if w.ndim == 4 else hamilton_conv2d
    y = conv(maps, w, b, dilation=(1, d))  # (N, 1, T, Q)
    return y.reshape(N, T, y.shape[3])
