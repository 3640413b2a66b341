"""The kernels of a plan: each carries out one row of a `Program`'s table.

A kernel is compiled when a plan first needs it, for its tile, and is called by its address. So a
network is one call, and what it does not have is not compiled.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from quatgrad.kernels.numba_cpu.jit import by_address, template
from quatgrad.kernels.numba_cpu.simd.vector import LANES
from quatgrad.sparse.compiled.dense import block, merge, sums_of_components
from quatgrad.sparse.compiled.rows import permute, store, sum_of, sum_row
from quatgrad.sparse.compiled.table import BLOCK, KERNEL

KERNELS: dict[str, Callable[..., Any]] = {}


def kernel(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a function of numbers that makes the kernel of its name."""
    KERNELS[f.__name__] = f
    return f


@cache
def address(name: str, *numbers: int) -> int:
    """Where the compiled kernel of that name is."""
    function = by_address(KERNELS[name](*numbers))
    function.compile(KERNEL.args)
    compiled = function.overloads[KERNEL.args]
    _kept.append(function)
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))


_kept: list[Any] = []  # what they are compiled from: while it lives, the addresses are good

# ------------------------------------------------------------------------- layers, in vectors


@template
def _store(T, arena, o, floats, ints, sums, s, c, t):
    """T sums, from s on, of channel c, from vector t on."""
    scale, shift = floats[o.scales + c], floats[o.shifts + c]
    low, has = np.float32(0 if o.relu else -np.inf), o.has_residual
    y, other = o.y + c * o.y_step, has * (o.residual + c * o.residual_step)
    store(T, arena, sums, s, scale, shift, low, y, other, has, ints, o.places + t, o.holds + t)


def _tiles(kind: str, T: int) -> Any:
    """Rows of survivors in tiles of T vectors: tile by tile, row by row.

    The last tile overlaps the one before where they do not fit.
    """
    A = 4 if kind in ("quaternion", "whole") else 1  # components of an output
    R = 4 if kind == "quaternion" else 1  # rows of an output

    def f(arena, o, floats, ints, sums):
        Q, B = o.outputs, o.input_step
        for first in range(0, o.vectors, T):
            t = min(first, o.vectors - T)
            x = o.x + LANES * t
            for q in range(Q):
                row = o.rows + R * q
                sum_row(kind, T, arena, x, B, floats, o.values, ints, o.distances, row, sums)
                for a in range(A):
                    _store(T, arena, o, floats, ints, sums, LANES * T * a, a * Q + q, t)

    return f


@kernel
def real(T):
    """Real rows."""
    return _tiles("real", T)


@kernel
def quaternion(T):
    """Rows of quaternions whose components live one by one."""
    return _tiles("quaternion", T)


@kernel
def whole(T):
    """Rows of quaternions that live as a whole."""
    return _tiles("whole", T)


@kernel
def largest(T):
    """The largest of each window."""
    return _tiles("largest", T)


@kernel
def dense(T):
    """A real layer with its zeros, in blocks of outputs."""
    R = BLOCK[T]

    def f(arena, o, floats, ints, sums):
        Q, K = o.outputs, o.taps
        for first in range(0, o.vectors, T):
            t = min(first, o.vectors - T)
            for q in range(0, Q, R):
                x, w = o.x + LANES * t, o.values + q * K
                block(T, arena, x, floats, w, ints, o.distances, K, sums, 0)
                for r in range(min(R, Q - q)):
                    _store(T, arena, o, floats, ints, sums, LANES * T * r, q + r, t)

    return f


@kernel
def dense_quaternion(T):
    """A layer of quaternions with its zeros: eight real products, in blocks of outputs."""
    R = BLOCK[T]
    far = LANES * R * T

    def f(arena, o, floats, ints, sums):
        Q, K, B = o.outputs, o.taps, o.input_step
        sums_of_components(arena, o.x, B, o.extra)
        for first in range(0, o.vectors, T):
            t = min(first, o.vectors - T)
            for q in range(0, Q, R):
                for m in range(8):
                    x = (o.x if m < 4 else o.extra) + m % 4 * B + LANES * t
                    w = o.values + (8 * q + m * R) * K
                    block(T, arena, x, floats, w, ints, o.distances, K, sums, m * far)
                merge(sums, far)
                for a in range(4):
                    for r in range(min(R, Q - q)):
                        s = a * far + LANES * T * r
                        _store(T, arena, o, floats, ints, sums, s, a * Q + q + r, t)

    return f


# -------------------------------------------------------------------------- layers, one pixel


