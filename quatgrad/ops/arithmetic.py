"""Elementwise arithmetic with broadcasting, and the matrix product."""

from collections.abc import Callable
from typing import Any

from quatgrad.arrays import Array, array_module, asarray
from quatgrad.autograd import Function, Tensor, as_tensors
from quatgrad.errors import DTypeError
from quatgrad.kernels.registry import kernel
from quatgrad.scalars import number


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """The adjoint of broadcasting from `shape`: sum g over the axes that were stretched."""
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)  # axes that broadcasting put in front
    stretched = tuple(
        d for d in range(g.ndim) if d < extra or (shape[d - extra] == 1 and g.shape[d] != 1)
    )
    # (new axes, stretched and other axes) -> (1.., 1 and other axes) -> shape
    return kernel("sum_over")(g, stretched, keepdims=True).reshape(shape)


class Binary(Function):
    """y = f(a, b), broadcast; subclasses give `forward`, dL/da as `da` and dL/db as `db`."""

    numpy_checks_shapes = True

    da: Callable[[Array, Array, Array], Array]
    db: Callable[[Array, Array, Array], Array]

    def backward(self, g):
        a, b = self.saved
        return (
            unbroadcast(self.da(g, a, b), a.shape) if self.needs_input_grad[0] else None,
            unbroadcast(self.db(g, a, b), b.shape) if self.needs_input_grad[1] else None,
        )


class FromOutput(Function):
    """y = f(x) whose derivative is known from y: subclasses give f as `value`, dL/dx as `dx`."""

    value: Callable[[Array], Array]
    dx: Callable[[Array, Array], Array]

    def forward(self, x):
        y = self.value(x)
        self.save_for_backward(y)
        return y

    def backward(self, g):
        return self.dx(g, *self.saved)


class Add(Function):
    """y = a + b."""

    numpy_checks_shapes = noted_inside = True

    def forward(self, a, b):
        return kernel("add")(a, b)

    def backward(self, g):
        return unbroadcast(g, self.shapes[0]), unbroadcast(g, self.shapes[1])


class Sub(Function):
    """y = a - b."""

    numpy_checks_shapes = True

    def forward(self, a, b):
        return a - b

    def backward(self, g):
        return unbroadcast(g, self.shapes[0]), unbroadcast(-g, self.shapes[1])


class Mul(Binary):
    """y = a b."""

    def forward(self, a, b):
        self.save_for_backward(a, b)
        return a * b

    def da(self, g, a, b):
        return g * b

    def db(self, g, a, b):
        return g * a


class Div(Binary):
    """y = a / b."""

    def forward(self, a, b):
        self.save_for_backward(a, b)
        return a / b

    def da(self, g, a, b):
        return g / b

    def db(self, g, a, b):
        return -(g / b) * (a / b)  # b * b may overflow


class Pow(Binary):
    """y = a^b; where a = 0, dy/da = 0 for b = 0 and dy/db = 0."""

    def forward(self, a, b):
        self.save_for_backward(a, b)
        return a**b

    def da(self, g, a, b):
        xp, flat = array_module(a), b == 0
        return xp.where(flat, 0, g) * b * xp.where(flat, 1, a) ** (b - 1)

    def db(self, g, a, b):
        xp, zero = array_module(a), a == 0
        a = xp.where(zero, 1, a)
        return xp.where(zero, 0, g) * a**b * xp.log(a)


class Neg(Function):
    """y = -x."""

    def forward(self, x):
        return -x

    def backward(self, g):
        return -g


class Exp(FromOutput):
    """y = e^x; dy/dx = y."""

    def value(self, x):
        return array_module(x).exp(x)

    def dx(self, g, y):
        return g * y


class Log(Function):
    """y = ln x; dy/dx = 1 / x."""

    def forward(self, x):
        self.save_for_backward(x)
        return array_module(x).log(x)

    def backward(self, g):
        (x,) = self.saved
        return g / x


class Sqrt(FromOutput):
    """y = x^(1/2); dy/dx = 1 / (2 y)."""

    def value(self, x):
        return array_module(x).sqrt(x)

    def dx(self, g, y):
        return g / (2 * y)


