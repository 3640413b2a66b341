"""Products of matrices of float32, in panels of `multiply`.

A panel of B, four vectors wide and DEPTH rows long, is copied to one piece of memory, from the
start of a line of the cache. It stays in the L1 cache while all rows of A go by. A transposed B is
turned as it is copied. If A has very many rows, as a map has pixels, all panels are made before,
and a few rows of A at a time go through all of them. Other dtypes and shapes go to the BLAS.
"""

import numpy as np
from numba import get_num_threads, prange

from quatgrad.arrays import Array
from quatgrad.calls import call
from quatgrad.kernels.numba_cpu.jit import empty, leaf, parallel, read_only, serial
from quatgrad.kernels.numba_cpu.simd.microkernel import BROAD, multiply
from quatgrad.kernels.numba_cpu.simd.partial_sums import sum_of_parts
from quatgrad.kernels.numba_cpu.simd.vector import LANES, load, scratch, store, transpose
from quatgrad.kernels.reference import arithmetic
from quatgrad.kernels.reference.sums import MOST
from quatgrad.kernels.registry import register

#: Rows of a panel of B, and columns, as many as a block of `multiply`: it stays in the L1 cache.
DEPTH, WIDTH = 128, 4 * LANES
#: Rows and columns of C, at most, that are made while a block of A, and they, stay in the cache.
HEIGHT, COLUMNS = 256, 256
#: Numbers of a copied block of A, either way round, with a vector between its lines.
BLOCK = max(HEIGHT * (DEPTH + LANES), DEPTH * (HEIGHT + LANES))
#: Multiplications that take as long as copying a number of a panel.
COPIES = 32
#: From so many rows of A on, all panels of B are made first; rows, at most, that go through them
#: together.
HIGH, TOGETHER = 1024, 96
#: Multiplications below which a single thread is done before a second one has started.
ALONE = 1 << 20


@register
def matmul(a: Array, b: Array) -> Array:
    """`reference.matmul`; (M, K) times (K, N), or stacks of them, equally high."""
    plain = a.dtype == b.dtype == np.float32 and a.ndim == b.ndim in (2, 3)
    if not plain or a.shape[:-2] != b.shape[:-2] or 0 in (*a.shape, *b.shape):
        return call(arithmetic.matmul, a, b)
    K = a.shape[-1]
    if b.shape[-2] != K:
        return call(arithmetic.matmul, a, b)  # which says what is wrong
    if K <= 2 * MOST:
        return _matmul(a, b)
    return call(sum_of_parts, lambda k: _matmul(a[..., k], b[..., k, :]), K)


