"""A transformer that tells sentences apart."""

from typing import Any

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.errors import ShapeError
from quatgrad.models.algebra import Layers
from quatgrad.models.gpt import Block
from quatgrad.models.sequences import Shape, dropout, layer_norm
from quatgrad.nn import Embedding, Module


class SentenceTransformer(Module):
    """Embeddings of words and places, blocks whose steps see all, norm, mean, head.

    Made for sentences of up to T words below `words`: in_shape (T, 1, words). The parts that
    `real_parts` may name are qkv, out and ff. As Tay et al., arXiv:1906.04393, compare.
    """

    def __init__(self, layers: Layers, classes: int, in_shape: Shape, width: int, depth: int = 2):
        counts = in_shape[2], in_shape[0] * in_shape[1]
        self.words, self.places = (Embedding(n, width, rng=layers.rng) for n in counts)
        self.dropout = dropout(layers)
        self.blocks = [Block(layers, width, depth, causal=False) for _ in range(depth)]
        self.norm, self.head = layer_norm(layers, width), layers.head(width, classes)

    def forward(self, words: Any, lengths: Any = None) -> Tensor:
        """Words (N, T) -> logits (N, classes); what is at t >= lengths[n] is left out."""
        steps = self.places.weight.shape[0]
        if np.ndim(words) != 2 or np.shape(words)[1] > steps:
            raise ShapeError(
                f"a transformer of {steps} steps takes words (N, T) with T <= {steps}; "
                f"got shape {np.shape(words)}"
            )
        T = np.shape(words)[1]
        lengths = np.full(len(words), T) if lengths is None else lengths
        x = self.dropout(ops.pack(self.words(words) + self.places(np.arange(T)), lengths))
        for block in self.blocks:
            x = block(x, lengths)
        return self.head(ops.mean_over_time(ops.unpack(self.norm(x), lengths), lengths))
