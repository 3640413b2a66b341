"""Sham algebras: a quarter of the weights, shared as quaternions share them, by another table.

    y_c = sum_ab t[a,b,c] w_a x_b

They are controls. If a network over one of these does as well as its quaternion twin, then it is
the sharing that helps, or the size, and not Hamilton's product.

plus         |t| of the quaternions: every sign is +
randomsigns  the same places, signs drawn for each layer
grouped      t[a,a,a] = 1: four groups that do not meet, and channels shuffled behind. Here alone a
             weight stands in one place. ShuffleNet, arXiv:1707.01083
matrices     the real matrices of 2 x 2, M2(R): the split quaternions. AlgebraNets, arXiv:2006.07360
phm          t is learned, one for each layer: PHM with n = 4, arXiv:2102.08597
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from quatgrad.autograd import Parameter, Tensor
from quatgrad.errors import OptionError, unknown
from quatgrad.kernels.reference import HAMILTON
from quatgrad.nn.conv import QConv2d
from quatgrad.nn.init import Initialiser, Shape
from quatgrad.nn.linear import QLinear
from quatgrad.nn.module import Buffer
from quatgrad.ops.table_weight import table_conv2d, table_linear


def _matrices() -> np.ndarray:
    """E_ij E_kl = E_il if j = k; component 2 i + j of a matrix."""
    t = np.zeros((4, 4, 4))
    for i, j, k in np.ndindex(2, 2, 2):
        t[2 * i + j, 2 * j + k, 2 * i + k] = 1
    return t


def _grouped() -> np.ndarray:
    t = np.zeros((4, 4, 4))
    t[range(4), range(4), range(4)] = 1
    return t


Table = Callable[[np.random.Generator], np.ndarray]

#: name -> its table, of which only two are drawn. That of `phm` has the variance of a quaternion's.
SHAMS: dict[str, Table] = {
    "plus": lambda rng: np.abs(HAMILTON),
    "randomsigns": lambda rng: np.abs(HAMILTON) * rng.choice([-1, 1], (4, 4, 4)),
    "grouped": lambda rng: _grouped(),
    "matrices": lambda rng: _matrices(),
    "phm": lambda rng: rng.standard_normal((4, 4, 4)) / 2,
}


class Sham:
    """What sham layers share: the table, and the scale of the first weights.

    `init` has the variance of a quaternion layer, of which each output is a sum of four products
    for each input. Where the table makes m of them, weights start sqrt(4 / m) times as large.
    """

    table: Tensor
    algebra: str

    def draw_table(self, algebra: str, rng: np.random.Generator, init: Initialiser) -> Initialiser:
        """Set the table; the initialiser that goes with it."""
        if algebra not in SHAMS:
            raise OptionError(unknown("sham algebra", algebra, SHAMS))
        t, self.algebra = SHAMS[algebra](rng).astype(np.float32), algebra
        learned = algebra == "phm"
        # One axis, as all that is not a weight.
        self.table = Parameter(t.reshape(-1)) if learned else Buffer(t.reshape(-1))
        scale = np.float32(1 if learned else np.sqrt(16 / np.count_nonzero(t)))

        def scaled(rng: np.random.Generator, shape: Shape) -> np.ndarray:
            return scale * init(rng, shape)

        return scaled

    @property
    def t(self) -> Tensor:
        """The table (4, 4, 4)."""
        return self.table.reshape(4, 4, 4)

    def mixed(self, y: Tensor) -> Tensor:
        """y; of `grouped`, with its channels shuffled: channel (c, q) becomes (q, c)."""
        if self.algebra != "grouped":
            return y
        *lead, C = y.shape
        axes = *range(len(lead)), len(lead) + 1, len(lead)
        return y.reshape(*lead, 4, C // 4).transpose(*axes).reshape(*lead, C)


class ShamLinear(Sham, QLinear):
    """`QLinear` over another algebra: w (4, P, Q), x (..., 4P) -> y (..., 4Q)."""

    def __init__(
        self,
        P: int,
        Q: int,
        bias: bool = True,
        *,
        rng: np.random.Generator,
        init: Initialiser,
        algebra: str,
    ):
        init = self.draw_table(algebra, rng, init)
        super().__init__(P, Q, bias, rng=rng, init=init)

    def forward(self, x: Tensor) -> Tensor:
        """w x + b in its algebra."""
        return self.mixed(table_linear(x, self.weight, self.t, self.bias))


class ShamConv2d(Sham, QConv2d):
    """`QConv2d` over another algebra: w (4, U, V, P, Q), x (N, H, W, 4P) -> y (N, I, J, 4Q)."""

    def __init__(self, *sizes: Any, rng: np.random.Generator, init: Initialiser, algebra: str):
        init = self.draw_table(algebra, rng, init)
        super().__init__(*sizes, rng=rng, init=init)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x with w in its algebra, plus b."""
        y = table_conv2d(x, self.weight, self.t, self.bias, *self.window.options)
        return self.mixed(y)
