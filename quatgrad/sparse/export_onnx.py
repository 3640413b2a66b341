"""A plan as an ONNX model, for other runtimes: "image" (N, H, W, C) -> "logits" (N, K), any N.

ONNX has neither sparse nor quaternion layers: weights are written with their zeros, and those of
quaternions as the real ones that act as they do. Maps are (N, C, H, W), vectors (N, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad.arrays import Array
from quatgrad.errors import DataError, OptionError
from quatgrad.files import write_whole
from quatgrad.kernels.reference.quaternion import expand
from quatgrad.sparse.plan import Plan
from quatgrad.sparse.rounding import int8_scale, rounded
from quatgrad.sparse.steps import INPUT, Channelwise, Layer, MaxPool, Move, Pointwise, Product, Taps

OPSET, IR = 17, 8  # of ONNX 1.12: no operation of a later one is needed

#: Functions of an entry -> the operation; others are written as several.
FUNCTIONS = {
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
}


def export_onnx(plan: Plan, path: str | Path, weights: str = "float32", about: str = "") -> Path:
    """Write a plan as PATH.onnx; weights as float32, float16 or int8, computed with as float32.

    `about` is the text of the model. Errors: `OptionError` without the package onnx, and for a step
    that has no operation; `DataError` if it cannot be written.
    """
    try:
        from onnx import checker, helper
    except ImportError as error:
        raise OptionError(
            f"ONNX models need the package onnx ({error}): pip install 'quatgrad[onnx]'"
        ) from error
    path = Path(path)
    if not path.name:
        raise OptionError(f"export_onnx: name a file to write; got {str(path)!r}")
    path = path if path.suffix == ".onnx" else path.with_name(f"{path.name}.onnx")
    writer = _Writer(helper, rounded(plan, weights), weights)
    model = writer.model(about)
    checker.check_model(model)
    try:
        write_whole(path, model.SerializeToString())
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error
    return path


@dataclass
class _Writer:
    """Nodes and constants so far; `at` has the name of each map."""

    helper: Any
    plan: Plan
    weights: str
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    at: dict[int, str] = field(default_factory=dict)

    def model(self, about: str) -> Any:
        """The whole of it."""
        steps, h = self.plan.steps, self.helper
        for m, values in steps.constants.items():
            self.at[m] = self.constant(self.as_map(m, values.ravel()[None]))
        self.at[INPUT] = self.as_planes(INPUT, "image")
        for step in steps.steps:
            write = WRITERS.get(type(step))
            if write is None:
                raise OptionError(f"export_onnx: there is no ONNX for the step {step.name!r}")
            self.at[step.y] = write(self, step)
        self.node("Identity", [self.as_rows(steps.output)], output="logits")
        shapes = ("image", self.plan.input_shape), ("logits", (self.plan.outputs,))
        image, logits = (
            h.make_tensor_value_info(name, 1, ["N", *map(int, shape)]) for name, shape in shapes
        )  # 1: float32
        graph = h.make_graph(self.nodes, "quatgrad", [image], [logits], self.constants)
        opset = [h.make_opsetid("", OPSET)]
        return h.make_model(
            graph, opset_imports=opset, ir_version=IR, producer_name="quatgrad", doc_string=about
        )

    # -------------------------------------------------------------------------------- pieces

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **how: Any) -> str:
        """The name of what an operation gives."""
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, [*inputs], [output], **how))
        return output

    def nodes_of(self, kind: str, inputs: Sequence[str], n: int, **how: Any) -> list[str]:
        """The same for one that gives n things."""
        outputs = [f"{kind}_{len(self.nodes)}_{k}" for k in range(n)]
        self.nodes.append(self.helper.make_node(kind, [*inputs], outputs, **how))
        return outputs

    def constant(self, a: Any) -> str:
        """The name of a constant: float32 and int64 unless it is smaller."""
        a = np.asarray(a)
        small = (np.int8, np.float16)
        if a.dtype not in small:
            a = a.astype(np.int64 if a.dtype.kind == "i" else np.float32)
        name = f"constant_{len(self.constants)}"
        kind = self.helper.np_dtype_to_tensor_dtype(a.dtype)
        self.constants.append(self.helper.make_tensor(name, kind, a.shape, a.tobytes(), raw=True))
        return name

    def weight(self, w: Array, scale: Array | None) -> str:
        """A weight (Q, ...), times `scale` for each q: in so many bits as asked for."""
        if self.weights == "int8":
            own = int8_scale(w.reshape(len(w), -1).T)
            small = np.rint(w / own.reshape(-1, *[1] * (w.ndim - 1))).astype(np.int8)
            own = own if scale is None else own * scale
            inputs = [self.constant(small), self.constant(own)]
            return self.node("DequantizeLinear", inputs, axis=0)
        if self.weights == "float16":
            name = self.node("Cast", [self.constant(w.astype(np.float16))], to=1)
            if scale is None:
                return name
            factors = self.constant(scale.reshape(-1, *[1] * (w.ndim - 1)))
            return self.node("Mul", [name, factors])
        return self.constant(w if scale is None else w * scale.reshape(-1, *[1] * (w.ndim - 1)))

    # ---------------------------------------------------------------------------------- maps

    def shape(self, m: int) -> tuple[int, ...]:
        """(C, H, W) of a map, (C,) of a vector."""
        H, W, C = self.plan.steps.shapes[m]
        return (C, H, W) if H * W > 1 else (C,)

    def as_map(self, m: int, rows: Array) -> Array:
        """Rows (N, H W C) as the map lies."""
        H, W, C = self.plan.steps.shapes[m]
        return rows.reshape(-1, H, W, C).transpose(0, 3, 1, 2).reshape(-1, *self.shape(m))

    def reshaped(self, name: str, *shape: int) -> str:
        """(N, ...) of another shape."""
        return self.node("Reshape", [name, self.constant(np.array([-1, *shape]))])

    def as_planes(self, m: int, name: str) -> str:
        """Rows (N, ...), in the order (H, W, C), as the map lies."""
        H, W, C = self.plan.steps.shapes[m]
        name = self.reshaped(name, *((H, W, C) if H * W > 1 else (C,)))
        return self.node("Transpose", [name], perm=(0, 3, 1, 2)) if H * W > 1 else name

    def as_rows(self, m: int) -> str:
        """(N, H W C) of a map."""
        name = self.at[m]
        if len(self.shape(m)) == 1:
            return name
        return self.reshaped(self.node("Transpose", [name], perm=(0, 2, 3, 1)), self.size(m))

    def size(self, m: int) -> int:
        """Entries of a map."""
        return int(np.prod(self.plan.steps.shapes[m]))

    def with_pixels(self, m: int) -> str:
        """A map as (N, C, H, W), also a vector."""
        H, W, C = self.plan.steps.shapes[m]
        return self.at[m] if H * W > 1 else self.reshaped(self.at[m], C, 1, 1)

    # --------------------------------------------------------------------------------- steps

    def layer(self, step: Layer) -> str:
        """Conv; Gemm where the window is the whole map."""
        w = np.where(step.alive, step.weight, np.float32(0))
        W = (expand(w) if step.components == 4 else w[0]).transpose(3, 2, 0, 1)  # (Q, P, U, V)
        shift = self.constant(step.shift)
        if step.window == self.plan.steps.shapes[step.x][:2] and step.padding == (0, 0):
            weight = self.weight(W.reshape(len(W), -1), step.scale)
            x = self.reshaped(self.at[step.x], self.size(step.x))
            return self.stored(step, self.node("Gemm", [x, weight, shift], transB=1))
        return self.conv(step, self.weight(W, step.scale), shift, 1)

    def channelwise(self, step: Channelwise) -> str:
        """Conv in groups of one channel; Mul and Add where it has one tap."""
        if step.window == (1, 1) and step.stride == (1, 1) and step.padding == (0, 0):
            ones = [1] * (len(self.shape(step.x)) - 1)
            name = self.at[step.x]
            for kind, numbers, none in ("Mul", step.weight[0, 0], 1), ("Add", step.shift, 0):
                if (numbers != none).any():
                    name = self.node(kind, [name, self.constant(numbers.reshape(-1, *ones))])
            return self.stored(step, name)
        W = self.constant(step.weight.transpose(2, 0, 1)[:, None])
        return self.conv(step, W, self.constant(step.shift), len(step.shift))

    def conv(self, step: Taps, weight: str, shift: str, groups: int) -> str:
        """A convolution, and what follows."""
        how: dict[str, Any] = {
            "strides": step.stride,
            "pads": [*step.padding, *step.padding],
            "group": groups,
        }
        y = self.node("Conv", [self.with_pixels(step.x), weight, shift], **how)
        vector = len(self.shape(step.y)) == 1
        return self.stored(step, self.reshaped(y, self.size(step.y)) if vector else y)

    def stored(self, step: Taps, y: str) -> str:
        """relu(y + residual)."""
        y = y if step.residual is None else self.node("Add", [y, self.at[step.residual]])
        return self.node("Relu", [y]) if step.relu else y

    def max_pool(self, step: MaxPool) -> str:
        """MaxPool; of quaternions by the places where it finds the largest square of the length."""
        how: dict[str, Any] = {"kernel_shape": step.window, "strides": step.stride}
        (H, W, C), x = self.plan.steps.shapes[step.x], self.with_pixels(step.x)
        if not step.quaternions:
            y = self.node("MaxPool", [x], **how)
        else:
            squares = self.squares(x, C // 4, H, W)
            _, places = self.nodes_of("MaxPool", [squares], 2, **how)
            flat = [self.reshaped(part) for part in self.nodes_of("Split", [x], 4, axis=1)]
            y = self.node("Concat", [self.node("Gather", [f, places]) for f in flat], axis=1)
        return self.reshaped(y, self.size(step.y)) if len(self.shape(step.y)) == 1 else y

    def squares(self, x: str, Q: int, *pixels: int) -> str:
        """|q|^2 (N, Q, ...) of quaternions (N, 4 Q, ...)."""
        q = self.reshaped(x, 4, Q, *pixels)
        return self.node("ReduceSumSquare", [q], axes=[1], keepdims=0)

    def move(self, step: Move) -> str:
        """Gather, from all entries of all sources and a 0."""
        entries, end = [], 0
        for m in step.sources or (INPUT,):
            rows = self.as_rows(m)
            if m in self.plan.steps.constants:
                N = self.node("Shape", ["image"], start=0, end=1)
                shape = self.node("Concat", [N, self.constant(np.array([self.size(m)]))], axis=0)
                rows = self.node("Expand", [rows, shape])
            entries.append(rows)
            end += self.size(m)
        rows = self.node("Concat", entries, axis=1) if len(entries) > 1 else entries[0]
        index = np.where(step.index < 0, end, step.index)
        if (step.index < 0).any():
            rows = self.node("Pad", [rows, self.constant(np.array([0, 0, 0, 1]))])
        index = self.as_map(step.y, index[None])[0].ravel()
        y = self.node("Gather", [rows, self.constant(index)], axis=1)
        return self.reshaped(y, *self.shape(step.y))

    def pointwise(self, step: Pointwise) -> str:
        """A function of each entry, or of each quaternion."""
        x, numbers = self.at[step.x], step.numbers
        if step.function in FUNCTIONS:
            return self.node(FUNCTIONS[step.function], [x])
        if step.function == "leaky_relu":
            return self.node("LeakyRelu", [x], alpha=float(numbers[0]))
        if step.function == "clip":
            return self.node("Clip", [x, *(self.constant(np.float32(n)) for n in numbers)])
        if step.function == "gelu":  # x (1 + erf(x / sqrt(2))) / 2
            root, one, half = (self.constant(np.float32(c)) for c in (0.5**0.5, 1, 0.5))
            e = self.node("Erf", [self.node("Mul", [x, root])])
            return self.node("Mul", [self.node("Mul", [x, half]), self.node("Add", [e, one])])
        if step.function == "modrelu":
            return self.modrelu(step)
        raise OptionError(f"export_onnx: there is no ONNX for the function {step.function!r}")

    def modrelu(self, step: Pointwise) -> str:
        """q max(|q| + bias, 0) / |q|."""
        C, *pixels = self.shape(step.x)
        length = self.node("Sqrt", [self.squares(self.at[step.x], C // 4, *pixels)])
        bias = self.constant(step.numbers.reshape(-1, *[1] * len(pixels)))
        longer = self.node("Relu", [self.node("Add", [length, bias])])
        zero, one = (self.constant(np.float32(c)) for c in (0, 1))
        is_zero = self.node("Equal", [length, zero])
        divisor = self.node("Where", [is_zero, one, length])
        gain = self.reshaped(self.node("Div", [longer, divisor]), 1, C // 4, *pixels)
        q = self.reshaped(self.at[step.x], 4, C // 4, *pixels)
        return self.reshaped(self.node("Mul", [q, gain]), C, *pixels)

    def product(self, step: Product) -> str:
        """Mul."""
        return self.node("Mul", [self.at[step.x], self.at[step.other]])


WRITERS: dict[type, Any] = {
    Layer: _Writer.layer,
    Channelwise: _Writer.channelwise,
    MaxPool: _Writer.max_pool,
    Move: _Writer.move,
    Pointwise: _Writer.pointwise,
    Product: _Writer.product,
}