@template
def _store_number(arena, o, floats, ints, s, c):
    y = s * floats[o.scales + c] + floats[o.shifts + c]
    at = ints[o.places]
    if o.has_residual:
        y += arena[o.residual + c * o.residual_step + at]
    if o.relu and y < 0:
        y = np.float32(0)
    arena[o.y + c * o.y_step + at] = y


@kernel
def real_pixel():
    """Rows of survivors. Each product waits for the sum before: there are four sums."""

    def f(arena, o, floats, ints, sums):
        d, p = o.distances, o.rows
        for q in range(o.outputs):
            s0 = s1 = s2 = s3 = np.float32(0)
            k, end = ints[p + q], ints[p + q + 1]
            while k + 4 <= end:
                w = o.values + k
                s0 += floats[w] * arena[o.x + ints[d + k]]
                s1 += floats[w + 1] * arena[o.x + ints[d + k + 1]]
                s2 += floats[w + 2] * arena[o.x + ints[d + k + 2]]
                s3 += floats[w + 3] * arena[o.x + ints[d + k + 3]]
                k += 4
            while k < end:
                s0 += floats[o.values + k] * arena[o.x + ints[d + k]]
                k += 1
            _store_number(arena, o, floats, ints, (s0 + s1) + (s2 + s3), q)

    return f


@kernel
def quaternion_pixel():
    """Rows of survivors by component: a weight is loaded once and used four times."""

    def f(arena, o, floats, ints, sums):
        Q, B = o.outputs, o.input_step
        for q in range(Q):
            s0 = s1 = s2 = s3 = np.float32(0)
            for a in range(4):
                row = o.rows + 4 * q + a
                t0 = t1 = t2 = t3 = np.float32(0)
                for k in range(ints[row], ints[row + 1]):
                    w, i = floats[o.values + k], o.x + ints[o.distances + k]
                    t0 += w * arena[i]
                    t1 += w * arena[i + B]
                    t2 += w * arena[i + 2 * B]
                    t3 += w * arena[i + 3 * B]
                if a == 0:
                    s0, s1, s2, s3 = s0 + t0, s1 + t1, s2 + t2, s3 + t3
                elif a == 1:
                    s1, s0, s3, s2 = s1 + t0, s0 - t1, s3 + t2, s2 - t3
                elif a == 2:
                    s2, s3, s0, s1 = s2 + t0, s3 - t1, s0 - t2, s1 + t3
                else:
                    s3, s2, s1, s0 = s3 + t0, s2 + t1, s1 - t2, s0 - t3
            _store_number(arena, o, floats, ints, s0, q)
            _store_number(arena, o, floats, ints, s1, Q + q)
            _store_number(arena, o, floats, ints, s2, 2 * Q + q)
            _store_number(arena, o, floats, ints, s3, 3 * Q + q)

    return f


@kernel
def dense_pixel():
    """All outputs side by side: sums += x_k w_k, k by k."""

    def f(arena, o, floats, ints, sums):
        Q = o.outputs
        for q in range(Q):
            sums[q] = 0
        for k in range(o.taps):
            x, v = arena[o.x + ints[o.distances + k]], o.values + k * Q
            for q in range(Q):
                sums[q] += x * floats[v + q]
        for q in range(Q):
            _store_number(arena, o, floats, ints, sums[q], q)

    return f


@kernel
def dense_quaternion_pixel():
    """The same for quaternions: one that is read once needs no fewer products than sixteen."""

    def f(arena, o, floats, ints, sums):
        Q, B = o.outputs, o.input_step
        for c in range(4 * Q):
            sums[c] = 0
        for k in range(o.taps):
            i, v = o.x + ints[o.distances + k], o.values + k * 4 * Q
            x0, x1, x2, x3 = arena[i], arena[i + B], arena[i + 2 * B], arena[i + 3 * B]
            for q in range(Q):
                w0, w1 = floats[v + q], floats[v + Q + q]
                w2, w3 = floats[v + 2 * Q + q], floats[v + 3 * Q + q]
                sums[q] += w0 * x0 - w1 * x1 - w2 * x2 - w3 * x3
                sums[Q + q] += w0 * x1 + w1 * x0 + w2 * x3 - w3 * x2
                sums[2 * Q + q] += w0 * x2 - w1 * x3 + w2 * x0 + w3 * x1
                sums[3 * Q + q] += w0 * x3 + w1 * x2 - w2 * x1 + w3 * x0
        for c in range(4 * Q):
            _store_number(arena, o, floats, ints, sums[c], c)

    return f


