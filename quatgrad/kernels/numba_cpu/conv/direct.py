"""Convolutions straight from the map: no patches are written.

The windows of a row of the output, stretched out, are the rows of a matrix that already lies in
memory: window j of row h starts at x[n, h, j s], and its U rows of V pixels are a row of the map
apart. They overlap, which a product of matrices does not mind, so for every row i of the output

    y[n, i] (J, Q) = windows of x[n, i s] (J, U V P)  times  w (U V P, Q)

dw is the same product with the windows transposed, summed over all rows i. dx is a convolution of g
with the mirrored w^T; of stride s it falls apart into s x s of stride 1, its *phases*: the pixels
dx[n, s i + a, s j + b] see only each s-th row and column of w. A map is copied with its border of
zeros, image by image, so that it stays in cache; and the next is asked for in time.
"""

import math
from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from numba import prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import empty, leaf, parallel, read_only, serial
from quatgrad.kernels.numba_cpu.machine.cache import L2
from quatgrad.kernels.numba_cpu.simd.microkernel import multiply_runs
from quatgrad.kernels.numba_cpu.simd.partial_sums import how_many, total
from quatgrad.kernels.numba_cpu.simd.vector import LANES, load, prefetch_share, scratch, store
from quatgrad.kernels.reference.conv import Shape
from quatgrad.kernels.reference.patches import Pair, out_size

#: Numbers of a bordered map that a task copies: they stay in a core's cache beside the weight.
STRIP = L2 // 16
#: Pixels of g that a product of the weight gradient sums over.
PIXELS = 64


@serial
def _bordered(x, n, top, left, rows, width):
    """Rows from `top` on and columns from `left` on of image n of x, flat; 0 beyond the map."""
    _, H, W, P = x.shape
    flat, of, line = scratch(rows * width * P), x.reshape(-1), width * P
    first, last = P * max(0, -left), P * max(0, min(width, W - left))
    for r in range(rows):
        to, at = r * line, ((n * H + top + r) * W + left) * P
        inside = 0 <= top + r < H and first < last
        start, end = (first, last) if inside else (line, line)
        for k in range(start):
            flat[to + k] = 0
        for k in range(start, end, LANES):
            count = min(LANES, end - k)
            store(load(of, at + k, count), flat, to + k, count)
        for k in range(end, line):
            flat[to + k] = 0
    return flat


# ---------------------------------------------------------------------------------- y and dx


