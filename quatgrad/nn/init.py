"""Initial weights: initialiser(rng, shape) -> float32 array.

Shapes are (..., P, Q), window axes first; a quaternion weight has its four components in front,
(4, ..., P, Q). Fans count the window: fan_in = U V P, fan_out = U V Q, in quaternions for a
quaternion weight. Var w is the variance of one component; E|w|^2 is the sum over all four.
"""

import math
from collections.abc import Callable

import numpy as np

from quatgrad.errors import OptionError, unknown
from quatgrad.kernels.reference.quaternion import expand, fold

Shape = tuple[int, ...]
Initialiser = Callable[[np.random.Generator, Shape], np.ndarray]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a real weight, or of one component: (U V P, U V Q)."""
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def xavier(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """U(-b, b), b = sqrt(6 / (fan_in + fan_out)): Var w = 2 / (fan_in + fan_out).

    Source: Glorot & Bengio 2010.
    """
    b = math.sqrt(6 / sum(fans(shape)))
    return rng.uniform(-b, b, shape).astype(np.float32)


def he(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """N(0, 2 / fan_in): keeps E y^2 through ReLU. Source: He et al., arXiv:1502.01852."""
    return _normal(rng, shape, 2 / fans(shape)[0])


def fan_in_uniform(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """U(-b, b), b = 1 / sqrt(fan_in): Var w = 1 / (3 fan_in). The predecessor's real weights.

    Source: PyTorch's default for Linear and Conv2d, after LeCun et al. 1998.
    """
    b = 1 / math.sqrt(fans(shape)[0])
    return rng.uniform(-b, b, shape).astype(np.float32)


def fan_in_uniform_bias(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """The bias (Q,) that goes with `fan_in_uniform` weights of a shape (..., P, Q): same b."""
    b = 1 / math.sqrt(fans(shape)[0])
    return rng.uniform(-b, b, shape[-1]).astype(np.float32)


def xavier_components(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Xavier on each component tensor by itself, with its own fans: what the paper ran.

    A component has a quarter of the real layer's fans, so it gets four times the variance, and
    each output, a sum over four components, 4 times the real layer's. Batch norm hides it.
    Source: the published code of "Large Neural Networks at a Fraction".
    """
    return np.stack([xavier(rng, shape[1:]) for _ in range(4)])  # 4 x (..., P, Q) -> (4, ..., P, Q)


def he_components(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Four independent N(0, 1 / (2 fan_in)): E|w|^2 = 2 / fan_in, direction uniform on the sphere.

    Each output component is a sum of 4 fan_in products, hence the real layer's He variance.
    """
    return _normal(rng, shape, 2 / (4 * fans(shape[1:])[0]))


def polar_glorot(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """`polar` with E|w|^2 = 2 / (fan_in + fan_out)."""
    return polar(rng, shape, 2 / sum(fans(shape[1:])))


def polar_he(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """`polar` with E|w|^2 = 2 / fan_in."""
    return polar(rng, shape, 2 / fans(shape[1:])[0])


def polar_predecessor(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """`polar` with E|w|^2 = 1 / (2 U P), and axes from a cube: the predecessor's quaternions.

    That is s = 1 / sqrt(8 U P) for a window U x V: the published layers count one side of a
    window that is given as one number, and start at half of He's s in a linear layer (U = 1).
    Source: hTorch, as "Neural Networks at a Fraction with Pruned Quaternions" used it.
    """
    _, *window, P, _ = shape
    return polar(rng, shape, 1 / (2 * math.prod(window[:1]) * P), cube=True)


def polar(rng: np.random.Generator, shape: Shape, power: float, cube: bool = False) -> np.ndarray:
    """w = m (cos t + u sin t): m = s chi(4), t uniform in (-pi, pi), u a uniform unit axis.

    s = sqrt(power / 4), so that E|w|^2 = 4 s^2 = power; since t is uniform, Var(1) = power / 2
    and Var(i) = Var(j) = Var(k) = power / 6. u is a normalised normal; published codes normalise
    a point of a `cube`, which favours its diagonals.
    Source: Gaudet & Maida, arXiv:1712.04604; Parcollet et al., arXiv:1806.04418.
    """
    modulus = math.sqrt(power / 4) * np.sqrt(rng.chisquare(4, shape[1:]))
    phase = rng.uniform(-math.pi, math.pi, shape[1:])
    size = (3, *shape[1:])
    axis = rng.uniform(-1, 1, size) if cube else rng.standard_normal(size)
    axis /= np.sqrt((axis**2).sum(axis=0))
    # modulus and phase (..., P, Q), axis (3, ..., P, Q) -> w (4, ..., P, Q)
    w = modulus * np.concatenate([np.cos(phase)[None], np.sin(phase) * axis])
    return w.astype(np.float32)


def unit_normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """N(0, 1): E w^2 = 1, the real twin of `unit_quaternions`."""
    return _normal(rng, shape, 1.0)


def orthogonal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """sqrt(2) times a uniform W (U V P, Q) with W^T W = 1, or W W^T = 1 if that is smaller.

    The sqrt(2) is He's, for a ReLU. Source: Saxe et al., arXiv:1312.6120.
    """
    W = rng.standard_normal((math.prod(shape[:-1]), shape[-1]))
    return (math.sqrt(2) * _polar_factor(W)).reshape(shape).astype(np.float32)


def orthogonal_quaternions(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """The same of the expanded weight: the polar factor of one that is expanded is so too."""
    w = rng.standard_normal((4, math.prod(shape[1:-1]), shape[-1]))
    W = math.sqrt(2) * _polar_factor(expand(w))  # (4, P, Q) -> (4P, 4Q)
    return (fold(W) / 4).reshape(shape).astype(np.float32)


def _polar_factor(W: np.ndarray) -> np.ndarray:
    """W (W^T W)^(-1/2), the nearest matrix with orthonormal columns, or rows if these are fewer."""
    if W.shape[0] < W.shape[1]:
        return _polar_factor(W.T).T
    squares, V = np.linalg.eigh(W.T @ W)
    return W @ (V / np.sqrt(squares)) @ V.T


def unit_quaternions(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """|w| = 1, uniform on the sphere: uniform rotations x -> w x w^-1. Not scaled by any fan."""
    w = rng.standard_normal(shape)
    return (w / np.sqrt((w * w).sum(axis=0))).astype(np.float32)


def _normal(rng: np.random.Generator, shape: Shape, variance: float) -> np.ndarray:
    return (math.sqrt(variance) * rng.standard_normal(shape)).astype(np.float32)


INITIALISERS: dict[str, dict[str, Initialiser]] = {
    "real": {
        "xavier": xavier,
        "he": he,
        "polar-glorot": xavier,  # the same E w^2
        "polar-he": he,
        "predecessor": fan_in_uniform,
        "orthogonal": orthogonal,
        "unit": unit_normal,
    },
    "quaternion": {
        "xavier": xavier_components,
        "he": he_components,
        "polar-glorot": polar_glorot,
        "polar-he": polar_he,
        "predecessor": polar_predecessor,
        "orthogonal": orthogonal_quaternions,
        "unit": unit_quaternions,
    },
}


def initialiser(algebra: str, name: str) -> Initialiser:
    """The initialiser `name` for weights of an algebra, "real" or "quaternion"."""
    if name not in INITIALISERS[algebra]:
        kind = f"initialisation of {algebra} weights"
        raise OptionError(unknown(kind, name, INITIALISERS[algebra]))
    return INITIALISERS[algebra][name]