@kernel
def mean():
    """The sum of each plane, times a number."""

    def f(arena, o, floats, ints, sums):
        for c in range(o.outputs):
            s = sum_of(arena, o.x + c * o.input_step, o.vectors)
            _store_number(arena, o, floats, ints, s * floats[o.values], c)

    return f


# -------------------------------------------------------------------------- all other steps


@kernel
def move():
    """Entries, one by one."""

    def f(arena, o, floats, ints, sums):
        for k in range(o.pixels, o.pixels + o.taps):
            arena[ints[k + o.taps]] = arena[ints[k]]

    return f


@kernel
def function():
    """A function of each entry; which one is its number in `program.FUNCTIONS`."""

    def f(arena, o, floats, ints, sums):
        kind, a = o.width, o.values
        for c in range(o.outputs):
            for k in range(o.pixels, o.pixels + o.taps):
                x = arena[o.x + c * o.input_step + ints[k]]
                if kind == 0:
                    y = x if x > 0 else floats[a] * x
                elif kind == 1:
                    y = min(max(x, floats[a]), floats[a + 1])
                elif kind == 2:
                    y = abs(x)
                elif kind == 3:
                    y = math.exp(x)
                elif kind == 4:
                    y = math.log(x)
                elif kind == 5:
                    y = math.sqrt(x)
                elif kind == 6:
                    y = 1 / x
                elif kind == 7:
                    y = 1 / (1 + math.exp(-x))
                elif kind == 8:
                    y = math.tanh(x)
                else:
                    y = 0.5 * x * (1 + math.erf(x * 0.7071067811865476))
                arena[o.y + c * o.y_step + ints[k + o.taps]] = y

    return f


@kernel
def modrelu():
    """The length of each quaternion, plus a number of its own, if that is more than 0."""

    def f(arena, o, floats, ints, sums):
        Q = o.outputs // 4
        for q in range(Q):
            bias = floats[o.values + q]
            for k in range(o.pixels, o.pixels + o.taps):
                i = o.x + q * o.input_step + ints[k]
                j = o.y + q * o.y_step + ints[k + o.taps]
                s = np.float32(0)
                for c in range(4):
                    x = arena[i + c * Q * o.input_step]
                    s += x * x
                length = math.sqrt(s)
                gain = max(length + bias, 0) / (length if length > 0 else 1)
                for c in range(4):
                    arena[j + c * Q * o.y_step] = gain * arena[i + c * Q * o.input_step]

    return f


@kernel
def product():
    """Two maps, entry by entry."""

    def f(arena, o, floats, ints, sums):
        for c in range(o.outputs):
            for k in range(o.pixels, o.pixels + o.taps):
                x = arena[o.x + c * o.input_step + ints[k]]
                z = arena[o.residual + c * o.residual_step + ints[k + o.taps]]
                arena[o.y + c * o.y_step + ints[k + 2 * o.taps]] = x * z

    return f


@kernel
def longest():
    """The longest quaternion, or largest number, of each window: pixels, then the output's."""

    def f(arena, o, floats, ints, sums):
        A, n = o.components, o.width
        Q = o.outputs // A
        for q in range(Q):
            for p in range(o.pixels, o.pixels + o.taps * (n + 1), n + 1):
                best, winner = np.float32(-np.inf), 0
                for k in range(n):
                    i = o.x + q * o.input_step + ints[p + k]
                    s = np.float32(0)
                    for c in range(A):
                        x = arena[i + c * Q * o.input_step]
                        s += x * x if A == 4 else x
                    if s > best or k == 0 or s != s:
                        best, winner = s, i
                j = o.y + q * o.y_step + ints[p + n]
                for c in range(A):
                    arena[j + c * Q * o.y_step] = arena[winner + c * Q * o.input_step]

    return f


@kernel
def copies():
    """What windows cannot read in the home, plane by plane: vectors, lanes in another order."""

    def f(arena, o, floats, ints, sums):
        for c in range(o.outputs):
            y = o.y + c * o.y_step
            for k in range(o.pixels, o.pixels + 4 * o.taps, 4):
                a, b, to, order = ints[k], ints[k + 1], ints[k + 2], ints[k + 3]
                permute(arena, y + a, y + b, y + to, ints, order)

    return f


@kernel
def copied_numbers():
    """The same for what no two vectors have, and where no instruction permutes vectors."""

    def f(arena, o, floats, ints, sums):
        for c in range(o.outputs):
            y = o.y + c * o.y_step
            for k in range(o.pixels, o.pixels + 2 * o.taps, 2):
                arena[y + ints[k + 1]] = arena[y + ints[k]]

    return f
