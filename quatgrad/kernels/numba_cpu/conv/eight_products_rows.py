"""Eight products of a quaternion layer, block by block: their sums never leave the cache.

A layer and its two gradients are products of matrices of quaternions, C = A B. In a product of two
quaternions the one from B stands left: y = w x, dx = conj(w) g, dw = g conj(x). A block of A
becomes eight planes, a panel of B eight panels, and their products become a block of C. Written to
memory and read back, planes and panels cost a wide layer a tenth of its time, and a narrow one all
that the eight products save. float32 only; `eight_products` explains them.
"""

import numpy as np
from numba import get_num_threads, prange

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.conv.winograd_tiles import merged, paired_plane, split
from quatgrad.kernels.numba_cpu.jit import empty, leaf, parallel, read_only, serial
from quatgrad.kernels.numba_cpu.simd.matmul import WIDTH, cut
from quatgrad.kernels.numba_cpu.simd.microkernel import ROWS, multiply
from quatgrad.kernels.numba_cpu.simd.partial_sums import how_many, total
from quatgrad.kernels.numba_cpu.simd.vector import (
    LANES,
    load,
    prefetch_share,
    scratch,
    store,
    transpose,
)

#: Rows and columns of a block of C, at most, and columns of A that it takes at a time: the planes
#: of A, the panels of B and the products stay in the cache beside each other.
HEIGHT, ACROSS, DEPTH = 128, 256, 128
#: Rows of it that are multiplied at a time; before them a share of what comes next is asked for.
STRIP = 12
#: Multiplications, for each of eight, that take as long as splitting a number.
SPLITS = 12
#: Rows, for each quaternion of the wider side of a weight, from which on its gradient is summed in
#: parts: then a thread reads and splits its own rows, and not all of them for its part of it.
MANY_ROWS = 32
#: Numbers from one of the eight panels of B to the next.
PANEL = DEPTH * WIDTH + LANES

#: The layout of a matrix of quaternions in a flat array: the distances of its rows, its columns and
#: its components, and 1, or -1 to take the conjugates.
Layout = tuple[int, int, int, int]


def products(x: Array, w: Array, sign: int) -> Array:
    """w x, or conj(w) x for the sign -1, summed over p: x (N, 4P), w (4, P, Q) -> (N, 4Q)."""
    _, P, Q = w.shape
    y, transposed = empty((len(x), 4 * Q), x.dtype), w.swapaxes(1, 2)
    layout = (Q, 1, P * Q, sign)
    if transposed.flags.c_contiguous:
        w, layout = transposed, (1, P, P * Q, sign)
    _product(x, (4 * P, 1, P, 1), w, layout, y, (4 * Q, 1, Q, 1), len(x), P, Q)
    return y


def sums(x: Array, g: Array) -> Array:
    """g conj(x), summed over rows: x (N, 4P), g (N, 4Q) -> (4, P, Q)."""
    N, P, Q = len(x), x.shape[1] // 4, g.shape[1] // 4
    if not N:
        return np.zeros((4, P, Q), x.dtype)
    layouts = (1, 4 * P, P, -1), (4 * Q, 1, Q, 1), (Q, 1, P * Q, 1)
    if len(x) < MANY_ROWS * max(P, Q):
        w = empty((4, P, Q), x.dtype)
        _product(x, layouts[0], g, layouts[1], w, layouts[2], P, N, Q)
        return w
    parts = empty((how_many(4 * P * Q), 4, P, Q), x.dtype)
    _parts_of_sums(read_only(x), read_only(g), parts, *layouts)
    return total(parts)


def _product(
    A: Array, a: Layout, B: Array, b: Layout, C: Array, c: Layout, M: int, K: int, N: int
) -> None:
    """C (M, N) = A (M, K) B (K, N): matrices of quaternions, each with its layout."""
    A, B, C = (X.reshape(-1) for X in (read_only(A), read_only(B), C))
    _blocks(A, a, B, b, C, c, M, K, N, *cut(M, N, get_num_threads(), ROWS[0], SPLITS))


@serial
def _room(n):
    """Numbers of a row of n, padded: rows start at whole vectors, and on different cache lines."""
    return (n + LANES - 1) // LANES * LANES + LANES


@leaf
def split_run(x, at, far, P, sign, X, to, step):
    """X: the eight planes, `step` apart, of four runs of P numbers, `far` apart, in x: see `split`.

    A `sign` of -1 takes the conjugate. Whole vectors go without a mask: it takes time.
    """
    whole = P - P % LANES
    for p in range(0, whole, LANES):
        _split(x, at + p, far, sign, X, to + p, step, LANES)
    if whole < P:
        _split(x, at + whole, far, sign, X, to + whole, step, P - whole)


@leaf
def _split(x, k, far, sign, X, to, step, width):
    a, b = load(x, k, width), sign * load(x, k + far, width)
    c, d = sign * load(x, k + 2 * far, width), sign * load(x, k + 3 * far, width)
    split(a, b, c, d, X, to, step, width)


@leaf
def merge_run(Y, at, step, y, to, far, Q):
    """y: four runs of Q numbers, `far` apart, of their eight products, `step` apart: `merged`."""
    whole = Q - Q % LANES
    for q in range(0, whole, LANES):
        _merge(Y, at + q, step, y, to + q, far, LANES)
    if whole < Q:
        _merge(Y, at + whole, step, y, to + whole, far, Q - whole)


