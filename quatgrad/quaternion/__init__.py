"""The algebra of quaternions, on arrays (..., 4): the components 1, i, j, k along the last axis.

    algebra    multiply divide matmul dot, conjugate norm2 norm inverse normalize, real vector
    functions  exp log sqrt power general_power, polar from_polar
    matrices   left_matrix right_matrix complex_matrix, and from_...: p q = L(p) q = R(q) p
    rotations  rotate, to_ and from_ rotation_matrix axis_angle rotation_vector euler
    interpolation  slerp squad mean_rotation distance
    maps       as_quaternions from_quaternions: feature maps seen as quaternions
    random     random: normal components; random_unit: uniform on the sphere |q| = 1
    quaternion Quaternion: all this as operators and methods, and NumPy's functions

They work on arrays of NumPy and CuPy, in float32 or float64, and return the same dtype. NaN gives
NaN; each function says what zero and infinity give. For gradients see `quatgrad.ops.algebra`.
"""

from quatgrad.quaternion.algebra import (
    conjugate,
    divide,
    dot,
    from_vector,
    inverse,
    matmul,
    multiply,
    norm,
    norm2,
    normalize,
    real,
    vector,
)
from quatgrad.quaternion.functions import exp, from_polar, general_power, log, polar, power, sqrt
from quatgrad.quaternion.interpolation import distance, mean_rotation, slerp, squad
from quatgrad.quaternion.maps import as_quaternions, from_quaternions
from quatgrad.quaternion.matrices import (
    complex_matrix,
    from_complex_matrix,
    from_left_matrix,
    from_right_matrix,
    left_matrix,
    right_matrix,
)
from quatgrad.quaternion.quaternion import Quaternion
from quatgrad.quaternion.random import random, random_unit
from quatgrad.quaternion.rotations import (
    from_axis_angle,
    from_euler,
    from_rotation_matrix,
    from_rotation_vector,
    rotate,
    to_axis_angle,
    to_euler,
    to_rotation_matrix,
    to_rotation_vector,
)
