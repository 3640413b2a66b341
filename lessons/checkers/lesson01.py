"""Judges of lesson 1: slopes by hand, an operation on numbers, an operation on arrays."""

import numpy as np

from checkers.judging import Open, Wrong, agree, exercise
from quatgrad import Tensor
from quatgrad.testing import numerical_gradients


@exercise
def slopes(answer):
    """dL/dx, dL/dw, dL/db of L = (x w + b)^2 at 2, 3, 1."""
    points = [np.array(v) for v in (2.0, 3.0, 1.0)]
    loss = lambda x, w, b: (x * w + b) * (x * w + b)  # noqa: E731
    want = np.array(numerical_gradients(loss, points, np.array(1.0)))
    mistakes = {
        "These are the slopes of y; on the way from L they are multiplied by 2 y = 14.": want / 14,
        "The slopes of x and w are swapped: the slope of x w along x is w.": want[[1, 0, 2]],
        "y is used twice in y y, so the slope from L to y is 2 y.": want / 2,
        "The slope of p + b along b is 1, so what arrives at y goes on to b.": want * [1, 1, 0],
    }
    agree("[dL/dx, dL/dw, dL/db]", answer, want, None, mistakes=mistakes)


@exercise
def tanh(answer):
    """y = tanh(x), with the arrow 1 - y^2."""
    x = 0.5
    number = answer(x)
    agree("the value of tanh(0.5)", getattr(number, "value", number), np.tanh(x))
    if not getattr(number, "arrows", ()):
        raise Wrong("the result remembers nothing: give Number its arrows, [(x, local slope)]")
    if len(number.arrows) != 1:
        raise Wrong(f"tanh has one input, so one arrow; here are {len(number.arrows)}")
    below, local = number.arrows[0]
    if getattr(below, "value", None) != x:
        raise Wrong("the arrow should lead to x itself, the Number that came in")
    y = np.tanh(x)
    mistakes = {
        "The slope is 1 - y², and y is the result, tanh(x), not x.": 1 - x * x,
        "The square is missing: 1 - y².": 1 - y,
        "That is the value; the arrow carries the slope, 1 - y².": y,
    }
    slope = (np.tanh(x + 1e-5) - np.tanh(x - 1e-5)) / 2e-5
    agree("the local slope", local, slope, "finite difference", mistakes=mistakes)


@exercise
def Cube(answer):  # noqa: N802 - the exercise is a class
    """y = x^3, dx = 3 x^2 g."""
    x, g = np.array([2.0, -1.0, 0.5]), np.array([1.0, 2.0, -3.0])
    if answer().forward(x) is None:
        raise Open
    leaf = Tensor(x, requires_grad=True)
    y = answer()(leaf)
    agree("forward([2, -1, 0.5])", y.numpy(), x**3, mistakes={"That is x².": x**2})
    if y._node.backward(g) is None:
        raise Wrong("backward returns nothing; it should return dL/dx, from g")
    y.backward(g)
    (want,) = numerical_gradients(lambda t: t * t * t, [x], g)
    mistakes = {
        "g is missing: backward gets the slope from above and multiplies by its own.": want / g,
        "The slope of x³ is 3 x²; here the 3 is missing.": want / 3,
        "The slope of x³ is 3 x²; that is 3 x.": 3 * x * g,
        "g was added; slopes along a path multiply.": 3 * x * x + g,
    }
    agree("backward(g)", leaf.grad, want, "finite difference", mistakes=mistakes)
