"""Linear layers. Feature counts are real ones: QLinear(64, 128) maps 16 quaternions to 32."""

from quatgrad import ops
from quatgrad.autograd import Parameter, Tensor
from quatgrad.nn import init
from quatgrad.nn.features import quaternions, reals, without_bias, zeros
from quatgrad.nn.init import unit_quaternions
from quatgrad.nn.module import Module
from quatgrad.random import Source, as_generator


class Linear(Module):
    """y = x w + b; x (..., P) -> y (..., Q), w (P, Q), b (Q,) starting at 0."""

    components = 1
    default_init = staticmethod(init.xavier)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Source,
        init: init.Initialiser | None = None,
    ):
        of_quaternions = self.components == 4
        count = quaternions if of_quaternions else reals
        P, Q = count(type(self).__name__, in_features, out_features)
        shape = (4, P, Q) if of_quaternions else (P, Q)
        weight = (init or self.default_init)(as_generator(rng, "weights"), shape)
        self.weight = Parameter(weight, components=self.components)
        self.bias = zeros(out_features) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """x w + b."""
        return self.product(x, self.bias)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """With this bias, or none."""
        return ops.linear(x, self.weight, bias)

    def extra_repr(self) -> str:
        """Features and bias."""
        P, Q = (self.components * n for n in self.weight.shape[-2:])
        return f"{P} -> {Q}{without_bias(self)}"


class QLinear(Linear):
    """y_q = sum_p w_pq x_p + b_q with quaternions; x (..., 4P) -> y (..., 4Q), w (4, P, Q).

    A quarter of the weights of `Linear` with the same features. The bias is real, (4Q,): one
    quaternion for each output. Source: "Large Neural Networks at a Fraction", Figure 1.
    """

    components = 4
    default_init = staticmethod(init.xavier_components)

    def product(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """w x + b, weight on the left."""
        return ops.hamilton_linear(x, self.weight, bias)


class RotationLinear(QLinear):
    """y_q = sum_p s_pq w_pq x_p w_pq^-1 + b_q: each input turned and scaled, then added.

    x (..., 4P) -> y (..., 4Q), w (4, P, Q) of which only the direction matters, s (P, Q). Real
    parts are only scaled. Where w = 0, nothing passes and nothing is learned. `init` draws
    s; w starts uniform over all rotations. After Parcollet's "rotation" layers.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Source,
        init: init.Initialiser = init.xavier,
    ):
        rng = as_generator(rng, "weights")
        super().__init__(in_features, out_features, bias, rng=rng, init=unit_quaternions)
        self.scale = Parameter(init(rng, self.weight.shape[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """s w x w^-1 + b."""
        return ops.rotation_linear(x, self.weight, self.scale, self.bias)
