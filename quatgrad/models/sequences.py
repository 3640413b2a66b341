"""Networks over time: an FCN, and recurrent classifiers; and their layers over either algebra.

Input are series (N, T, C), or, as datasets have them, images one pixel wide (N, T, 1, C).
"""

from typing import Any

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.errors import OptionError, ShapeError
from quatgrad.models.algebra import Layers
from quatgrad.nn import (
    GRU,
    LSTM,
    QGRU,
    QLSTM,
    Bidirectional,
    Conv1d,
    Dropout,
    LayerNorm,
    Module,
    QConv1d,
    QDropout,
    QLayerNorm,
    Sequential,
)

Shape = tuple[int, int, int]
#: name -> the real layer and the quaternion one.
LAYERS: dict[str, tuple[Any, Any]] = {
    "conv1d": (Conv1d, QConv1d),
    "gru": (GRU, QGRU),
    "lstm": (LSTM, QLSTM),
}


def layer(layers: Layers, name: str, *sizes: int, **options: Any) -> Any:
    """The layer `name` of `LAYERS` over the algebra of `layers`, with its initialiser."""
    if layers.algebra not in ("real", "quaternion"):
        raise OptionError(f"{name}: is real or quaternion; there is none over {layers.algebra}")
    kind = LAYERS[name][layers.algebra == "quaternion"]
    return kind(*sizes, **options, rng=layers.rng, init=layers.init)


def layer_norm(layers: Layers, features: int) -> LayerNorm:
    """Layer norm over all features; of whole quaternions with the style `norm` "variance"."""
    whole = layers.style.norm == "variance" and layers.algebra != "real"
    return (QLayerNorm if whole else LayerNorm)(features)


def dropout(layers: Layers) -> Module:
    """What drops the share of the style; nothing, where that is 0."""
    if not layers.style.dropout:
        return Sequential()
    return (Dropout if layers.algebra == "real" else QDropout)(layers.style.dropout, rng=layers.rng)


def as_series(x: Tensor) -> Tensor:
    """(N, T, 1, C), or (N, 1, T, C), -> (N, T, C); series stay as they are."""
    if x.ndim == 4 and 1 in x.shape[1:3]:
        x = x.reshape(x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
    if x.ndim != 3:
        raise ShapeError(
            f"takes series (N, T, C), or images one pixel wide (N, T, 1, C); got {x.shape}"
        )
    return x


class FCN(Module):
    """Three convolutions over time, 8, 5 and 3 steps wide, of w, 2w and w channels, each with batch
    norm and activation; the mean over time; head. Wang, Yan & Oates, arXiv:1611.06455.
    """

    def __init__(self, layers: Layers, classes: int, in_shape: Shape, width: int):
        P, modules = in_shape[2], []
        for number, (Q, window) in enumerate(((width, 8), (2 * width, 5), (width, 3)), 1):
            own = layers.of(f"layer{number}")
            convolution = layer(own, "conv1d", P, Q, window, bias=False)
            modules += [convolution, own.norm(Q), own.activation(Q)]
            P = Q
        self.body, self.head = Sequential(*modules), layers.head(P, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.head(ops.mean_over_time(self.body(as_series(x))))


class RecurrentClassifier(Module):
    """Recurrent layers one after the other, the mean of the states over time, head."""

    def __init__(
        self,
        layers: Layers,
        classes: int,
        in_shape: Shape,
        width: int,
        *,
        kind: str,
        bidirectional: bool = False,
        depth: int = 2,
    ):
        P, self.layers = in_shape[2], []
        for number in range(depth):
            own = layers.of(f"layer{number + 1}")
            if bidirectional:
                both = (layer(own, kind, P, width, reverse=back) for back in (False, True))
                self.layers.append(Bidirectional(*both))
            else:
                self.layers.append(layer(own, kind, P, width))
            P = 2 * width if bidirectional else width
        self.head = layers.head(P, classes)

    def states(self, x: Tensor, lengths: Any = None) -> Tensor:
        """States of the last layer, (N, T, features)."""
        x = as_series(x)
        for module in self.layers:
            x = module(x, lengths)
        return x

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        """Logits (N, classes); steps t >= lengths[n] do not count."""
        return self.head(ops.mean_over_time(self.states(x, lengths), lengths))


class AttitudeNet(RecurrentClassifier):
    """Two GRU layers, whose states are turned into a unit quaternion at each step by the head."""

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        """q / |q|, (N, T, 4)."""
        return ops.algebra.normalize(self.head(self.states(x, lengths)))