def _matmul(a: Array, b: Array) -> Array:
    *lead, M, K = a.shape
    N = b.shape[-1]
    c = empty((*lead, M, N), a.dtype)
    S = c.size // (M * N)
    operands = c.reshape(-1), *_as_it_lies(a), *_as_it_lies(b), S, M, K, N
    if c.size * K < ALONE:
        _one(*operands)
    elif S == 1 and M >= HIGH and a.flags.c_contiguous:
        panels = empty((-(-N // WIDTH), (K + LANES) * WIDTH), a.dtype)
        _pack(*operands[4:7], K, N, panels)
        _high(operands[0], operands[1], panels, _together(M), M, K, N)
    else:
        threads = get_num_threads()
        share = threads if 4 * threads > S else 1  # of a product
        _blocks(*operands, *cut(M, N, share, BROAD[0], COPIES))
    return c


def _together(M: int) -> int:
    """Rows that go through all panels together: even, and as often in each thread."""
    threads = get_num_threads()
    times = -(-M // (threads * TOGETHER))
    return 2 * -(-M // (2 * threads * times))


def cut(M: int, N: int, threads: int, unit: int, cost: int) -> tuple[int, int]:
    """Rows and columns of C (M, N) for each thread, all alike.

    Rows come in units. The more rows a thread has, the fewer columns, and the less is copied of B:
    a number costs as much as so many rows.
    """

    def part(n: int, parts: int, unit: int) -> int:
        return max(1, -(-n // (parts * unit))) * unit

    across = [wide for wide in range(1, threads + 1) if threads % wide == 0]
    sizes = [(part(M, threads // wide, unit), part(N, wide, LANES)) for wide in across]
    return min(sizes, key=lambda size: (size[0] + cost) * (size[1] + cost))


def _as_it_lies(a: Array) -> tuple[Array, int, int]:
    """Stacked matrices, flat, with the distances of their rows and columns; one of them is 1."""
    if not a.flags.c_contiguous and (turned := a.swapaxes(-1, -2)).flags.c_contiguous:
        return read_only(turned).reshape(-1), 1, a.shape[-2]
    return read_only(a).reshape(-1), a.shape[-1], 1


@leaf
def _copy(a, at, step, lines, length, to, row):
    """to[row p + q] = a[at + step p + q] for p < lines, q < length; what follows may become 0."""
    whole = length - length % LANES
    for p in range(lines):
        for q in range(0, whole, LANES):
            store(load(a, at + step * p + q, LANES), to, row * p + q, LANES)
        if whole < length:
            rest = load(a, at + step * p + whole, length - whole)
            store(rest, to, row * p + whole, LANES)


@leaf
def _pack_panel(b, at, rs, cs, K, N, panel):
    """panel[WIDTH k + n] = b[at + k rs + n cs] for k < K, n < N <= WIDTH."""
    if cs == 1:
        _copy(b, at, rs, K, N, panel, WIDTH)
        return
    for n in range(0, N, LANES):
        for k in range(0, K, LANES):
            width = min(LANES, K - k)
            transpose(b, at + n * cs + k, cs, N - n, width, panel, k * WIDTH + n, WIDTH)


@parallel
def _pack(b, rs, cs, K, N, panels):
    """All panels of B (K, N), each of all K rows."""
    for panel in prange(len(panels)):
        n = np.int64(panel) * WIDTH
        _pack_panel(b, n * cs, rs, cs, K, min(WIDTH, N - n), panels[panel])


@parallel
def _high(c, a, panels, height, M, K, N):
    """C = A B for contiguous A and a packed B, so many rows of A at a time."""
    flat, step = panels.reshape(-1), panels.shape[1]
    for task in prange((M + height - 1) // height):
        m = np.int64(task) * height
        rows = min(height, M - m)
        for panel in range(len(panels)):
            n, b = panel * WIDTH, panel * step
            width = min(WIDTH, N - n)
            multiply(c, m * N + n, N, a, m * K, K, 1, flat, b, WIDTH, rows, K, width, False)


@serial
def _copied(rs, cs):
    """Whether lines of A compete for the same few lines of the cache, or are all in other pages."""
    return max(rs, cs) % 64 == 0 or cs > HEIGHT


@serial
def _product(c, a, rs, cs, b, b_rs, b_cs, s, M, K, N, m, rows, n, columns):
    """Rows m and following and columns n and following of product s of the stack."""
    panel = scratch((DEPTH + LANES) * WIDTH)
    block = scratch(BLOCK if _copied(rs, cs) else 0)
    for k in range(0, K, DEPTH):
        depth, first = min(DEPTH, K - k), s * M * K + m * rs + k * cs
        if not _copied(rs, cs):
            left, at, step_m, step_k = a, first, rs, cs
        elif cs == 1:
            _copy(a, first, rs, rows, depth, block, DEPTH + LANES)
            left, at, step_m, step_k = block, 0, DEPTH + LANES, 1
        else:
            _copy(a, first, cs, depth, rows, block, HEIGHT + LANES)
            left, at, step_m, step_k = block, 0, 1, HEIGHT + LANES
        for j in range(n, n + columns, WIDTH):
            width = min(WIDTH, n + columns - j)
            _pack_panel(b, s * K * N + k * b_rs + j * b_cs, b_rs, b_cs, depth, width, panel)
            to, add = (s * M + m) * N + j, k > 0
            multiply(c, to, N, left, at, step_m, step_k, panel, 0, WIDTH, rows, depth, width, add)


@serial
def _part(c, a, rs, cs, b, b_rs, b_cs, s, M, K, N, top, left, bottom, right):
    """The rows of product s of the stack from `top`, and the columns from `left`."""
    for m in range(top, bottom, HEIGHT):
        rows = min(HEIGHT, bottom - m)
        for n in range(left, right, COLUMNS):
            columns = min(COLUMNS, right - n)
            _product(c, a, rs, cs, b, b_rs, b_cs, s, M, K, N, m, rows, n, columns)


@serial
def _one(c, a, rs, cs, b, b_rs, b_cs, S, M, K, N):
    for s in range(S):
        start = np.int64(0)  # not 0, for which Numba would compile another form
        _part(c, a, rs, cs, b, b_rs, b_cs, s, M, K, N, start, start, M, N)


@parallel
def _blocks(c, a, rs, cs, b, b_rs, b_cs, S, M, K, N, height, width):
    high, wide = (M + height - 1) // height, (N + width - 1) // width
    for task in prange(S * high * wide):
        s, place = divmod(np.int64(task), high * wide)
        i, j = divmod(place, wide)
        m, n = i * height, j * width
        bottom, right = min(M, m + height), min(N, n + width)
        _part(c, a, rs, cs, b, b_rs, b_cs, s, M, K, N, m, n, bottom, right)
