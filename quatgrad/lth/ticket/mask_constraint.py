"""Pruned entries are exactly +0, whatever is written, and so are those of the gradient."""

from typing import Any

from quatgrad.arrays import Array, asarray
from quatgrad.autograd import Parameter
from quatgrad.errors import ShapeError


class MaskConstraint:
    """array <- array where the mask is True, +0 elsewhere; a `Parameter.constraint`."""

    def __init__(self, mask: Array, dtype: Any):
        self.alive = -mask.astype(f"u{dtype.itemsize}")  # for each entry all bits, or none

    def __call__(self, array: Array) -> None:
        """Apply it in place."""
        bits = array.view(self.alive.dtype)
        bits &= self.alive  # not array *= mask: 0 * inf is NaN, 0 * -1 is -0

    @property
    def mask(self) -> Array:
        """True where the entry is alive."""
        return self.alive != 0


def set_mask(p: Parameter, mask: Any) -> None:
    """Keep the entries of p where `mask` (bool, the shape of p) is True; None: keep all."""
    if mask is not None:
        mask = asarray(mask)
        if mask.dtype != bool or mask.shape != p.shape:
            raise ShapeError(
                f"a mask for a parameter of shape {p.shape} is a bool array of that "
                f"shape; got {mask.dtype} of shape {mask.shape}"
            )
    p.constraint = None if mask is None else MaskConstraint(mask, p.dtype)


def mask_of(p: Parameter) -> Array | None:
    """The mask of p; None if it has none."""
    return p.constraint.mask if isinstance(p.constraint, MaskConstraint) else None