class Abs(Function):
    """y = |x|; dy/dx = sign(x), 0 at 0."""

    def forward(self, x):
        self.save_for_backward(x)
        return abs(x)

    def backward(self, g):
        (x,) = self.saved
        xp = array_module(x)
        return xp.where(x == 0, 0, g) * xp.sign(x)


class Clip(Function):
    """y = min(max(x, low), high); dy/dx = 1 within the bounds (ends included), else 0."""

    def __init__(self, low: float | None, high: float | None):
        self.low, self.high = low, high

    def forward(self, x):
        y = array_module(x).clip(x, self.low, self.high)
        self.save_for_backward(x == y)
        return y

    def backward(self, g):
        (inside,) = self.saved
        return array_module(g).where(inside, g, 0)


class Where(Function):
    """y = a where the condition holds, else b."""

    numpy_checks_shapes = True

    def __init__(self, condition: Array):
        self.condition = condition

    def forward(self, a, b):
        return array_module(a).where(self.condition, a, b)

    def backward(self, g):
        where = array_module(g).where
        yes, no = where(self.condition, g, 0), where(self.condition, 0, g)
        return unbroadcast(yes, self.shapes[0]), unbroadcast(no, self.shapes[1])


class MatMul(Binary):
    """y = a b, matrices in the last two axes, the leading ones broadcast."""

    owns_grads = noted_inside = True

    def forward(self, a, b):
        self.save_for_backward(a, b)
        return kernel("matmul")(a, b)  # (..., N, K), (..., K, M) -> (..., N, M)

    def da(self, g, a, b):
        return kernel("matmul")(g, b.swapaxes(-1, -2))

    def db(self, g, a, b):
        return kernel("matmul")(a.swapaxes(-1, -2), g)


def add(a: Any, b: Any) -> Tensor:
    """y = a + b."""
    return Add()(a, b)


def sub(a: Any, b: Any) -> Tensor:
    """y = a - b."""
    return Sub()(a, b)


def mul(a: Any, b: Any) -> Tensor:
    """y = a b, entry by entry."""
    return Mul()(a, b)


def div(a: Any, b: Any) -> Tensor:
    """y = a / b, entry by entry."""
    return Div()(a, b)


def power(a: Any, b: Any) -> Tensor:
    """y = a^b, entry by entry."""
    return Pow()(a, b)


def neg(x: Any) -> Tensor:
    """y = -x."""
    return Neg()(x)


def exp(x: Any) -> Tensor:
    """y = e^x."""
    return Exp()(x)


def log(x: Any) -> Tensor:
    """y = ln x."""
    return Log()(x)


def sqrt(x: Any) -> Tensor:
    """y = x^(1/2)."""
    return Sqrt()(x)


def absolute(x: Any) -> Tensor:
    """y = |x|."""
    return Abs()(x)


def clip(x: Any, low: float | None = None, high: float | None = None) -> Tensor:
    """y = min(max(x, low), high)."""
    bounds = (None if bound is None else number(bound, "clip: a bound") for bound in (low, high))
    return Clip(*bounds)(x)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """y = a where the condition (a bool array) holds, else b."""
    condition = array_module(condition).array(condition)  # ours: backward needs it
    if condition.dtype.kind not in "biuf":
        raise DTypeError(f"where: the condition is a bool array; got one of {condition.dtype}")
    return Where(asarray(condition.astype(bool)))(a, b)


def matmul(a: Any, b: Any) -> Tensor:
    """y = a b as matrices: (..., N, K), (..., K, M) -> (..., N, M).

    A vector is taken as one row (left) or one column (right), and that axis is dropped again.
    """
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        a, b = as_tensors("matmul", a, b)
    if a.ndim == 0 or b.ndim == 0:
        MatMul()(a, b)  # raises: a number is no matrix
    if b.ndim == 1:
        y = matmul(a, b.reshape(-1, 1))  # (..., N, K), (K, 1) -> (..., N, 1)
        return y.reshape(y.shape[:-1])  # (..., N)
    if a.ndim == 1:
        y = matmul(a.reshape(1, -1), b)  # (1, K), (..., K, M) -> (..., 1, M)
        return y.reshape(*y.shape[:-2], y.shape[-1])  # (..., M)
    return MatMul()(a, b)
