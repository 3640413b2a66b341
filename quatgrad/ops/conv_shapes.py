"""Sizes of windows that slide over maps, and the checks that convolutions and poolings make."""

from __future__ import annotations

from quatgrad.arrays import Array
from quatgrad.autograd import Tensor
from quatgrad.errors import OptionError, ShapeError, unknown
from quatgrad.kernels.reference import Pair, out_size
from quatgrad.ops.shape import PADDING_MODES

Size = int | tuple[int, int]


def pair(n: Size) -> Pair:
    """n for rows and columns alike, or (rows, columns)."""
    return (n, n) if isinstance(n, int) else (n[0], n[1])


def window_of(w: Tensor | Array) -> Pair:
    """(U, V) of a weight (..., U, V, P, Q)."""
    return w.shape[-4:-2]


def transposed_size(size: Pair, window: Pair, stride: Pair, padding: Pair, extra: Pair) -> Pair:
    """Rows and columns of a transposed convolution: s (I - 1) + U - 2 pad + output_padding."""
    H, W = (stride[d] * (size[d] - 1) + window[d] - 2 * padding[d] + extra[d] for d in (0, 1))
    return H, W


def check_channels(op: str, x: Tensor, w: Tensor, groups: int = 1, components: int = 1) -> None:
    """Raise `ShapeError` unless the last axis of x has as many channels as w (..., P, Q) takes."""
    P, Q = w.shape[-2:]
    check_groups(op, groups, Q)
    expected, got = components * groups * P, x.shape[-1] if x.ndim else 0
    if got != expected:
        quaternions = f" ({groups * P} quaternions)" if components == 4 else ""
        raise ShapeError(
            f"{op}: the weight {w.shape}{_in(groups)} takes {expected} input channels"
            f"{quaternions}; the input of shape {x.shape} has {got}"
        )


def check_groups(op: str, groups: int, *features: int) -> None:
    """Raise `OptionError` unless `groups` divides every number of features."""
    if groups < 1 or any(n % groups for n in features):
        raise OptionError(
            f"{op}: groups divide the features; "
            f"got {groups} groups of {' -> '.join(map(str, features))}"
        )


def _in(groups: int) -> str:
    return f" in {groups} groups" if groups > 1 else ""


def check_padding_mode(op: str, mode: str) -> None:
    """Raise `OptionError` unless `mode` is a way to continue a map past its border."""
    if mode not in PADDING_MODES:
        raise OptionError(f"{op}: {unknown('padding mode', mode, PADDING_MODES)}")


def check_output_padding(op: str, stride: Pair, extra: Pair) -> None:
    """Raise `OptionError` unless 0 <= output_padding < stride."""
    if not all(0 <= e < s for e, s in zip(extra, stride, strict=True)):
        raise OptionError(
            f"{op}: output_padding is less than the stride, and at least 0; "
            f"got {extra} with stride {stride}"
        )


def check_options(op: str, size: Pair, stride: Pair, padding: Pair, dilation: Pair) -> None:
    """Raise `OptionError` for a window that no map can have."""
    if min(*size, *stride, *dilation) < 1 or min(padding) < 0:
        raise OptionError(
            f"{op}: window, stride and dilation are at least 1, padding at least 0; "
            f"got window {size}, stride {stride}, dilation {dilation}, padding {padding}"
        )


def check_window(
    op: str,
    shape: tuple[int, ...],
    size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair = (1, 1),
) -> None:
    """Raise unless `shape` is (N, H, W, C) and at least one window fits into the padded map."""
    if len(shape) != 4:
        raise ShapeError(f"{op}: the input is (N, H, W, C), channels last; got shape {shape}")
    check_options(op, size, stride, padding, dilation)
    span = dilation[0] * (size[0] - 1) + 1, dilation[1] * (size[1] - 1) + 1
    if min(out_size((shape[1], shape[2]), span, stride, padding)) < 1:
        dilated = f" with dilation {dilation}" if dilation != (1, 1) else ""
        raise ShapeError(
            f"{op}: a window of {size}{dilated} does not fit into maps of {shape[1:3]} "
            f"with padding {padding}"
        )


def check_transposed(
    op: str, shape: tuple[int, ...], size: Pair, stride: Pair, padding: Pair, extra: Pair
) -> None:
    """Raise unless `shape` is (N, I, J, C) and the transposed convolution leaves a map."""
    check_output_padding(op, stride, extra)
    if len(shape) != 4:
        raise ShapeError(f"{op}: the input is (N, I, J, C), channels last; got shape {shape}")
    check_options(op, size, stride, padding, (1, 1))
    out = transposed_size(shape[1:3], size, stride, padding, extra)
    if min(out) < 1:
        raise ShapeError(
            f"{op}: of maps of {shape[1:3]} with window {size} and stride {stride}, a padding of "
            f"{padding} leaves {out}: it is taken off the output"
        )
