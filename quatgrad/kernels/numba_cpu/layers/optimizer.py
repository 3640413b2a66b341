"""Optimizer steps in one pass over memory; twins of `reference.optimizer`.

Numbers that are the same for all entries come as the dtype of the parameter, as NumPy has it.
"""

import math
from collections import deque
from weakref import ref

import numpy as np
from numba import carray, prange, types

from quatgrad.arrays import Array
from quatgrad.kernels.numba_cpu.jit import address, parallel, read_only, serial_nogil
from quatgrad.kernels.numba_cpu.simd.vector import intrinsic
from quatgrad.kernels.reference.optimizer import AdamRule, Arrays
from quatgrad.kernels.registry import register

#: Entries in a thread's share; fewer than two shares are not worth waking a thread.
SHARE = 1 << 15


@register
def sgd(
    w: Array, g: Array, v: Array, lr: float, momentum: float, nesterov: bool, decay: float
) -> None:
    """`reference.sgd`."""
    f = w.dtype.type
    step = _sgd if w.size < 2 * SHARE else _sgd_shared
    step(_flat(w), read_only(g).reshape(-1), _flat(v), f(lr), f(momentum), nesterov, f(decay))


@register
def sgd_all(
    ws: Arrays, gs: Arrays, vs: Arrays, lr: float, momentum: float, nesterov: bool, decay: float
) -> None:
    """`reference.sgd_all` in one compiled call, which finds the arrays by their addresses."""
    gs = [np.ascontiguousarray(g) for g in gs]
    arrays = [*ws, *gs, *vs]
    known = next((known for known in [*_known] if known.are_of(arrays)), None)
    if known is None:
        known = _Addresses(arrays)
        _known.append(known)
    if (number := known.dtype) is None:
        for w, g, v in zip(ws, gs, vs, strict=True):
            sgd(w, g, v, lr, momentum, nesterov, decay)
        return
    step = _sgd_all if known.total < 4 * SHARE else _sgd_all_shared
    step(*known.places, number(lr), number(momentum), nesterov, number(decay))


class _Addresses:
    """Where parameters, gradients and velocities start, in three rows, and the sizes.

    In a step that was noted they are the same as before, and to ask an array takes Python longer
    than a compiled step of a small one. No array is kept alive.
    """

    def __init__(self, arrays: list[Array]):
        self.arrays, dtypes = [ref(a) for a in arrays], {a.dtype for a in arrays}
        self.dtype = dtypes.pop().type if len(dtypes) == 1 else None  # None: of several kinds
        sizes = np.array([a.size for a in arrays[: len(arrays) // 3]])
        self.places = np.array([address(a) for a in arrays]).reshape(3, -1), sizes
        self.total = sizes.sum()

    def are_of(self, arrays: list[Array]) -> bool:
        """Of these very arrays?"""
        return len(arrays) == len(self.arrays) and all(
            a is known() for a, known in zip(arrays, self.arrays, strict=True)
        )


#: Of the last optimizers that made a step: a search has several, which take turns.
_known = deque[_Addresses](maxlen=4)


@register
def adam(w: Array, g: Array, m: Array, v: Array, t: int, lr: float, rule: AdamRule) -> None:
    """`reference.adam`, with one division for each entry.

    m^ / (sqrt(v^) + eps) = (root / (1 - b1^t)) m / (sqrt(v) + root eps), root = sqrt(1 - b2^t).
    """
    (b1, b2), eps, decay, decoupled = rule
    shrink, pull = (1 - lr * decay, 0.0) if decoupled else (1.0, decay)
    root = math.sqrt(1 - b2**t)
    step = _adam if w.size < 2 * SHARE else _adam_shared
    numbers = lr * root / (1 - b1**t), root * eps, b1, 1 - b1, b2, 1 - b2, shrink, pull
    step(_flat(w), read_only(g).reshape(-1), _flat(m), _flat(v), *map(w.dtype.type, numbers))


def _flat(a: Array) -> Array:
    """The entries in a row: a view, since they will be written."""
    a = a.view()
    a.shape = (a.size,)  # unlike reshape, never a copy
    return a


@serial_nogil
def _sgd(w, g, v, lr, momentum, nesterov, decay):
    for n in range(len(w)):
        d = g[n] + decay * w[n]
        v[n] = momentum * v[n] + d
        w[n] -= lr * (d + momentum * v[n] if nesterov else v[n])


@parallel
def _sgd_shared(w, g, v, lr, momentum, nesterov, decay):
    for k in prange((len(w) + SHARE - 1) // SHARE):
        n = slice(k * SHARE, (k + 1) * SHARE)
        _sgd(w[n], g[n], v[n], lr, momentum, nesterov, decay)


@intrinsic
def _at(typing_context, address, like):
    """The address as a pointer to numbers like `like`."""

    def generate(target, builder, signature, arguments):
        return builder.inttoptr(arguments[0], target.get_value_type(signature.return_type))

    return types.CPointer(like)(address, like), generate


@serial_nogil
def _sgd_part(places, sizes, first, end, lr, momentum, nesterov, decay):
    """The entries from `first` to `end` of all parameters in a row."""
    for k in range(len(sizes)):
        size, n = sizes[k], slice(max(first, 0), min(end, sizes[k]))
        if n.start < n.stop:
            w, g = carray(_at(places[0, k], lr), size), carray(_at(places[1, k], lr), size)
            v = carray(_at(places[2, k], lr), size)
            _sgd(w[n], g[n], v[n], lr, momentum, nesterov, decay)
        first, end = first - size, end - size


@serial_nogil
def _sgd_all(places, sizes, lr, momentum, nesterov, decay):
    first = np.int64(0)  # not 0, for which Numba would compile another form
    _sgd_part(places, sizes, first, sizes.sum(), lr, momentum, nesterov, decay)


@parallel
def _sgd_all_shared(places, sizes, lr, momentum, nesterov, decay):
    total = sizes.sum()
    for share in prange((total + SHARE - 1) // SHARE):
        first = share * SHARE
        end = min(first + SHARE, total)
        _sgd_part(places, sizes, first, end, lr, momentum, nesterov, decay)


@serial_nogil
def _adam(w, g, m, v, lr, eps, b1, c1, b2, c2, shrink, pull):
    for n in range(len(w)):
        w[n] *= shrink
        d = g[n] + pull * w[n]
        m[n] = b1 * m[n] + c1 * d
        v[n] = b2 * v[n] + c2 * (d * d)
        w[n] -= lr * m[n] / (np.sqrt(v[n]) + eps)


@parallel
def _adam_shared(w, g, m, v, lr, eps, b1, c1, b2, c2, shrink, pull):
    for k in prange((len(w) + SHARE - 1) // SHARE):
        n = slice(k * SHARE, (k + 1) * SHARE)
        _adam(w[n], g[n], m[n], v[n], lr, eps, b1, c1, b2, c2, shrink, pull)
