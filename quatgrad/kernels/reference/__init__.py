"""Each kernel as the formula it is, on any array module: slow, short, and the specification."""

from quatgrad.kernels.reference import (
    attention,
    augment,
    conv_norm_act,
    layer_norm,
    loss,
    optimizer,
    pool,
    recurrent,
    rotation,
    segments,
    sums,
)
from quatgrad.kernels.reference.patches import Pair, out_size
from quatgrad.kernels.reference.quaternion import HAMILTON
from quatgrad.kernels.registry import kernels_of

globals().update(kernels_of("reference"))  # so that `reference.conv2d` is that kernel

__all__ = ["HAMILTON", "Pair", "out_size"]