def conv2d(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """y[n, i] = windows of x[n, i s - pad] times w."""
    out = out_size(x.shape[1:3], w.shape[:2], stride, padding)
    y = empty((len(x), *out, w.shape[3]), x.dtype)
    conv2d_to(y, x, w, stride, padding)
    return y


def conv2d_to(y: Array, x: Array, w: Array, stride: Pair, padding: Pair) -> None:
    """The same, to y."""
    U, V = w.shape[:2]
    whole = np.array([[0, 0, -padding[0], -padding[1], U, V, 0]])
    _convolve(read_only(x), read_only(w).reshape(-1), y, whole, stride, (1, 1), False, STRIP)


def conv2d_dx(g: Array, w: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """dx[n, i s + u - pad, j s + v - pad] += g[n, i, j] times w[u, v]^T, phase by phase."""
    dx = empty(shape, g.dtype)
    conv2d_dx_to(dx, g, w, stride, padding)
    return dx


def conv2d_dx_to(dx: Array, g: Array, w: Array, stride: Pair, padding: Pair) -> None:
    """The same, to dx."""
    weight = empty((w.size,), w.dtype)
    phases, firsts = _table(w.shape, stride, padding)
    _upwards(read_only(w), phases, firsts, stride, weight)
    _convolve(read_only(g), read_only(weight), dx, phases, (1, 1), stride, True, STRIP)


@cache
def _table(shape: Shape, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """The phases (a, b, top, left, U, V, start) of a weight, and (u, v) where each starts in it."""
    phases, firsts, start = [], [], 0
    rows, columns = (_phases(*of) for of in zip(shape[:2], stride, padding, strict=True))
    for (a, u, top, U), (b, v, left, V) in product(rows, columns):
        phases.append((a, b, top, left, U, V, start))
        firsts.append((u, v))
        start += U * V * math.prod(shape[2:])
    return np.array(phases), np.array(firsts)


@serial
def _upwards(w, phases, firsts, stride, to):
    """For each phase its share of w, last row first: (U, V, P, Q) -> (U, V, Q, P)."""
    P, Q = w.shape[2:]
    for k in range(len(phases)):
        (_, _, _, _, U, V, start), (u, v) = phases[k], firsts[k]
        for i in range(U):
            for j in range(V):
                pixel, at = w[u + (U - 1 - i) * stride[0], v + j * stride[1]], start
                for q in range(Q):
                    for p in range(P):
                        to[at + q * P + p] = pixel[p, q]
                start += P * Q


def _phases(size: int, stride: int, padding: int) -> Iterator[tuple[int, int, int, int]]:
    """(a, u, top, U): dx[a + s i] is the sum of w[u] g[top + i + U - 1], .., U windows upwards."""
    for a in range(stride):
        last, u = divmod(a + padding, stride)
        U = len(range(u, size, stride))
        yield a, u, last - U + 1, U


@serial
def _window_of_all(phases):
    """(top, left, U, V) of the window that spans those of all phases."""
    top, left = phases[:, 2].min(), phases[:, 3].min()
    bottom, right = (phases[:, 2] + phases[:, 4]).max(), (phases[:, 3] + phases[:, 5]).max()
    return top, left, bottom - top, right - left


@parallel
def _convolve(x, w, y, phases, stride, apart, leftwards, strip):
    """Each phase (a, b, top, left, U, V, start) of y: y[n, a + t i, b + t j], from w[start:].

    Its windows start at x[n, top + s i, left + s j]; s is the stride, t how far they are `apart`.
    The pixels of a row of a window come in the order of w's, or if that runs `leftwards`, from the
    last to the first.
    """
    (_, H, W, P), (N, I, J, _) = x.shape, y.shape
    I, J = (I + apart[0] - 1) // apart[0], (J + apart[1] - 1) // apart[1]  # of the first phase
    top, left, U, V = _window_of_all(phases)
    height, width = (I - 1) * stride[0] + U, (J - 1) * stride[1] + V
    whole = top >= 0 and left >= 0 and top + height <= H and left + width <= W
    strip = max(1, min(I, strip // (width * P * stride[0])))
    strips = (I + strip - 1) // strip
    flat = x.reshape(-1)
    for task in prange(N * strips):
        n, s = divmod(np.int64(task), strips)
        i, end = s * strip, min(I, (s + 1) * strip)
        row, last = top + i * stride[0], top + (end - 1) * stride[0] + U
        ahead = n * H + (last if s + 1 < strips else H)
        ahead = flat, ahead * W * P, (ahead + last - row) * W * P
        if whole:
            at = ((n * H + row) * W + left) * P
            _strip(
                flat, at, W, ahead, w, y, n, i, end, phases, top, left, stride, apart, leftwards, P
            )
        else:
            X = _bordered(x, n, row, left, last - row, width)
            _strip(
                X, 0, width, ahead, w, y, n, i, end, phases, top, left, stride, apart, leftwards, P
            )


@leaf
def _strip(
    X, at, width, ahead, w, y, n, first, end, phases, top, left, stride, apart, leftwards, P
):
    """Rows first .. end of every phase of y[n], from the rows of X (.., width, P) from X[at] on.

    Meanwhile a[k:m] of (a, k, m) = `ahead` is asked for.
    """
    _, I, J, Q = y.shape
    flat_y, far, step, line = y.reshape(-1), width * P, stride[1] * P, apart[1] * Q
    for i in range(first, end):
        prefetch_share(*ahead, i - first, end - first)
        row = n * I + i * apart[0]
        prefetch_share(flat_y, (row + apart[0]) * J * Q, (row + 2 * apart[0]) * J * Q, 0, 1)
        for p in range(len(phases)):
            a, b, up, side, U, V, start = phases[p]
            row = a + i * apart[0]
            if row >= I or b >= J:
                continue
            if U * V == 0:
                y[n, row, b :: apart[1]] = 0
                continue
            to, of = ((n * I + row) * J + b) * Q, (i - first) * stride[0] + up - top
            of, count, K = at + (of * width + side - left) * P, (J - b - 1) // apart[1] + 1, V * P
            if not leftwards:
                multiply_runs(
                    flat_y, to, line, X, of, step, 1, w, start, Q, count, K, Q, False, U, far
                )
                continue
            for u in range(U):
                last, row = of + u * far + K - P, start + u * K * Q
                multiply_runs(
                    flat_y, to, line, X, last, step, 1, w, row, Q, count, P, Q, u > 0, V, -P
                )


# ---------------------------------------------------------------------------------------- dw


def conv2d_dw(x: Array, g: Array, shape: Shape, stride: Pair, padding: Pair) -> Array:
    """dw[u] = sum_ni (windows of x[n, i s + u - pad])^T times g[n, i]."""
    parts = empty((min(how_many(math.prod(shape)), len(x)), *shape), x.dtype)
    _conv2d_dw(read_only(x), read_only(g), parts, stride, padding)
    return total(parts)


@parallel
def _conv2d_dw(x, g, dw, stride, padding):
    (N, I, J, Q), (parts, U, V, P, _), (_, H, W, _) = g.shape, dw.shape, x.shape
    height, width = (I - 1) * stride[0] + U, (J - 1) * stride[1] + V
    whole = max(padding) == 0  # all windows are inside of the map
    sizes = I, J, Q, U, V, P
    flat, flat_g, flat_dw = x.reshape(-1), g.reshape(-1), dw.reshape(-1)
    for k in prange(parts):
        part = np.int64(k)
        start, to = part * N // parts, part * U * V * P * Q
        for n in range(start, (part + 1) * N // parts):
            at, image, add = n * H * W * P, H * W * P, n > start
            ahead = flat, at + image, at + 2 * image
            if whole:
                _add_image(flat, at, W, ahead, flat_g, n, flat_dw, to, sizes, stride, add)
            else:
                X = _bordered(x, n, -padding[0], -padding[1], height, width)
                _add_image(X, 0, width, ahead, flat_g, n, flat_dw, to, sizes, stride, add)


@leaf
def _add_image(X, at, width, ahead, g, n, dw, to, sizes, stride, add):
    """dw[to:] (+)= the sum over image n of g, from the rows of X (.., width, P) from X[at] on.

    Meanwhile a[k:m] of (a, k, m) = `ahead` is asked for, and the next image of g.
    """
    I, J, Q, U, V, P = sizes
    K, step, far, image = V * P, stride[1] * P, stride[0] * width * P, I * J * Q
    rows = max(1, PIXELS // J)
    shares = U * ((I - 1) // rows + 1)
    for i in range(0, I, rows):
        runs, right = min(rows, I - i), n * image + i * J * Q
        for u in range(U):
            share = U * (i // rows) + u
            prefetch_share(*ahead, share, shares)
            prefetch_share(g, (n + 1) * image, (n + 2) * image, share, shares)
            of, row, more = at + i * far + u * width * P, to + u * K * Q, add or i > 0
            multiply_runs(dw, row, Q, X, of, 1, step, g, right, Q, K, J, Q, more, runs, far)
