"""The identities of the quaternion layers: numbers 44 to 48 of the table."""

import numpy as np

from quatgrad import ops
from quatgrad import quaternion as Q  # noqa: N812
from quatgrad.arrays import Array
from quatgrad.autograd import Tensor
from quatgrad.kernels import kernel
from quatgrad.testing.identity_table import Sides, identity, like

I = np.eye(4)[1]
SAME = (1, 1), (1, 1)  # stride and padding of a 3x3 window that keep the size of a map
OF_TERMS = 4 * 3 * np.sqrt(9 * 2)  # 4 times the 3 sqrt(K) eps of a sum of K = 9 x 2 products


def conv(x: Array, w: Array) -> Array:
    """The quaternion convolution of maps x with a 3x3 window, same size."""
    return kernel("conv2d")(x, w, *SAME)


def right(x: Array, s: Array) -> Array:
    """x s for every quaternion of the maps x, each map with its own s (N, 4)."""
    return Q.from_quaternions(Q.multiply(Q.as_quaternions(x), s[: len(x), None, None, None]))


def left(s: Array, x: Array) -> Array:
    """s x for every quaternion of the maps x, each map with its own s (N, 4)."""
    return Q.from_quaternions(Q.multiply(s[: len(x), None, None, None], Q.as_quaternions(x)))


def pooled(x: Array) -> Array:
    """Each 2x2 window's quaternion of largest |q|."""
    return ops.quaternion_max_pool2d(Tensor(x), 2).numpy()


def modrelu(x: Array) -> Array:
    """Each quaternion shortened by 1/2, or lengthened by 1."""
    return ops.modrelu(Tensor(x), Tensor(np.array([-0.5, 1], x.dtype))).numpy()


def whitened(x: Array, G: Array | None = None) -> Array:
    """x with mean 0, and E q q^T = G G^T for each of its quaternions, without an eps."""
    zero, gamma = np.zeros(8, x.dtype), np.stack([np.eye(4) if G is None else G] * 2, axis=-1)
    cov = np.zeros((2, 4, 4), x.dtype)
    buffers = Tensor(zero), Tensor(cov)
    args = Tensor(x), Tensor(gamma.astype(x.dtype)), Tensor(zero), *buffers
    return ops.whitening_norm(*args, training=True, eps=0.0).numpy()


def rows(x: Array) -> Array:
    """The quaternions of the maps, (M, 2, 4)."""
    return Q.as_quaternions(x).reshape(-1, 2, 4)


def covariance(y: Array) -> Array:
    """E q q^T of each of the two quaternions of the maps, (2, 4, 4)."""
    q = rows(y)
    return (np.einsum("mqa,mqb->qab", q, q, dtype=np.float64) / len(q)).astype(y.dtype)


@identity(44, "w (x s) = (w x) s for a quaternion s: right-linear (not left)", OF_TERMS)
def right_linear(x: Array, w: Array, u: Array) -> list[Sides]:
    i = np.broadcast_to(I.astype(x.dtype), (len(x), 4))
    moved = np.abs(conv(left(i, x), w) - left(i, conv(x, w))).max() > 0.1
    return [
        (conv(right(x, u), w), right(conv(x, w), u), np.abs(w).max() * np.abs(x).max()),
        (np.full(1, moved, x.dtype), np.ones(1, x.dtype), 1),
    ]


@identity(45, "<g, w x> = <conj(w) g, x> = <g conj(x), w>", OF_TERMS)
def adjoint(x: Array, g: Array, w: Array) -> list[Sides]:
    def product(a: Array, b: Array) -> Array:
        return np.sum(a * np.float64(b)).astype(a.dtype)[None]

    y = conv(x, w)
    dx = kernel("conv2d_dx")(g, w, x.shape, *SAME)
    dw = kernel("conv2d_dw")(x, g, w.shape, *SAME)
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
    grouped = ops.hamilton_conv2d(Tensor(y), Tensor(v[..., :1, :]), padding=1, groups=2)
    diagonal = v[..., :1, :] * np.eye(2, dtype=v.dtype)
    return [
        (grouped.numpy(), conv(y, diagonal), 1),
        (shifted.numpy(), np.roll(around, (1, 2), (1, 2)), 1),
        (kernel("conv2d")(y, point, (1, 1), (0, 0)).reshape(flat.shape), flat, 1),
        (kernel("conv2d")(y, v, (2, 3), (1, 1)), out[:, ::2, ::3], 1),
        (back.numpy(), kernel("conv2d_dx")(out, v, y.shape, *SAME), 1),
    ]


@identity(47, "whitened: E y = 0, E y y^T = 1; u x gives u y; G: E y y^T = G G^T", 400)
def whitening(x: Array, u: Array) -> list[Sides]:
    y, G = whitened(x), np.array([[2, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, -1], [0, 0, -1, 3.0]])
    one = u[:1].repeat(len(x), axis=0)
    return [
        (rows(y).mean(axis=0, dtype=np.float64).astype(x.dtype), np.zeros((2, 4), x.dtype), 1),
        (covariance(y), np.stack([np.eye(4, dtype=x.dtype)] * 2), 1),
        (covariance(whitened(x, G)), np.stack([(G @ G.T).astype(x.dtype)] * 2), 10),
        (whitened(left(one, x)), left(one, y), np.abs(y).max()),
    ]


@identity(48, "pooling by |q| takes quaternions that are there; u x gives u y", 0)
def amplitude_pooling(y: Array) -> list[Sides]:
    i = np.broadcast_to(I.astype(y.dtype), (len(y), 4))
    taken, all_there = (Q.as_quaternions(x).reshape(len(x), -1, 2, 4) for x in (pooled(y), y))
    there = (taken[:, :, None] == all_there[:, None]).all(axis=-1).any(axis=2)
    return [
        (pooled(left(i, y)), left(i, pooled(y)), 1),
        (modrelu(left(i, y)), left(i, modrelu(y)), 1),
        (there.astype(y.dtype), np.ones(there.shape, y.dtype), 1),
    ]
