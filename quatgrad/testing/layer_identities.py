"""The identities of the quaternion layers: numbers 44 to 48 of the table."""

from __future__ import annotations

import numpy as np

from quatgrad import ops
from quatgrad import quaternion as Q  # noqa: N812
from quatgrad.autograd import Tensor
from quatgrad.backend import Array
from quatgrad.kernels import kernel
from quatgrad.testing.identity import Sides, identity, like

I = np.eye(4)[1]
SAME = (1, 1), (1, 1)  # stride and padding of a 3x3 window that keep the size of a map
OF_TERMS = 4 * 3 * np.sqrt(9 * 2)  # 4 times the 3 sqrt(K) eps of a sum of K = 9 x 2 products


def conv(x: Array, w: Array) -> Array:
    """The quaternion convolution of maps x with a 3x3 window, same size."""
    return kernel("hamilton_conv2d")(x, w, *SAME)


def right(x: Array, s: Array) -> Array:
    """x s for every quaternion of the maps x, each map with its own s (N, 4)."""
    return Q.from_quaternions(Q.multiply(Q.as_quaternions(x), s[: len(x), None, None, None]))


def left(s: Array, x: Array) -> Array:
    """s x for every quaternion of the maps x, each map with its own s (N, 4)."""
    return Q.from_quaternions(Q.multiply(s[: len(x), None, None, None], Q.as_quaternions(x)))


def pooled(x: Array) -> Array:
    """Each 2x2 window's quaternion of largest |q|."""
    return ops.quaternion_max_pool2d(Tensor(x), 2).numpy()


def whitened(x: Array) -> Array:
    """x with mean 0, and E q q^T = 1 for each of its quaternions, without an eps."""
    zero, gamma = np.zeros(8, x.dtype), np.repeat(np.eye(4)[:, :, None], 2, axis=2)
    cov = np.zeros((2, 4, 4), x.dtype)
    buffers = Tensor(zero), Tensor(cov)
    args = Tensor(x), Tensor(gamma.astype(x.dtype)), Tensor(zero), *buffers
    return ops.whitening_norm(*args, training=True, eps=0.0).numpy()


def rows(x: Array) -> Array:
    """The quaternions of the maps, (M, 2, 4)."""
    return Q.as_quaternions(x).reshape(-1, 2, 4)


@identity(44, "w (x s) = (w x) s for a quaternion s: layers are right-linear", OF_TERMS)
def right_linear(x: Array, w: Array, u: Array) -> list[Sides]:
    return [(conv(right(x, u), w), right(conv(x, w), u), np.abs(w).max() * np.abs(x).max())]


@identity(45, "<g, w x> = <conj(w) g, x> = <g conj(x), w>", OF_TERMS)
def adjoint(x: Array, g: Array, w: Array) -> list[Sides]:
    def product(a: Array, b: Array) -> Array:
        return np.sum(a * np.float64(b)).astype(a.dtype)[None]

    y = conv(x, w)
    dx = kernel("hamilton_conv2d_dx")(g, w, x.shape, *SAME)
    dw = kernel("hamilton_conv2d_dw")(x, g, (3, 3), *SAME)
    scale = float(np.linalg.norm(g)) * max(float(np.linalg.norm(y)), 1.0)
    return [(product(dx, x), product(g, y), scale), (product(dw, w), product(g, y), scale)]


@identity(46, "w shift(x) = shift(w x); 1x1 = linear; strided; transposed = adjoint", 0)
def convolution(y: Array, v: Array) -> list[Sides]:
    out, point = conv(y, v), v[:, 1:2, 1:2]
    around = ops.hamilton_conv2d(Tensor(y), Tensor(v), padding=1, padding_mode="circular").numpy()
    moved = np.roll(y, (1, 2), (1, 2))
    shifted = ops.hamilton_conv2d(Tensor(moved), Tensor(v), padding=1, padding_mode="circular")
    flat = kernel("hamilton_linear")(y.reshape(-1, 8), v[:, 1, 1])
    w = (v * like(np.array([1, -1, -1, -1]), v.swapaxes(0, -1)).swapaxes(0, -1)).swapaxes(-1, -2)
    back = ops.hamilton_conv_transpose2d(Tensor(out), Tensor(np.ascontiguousarray(w)), padding=1)
    return [
        (shifted.numpy(), np.roll(around, (1, 2), (1, 2)), 1),
        (kernel("hamilton_conv2d")(y, point, (1, 1), (0, 0)).reshape(flat.shape), flat, 1),
        (kernel("hamilton_conv2d")(y, v, (2, 3), (1, 1)), out[:, ::2, ::3], 1),
        (back.numpy(), kernel("hamilton_conv2d_dx")(out, v, y.shape, *SAME), 1),
    ]


@identity(47, "whitened: E y = 0, E y y^T = 1; u x gives u y", 400)
def whitening(x: Array, u: Array) -> list[Sides]:
    y = whitened(x)
    cov = np.einsum("mqa,mqb->qab", rows(y), rows(y), dtype=np.float64) / len(rows(y))
    one = u[:1].repeat(len(x), axis=0)
    return [
        (rows(y).mean(axis=0, dtype=np.float64).astype(x.dtype), np.zeros((2, 4), x.dtype), 1),
        (cov.astype(x.dtype), np.stack([np.eye(4, dtype=x.dtype)] * 2), 1),
        (whitened(left(one, x)), left(one, y), np.abs(y).max()),
    ]


@identity(48, "pooling by |q| takes quaternions that are there; u x gives u y", 0)
def amplitude_pooling(y: Array) -> list[Sides]:
    i = np.broadcast_to(I.astype(y.dtype), (len(y), 4))
    taken, all_there = (Q.as_quaternions(x).reshape(len(x), -1, 2, 4) for x in (pooled(y), y))
    there = (taken[:, :, None] == all_there[:, None]).all(axis=-1).any(axis=2)
    return [
        (pooled(left(i, y)), left(i, pooled(y)), 1),
        (there.astype(y.dtype), np.ones(there.shape, y.dtype), 1),
    ]
