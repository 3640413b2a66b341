"""LeNets: one or two hidden layers, on flattened images."""

from quatgrad.errors import OptionError
from quatgrad.models.algebra import Layers
from quatgrad.nn import Flatten, Module, Sequential


def lenet(
    layers: Layers, classes: int, in_shape: tuple[int, int, int], width: int, depth: int
) -> Module:
    """Images (H, W, C) -> width -> width // 3 -> classes, ReLU between; depth 1: width alone.

    LeNet-300-100 has width 300 and depth 2, LeNet-12 width 12 and depth 1.
    Source: LeCun et al. 1998; quaternion as in "Neural Networks at a Fraction with Pruned
    Quaternions" (CODS-COMAD 2023), with a real last layer for ten classes.
    """
    H, W, C = in_shape
    modules: list[Module] = [Flatten()]  # (N, H, W, C) -> (N, H W C)
    features = H * W * C
    for number, hidden in enumerate((width, width // 3)[:depth], 1):
        if hidden < 1:
            raise OptionError(f"a LeNet of width {width} has no neuron in a layer: give 3 or more")
        own = layers.of(f"layer{number}")
        modules += [own.linear(features, hidden), own.activation(hidden)]  # -> (N, hidden)
        features = hidden
    return Sequential(*modules, layers.head(features, classes))
