"""What layers share: biases, and numbers of features in quaternions."""

import numpy as np

from quatgrad.autograd import Parameter
from quatgrad.errors import ShapeError
from quatgrad.nn.module import Module
from quatgrad.scalars import integer


def zeros(features: int) -> Parameter:
    """A bias at its start."""
    return Parameter(np.zeros(features, np.float32))


def reals(layer: str, *features: int) -> list[int]:
    """Numbers of features, or `ShapeError` where there are none."""
    numbers = [integer(n, f"{layer}: the number of features") for n in features]
    if min(numbers) < 1:
        raise ShapeError(
            f"{layer}: there is at least 1 feature; got {' -> '.join(map(str, numbers))}"
        )
    return numbers


def quaternions(layer: str, *features: int) -> list[int]:
    """Numbers of quaternions in numbers of real features, or `ShapeError` if 4 does not divide."""
    numbers = [integer(n, f"{layer}: the number of features") for n in features]
    if any(n % 4 or n < 4 for n in numbers):
        raise ShapeError(
            f"{layer}: a quaternion takes 4 real features, so their number must be a "
            f"multiple of 4; got {' -> '.join(map(str, numbers))}"
        )
    return [n // 4 for n in numbers]


def without_bias(layer: Module) -> str:
    """What a layer's description says of its bias."""
    return "" if vars(layer)["bias"] is not None else ", no bias"
