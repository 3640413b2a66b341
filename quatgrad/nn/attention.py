"""Self-attention: what each step of a sequence takes from the others."""

from typing import Any

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.errors import OptionError
from quatgrad.nn.linear import Linear
from quatgrad.nn.module import Module


class SelfAttention(Module):
    """y = out(attention(query(x), key(x), value(x))); x (N, T, C) -> y (N, T, C).

    The four are linear layers, real or quaternion: a head takes whole quaternions where the first
    three have them. See `ops.attention`.
    """

    def __init__(
        self,
        query: Linear,
        key: Linear,
        value: Linear,
        out: Linear,
        heads: int,
        causal: bool = False,
    ):
        components = {layer.components for layer in (query, key, value)}
        if len(components) > 1:
            raise OptionError("SelfAttention: query, key and value are all real, or all quaternion")
        self.query, self.key, self.value, self.out = query, key, value, out
        self.heads, self.causal, self.components = heads, causal, components.pop()

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        """Each step's mean over the steps that it may see; of packed x (R, C) as well."""
        q, k, v, how = self.query(x), self.key(x), self.value(x), (self.components, self.causal)
        if x.ndim == 3:
            return self.out(ops.attention(q, k, v, self.heads, *how, lengths))
        q, k, v = (ops.unpack(a, lengths) for a in (q, k, v))
        return self.out(ops.pack(ops.attention(q, k, v, self.heads, *how, lengths), lengths))

    def extra_repr(self) -> str:
        """Heads, and whether a step sees only those before it."""
        return f"{self.heads} heads{', causal' if self.causal else ''}"
