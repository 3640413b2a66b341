"""Conv-2, Conv-4, Conv-6: small VGG-like networks of the lottery-ticket papers."""

from quatgrad.errors import ShapeError
from quatgrad.models.algebra import Layers
from quatgrad.nn import Flatten, MaxPool2d, Module, Sequential


def conv_net(
    layers: Layers, classes: int, in_shape: tuple[int, int, int], width: int, depth: int
) -> Module:
    """depth/2 blocks of [3x3 conv, ReLU] twice and a 2x2 max-pool, then 256, 256, classes.

    Channels are width, 2 width, 4 width; the hidden linear layers have 4 width features.
    Source: Frankle & Carbin, arXiv:1803.03635; quaternion as in CODS-COMAD 2023, whose last layer
    is real for any number of classes.
    """
    H, W, C = in_shape
    modules: list[Module] = []
    for block in range(depth // 2):
        Q = width * 2**block
        if min(H, W) < 2:
            raise ShapeError(
                f"conv-{depth}: images of {in_shape[0]}x{in_shape[1]} are too small for "
                f"{depth // 2} poolings; choose a smaller conv net, a lenet or a resnet"
            )
        for P in (C, Q):  # (N, H, W, C) -> (N, H, W, Q)
            own = layers.of("stem" if not modules else f"block{block + 1}")
            modules += [own.conv(P, Q, 3, padding=1, bias=True), own.activation(Q)]
        modules.append(MaxPool2d(2))
        H, W, C = H // 2, W // 2, Q  # (N, H / 2, W / 2, Q)
    hidden = 4 * width
    # (N, H, W, C) -> (N, H W C) -> (N, hidden) -> (N, hidden) -> (N, classes)
    modules.append(Flatten())
    own = layers.of("hidden")
    for features in (H * W * C, hidden):
        modules += [own.linear(features, hidden), own.activation(hidden)]
    return Sequential(*modules, layers.head(hidden, classes))
