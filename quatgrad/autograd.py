"""Reverse-mode automatic differentiation: the whole engine.

A `Tensor` holds an array. An operation is a `Function`: calling one computes the output and, when
an input requires a gradient, leaves itself in the output as the node that made it. So the graph
is made of Functions. Each points at the nodes (or leaf tensors) that made its inputs:

    y = x * w + b         y --> Add --> Mul --> x, w
                                   `--> b

`loss.backward()` walks it once, from the loss to the leaves. First it counts for every node how
many nodes use its output. A node runs when all of them have sent their share of dL/dy, and passes
dL/dx on. Nothing recurses, so depth is not limited. No node runs twice, however many paths lead to
it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from quatgrad.arrays import Array, array_module, dtype_of, new_array, to_numpy, writeable
from quatgrad.calls import call
from quatgrad.errors import DTypeError, GraphError, QuatgradError, ShapeError
from quatgrad.recording import no_grad as no_grad
from quatgrad.recording import recording

#: The sum of two gradients, which may be written to the first; the same if that is borrowed; and
#: the float32 numbers of an array that may hold bfloat16 ones. All are plain here, without
#: bfloat16; quatgrad.ops attaches kernels, as it attaches the operators.
add_to = add = operator.add
upcast: Callable[[Array], Array] = lambda a: a  # noqa: E731


# -------------------------------------------------------------------------------- tensors


class Tensor:
    """An array, its gradient, and the operation that made it.

    `Tensor(data)` copies: nested lists and numbers become float32, float32 and float64 arrays
    keep their dtype, any other dtype is refused. `data` reads the value (read-only, where the
    array library can say so); assigning to `data` writes it. `grad` is None or an array dL/dx.
    """

    __slots__ = ("__weakref__", "_array", "_node", "_version", "grad", "requires_grad")
    __array_ufunc__ = None  # NumPy leaves `array * tensor` to Tensor.__rmul__

    def __init__(self, data: Any, requires_grad: bool = False):
        if isinstance(data, Tensor):
            raise DTypeError("Tensor(tensor): it is one already; tensor.detach() makes a copy")
        self._array = new_array(data)
        self._node: Function | None = None
        self._version = 0
        self.requires_grad = requires_grad
        self.grad: Array | None = None

    @property
    def data(self) -> Array:
        """The value. Assigning writes it in place: the shape must fit, the dtype stays."""
        view = upcast(self._array).view()
        if isinstance(view, np.ndarray):
            view.flags.writeable = False
        return view

    @data.setter
    def data(self, value: Any) -> None:
        def write(array: Array) -> None:
            array[...] = _fitting(value, self, "assigned value", True)

        self.update(write)

    def update(self, write: Callable[[Array], Any]) -> None:
        """The one door for writes: `write(array)` may overwrite the value in place.

        A result of an operation cannot be written, since backward may need it. Writing to a leaf
        that a graph has used makes the backward of that graph raise. Of memory that is read-only,
        as of a file that several processes share, the tensor makes a copy of its own first.
        """
        if self._node is not None:
            raise GraphError(
                f"cannot overwrite the result of {self._node}: backward may need it; "
                "make a new tensor, or write to a detached copy: t.detach()"
            )
        self._array = writeable(self._array)
        write(self._array)
        self._version += 1

    def backward(self, g: Any = None, retain_graph: bool = False, completed: Any = None) -> None:
        """Add dL/dt to `t.grad` for every leaf t that requires a gradient; `self` is L.

        `g` is dL/dself; it is optional when self has one entry. The graph is freed as it is
        used, unless `retain_graph`. `completed(t)` is called as soon as t.grad is whole: of the
        last layers first, while the others still wait for theirs.
        """
        if not self.requires_grad:
            raise GraphError(
                "backward() of a tensor that depends on nothing with requires_grad=True: "
                "was it made under no_grad(), or from plain arrays?"
            )
        if g is None and self.size != 1:
            raise GraphError(
                f"backward() of a tensor of shape {self.shape} needs dL/dself: "
                "give backward(g), or take .sum() or .mean() first"
            )
        xp = array_module(self._array)
        g = xp.ones_like(upcast(self._array)) if g is None else _fitting(g, self, "dL/dself", False)
        run_backward(self if self._node is None else self._node, g, retain_graph, completed)

    def accumulate_grad(self, g: Array, owned: bool) -> None:
        """What backward does with a leaf: grad += g. The first g is copied unless it is `owned`."""
        if self.grad is not None:
            self.grad = call(operator.iadd, self.grad, g)
        else:  # asarray: NumPy's sums of arrays without axes are scalars, which are no arrays
            xp = array_module(g)
            self.grad = call(xp.asarray if owned else xp.array, g, order="C")

    def detach(self) -> Tensor:
        """A copy of the value without history."""
        return Tensor(self.data)

    def numpy(self) -> np.ndarray:
        """The value as a NumPy array on the host (read-only where nothing had to move)."""
        return to_numpy(self.data)

    def item(self) -> float:
        """The only entry, as a Python number."""
        return self.data.item()

    shape: property = property(lambda t: t._array.shape, doc="Sizes of the axes.")
    ndim: property = property(lambda t: t._array.ndim, doc="Number of axes.")
    size: property = property(lambda t: t._array.size, doc="Number of entries.")

    @property
    def dtype(self) -> Any:
        """float32 or float64."""
        return dtype_of(self._array)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a tensor without axes has no len()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.requires_grad:
            raise GraphError(
                "NumPy would lose the gradient of this tensor: use quatgrad.ops, as ops.stack of a "
                "list of tensors, or give NumPy the value alone: t.detach().numpy()"
            )
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __getstate__(self) -> Any:
        if self._node is not None:
            raise GraphError(f"the result of {self._node} has a graph: copy, or pickle, t.detach()")
        return super().__getstate__()

    def __repr__(self) -> str:
        name = type(self).__name__
        value = np.array2string(self.numpy(), separator=", ", prefix=name + "(", precision=4)
        made = f", from {self._node}" if self._node else ""
        needs = ", requires_grad" if self.requires_grad and not self._node else ""
        return f"{name}({value}, {self.dtype}{made}{needs})"

    if TYPE_CHECKING:  # attached by quatgrad.ops, which says what each does
        T: Tensor
        exp: Callable[..., Tensor]
        log: Callable[..., Tensor]
        sqrt: Callable[..., Tensor]
        abs: Callable[..., Tensor]
        clip: Callable[..., Tensor]
        reshape: Callable[..., Tensor]
        transpose: Callable[..., Tensor]
        flatten: Callable[..., Tensor]
        sum: Callable[..., Tensor]
        mean: Callable[..., Tensor]
        var: Callable[..., Tensor]
        max: Callable[..., Tensor]
        relu: Callable[..., Tensor]
        view: Callable[..., Tensor]
        argmax: Callable[..., Array]

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __getitem__(self, index: Any) -> Tensor: ...


class Parameter(Tensor):
    """A leaf that learns.

    `constraint(array)`, if there is one, sets some entries of an array to 0 in place: of the value
    after every write, of the gradient whenever it has changed, and of what an optimizer remembers.
    `components` says how many tensors, stacked along the first axis, make the value up (4 for a
    quaternion weight: its 1, i, j, k parts).
    """

    __slots__ = ("_constraint", "_grad_buffer", "components")

    def __init__(self, data: Any, components: int = 1):
        super().__init__(data, requires_grad=True)
        self.components = components
        self._constraint: Callable[[Array], None] | None = None
        self._grad_buffer: Array | None = None

    @property
    def constraint(self) -> Callable[[Array], None] | None:
        """What holds for the value and the gradient; assigning applies it to both at once."""
        return self._constraint

    @constraint.setter
    def constraint(self, f: Callable[[Array], None] | None) -> None:
        self._constraint = f
        self.update(lambda array: None)
        if f and self.grad is not None:
            f(self.grad)

    def update(self, write: Callable[[Array], Any]) -> None:
        """`Tensor.update`; the constraint holds again before anyone sees the value."""
        super().update(write)
        if self._constraint:
            self._constraint(self._array)

    def accumulate_grad(self, g: Array, owned: bool) -> None:
        """`Tensor.accumulate_grad`, into the buffer of `rebind`; the constraint holds."""
        if self.grad is None and self._grad_buffer is not None:
            self._grad_buffer[...], self.grad = g, self._grad_buffer
        else:
            super().accumulate_grad(g, owned)
        if self._constraint and self.grad is not None:
            call(self._constraint, self.grad)

    def rebind(self, value: Array, grad: Array) -> None:
        """Move the value and the gradient, which is there, into other memory, for good."""
        value[...], grad[...] = self._array, self.grad
        self._array, self._grad_buffer, self.grad = value, grad, grad

    def is_bound_to(self, value: Array, grad: Array) -> bool:
        """Are value and gradient still where `rebind` put them?"""
        return self._array is value and (self.grad is None or self.grad is grad)

    def mark_written(self) -> None:
        """The value was written in the memory of `rebind`: a graph that used it is void."""
        self._version += 1


def _fitting(value: Any, like: Tensor, what: str, copy: bool) -> Array:
    """`value`, or a copy, of like's shape and dtype on like's backend, or one clear error."""
    array = new_array(value.data if isinstance(value, Tensor) else value, like.dtype, copy)
    if array.shape != like.shape or array.dtype != like.dtype:
        raise (DTypeError if array.shape == like.shape else ShapeError)(
            f"{what} must be {like.dtype} of shape {like.shape}; "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array


# -------------------------------------------------------------------------------- the graph


class Function:
    """One operation, one call. Subclasses give the formula and its derivative:

        class Mul(Function):
            "y = a b"

            def forward(self, a, b):  # arrays in, array out
                self.save_for_backward(a, b)  # what backward will need, and no more
                return a * b

            def backward(self, g):  # g = dL/dy; one gradient for each input
                a, b = self.saved
                return g * b, g * a

    Options are arguments of `__init__`. In `backward`, `self.needs_input_grad[i]` says whether
    input i wants a gradient (None is right where it does not), `self.shapes[i]` is its shape.
    `noted_inside`: forward and backward compute by calls alone that a recorder of steps notes.
    `owns_grads`: backward makes new arrays that nobody else holds, so they may be added to, and a
    leaf may keep them; others are copied. `accepts_bfloat16`: inputs, output and gradients may be
    bfloat16 numbers as a fast rung stores them; other operations get float32 numbers.
    `numpy_checks_shapes`: forward leaves that to NumPy, whose ValueErrors become ShapeErrors.
    `may_overwrite`: nobody reads g after backward, nor what forward made and saved beside y.
    """

    forward: Callable[..., Array]
    backward: Callable[[Array], Any]
    owns_grads = noted_inside = may_overwrite = False
    accepts_bfloat16 = numpy_checks_shapes = False
    saved: tuple[Any, ...] = ()
    needs_input_grad: tuple[bool, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()

    def save_for_backward(self, *values: Any) -> None:
        """Keep values until backward has run."""
        self.saved = values

    def __call__(self, *inputs: Any) -> Tensor:
        """Compute the output and, where a gradient is wanted, join the graph."""
        if self.shapes:
            raise GraphError(f"{self} was called before: make a new one for each call")
        tensors = as_tensors(self, *inputs)
        arrays = [t._array if self.accepts_bfloat16 else upcast(t._array) for t in tensors]
        self.needs_input_grad = tuple([recording.get() and t.requires_grad for t in tensors])
        self.shapes = tuple([a.shape for a in arrays])
        try:
            y = call(self.forward, *arrays)
        except ValueError as error:
            if not self.numpy_checks_shapes or isinstance(error, QuatgradError):
                raise
            shapes = " and ".join(map(str, self.shapes))
            raise ShapeError(f"{self}: cannot work on shapes {shapes}: {error}") from error
        self.dtype = tensors[0].dtype
        out = Tensor.__new__(Tensor)  # no copy: forward made this array for us
        out._array, out._version, out.grad = self._check_result(y, arrays), 0, None
        out.requires_grad = any(self.needs_input_grad)
        out._node = self if out.requires_grad else None
        if out.requires_grad:
            self.parents: tuple[Function | Tensor | None, ...] | None = tuple(
                (t._node or t) if need else None
                for t, need in zip(tensors, self.needs_input_grad, strict=True)
            )
            self.versions = [(t, t._version) for t in tensors if t._node is None]
        return out

    def _check_result(self, y: Array, xs: list[Array]) -> Array:
        """forward's y as the output's array. Without a graph the output is a leaf, which may be
        written to: it holds float32 numbers, and is no view of an input.
        """
        if self._dtype_of(y) != self.dtype:
            raise DTypeError(f"{self} turned {xs[0].dtype} into {y.dtype}; an op may not")
        xp = array_module(xs[0])
        if not any(self.needs_input_grad):
            y = upcast(y)
            y = call(xp.array, y, order="C") if any(xp.may_share_memory(y, a) for a in xs) else y
        return xp.asarray(y)  # NumPy's sums over all axes are scalars

    def _dtype_of(self, a: Array) -> Any:
        return dtype_of(a) if self.accepts_bfloat16 else a.dtype

    def gradients(self, g: Array) -> tuple[Array | None, ...]:
        """`backward(g)`, checked: one gradient for each input, of its shape and dtype."""
        grads = call(self.backward, g if self.accepts_bfloat16 else upcast(g))
        grads = grads if isinstance(grads, tuple) else (grads,)
        needs = self.needs_input_grad
        if len(grads) != len(needs):
            raise GraphError(f"{self}.backward gave {len(grads)} gradients for {len(needs)} inputs")
        for i, (d, need, shape) in enumerate(zip(grads, needs, self.shapes, strict=True)):
            if need and (d is None or d.shape != shape or self._dtype_of(d) != self.dtype):
                came = "None" if d is None else f"{d.dtype} of shape {d.shape}"
                raise GraphError(
                    f"{self}.backward gave {came} for input {i}, "
                    f"which is {self.dtype} of shape {shape}"
                )
        return grads

    def check_usable(self) -> None:
        """Raise unless this node still has what backward needs, unchanged."""
        if self.parents is None:
            raise GraphError(
                f"the graph through {self} was freed by an earlier backward(): "
                "call that one with retain_graph=True, or compute the loss again"
            )
        for t, version in self.versions:
            if t._version != version:
                raise GraphError(
                    f"an input of {self}, of shape {t.shape}, was overwritten after it was used: "
                    "call backward() before writing to it (before optimizer.step())"
                )

    def free(self) -> None:
        """Drop what was saved and the links upwards."""
        self.saved, self.parents, self.versions = (), None, []

    def __repr__(self) -> str:
        return type(self).__name__


def as_tensors(op: Function | str, *inputs: Any) -> list[Tensor]:
    """Tensors of one dtype: numbers and lists take the dtype of the tensors they meet."""
    dtypes = {x._array.dtype if isinstance(x, Tensor) else None for x in inputs}
    if len(dtypes) == 1 and None not in dtypes:
        return list(inputs)
    dtype = next((x.dtype for x in inputs if isinstance(x, Tensor)), None)
    out = []
    for x in inputs:
        x = x if isinstance(x, Tensor) else Tensor(new_array(x, dtype or np.float32))
        dtype = dtype or x.dtype
        if x.dtype != dtype:
            raise DTypeError(
                f"{op}: inputs of {dtype} and {x.dtype} do not mix; make both of one dtype"
            )
        out.append(x)
    return out


def run_backward(root: Function | Tensor, g: Array, retain_graph: bool, completed: Any) -> None:
    """Send g from the root down to every leaf, each node once."""
    waiting = _count_uses(root)  # how many shares of its gradient each vertex still waits for
    arrived: dict[int, Array] = {id(root): g}
    owned: set[int] = set()  # gradients that alias nothing, so that a leaf may keep them
    ready = [root]
    while ready:
        vertex = ready.pop()
        g = arrived.pop(id(vertex))
        if isinstance(vertex, Tensor):
            vertex.accumulate_grad(upcast(g), id(vertex) in owned)
            if completed:
                completed(vertex)
            continue
        vertex.may_overwrite = id(vertex) in owned and not retain_graph
        for parent, share in zip(vertex.parents or (), vertex.gradients(g), strict=True):
            if parent is None or share is None:
                continue
            key = id(parent)
            first = key not in arrived
            plus = add_to if key in owned else add
            arrived[key] = share if first else plus(arrived[key], share)
            if vertex.owns_grads or not first:  # else borrowed: it may be g itself, or a view
                owned.add(key)
            waiting[key] -= 1
            if waiting[key] == 0:
                ready.append(parent)
        if not retain_graph:
            vertex.free()


def _count_uses(root: Function | Tensor) -> dict[int, int]:
    """For each vertex below the root, the number of links that lead to it; checks every node."""
    uses: dict[int, int] = {}
    todo = [root]
    while todo:
        vertex = todo.pop()
        if isinstance(vertex, Tensor):
            continue
        vertex.check_usable()
        for parent in vertex.parents or ():
            if parent is None:
                continue
            if id(parent) not in uses:
                todo.append(parent)
            uses[id(parent)] = uses.get(id(parent), 0) + 1
    return uses
