"""The door for operands that must have one shape: kernels, which are compiled, look at none."""

from quatgrad.autograd import Tensor, as_tensors
from quatgrad.errors import DTypeError, ShapeError
from quatgrad.ops.activation import BiasReLU

Shape = tuple[int, ...]


def check_operands(op: str, x: Tensor, **operands: tuple[Tensor, Shape]) -> None:
    """Raise unless each operand, given as name=(tensor, shape), has that shape and x's dtype."""
    for name, (t, shape) in operands.items():
        if t.shape != shape:
            raise ShapeError(
                f"{op}: beside an input of shape {x.shape}, {name} has shape {shape}; got {t.shape}"
            )
        if t.dtype != x.dtype:
            raise DTypeError(f"{op}: an input of {x.dtype} and {name} of {t.dtype} do not mix")


def add_bias(op: str, y: Tensor, b: Tensor | None, relu: bool = False) -> Tensor:
    """y + b for y (..., Q), b (Q,), or y if there is no b; with `relu`, max(y + b, 0).

    The rectifier writes over y, which nobody else may hold or have saved.
    """
    if b is None:
        return y.relu() if relu else y
    if not isinstance(b, Tensor):
        y, b = as_tensors(op, y, b)
    if b.shape != y.shape[-1:]:
        raise ShapeError(f"{op}: the bias has shape {y.shape[-1:]}; got shape {b.shape}")
    return BiasReLU()(y, b) if relu else y + b
