"""Sizes of windows that slide over maps, and the checks that convolutions and poolings make."""

from __future__ import annotations

from dataclasses import dataclass
from reprlib import repr as shown

from quatgrad.arrays import Array
from quatgrad.autograd import Tensor
from quatgrad.errors import OptionError, ShapeError, unknown
from quatgrad.kernels.reference import Pair, out_size
from quatgrad.ops.shape import PADDING_MODES
from quatgrad.scalars import integer

Size = int | tuple[int, int]


def pair(n: Size, what: str) -> Pair:
    """n for rows and columns alike, or (rows, columns); `OptionError` for anything else."""
    several = isinstance(n, tuple | list) or getattr(n, "ndim", 0) == 1
    sizes = tuple(n) if several else (n, n)  # type: ignore[arg-type]
    if len(sizes) != 2:
        raise OptionError(f"{what} is a whole number, or two for rows and columns; got {shown(n)}")
    return integer(sizes[0], what), integer(sizes[1], what)


def window_of(w: Tensor | Array) -> Pair:
    """(U, V) of a weight (..., U, V, P, Q)."""
    return w.shape[-4:-2]


@dataclass(frozen=True)
class ConvWindow:
    """A window (U, V) of the operation `op`, and how it moves over maps (N, H, W, C).

    A number stands for rows and columns alike. It checks itself: `OptionError` for a
    window that no map can have.
    """

    op: str
    size: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    padding_mode: str = "zeros"
    output_padding: Pair = (0, 0)  # of a transposed convolution

    def __post_init__(self) -> None:
        for name in ("size", "stride", "padding", "dilation", "output_padding"):
            object.__setattr__(self, name, pair(getattr(self, name), f"{self.op}: {name}"))
        object.__setattr__(self, "groups", integer(self.groups, f"{self.op}: groups"))
        extra, stride = self.output_padding, self.stride
        if min(*self.size, *stride, *self.dilation) < 1 or min(self.padding) < 0:
            raise OptionError(
                f"{self.op}: window, stride and dilation are at least 1, padding at least 0; got "
                f"window {self.size}, stride {stride}, dilation {self.dilation}, "
                f"padding {self.padding}"
            )
        if not all(0 <= e < s for e, s in zip(extra, stride, strict=True)):
            raise OptionError(
                f"{self.op}: output_padding is less than the stride, and at least 0; "
                f"got {extra} with stride {stride}"
            )
        if self.padding_mode not in PADDING_MODES:
            mode = unknown("padding mode", self.padding_mode, PADDING_MODES)
            raise OptionError(f"{self.op}: {mode}")

    @property
    def moves(self) -> tuple[Pair, Pair]:
        """(stride, padding): what kernels want to know."""
        return self.stride, self.padding

    @property
    def options(self) -> tuple[Pair, Pair, Pair, int, str]:
        """The options of `ops.conv2d`, in order."""
        return *self.moves, self.dilation, self.groups, self.padding_mode

    @property
    def transposed_options(self) -> tuple[Pair, Pair, Pair, int]:
        """The options of `ops.conv_transpose2d`, in order."""
        return *self.moves, self.output_padding, self.groups

    def out_size(self, shape: tuple[int, ...]) -> Pair:
        """(I, J) of a map (N, H, W, C); `ShapeError` unless at least one window fits into it."""
        _check_map(self.op, shape)
        (U, V), (d, e) = self.size, self.dilation
        out = out_size((shape[1], shape[2]), (d * (U - 1) + 1, e * (V - 1) + 1), *self.moves)
        if min(out) < 1:
            dilated = f" with dilation {self.dilation}" if self.dilation != (1, 1) else ""
            raise ShapeError(
                f"{self.op}: a window of {self.size}{dilated} does not fit into maps of "
                f"{shape[1:3]} with padding {self.padding}"
            )
        return out

    def transposed_size(self, shape: tuple[int, ...]) -> Pair:
        """(H, W) of a map (N, I, J, C) in a transposed convolution, or `ShapeError`:
        H = s (I - 1) + U - 2 pad + output_padding.
        """
        _check_map(self.op, shape)
        rows = zip(shape[1:3], self.size, *self.moves, self.output_padding, strict=True)
        H, W = (s * (n - 1) + u - 2 * pad + extra for n, u, s, pad, extra in rows)
        if min(H, W) < 1:
            raise ShapeError(
                f"{self.op}: of maps of {shape[1:3]} with window {self.size} and stride "
                f"{self.stride}, a padding of {self.padding} leaves {(H, W)}: it is taken off the "
                "output"
            )
        return H, W


def check_weight(op: str, w: Tensor, axes: int, components: int = 1) -> None:
    """Raise `ShapeError` unless w has so many axes, the first of size 4 if it is of quaternions."""
    if w.ndim != axes or (components == 4 and w.shape[0] != 4):
        names = "4, " * (components == 4) + "U, V, " * (axes > 3) + "P, Q"
        raise ShapeError(f"{op}: the weight is ({names}); got shape {w.shape}")
    if w.size == 0:
        raise ShapeError(f"{op}: the weight has no entries: its shape is {w.shape}")


def check_channels(op: str, x: Tensor, w: Tensor, groups: int = 1, components: int = 1) -> None:
    """Raise `ShapeError` unless the last axis of x has as many channels as w (..., P, Q) takes."""
    P, Q = w.shape[-2:]
    check_groups(op, groups, Q)
    expected, got = components * groups * P, x.shape[-1] if x.ndim else 0
    if got != expected:
        quaternions = f" ({groups * P} quaternions)" if components == 4 else ""
        blocks = f" in {groups} groups" if groups > 1 else ""
        raise ShapeError(
            f"{op}: the weight {w.shape}{blocks} takes {expected} input channels"
            f"{quaternions}; the input of shape {x.shape} has {got}"
        )


def check_groups(op: str, groups: int, *features: int) -> None:
    """Raise `OptionError` unless `groups` divides every number of features."""
    if groups < 1 or any(n % groups for n in features):
        raise OptionError(
            f"{op}: groups divide the features; "
            f"got {groups} groups of {' -> '.join(map(str, features))}"
        )


def _check_map(op: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 4:
        raise ShapeError(f"{op}: the input is (N, H, W, C), channels last; got shape {shape}")
