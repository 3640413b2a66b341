"""Recurrent layers: GRU and LSTM over whole sequences, real and quaternion, in both directions.

Feature counts are real ones: QGRU(64, 128) maps 16 quaternions to 32.
"""

from typing import Any

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Parameter, Tensor
from quatgrad.errors import OptionError
from quatgrad.nn import init
from quatgrad.nn.features import quaternions, reals, zeros
from quatgrad.nn.module import Module
from quatgrad.random import Source, as_generator


class Recurrent(Module):
    """What they share: weight_x (P, gates H) of the input, weight_h (H, gates H) of the state.

    Of quaternions, (4, P / 4, gates H / 4) and (4, H / 4, gates H / 4). Each gate is drawn as a
    layer of its own. `reverse`: from the last step of a sequence to its first.
    """

    components = 1
    gates: int
    default_init = staticmethod(init.xavier)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        reverse: bool = False,
        *,
        rng: Source,
        init: init.Initialiser | None = None,
    ):
        four = self.components == 4
        P, H = (quaternions if four else reals)(type(self).__name__, in_features, out_features)
        draw, rng = init or self.default_init, as_generator(rng, "weights")

        def weight(rows: int) -> Parameter:
            shape = (4, rows, H) if four else (rows, H)
            gates = [draw(rng, shape) for _ in range(self.gates)]
            return Parameter(np.concatenate(gates, axis=-1), components=self.components)

        self.reverse, self.weight_x, self.weight_h = reverse, weight(P), weight(H)
        self.start_biases(out_features)

    def start_biases(self, H: int) -> None:
        """Biases of a new layer of H features."""
        self.bias = zeros(self.gates * H)

    def extra_repr(self) -> str:
        """Features, and the direction where it is not as usual."""
        P, H = self.components * self.weight_x.shape[-2], self.bias.size // self.gates
        return f"{P} -> {H}{', reverse' if self.reverse else ''}"


class GRU(Recurrent):
    """h' = (1 - z) n + z h, with r, z = sigmoid(W x + U h + b), n = tanh(W x + b + r (U h + c)).

    x (N, T, P) -> all h (N, T, H), 0 after the end of a sequence. `state_bias` is c. `ops.gru`.
    """

    gates = 3

    def start_biases(self, H: int) -> None:
        """Also that of the state in n."""
        super().start_biases(H)
        self.state_bias = zeros(H)

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        """All states."""
        parameters = self.weight_x, self.weight_h, self.bias, self.state_bias
        return ops.gru(x, *parameters, lengths, self.reverse)


class QGRU(GRU):
    """`GRU` whose products are Hamilton products; gates act on each component by itself."""

    components = 4
    default_init = staticmethod(init.xavier_components)


class LSTM(Recurrent):
    """h' = o tanh(c'), c' = f c + i n with i, f, o = sigmoid and n = tanh of W x + U h + b.

    x (N, T, P) -> all h (N, T, H), 0 after the end of a sequence. The bias of f starts at 1, so
    that it remembers at first: Jozefowicz et al. 2015. `ops.lstm`.
    """

    gates = 4

    def start_biases(self, H: int) -> None:
        """1 for f, 0 for the others."""
        super().start_biases(H)
        start = np.zeros(4 * H, np.float32)
        start[H : 2 * H] = 1
        self.bias.data = start

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        """All states."""
        return ops.lstm(x, self.weight_x, self.weight_h, self.bias, lengths, self.reverse)


class QLSTM(LSTM):
    """`LSTM` whose products are Hamilton products: Parcollet et al., arXiv:1806.04418."""

    components = 4
    default_init = staticmethod(init.xavier_components)


class Bidirectional(Module):
    """The states of two layers, one from the first step on and one from the last, side by side.

    x (N, T, P) -> (N, T, 2H). Quaternions stay whole: each block [1 | i | j | k] has both halves.
    """

    def __init__(self, ahead: Recurrent, back: Recurrent):
        if ahead.reverse or not back.reverse or ahead.components != back.components:
            raise OptionError("Bidirectional: give two layers of one algebra, the second reversed")
        self.ahead, self.back = ahead, back

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        """All states of both."""
        both = [layer(x, lengths) for layer in (self.ahead, self.back)]
        blocks = *both[0].shape[:2], self.ahead.components, -1
        y = ops.concatenate([h.reshape(*blocks) for h in both], 3)  # (N, T, 4, 2Q)
        return y.reshape(*y.shape[:2], y.shape[2] * y.shape[3])
