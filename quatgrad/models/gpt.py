"""A small GPT: a transformer that says at each token of a text what comes next."""

import math
from typing import Any

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.errors import ShapeError
from quatgrad.models.algebra import Layers
from quatgrad.models.sequences import Shape, dropout, layer_norm
from quatgrad.nn import Embedding, Linear, Module, SelfAttention
from quatgrad.ops.sequence import check_integers

HEADS = 4


class Block(Module):
    """x + attention(norm(x)), then x + down(gelu(up(norm(x)))), 4 times as wide between.

    What is added starts smaller the deeper the net, by 1 / sqrt(2 depth). GPT-2 (Radford 2019).
    """

    def __init__(self, layers: Layers, width: int, depth: int, causal: bool = True):
        qkv, out, ff = (layers.of(part) for part in ("qkv", "out", "ff"))
        self.norm1, self.norm2 = layer_norm(layers, width), layer_norm(layers, width)
        query, key, value = (qkv.linear(width, width) for _ in range(3))
        self.attention = SelfAttention(
            query, key, value, _smaller(out.linear(width, width), depth), HEADS, causal
        )
        self.up = ff.linear(width, 4 * width)
        self.down = _smaller(ff.linear(4 * width, width), depth)
        self.dropout1, self.dropout2 = dropout(layers), dropout(layers)

    def forward(self, x: Tensor, lengths: Any = None) -> Tensor:
        """(N, T, C) -> (N, T, C), or packed, (R, C) -> (R, C)."""
        x = x + self.dropout1(self.attention(self.norm1(x), lengths))
        return x + self.dropout2(self.down(ops.gelu(self.up(self.norm2(x)))))


def _smaller(linear: Linear, depth: int) -> Linear:
    linear.weight.data = linear.weight.data / np.float32(math.sqrt(2 * depth))
    return linear


class GPT(Module):
    """Embeddings of tokens and places, blocks, norm; logits y E^T, E the embeddings of the tokens.

    A step sees those before it. As nanoGPT, with biases. The parts that `real_parts` may name are
    qkv, out and ff; embeddings are real, and no weights. GELU whatever the style says.
    """

    def __init__(self, layers: Layers, tokens: int, in_shape: Shape, width: int, depth: int = 4):
        counts = tokens, in_shape[0] * in_shape[1]
        self.tokens, self.places = (Embedding(n, width, rng=layers.rng) for n in counts)
        self.dropout = dropout(layers)
        self.blocks = [Block(layers, width, depth) for _ in range(depth)]
        self.norm = layer_norm(layers, width)

    def forward(self, tokens: Any) -> Tensor:
        """tokens (N, T), T at most the places -> logits (N, T, tokens)."""
        steps = self.places.weight.shape[0]
        if np.ndim(tokens) != 2 or np.shape(tokens)[1] > steps:
            raise ShapeError(
                f"a GPT of {steps} steps takes tokens (N, T) with T <= {steps}; "
                f"got shape {np.shape(tokens)}"
            )
        T = np.shape(tokens)[1]
        x = self.dropout(self.tokens(tokens) + self.places(np.arange(T)))
        for block in self.blocks:
            x = block(x)
        return ops.linear(self.norm(x), self.tokens.weight.T)

    def generate(
        self, tokens: Any, count: int, rng: np.random.Generator, temperature: float = 1.0
    ) -> np.ndarray:
        """`count` tokens after `tokens` (T,), each drawn from softmax(logits / temperature)."""
        vocabulary, steps = self.tokens.weight.shape[0], self.places.weight.shape[0]
        text = check_integers("generate", tokens, vocabulary, "token").tolist()
        for _ in range(count):
            z = self(np.array([text[-steps:]])).numpy()[0, -1].astype(np.float64)
            p = np.exp((z - z.max()) / temperature)
            text.append(int(rng.choice(vocabulary, p=p / p.sum())))
        return np.array(text)
