"""Networks by name, real or quaternion: `create("resnet18", algebra="quaternion")`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from quatgrad.errors import OptionError, unknown
from quatgrad.models.algebra import Layers, Style
from quatgrad.models.convnet import conv_net
from quatgrad.models.detector import Detector
from quatgrad.models.gcn import GCN
from quatgrad.models.gpt import GPT
from quatgrad.models.lenet import lenet
from quatgrad.models.modulus_net import modulus_net
from quatgrad.models.own import Function, OwnNetwork, is_file_spec, network_in_file, own_network
from quatgrad.models.resnet import BasicBlock, Bottleneck, ResNet
from quatgrad.models.sentences import SentenceTransformer
from quatgrad.models.sequences import FCN, AttitudeNet, RecurrentClassifier
from quatgrad.nn import LearnedEncoder, Module, Sequential
from quatgrad.random import generator
from quatgrad.scalars import integer

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

#: The same for what is no image, and for boxes. Series have image_size (T, 1), tokens too: of text
#: `num_classes` is how many there are, of sentences in_channels; nodes have in_channels features.
SEQUENCES: dict[str, tuple[int, Builder]] = {
    "fcn": (128, FCN),
    "gru": (128, partial(RecurrentClassifier, kind="gru")),
    "lstm": (128, partial(RecurrentClassifier, kind="lstm")),
    "bilstm": (128, partial(RecurrentClassifier, kind="lstm", bidirectional=True)),
    "attitude": (64, partial(AttitudeNet, kind="gru")),
    "gpt": (128, GPT),
    "transformer": (128, SentenceTransformer),
    "gcn": (128, GCN),
    "detector": (32, Detector),  # of images with boxes
}
#: What has no use but to check a comparison.
CONTROLS: dict[str, tuple[int, Builder]] = {"modulus-300-100": (300, modulus_net)}
NAMED = MODELS | SEQUENCES | CONTROLS

#: name -> a network of `register`
_OWN: dict[str, OwnNetwork] = {}


def create(
    name: str | Function,
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
    **style: Any,
) -> Module:
    """A network by name.

    `algebra` is "real" or "quaternion"; the two have the same widths, and every quaternion layer
    a quarter of the weights of its real twin; a name of `sham.SHAMS` is a control of the same
    size. `width` is the number of real channels (features) of the first stage, by default that of
    the literature. `image_size` (H, W) matters to LeNet and the conv nets, whose linear layers
    depend on it. `init` names the initialisers of
    `nn.init.INITIALISERS`: "xavier" is the paper's, "predecessor" that of CODS-COMAD 2023, whose
    last layers are real also where 4 divides the classes: `real_head`. `learned_encoder` puts a
    layer in front that makes quaternions of pixels with any number of channels. Weights are drawn
    from `seed`. Other options are those of `models.algebra.Style`.
    `name` may also be a function (algebra, num_classes, input_shape, rng) -> Module, the name that
    `register` gave it, or FILE.py:NAME. It knows no other options than these four.
    `architecture` of the network says what was asked for, so that `quatgrad.load` can ask again.
    Errors: `OptionError` for an unknown name, algebra or init; `ShapeError` where channels are
    not a multiple of 4.
    """
    network = _find(name)
    sizes = num_classes, in_channels, *image_size
    num_classes, in_channels, *image = (integer(n, "models.create: a size") for n in sizes)
    if num_classes < 1:
        raise OptionError(f"num_classes is at least 1; got {num_classes}")
    if width is not None and (width := integer(width, "width")) < 1:
        raise OptionError(f"width is the number of channels of the first stage; got {width}")
    layers = Layers(algebra, generator(seed, "init"), init, real_head, _style(style))
    shape = (image[0], image[1], 4 if learned_encoder else in_channels)
    net, options = network.build(layers, num_classes, shape, width)
    layers.check_parts()
    if learned_encoder:
        net = Sequential(LearnedEncoder(in_channels, rng=generator(seed, "encoder")), net)
    net.architecture = {
        "model": network.name, "algebra": algebra, "num_classes": num_classes,
        "in_channels": in_channels, "image_size": image,
        "learned_encoder": learned_encoder, **options, **style,
    }  # fmt: skip
    return net


def _style(options: dict[str, Any]) -> Style:
    known = [*Style.__dataclass_fields__, "num_classes", "in_channels", "image_size"]
    if wrong := [name for name in options if name not in known]:
        raise OptionError(f"models.create: {unknown('option', wrong[0], known)}")
    return Style(**options)


@dataclass(frozen=True)
class _Named:
    """A network of the package."""

    name: str
    source: str = ""

    def build(
        self, layers: Layers, classes: int, shape: Shape, width: int | None
    ) -> tuple[Module, dict[str, Any]]:
        """The network, and the rest of its architecture."""
        default_width, make = NAMED[self.name]
        width = default_width if width is None else width
        options = {"width": width, "init": layers.init_name, "real_head": layers.real_head}
        return make(layers, classes, shape, width), options


def _find(model: str | Function) -> _Named | OwnNetwork:
    """What makes a network: by name, from a file, or a function itself."""
    if not isinstance(model, str):
        return own_network(_of_ones_own(getattr(model, "__name__", type(model).__name__)), model)
    if is_file_spec(model):
        return network_in_file(model)
    check_name(model)
    return _OWN.get(model) or _Named(model)


def create_again(architecture: Mapping[str, Any], function: str | Function | None = None) -> Module:
    """The network that `create` made, by its `architecture`; its first weights are those of seed 0.

    `function` makes it, if given, instead of what the architecture names.
    """
    derived = ("model", "source") if "source" in architecture else ("model",)
    options = {k: v for k, v in architecture.items() if k not in derived}
    return create(function or architecture["model"], **options)


def register(name: str, function: Function) -> None:
    """Give a function (algebra, num_classes, input_shape, rng) -> Module a name for `create`.

    Raises `OptionError` for a name that the package has, and for what is no such function.
    """
    _OWN[name] = own_network(_of_ones_own(name), function)


def _of_ones_own(name: str) -> str:
    """A name that a network of one's own can have."""
    if name in NAMED or is_file_spec(name) or not name.strip():
        raise OptionError(f"a network of one's own has a name of its own; got {name!r}")
    return name


def is_known(name: str) -> bool:
    """Has the package a network of that name, or `register`?"""
    return name in NAMED or name in _OWN


def source(name: str) -> str:
    """The digest of the source of a network of one's own; "" for one of the package."""
    return _find(name).source


def check_name(name: str) -> None:
    """Raise `OptionError` unless a network can have that name."""
    if not is_known(name) and not is_file_spec(name):
        raise OptionError(unknown("model", name, [*NAMED, *_OWN]))


__all__ = [
    "MODELS", "NAMED", "SEQUENCES", "check_name", "create", "create_again", "is_file_spec",
    "is_known", "register", "source",
]  # fmt: skip
