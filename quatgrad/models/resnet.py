"""Residual networks for small images: 3x3 stem, no max-pool, as in the paper.

Source: He et al., arXiv:1512.03385; four-stage form of "Large Neural Networks at a Fraction".
"""

from quatgrad.autograd import Tensor
from quatgrad.models.algebra import Layers
from quatgrad.nn import GlobalAvgPool2d, Module, Sequential, conv_norm_act


class BasicBlock(Module):
    """y = relu(bn(conv3x3(relu(bn(conv3x3(x))))) + shortcut(x))."""

    expansion = 1

    def __init__(self, layers: Layers, in_channels: int, width: int, stride: int):
        self.conv1 = layers.conv(in_channels, width, 3, stride, padding=1)
        self.bn1 = layers.norm(width)
        self.conv2 = layers.conv(width, width, 3, padding=1)
        self.bn2 = layers.norm(width)
        self.act1, self.act2 = layers.activation(width), layers.activation(width)
        self.shortcut = _shortcut(layers, in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Two convolutions and the way around them."""
        # (N, H, W, P) -> (N, H / stride, .., Q)
        y = conv_norm_act(self.conv1, self.bn1, x, self.act1)
        return conv_norm_act(self.conv2, self.bn2, y, self.act2, residual=self.shortcut(x))


class Bottleneck(Module):
    """1x1 to `width` channels, 3x3, 1x1 to 4 width, and the way around; stride on the 3x3."""

    expansion = 4

    def __init__(self, layers: Layers, in_channels: int, width: int, stride: int):
        self.conv1 = layers.conv(in_channels, width, 1)
        self.bn1 = layers.norm(width)
        self.conv2 = layers.conv(width, width, 3, stride, padding=1)
        self.bn2 = layers.norm(width)
        self.conv3 = layers.conv(width, 4 * width, 1)
        self.bn3 = layers.norm(4 * width)
        self.act1, self.act2 = layers.activation(width), layers.activation(width)
        self.act3 = layers.activation(4 * width)
        self.shortcut = _shortcut(layers, in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Three convolutions and the way around them."""
        y = conv_norm_act(self.conv1, self.bn1, x, self.act1)  # (N, H, W, P) -> (N, H, W, width)
        y = conv_norm_act(self.conv2, self.bn2, y, self.act2)  # -> (N, H / stride, .., width)
        # -> (N, H / stride, .., 4 width)
        return conv_norm_act(self.conv3, self.bn3, y, self.act3, residual=self.shortcut(x))


class ResNet(Module):
    """Stem, stages of blocks that halve the map and double the channels, mean over it, head."""

    def __init__(
        self,
        layers: Layers,
        classes: int,
        in_channels: int,
        width: int,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, ...],
    ):
        stem = layers.of("stem")
        self.stem = stem.conv(in_channels, width, 3, padding=1)
        self.bn, self.act = stem.norm(width), stem.activation(width)
        self.stages = []
        channels = width
        for stage, depth in enumerate(depths):
            blocks: list[Module] = []
            own = layers.of(f"stage{stage + 1}")
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(block(own, channels, width * 2**stage, stride))
                channels = width * 2**stage * block.expansion
            self.stages.append(Sequential(*blocks))
        self.pool = GlobalAvgPool2d()
        self.head = layers.head(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, H, W, C) -> logits (N, classes)."""
        x = conv_norm_act(self.stem, self.bn, x, self.act)  # (N, H, W, C) -> (N, H, W, width)
        for stage in self.stages:
            x = stage(x)  # -> (N, H / 2, W / 2, 2 width), but for the first
        return self.head(self.pool(x))  # (N, I, J, Q) -> (N, Q) -> (N, classes)


class Projection(Sequential):
    """y = bn(conv1x1(x))."""

    def forward(self, x: Tensor) -> Tensor:
        """To where the block arrives."""
        conv, bn = self.modules
        return conv_norm_act(conv, bn, x)


def _shortcut(layers: Layers, P: int, Q: int, stride: int) -> Module:
    """The identity, or a strided 1x1 convolution where the shape changes."""
    if stride == 1 and P == Q:
        return Sequential()
    layers = layers.of("shortcuts")
    return Projection(layers.conv(P, Q, 1, stride), layers.norm(Q))
