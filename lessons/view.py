"""The graph of any expression of Tensors as a picture: view(loss, x=x, w=w)."""

from __future__ import annotations

import matplotlib.pyplot as plt

from quatgrad import Function, Tensor
from quatgrad.errors import GraphError

LARGEST = 60  # operations that one can still read


def graph(result: Tensor, **named: Tensor) -> tuple[dict[int, tuple[str, int]], list]:
    """(nodes, links): node -> (label, column), and (from, to) for each use of a value.

    A label is a name or an operation, and a shape. Inputs without a gradient have no name. Every
    operation stands to the right of all that it uses.
    """
    names = {id(t): name for name, t in named.items()}
    root = result._node or result
    labels, links, order = {id(root): _label(root, result.shape, names)}, [], [root]
    for vertex in order:  # grows: each vertex is put there once
        if isinstance(vertex, Tensor):
            continue
        if vertex.parents is None:
            raise GraphError("view: backward() has freed this graph; draw it before")
        for i, (parent, shape) in enumerate(zip(vertex.parents, vertex.shapes, strict=True)):
            key = (id(vertex), i) if parent is None else id(parent)
            if key not in labels:
                labels[key] = _label(parent, shape, names)
                order += [] if parent is None else [parent]
            links.append((key, id(vertex)))
        if len(labels) > LARGEST:
            raise GraphError(f"view: more than {LARGEST} operations are too many for a picture")
    column = dict.fromkeys(labels, 0)
    for _ in labels:  # a longest path has fewer links than there are nodes
        for low, high in links:
            column[high] = max(column[high], column[low] + 1)
    for low in column.keys() - {high for _, high in links}:  # inputs stand beside their first use
        column[low] = min((column[h] - 1 for b, h in links if b == low), default=0)
    return {key: (label, column[key]) for key, label in labels.items()}, links


def _label(vertex: Function | Tensor | None, shape: tuple[int, ...], names: dict[int, str]) -> str:
    if isinstance(vertex, Function):
        name = str(vertex)
    else:
        plain = "array" if shape else "number"
        name = plain if vertex is None else names.get(id(vertex), "leaf")
    return f"{name}\n{shape}" if shape else name


def view(result: Tensor, **named: Tensor) -> None:
    """Draw what `result` was made of, from left to right; leaves have the names given."""
    nodes, links = graph(result, **named)
    rows: dict[int, list] = {}
    for key, (_, column) in nodes.items():
        rows.setdefault(column, []).append(key)
    tallest = max(map(len, rows.values()))
    spot = {key: (column, (n + 0.5) * tallest / len(keys))
            for column, keys in rows.items() for n, key in enumerate(keys)}  # fmt: skip
    operations = {high for _, high in links}
    _, ax = plt.subplots(figsize=(min(1.3 * len(rows) + 0.6, 7.5), min(0.85 * tallest + 0.5, 4)))
    box = {}
    for key, (label, _) in nodes.items():
        look = {"boxstyle": "round", "facecolor": "white",
                "edgecolor": "C1" if key in operations else "C0"}  # fmt: skip
        text = ax.text(*spot[key], label, ha="center", va="center", fontsize=8, bbox=look)
        box[key] = text.get_bbox_patch()
    for n, (low, high) in enumerate(links):
        twice = links[:n].count((low, high))  # a value that is used twice has two arrows
        bend = f"arc3,rad={0.4 * twice}"
        arrow = {"arrowstyle": "->", "color": "0.4", "connectionstyle": bend,
                 "patchA": box[low], "patchB": box[high], "shrinkA": 2, "shrinkB": 2}  # fmt: skip
        ax.annotate("", spot[high], spot[low], arrowprops=arrow)
    ax.set(xlim=(-0.5, max(rows) + 0.5), ylim=(tallest, 0))
    ax.set_axis_off()
    plt.show()
