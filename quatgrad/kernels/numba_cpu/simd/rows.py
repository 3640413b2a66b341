"""Loops over rows of numbers, from 0 and writing one row: of these the compiler makes vectors."""

from quatgrad.kernels.numba_cpu.jit import leaf, summing


@leaf
def zero(to):
    """to = 0."""
    for k in range(len(to)):
        to[k] = 0


@leaf
def copy(to, a):
    """to = the first numbers of a."""
    for k in range(len(to)):
        to[k] = a[k]


@leaf
def add(to, a):
    """to += the first numbers of a."""
    for k in range(len(to)):
        to[k] += a[k]


@summing
def sum_of(a):
    """The sum of a row that is short enough to be added in its own dtype."""
    total = a.dtype.type(0)
    for k in range(len(a)):
        total += a[k]
    return total


@summing
def dot(a, b):
    """The sum of the products of two such rows."""
    total = a.dtype.type(0)
    for k in range(len(a)):
        total += a[k] * b[k]
    return total
