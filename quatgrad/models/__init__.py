"""Networks by name, real or quaternion: `create("resnet18", algebra="quaternion")`."""

from collections.abc import Callable
from functools import partial

from quatgrad.errors import OptionError, unknown
from quatgrad.models.algebra import Layers
from quatgrad.models.convnet import conv_net
from quatgrad.models.lenet import lenet
from quatgrad.models.resnet import BasicBlock, Bottleneck, ResNet
from quatgrad.nn import LearnedEncoder, Module, Sequential
from quatgrad.random import generator

Shape = tuple[int, int, int]
Builder = Callable[[Layers, int, Shape, int], Module]


def _resnet(block: type, *depths: int) -> Builder:
    return lambda layers, classes, shape, width: ResNet(
        layers, classes, shape[2], width, block, depths
    )


#: name -> (default width, builder(layers, classes, image shape, width))
MODELS: dict[str, tuple[int, Builder]] = {
    "lenet-300-100": (300, partial(lenet, depth=2)),
    "lenet-12": (12, partial(lenet, depth=1)),
    "conv-2": (64, partial(conv_net, depth=2)),
    "conv-4": (64, partial(conv_net, depth=4)),
    "conv-6": (64, partial(conv_net, depth=6)),
    # the classical nets for CIFAR: three stages of 16, 32, 64 channels
    "resnet8": (16, _resnet(BasicBlock, 1, 1, 1)),
    "resnet14": (16, _resnet(BasicBlock, 2, 2, 2)),
    "resnet20": (16, _resnet(BasicBlock, 3, 3, 3)),
    "resnet32": (16, _resnet(BasicBlock, 5, 5, 5)),
    "resnet56": (16, _resnet(BasicBlock, 9, 9, 9)),
    # the paper's: four stages of 64, 128, 256, 512 channels
    "resnet18": (64, _resnet(BasicBlock, 2, 2, 2, 2)),
    "resnet34": (64, _resnet(BasicBlock, 3, 4, 6, 3)),
    "resnet50": (64, _resnet(Bottleneck, 3, 4, 6, 3)),
    "resnet101": (64, _resnet(Bottleneck, 3, 4, 23, 3)),
    "resnet152": (64, _resnet(Bottleneck, 3, 8, 36, 3)),
}


def create(
    name: str,
    algebra: str = "real",
    num_classes: int = 10,
    in_channels: int = 4,
    width: int | None = None,
    *,
    image_size: tuple[int, int] = (32, 32),
    init: str = "he",
    real_head: bool = False,
    learned_encoder: bool = False,
    seed: int = 0,
) -> Module:
    """A network by name.

    `algebra` is "real" or "quaternion"; the two have the same widths, and every quaternion layer
    a quarter of the weights of its real twin. `width` is the number of real channels (features)
    of the first stage, by default that of the literature. `image_size` (H, W) matters to LeNet
    and the conv nets, whose linear layers depend on it. `init` names the initialisers of
    `nn.init.INITIALISERS`: "xavier" is the paper's, "predecessor" that of CODS-COMAD 2023, whose
    last layers are real also where 4 divides the classes: `real_head`. `learned_encoder` puts a
    layer in front that makes quaternions of pixels with any number of channels. Weights are drawn
    from `seed`.
    Errors: `OptionError` for an unknown name, algebra or init; `ShapeError` where channels are
    not a multiple of 4.
    """
    check_name(name)
    default_width, build = MODELS[name]
    if num_classes < 1:
        raise OptionError(f"num_classes is at least 1; got {num_classes}")
    layers = Layers(algebra, generator(seed, "init"), init, real_head)
    channels = 4 if learned_encoder else in_channels
    width = default_width if width is None else width
    if width < 1:
        raise OptionError(f"width is the number of channels of the first stage; got {width}")
    net = build(layers, num_classes, (*image_size, channels), width)
    if learned_encoder:
        net = Sequential(LearnedEncoder(in_channels, rng=generator(seed, "encoder")), net)
    return net


def check_name(name: str) -> None:
    """Raise `OptionError` unless `MODELS` has a network of that name."""
    if name not in MODELS:
        raise OptionError(unknown("model", name, MODELS))


__all__ = ["MODELS", "check_name", "create"]
