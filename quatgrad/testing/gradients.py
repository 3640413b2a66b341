"""Are these gradients right? Two tests, for any function of Tensors.

    check_gradients(ops.hamilton, p, q)     silent, or an AssertionError that names the entry
    taylor_rate(ops.tanh, x, direction)     2.0 where the gradient is right, about 1 where not

Neither works at kinks (relu at 0, ties of a maximum): choose other inputs.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quatgrad import ops
from quatgrad.arrays import Array, to_numpy
from quatgrad.autograd import Function, Tensor, no_grad
from quatgrad.random import generator

F = Callable[..., Tensor]

#: Layouts of an array in memory, as (store, show): show(store(a)) has the entries of a. `show`
#: works on arrays and on Tensors, so an operation can get its input in each layout.
LAYOUTS: dict[str, tuple[Callable[[Array], Array], Callable[[Any], Any]]] = {
    "contiguous": (lambda a: a, lambda a: a),
    "transposed": (lambda a: a.transpose(), lambda a: a.transpose()),
    "reversed": (lambda a: a[..., ::-1], lambda a: a[..., ::-1]),
    "sliced": (lambda a: np.repeat(a, 2, axis=-1), lambda a: a[..., ::2]),
    "read-only": (
        lambda a: a,
        lambda a: (ops if isinstance(a, Tensor) else np).broadcast_to(a, a.shape),
    ),
}


def check_gradients(
    f: F,
    *inputs: Any,
    tolerance: float = 1e-6,
    tolerance32: float | None = 1e-5,
    seed: int = 0,
    name: str | None = None,
) -> None:
    """Raise `AssertionError` unless f's gradients are right for every input, at every entry.

    f maps Tensors to one Tensor y, always the same for the same inputs; `inputs` are arrays of any
    shape, rounded to float32 first. With dL/dy drawn at random, this compares

    * float64 gradients with central differences;
    * these with the gradients when inputs and dL/dy are transposed, reversed, sliced or read-only
      in memory, and with the gradient of each input alone;
    * float32 gradients with float64 gradients (unless `tolerance32` is None);

    and that neither forward nor backward changes an input or dL/dy. An entry may differ by
    tolerance max(1, M), where M is the largest entry of the gradient.
    """
    name = name or str(getattr(f, "__name__", f))
    points = [np.asarray(x, np.float32).astype(np.float64) for x in inputs]
    with no_grad():
        y = f(*map(Tensor, points)).numpy()
    g = _weights(y.shape, seed)
    expected = numerical_gradients(f, points, g)
    everyone = range(len(points))

    def agree(how: str, grads: Sequence[Array | None], expected: list[Array], tol: float) -> None:
        for i, (got, want) in enumerate(zip(grads, expected, strict=True)):
            assert got is not None
            _compare(f"{name}: the gradient of input {i} ({how})", got, want, tol)

    grads = _gradients(name, f, points, g, "contiguous", everyone)
    agree("against finite differences", grads, expected, tolerance)
    for layout in LAYOUTS:
        again = _gradients(name, f, points, g, layout, everyone)
        agree(f"inputs {layout} in memory", again, grads, 1e-10)
    for i in everyone:
        (alone,) = _gradients(name, f, points, g, "contiguous", [i])
        what = f"{name}: the gradient of input {i} (the others want none)"
        _compare(what, alone, grads[i], 1e-10)
    if tolerance32 is not None:
        points = [x.astype(np.float32) for x in points]
        single = _gradients(name, f, points, g.astype(np.float32), "contiguous", everyone)
        agree("in float32", single, grads, tolerance32)


def numerical_gradients(f: F, inputs: Sequence[Array], g: Array, step: float = 6e-6) -> list[Array]:
    """Central differences of L = sum g f(inputs), in float64: dL/dx for every entry of every input.

    The step, times max(1, |x|), is about eps^(1/3), where rounding and truncation are equal.
    """
    points = [np.array(x, np.float64) for x in inputs]
    grads = [np.empty_like(x) for x in points]

    def loss() -> float:
        return float((g * f(*map(Tensor, points)).numpy()).sum())

    with no_grad():
        for x, grad in zip(points, grads, strict=True):
            for index in np.ndindex(x.shape):
                middle = x[index]
                h = step * max(1.0, abs(float(middle)))
                low, high = middle - h, middle + h
                x[index] = high
                up = loss()
                x[index] = low
                grad[index] = (up - loss()) / (high - low)
                x[index] = middle
    return grads


def taylor_rate(f: F, x: Any, direction: Any, seed: int = 0) -> float:
    """Slope of log |L(x + h d) - L(x) - h <dL/dx, d>| over log h, for L = <random weights, f(x)>.

    The remainder of a first-order Taylor series shrinks as h^2, so the slope is 2 (or more, where
    the second derivative along d is 0); with a gradient that is off by 3 %, or off in one entry,
    a term in h stays and the slope falls to about 1. No step and no tolerance to choose.
    Returns infinity if f is linear along d and its gradient right: nothing remains.
    """
    x, d = np.array(x, np.float64), np.array(direction, np.float64)
    d /= np.abs(d).max()
    leaf = Tensor(x, requires_grad=True)
    y = f(leaf)
    g = _weights(y.shape, seed)
    y.backward(g)
    slope = 0.0 if leaf.grad is None else float((to_numpy(leaf.grad) * d).sum())
    with no_grad():
        steps = 2.0 ** -np.arange(8, 16)
        terms = [g * (f(Tensor(x + h * d)).numpy() - y.numpy()) for h in steps]
    remainders = np.array([abs(t.sum() - h * slope) for t, h in zip(terms, steps, strict=True)])
    clear = remainders > 1e-14 * (1 + np.abs(g * y.numpy()).sum())  # above rounding
    if clear.sum() < 2:
        return math.inf
    return float(np.polyfit(np.log(steps[clear]), np.log(remainders[clear]), 1)[0])


class _Handing(Function):
    """y = x, whose dx is the very array g, in its own layout: who writes to it is found out."""

    def __init__(self, g: Array):
        self.g = g

    def forward(self, x):
        return x.copy()

    def backward(self, _):
        return self.g


def _weights(shape: tuple[int, ...], seed: int) -> Array:
    """A random dL/dy. Its entries stay away from 0, so that each entry of y is really tested."""
    rng = generator(seed, "dL/dy")
    g = rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)
    return np.asarray(g, np.float32).astype(np.float64)  # the same numbers in both precisions


def _gradients(
    name: str, f: F, points: Sequence[Array], g: Array, layout: str, wanted: Sequence[int]
) -> list[Array]:
    """dL/dx of the wanted inputs, given in a layout; makes sure that nothing was written to."""

    def pair(a: Array) -> tuple[Callable[[Array], Array], Callable[[Any], Any]]:
        return LAYOUTS[layout if a.ndim else "read-only"]

    stored = [pair(x)[0](x) for x in points]
    leaves = [Tensor(a, requires_grad=i in wanted) for i, a in enumerate(stored)]
    store, show = pair(g)
    g = show(np.array(store(g)))
    g_before = g.copy()
    y = f(*(pair(x)[1](leaf) for x, leaf in zip(points, leaves, strict=True)))
    if y.dtype != points[0].dtype or y.shape != g.shape:
        raise AssertionError(
            f"{name}: {y.dtype} of shape {y.shape} from {points[0].dtype} inputs; "
            f"expected {points[0].dtype} of shape {g.shape}"
        )

    def unchanged(by: str) -> None:
        for i, (a, leaf) in enumerate(zip(stored, leaves, strict=True)):
            if not np.array_equal(leaf.numpy(), a):
                raise AssertionError(f"{name}: {by} changed input {i} (inputs {layout} in memory)")

    unchanged("forward")
    y_before = y.numpy().copy()
    _Handing(g)(y).backward(g)
    unchanged("backward")
    if not np.array_equal(g, g_before) or not np.array_equal(y.numpy(), y_before):
        raise AssertionError(f"{name}: backward changed dL/dy or y (inputs {layout} in memory)")
    grads = []
    for i in wanted:
        x, grad = points[i], leaves[i].grad
        grad = np.zeros_like(stored[i]) if grad is None else to_numpy(grad)
        if grad.shape != stored[i].shape or grad.dtype != x.dtype:
            raise AssertionError(
                f"{name}: the gradient of input {i} is {grad.dtype} of shape {grad.shape}; "
                f"expected {x.dtype} of shape {stored[i].shape}"
            )
        grads.append(pair(x)[1](grad))
    return grads


def _compare(what: str, got: Array, expected: Array, tolerance: float) -> None:
    """Raise, naming the worst entry, unless |got - expected| <= tolerance max(1, max|expected|)."""
    error = np.abs(got - expected)
    wrong = ~(error <= tolerance * max(1.0, np.abs(expected).max(initial=0.0)))  # NaN is wrong
    if wrong.any():
        index = np.unravel_index(np.argmax(np.where(wrong, error, -1)), wrong.shape)
        at = tuple(int(i) for i in index)
        raise AssertionError(
            f"{what} is wrong at {wrong.sum()} of {wrong.size} entries; "
            f"at {at}: got {got[at]:.9g}, expected {expected[at]:.9g}"
        )
