"""A LeNet-300-100 of quaternions that a unit quaternion from the right does not change."""

from quatgrad.errors import OptionError
from quatgrad.models.algebra import Layers
from quatgrad.nn import Flatten, ModReLU, Module, Modulus, Sequential


def modulus_net(layers: Layers, classes: int, in_shape: tuple[int, int, int], width: int) -> Module:
    """Images (H, W, C) -> width -> width // 3 -> moduli -> classes, without biases before the end.

    w (x q) = (w x) q, modReLU keeps directions, and |x q| = |x| for |q| = 1, so the network is the
    same function of x and of x q. With real weights it has the same layers, of four times the
    weights, and no such symmetry: it would have to learn it.
    """
    H, W, C = in_shape
    modules: list[Module] = [Flatten()]  # (N, H, W, C) -> (N, H W C)
    features = H * W * C
    for number, hidden in enumerate((width, width // 3), 1):
        if hidden < 4 or hidden % 4:
            raise OptionError(
                f"modulus-300-100: width and width / 3 are numbers of quaternions times four; "
                f"got a width of {width}, not 12, 24, ... 300"
            )
        own = layers.of(f"layer{number}")
        modules += [own.linear(features, hidden, bias=False), ModReLU(hidden)]  # -> (N, hidden)
        features = hidden
    # (N, width / 3) -> (N, width / 12) -> (N, classes)
    return Sequential(*modules, Modulus(), layers.real_linear(features // 4, classes))