@leaf
def _merge(Y, at, step, y, k, far, width):
    m = merged(Y, at, step, width)
    store(m[0], y, k, width)
    store(m[1], y, k + far, width)
    store(m[2], y, k + 2 * far, width)
    store(m[3], y, k + 3 * far, width)


@leaf
def _planes(A, at, a, M, K, X):
    """X: the eight planes of a block of A; returns the distances of rows, columns and planes."""
    row, column, far, sign = a
    if column == 1:
        line = _room(K)
        for m in range(M):
            split_run(A, at + m * row, far, K, sign, X, m * line, M * line)
        return line, 1, M * line
    line = _room(M)
    for k in range(K):
        split_run(A, at + k * column, far, M, sign, X, k * line, K * line)
    return 1, line, K * line


@serial
def _panels(B, at, b, K, N, W, w):
    """W[w + m PANEL + k WIDTH + n]: plane m of B[k, n] for k < K and n < N <= WIDTH."""
    row, column, far, sign = b
    if column == 1:
        for k in range(K):
            split_run(B, at + k * row, far, N, sign, W, w + k * WIDTH, PANEL)
        return
    square = LANES * LANES
    T = scratch(4 * square)
    for k in range(0, K, LANES):
        depth = min(LANES, K - k)
        for n in range(0, N, LANES):
            for component in range(4):
                p = at + component * far + n * column + k
                transpose(B, p, column, N - n, depth, T, component * square, LANES)
            for r in range(depth):
                to = w + (k + r) * WIDTH + n
                split_run(T, r * LANES, square, LANES, sign, W, to, PANEL)


@parallel
def _blocks(A, a, B, b, C, c, M, K, N, height, across):
    wide = (N + across - 1) // across
    for task in prange((M + height - 1) // height * wide):
        i, j = divmod(np.int64(task), wide)
        m, n = i * height, j * across
        _part(A, a, B, b, C, c, m, n, min(M, m + height), min(N, n + across), K)


@parallel
def _parts_of_sums(x, g, parts, a, b, c):
    """parts[k]: the sum over the k-th share of the rows of x and g."""
    (N, _), (count, _, P, Q) = x.shape, parts.shape
    for part in prange(count):
        k = np.int64(part)
        first, end = k * N // count, (k + 1) * N // count
        A, B, C = x[first:end].reshape(-1), g[first:end].reshape(-1), parts[k].reshape(-1)
        start = np.int64(0)  # not 0, for which Numba would compile another form
        _part(A, a, B, b, C, c, start, start, P, Q, end - first)


@serial
def _part(A, a, B, b, C, c, top, left, bottom, right, K):
    """The rows of C from `top` and the columns from `left`."""
    W = scratch(8 * PANEL * (ACROSS // WIDTH))
    for n in range(left, right, ACROSS):
        for m in range(top, bottom, HEIGHT):
            M, N = min(HEIGHT, bottom - m), min(ACROSS, right - n)
            _block(A, a, B, b, C, c, m, n, M, K, N, W, m > top)


@leaf
def _ask(A, a, B, b, C, c, m, M, k, K, share, shares):
    """Ask for a share of what comes after M rows of A from m on, times rows of B from k on.

    If A lies row by row, that is its next rows, and those of C that will be written; if column by
    column, its next columns and the next rows of B.
    """
    if a[1] == 1:
        end = m + M
        if K <= DEPTH:
            prefetch_share(A, end * a[0], (end + M) * a[0], share, shares)
        prefetch_share(C, m * c[0], end * c[0], share, shares)
    else:
        k, end = k + DEPTH, k + 2 * DEPTH
        prefetch_share(A, k * a[1], end * a[1], share, shares)
        prefetch_share(B, k * b[0], end * b[0], share, shares)


@serial
def _block(A, a, B, b, C, c, m, n, M, K, N, W, again):
    """M rows of C from m, N columns from n; `again` if W holds their panels already."""
    depth, line = min(DEPTH, K), _room(N)
    X = scratch(8 * max(M * _room(depth), depth * _room(M)))
    Y = scratch(8 * M * line)
    shares = 8 * ((N + WIDTH - 1) // WIDTH) * ((M + STRIP - 1) // STRIP)
    for k in range(0, K, DEPTH):
        deep, share = min(DEPTH, K - k), 0
        row, column, plane = _planes(A, m * a[0] + k * a[1], a, M, deep, X)
        for q in range(0, N, WIDTH):
            wide, w = min(WIDTH, N - q), 0 if K > DEPTH else q // WIDTH * 8 * PANEL
            if K > DEPTH or not again:
                _panels(B, k * b[0] + (n + q) * b[1], b, deep, wide, W, w)
            for p in range(8):
                right = w + paired_plane(p, 4) * PANEL
                for r in range(0, M, STRIP):
                    _ask(A, a, B, b, C, c, m, M, k, K, share, shares)
                    share += 1
                    y, x, tall = (p * M + r) * line + q, p * plane + r * row, min(STRIP, M - r)
                    multiply(
                        Y, y, line, X, x, row, column, W, right, WIDTH, tall, deep, wide, k > 0
                    )
    for r in range(M):
        merge_run(Y, r * line, M * line, C, (m + r) * c[0] + n, c[2], N)
