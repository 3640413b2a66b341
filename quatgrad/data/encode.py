"""From pixels to quaternions: x = encode((image - mean) / std).

An encoder takes normalised images, float (N, H, W, C), and returns what the network sees, in the
same dtype. A quaternion image has four channels, the components (1, i, j, k) of one quaternion
for each pixel: the layout `[1 | i | j | k]` of every quaternion feature map, with Q = 1.

A quaternion weight ties together the four numbers that it multiplies. So these should belong
together: the colours of one pixel, or four pixels that touch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quatgrad.arrays import array_module, check_dtype
from quatgrad.data.dataset import Encode
from quatgrad.errors import OptionError, ShapeError, unknown

# ------------------------------------------------------------------------------ colour images


def rgb_gray(x: np.ndarray) -> np.ndarray:
    """q = R + G i + B j + (0.299 R + 0.587 G + 0.114 B) k.

    x: (N, H, W, 3) -> (N, H, W, 4). The fourth component is the luminance of the normalised
    colours. It is linear in the other three and adds no information, but it fills the fourth place
    of the quaternion: one weight can then compare brightness with colour.

    Raises `ShapeError` unless x has three channels. Source: the paper's encoder; the grey weights
    are those of ITU-R BT.601.
    """
    return _with_grey(x, 0.299, 0.587, 0.114)


def rgb_gray_paper(x: np.ndarray) -> np.ndarray:
    """q = R + G i + B j + (0.299 R + 0.587 G + 0.144 B) k: `rgb_gray` as the paper's code ran it.

    x: (N, H, W, 3) -> (N, H, W, 4). The weights sum to 1.030: 0.144 is a mistake for
    0.114, which is needed to reproduce the published results.

    Raises `ShapeError` unless x has three channels.
    """
    return _with_grey(x, 0.299, 0.587, 0.144)


def _with_grey(x: np.ndarray, red: float, green: float, blue: float) -> np.ndarray:
    _check_images(x, channels=3)
    q = np.empty((*x.shape[:3], 4), dtype=x.dtype)
    q[..., :3] = x
    q[..., 3] = red * x[..., 0] + green * x[..., 1] + blue * x[..., 2]
    return q


def zero_real(x: np.ndarray) -> np.ndarray:
    """q = 0 + R i + G j + B k.

    x: (N, H, W, 3) -> (N, H, W, 4). A colour as a pure quaternion: the three colours have equal
    roles, and w q w* with a unit quaternion w is a rotation of the colour space. The product w q
    alone has a real part too.

    Raises `ShapeError` unless x has three channels. Source: Sangwine, "Fourier transforms of
    colour images using quaternion or hypercomplex numbers" (1996); Gaudet and Maida, "Deep
    quaternion networks" (2018), learn the real part instead.
    """
    _check_images(x, channels=3)
    q = np.zeros((*x.shape[:3], 4), dtype=x.dtype)
    q[..., 1:] = x
    return q


def luma_differences(x: np.ndarray) -> np.ndarray:
    """q = Y + (R - Y) i + (G - Y) j + (B - Y) k, Y = 0.299 R + 0.587 G + 0.114 B.

    x: (N, H, W, 3) -> (N, H, W, 4). The real part is the luminance, the vector part has no light in
    it but only colour: grey pixels are real. Linear in the colours, as `rgb_gray`.

    Raises `ShapeError` unless x has three channels. Source: the colour differences of ITU-R BT.601.
    """
    q = _with_grey(x, 0.299, 0.587, 0.114)[..., [3, 0, 1, 2]]
    q[..., 1:] -= q[..., :1]
    return q


def rgb(x: np.ndarray) -> np.ndarray:
    """y = x = (R, G, B): three real channels.

    x: (N, H, W, 3) -> the same. For a real network, or for a quaternion network with a real first
    layer, which learns the encoding.

    Raises `ShapeError` unless x has three channels.
    """
    _check_images(x, channels=3)
    return x


# -------------------------------------------------------------------------------- grey images


def blocks(x: np.ndarray) -> np.ndarray:
    """q[h, w] = x[2h, 2w] + x[2h, 2w+1] i + x[2h+1, 2w] j + x[2h+1, 2w+1] k.

    x: (N, 2H, 2W, 1) -> (N, H, W, 4). A bijection: nothing is lost or added, and a real network
    sees the same numbers as a quaternion network. Pixels that touch are correlated, as the colours
    of one pixel are.

    Raises `ShapeError` unless x has one channel and even sides. Source: `consecutive`, changed so
    that H and W shrink by the same factor.
    """
    _check_images(x, channels=1)
    N, rows, columns, _ = x.shape
    if rows % 2 or columns % 2:
        raise ShapeError(
            f"images of {rows}x{columns} pixels cannot be cut into 2x2 blocks: "
            "both sides must be even"
        )
    q = array_module(x).empty((N, rows // 2, columns // 2, 4), dtype=x.dtype)
    for a, (u, v) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):  # faster than one transpose
        q[..., a] = x[:, u::2, v::2, 0]  # (N, H, W)
    return q


def consecutive(x: np.ndarray) -> np.ndarray:
    """q[h, w] = x[h, 4w] + x[h, 4w+1] i + x[h, 4w+2] j + x[h, 4w+3] k.

    x: (N, H, 4W, 1) -> (N, H, W, 4). A bijection, as `blocks` is: four pixels in a row are one
    quaternion.

    Raises `ShapeError` unless x has one channel and a width that 4 divides. Source: the
    predecessor paper's encoder for MNIST (Iqbal and Mishra, 2023).
    """
    _check_images(x, channels=1)
    N, H, columns, _ = x.shape
    if columns % 4:
        raise ShapeError(
            f"rows of {columns} pixels cannot be cut into fours: the width must be a multiple of 4"
        )
    return x.reshape(N, H, columns // 4, 4)


# ----------------------------------------------------------------------------- any channels


def channels(x: np.ndarray) -> np.ndarray:
    """q_c = x[4c] + x[4c+1] i + x[4c+2] j + x[4c+3] k, with 0 for what is not there.

    x: (N, H, W, C) -> (N, H, W, 4Q), Q = ceil(C / 4), in the layout [1 | i | j | k]. Numbers that
    belong together are four channels in a row: those of a sensor, or columns of a table.
    """
    if x.ndim != 4:
        raise ShapeError(f"this encoder takes images (N, H, W, C); these have shape {x.shape}")
    N, H, W, C = x.shape
    Q = -(-C // 4)
    q = array_module(x).zeros((N, H, W, 4 * Q), dtype=x.dtype)
    for a in range(4):
        part = x[..., a::4]
        q[..., a * Q : a * Q + part.shape[3]] = part
    return q


def vectors(x: np.ndarray) -> np.ndarray:
    """q_c = x[3c] i + x[3c+1] j + x[3c+2] k: points in space, three channels in a row each.

    x: (N, H, W, 3Q) -> (N, H, W, 4Q) in the layout [1 | i | j | k]; real parts are 0. Raises
    `ShapeError` unless 3 divides the channels.
    """
    if x.ndim != 4 or x.shape[3] % 3:
        raise ShapeError(f"three channels are a point in space; the images have shape {x.shape}")
    N, H, W, C = x.shape
    q = array_module(x).zeros((N, H, W, 4, C // 3), dtype=x.dtype)
    for a in range(3):
        q[..., 1 + a, :] = x[..., a::3]
    return q.reshape(N, H, W, 4 * (C // 3))


# --------------------------------------------------------------------------- from raw to input

ENCODERS: dict[str, Encode] = {
    "rgb_gray": rgb_gray,
    "rgb_gray_paper": rgb_gray_paper,
    "zero_real": zero_real,
    "luma_differences": luma_differences,
    "rgb": rgb,
    "blocks": blocks,
    "consecutive": consecutive,
    "channels": channels,
    "vectors": vectors,
}

#: The encoders that are linear in the colours of one pixel.
PIXELWISE = (rgb_gray, rgb_gray_paper, zero_real, luma_differences, rgb, channels, vectors)

Colour = tuple[float, float, float]

#: name -> mean and standard deviation of each colour, for pixels in [0, 1]
STATISTICS: dict[str, tuple[Colour, Colour]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # The mean of CIFAR-10, and the deviation within an image, averaged over the images. Widely
    # copied, but too small for a deviation of the pixels. The paper uses it, also for CIFAR-100.
    "paper": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def normalise(images: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """x = (image - mean) / std for each channel, in float32.

    images: uint8 (N, H, W, C) -> float32, same shape; mean and std: C numbers, in the units of
    the images (0 to 255 for CIFAR).
    """
    x = images.astype(np.float32, order="C")
    N, H, W, C = x.shape
    rows = x.reshape(N, H, W * C)  # the same memory: NumPy is slow along an axis of three
    repeat = W if C > 1 else 1
    rows -= np.array([*mean] * repeat, dtype=np.float32)
    rows /= np.array([*std] * repeat, dtype=np.float32)
    return x


@dataclass(frozen=True)
class Encoding:
    """x = encoder((image - mean) / std): uint8 (N, H, W, C) -> float32 (N, H', W', C').

    encoder      one of `ENCODERS`
    image_shape  (H, W, C) of the raw images
    mean, std    C numbers each, in the units of the images

    Plain data: it can be sent to another process, and written beside a network.
    Raises `OptionError` if there is no such encoder, or if it cannot take these images, or for
    another number of means.
    """

    encoder: str
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise OptionError(unknown("encoder", self.encoder, ENCODERS))
        if not len(self.mean) == len(self.std) == self.image_shape[2]:
            raise OptionError(
                f"an encoding of images {self.image_shape} has {len(self.mean)} means and "
                f"{len(self.std)} deviations: one of each channel is needed"
            )
        try:
            ENCODERS[self.encoder](np.zeros((1, *self.image_shape), dtype=np.float32))
        except ShapeError as error:
            raise OptionError(
                f"encoder {self.encoder!r} does not fit this dataset: {error}"
            ) from error

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """What the network sees of raw images."""
        return ENCODERS[self.encoder](normalise(images, self.mean, self.std))


def colour_encoding(encoder: str, image_shape: tuple[int, int, int], statistics: str) -> Encoding:
    """The `Encoding` of colours 0 to 255, normalised by the `STATISTICS` of that name.

    Raises `OptionError` if there are no such statistics, or as `Encoding` does.
    """
    if statistics not in STATISTICS:
        raise OptionError(unknown("statistics", statistics, STATISTICS))
    mean, std = (tuple(255 * value for value in values) for values in STATISTICS[statistics])
    return Encoding(encoder, image_shape, mean, std)


def _check_images(x: np.ndarray, channels: int) -> None:
    check_dtype(x.dtype, "a normalised image")
    if x.ndim != 4 or x.shape[3] != channels:
        kind = {1: "grey images (N, H, W, 1)", 3: "colour images (N, H, W, 3)"}[channels]
        raise ShapeError(f"this encoder takes {kind}; the images have shape {x.shape}")
