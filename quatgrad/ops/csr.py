"""Products of a constant matrix of few entries and a dense one: what graph networks are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from quatgrad.arrays import Array, asarray, check_dtype
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import DataError, DTypeError, ShapeError
from quatgrad.kernels.registry import kernel


@dataclass(frozen=True, eq=False)
class CSR:
    """A constant matrix (I, J) in compressed rows.

    values (E,), columns (E,) and starts (I + 1,): row i has the entries starts[i] to
    starts[i + 1] - 1. Raises `DataError` where they do not fit together.
    """

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        check_dtype(self.values.dtype, "a matrix of few entries")
        I, J = self.shape
        E, starts = len(self.values), np.asarray(self.starts, np.int64)
        fits = len(self.columns) == E and starts.shape == (I + 1,) and starts[-1] == E
        inside = not E or (self.columns.min() >= 0 and self.columns.max() < J)
        if not fits or starts[0] or (np.diff(starts) < 0).any() or not inside:
            raise DataError(
                f"a matrix {I} x {J} with {E} entries has {E} columns below {J} and {I + 1} "
                f"starts that rise from 0 to {E}; got {len(self.columns)} and {len(starts)}"
            )

    @staticmethod
    def from_entries(
        values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]
    ) -> CSR:
        """The matrix with these entries; their order within a row is kept."""
        order = np.argsort(rows, kind="stable")
        starts = np.append(0, np.cumsum(np.bincount(rows, minlength=shape[0])))
        return CSR(values[order], np.asarray(columns)[order].astype(np.int64), starts, shape)

    @cached_property
    def transposed(self) -> CSR:
        """The matrix (J, I)."""
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.starts))
        return CSR.from_entries(self.values, self.columns, rows, self.shape[::-1])

    def times(self, x: Array) -> Array:
        """The product with an array x (J, C)."""
        places = asarray(self.columns), asarray(self.starts)
        return kernel("csr_matmul")(asarray(self.values.astype(x.dtype)), *places, x)


class CSRMatMul(Function):
    """y = A x with a constant A; dx = A^T g."""

    owns_grads = True

    def __init__(self, A: CSR):
        self.A = A

    def forward(self, x):
        return self.A.times(x)

    def backward(self, g):
        return self.A.transposed.times(g)


def csr_matmul(A: CSR, x: Any) -> Tensor:
    """y = A x; A (I, J) constant, x (J, C) -> y (I, C)."""
    if not isinstance(A, CSR):
        raise DTypeError(f"csr_matmul: A is a CSR; got a {type(A).__name__}")
    (x,) = as_tensors("csr_matmul", x)
    if x.ndim != 2 or x.shape[0] != A.shape[1]:
        raise ShapeError(f"csr_matmul: A of {A.shape} wants x ({A.shape[1]}, C); got {x.shape}")
    return CSRMatMul(A)(x)
