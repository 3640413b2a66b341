"""Graph networks: each node takes the mean of its neighbours, and a linear layer of that."""

import numpy as np

from quatgrad import ops
from quatgrad.autograd import Tensor
from quatgrad.errors import DataError
from quatgrad.models.algebra import Layers
from quatgrad.models.sequences import Shape, dropout
from quatgrad.nn import Module
from quatgrad.ops.csr import CSR


class GCN(Module):
    """y = A relu(A x W) W': two graph convolutions. Kipf & Welling, arXiv:1609.02907."""

    def __init__(self, layers: Layers, classes: int, in_shape: Shape, width: int):
        own = layers.of("layer1")
        self.dropout = dropout(own)
        self.layer1, self.activation = own.linear(in_shape[2], width), own.activation(width)
        self.head = layers.head(width, classes)

    def forward(self, x: Tensor, A: CSR) -> Tensor:
        """Features (nodes, C) and the matrix of `propagation` -> logits (nodes, classes)."""
        h = ops.csr_matmul(A, self.layer1(self.dropout(x)))
        return ops.csr_matmul(A, self.head(self.activation(h)))


def propagation(edges: np.ndarray, nodes: int) -> CSR:
    """D^(-1/2) (A + I) D^(-1/2): A of undirected edges (E, 2), D the number of neighbours and 1.

    An edge that is there twice, in one direction or in both, counts once, one to itself not at all.
    """
    if edges.ndim != 2 or edges.shape[1] != 2 or (edges.size and edges.max() >= nodes):
        raise DataError(f"edges are pairs (E, 2) of nodes below {nodes}; got {edges.shape}")
    edges = np.unique(np.sort(edges[edges[:, 0] != edges[:, 1]], axis=1), axis=0)
    a, b, own = edges[:, 0], edges[:, 1], np.arange(nodes)
    rows, columns = np.concatenate([a, b, own]), np.concatenate([b, a, own])
    root = 1 / np.sqrt(np.bincount(rows, minlength=nodes))
    values = (root[rows] * root[columns]).astype(np.float32)
    return CSR.from_entries(values, rows, columns, (nodes, nodes))
