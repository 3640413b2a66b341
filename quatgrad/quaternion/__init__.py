"""The algebra of quaternions, on arrays (..., 4): the components 1, i, j, k along the last axis.

    algebra    multiply conjugate norm2 norm inverse normalize: arithmetic, broadcasting
    matrices   left_matrix right_matrix: p q = L(p) q = R(q) p
    maps       as_quaternions from_quaternions: feature maps seen as quaternions
    random     random_unit: uniform on the sphere |q| = 1

Arrays of NumPy and of CuPy alike, float32 or float64, which is kept. A NaN gives NaN; what zero
and infinity give, each function says. For Tensors, with gradients, see `quatgrad.ops.hamilton`.
"""

from quatgrad.quaternion.algebra import conjugate, inverse, multiply, norm, norm2, normalize
from quatgrad.quaternion.maps import as_quaternions, from_quaternions
from quatgrad.quaternion.matrices import left_matrix, right_matrix
from quatgrad.quaternion.random import random_unit

__all__ = [
    "as_quaternions",
    "conjugate",
    "from_quaternions",
    "inverse",
    "left_matrix",
    "multiply",
    "norm",
    "norm2",
    "normalize",
    "random_unit",
    "right_matrix",
]
