"""The picture of a graph: its operations, shapes and links."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from quatgrad import Tensor, nn, ops
from quatgrad.errors import GraphError
from view import graph, view


@pytest.fixture
def texts(monkeypatch):
    """`texts()`: what stands in the picture that was shown."""
    monkeypatch.setattr(plt, "show", lambda: None)
    yield lambda: [text.get_text() for text in plt.gca().texts]
    plt.close("all")


def leaf(*shape):
    return Tensor(np.ones(shape, np.float32), requires_grad=True)


def test_operations_have_names_and_shapes_and_leaves_those_given(texts):
    x, w, b = leaf(5, 3), leaf(3, 2), leaf(2)
    view(ops.relu(x @ w + b).sum(), x=x, w=w)
    said = [text for text in texts() if text]
    assert sorted(said) == sorted(["Sum", "ReLU\n(5, 2)", "Add\n(5, 2)", "MatMul\n(5, 2)",
                                   "x\n(5, 3)", "w\n(3, 2)", "leaf\n(2,)"])  # fmt: skip


def test_what_is_used_twice_is_one_node_with_two_links():
    x = leaf()
    y = x + x
    nodes, links = graph(y * y)
    assert sorted(label for label, _ in nodes.values()) == ["Add", "Mul", "leaf"]
    assert len(links) == 4
    assert len(set(links)) == 2


def test_an_operation_stands_right_of_all_that_it_uses():
    x, w = leaf(2, 8), nn.QLinear(8, 8, rng=0)
    nodes, links = graph(w(w(x)) + x, x=x)
    assert all(nodes[low][1] < nodes[high][1] for low, high in links)
    assert sum(label.startswith("HamiltonLinear") for label, _ in nodes.values()) == 2


def test_a_number_without_a_gradient_is_drawn_and_no_node_twice(texts):
    x = leaf(3)
    view(x * Tensor([1.0, 1.0, 1.0]) + 2.0, x=x)
    assert texts().count("array\n(3,)") == 1
    assert texts().count("number") == 1


def test_sixty_diamonds_are_too_many_and_a_freed_graph_has_none():
    y = x = leaf()
    for _ in range(80):
        y = y + y
    with pytest.raises(GraphError, match="too many for a picture"):
        graph(y)
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match="draw it before"):
        graph(y)


def test_a_leaf_alone_is_a_picture_too(texts):
    x = leaf(2)
    view(x, x=x)
    assert texts() == ["x\n(2,)"]
