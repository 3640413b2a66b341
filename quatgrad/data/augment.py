"""Random changes of training images that do not change their class."""

import numpy as np

PAD = 4


def draw_moves(n: int, generator: np.random.Generator, pad: int = PAD) -> np.ndarray:
    """(rows down, columns right, mirrored) for each of n images, int64 (n, 3).

    The first two are uniform over -pad ... pad; half of the images are mirrored. Each image takes
    the next three numbers of the generator, so the batch size changes nothing.
    """
    u = generator.random((n, 3))  # row by row: exactly three 64-bit draws for each image
    moves = np.empty((n, 3), np.int64)
    moves[:, :2] = (u[:, :2] * (2 * pad + 1)).astype(np.int64) - pad
    moves[:, 2] = u[:, 2] < 0.5
    return moves


def pad_crop_flip(images: np.ndarray, generator: np.random.Generator, pad: int = PAD) -> np.ndarray:
    """y[n, i, j] = x0[n, i + r, j' + s] with j' = j, or W - 1 - j for a mirrored image.

    `x0` is the image x with `pad` zeros on each side; r - pad, s - pad and the mirrored images
    come from `draw_moves`. Images move by at most `pad` pixels; the pixels that are left empty are
    black.

    images: uint8 (N, H, W, C); result: a new array of the same shape and dtype.

    Source: Lee et al., "Deeply-supervised nets" (2015); since He et al., "Deep residual learning
    for image recognition" (2016), section 4.2, the usual augmentation for CIFAR.
    """
    return move(images, draw_moves(len(images), generator, pad), pad)


def move(images: np.ndarray, moves: np.ndarray, pad: int = PAD) -> np.ndarray:
    """`pad_crop_flip` with given `moves` (N, 3), as of `draw_moves`."""
    N, H, W, _ = images.shape
    (r, s), mirrored = moves[:, :2].T + pad, moves[:, 2] == 1

    framed = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows = r[:, None] + np.arange(H)  # (N, H)
    columns = s[:, None] + np.arange(W)  # (N, W)
    columns[mirrored] = columns[mirrored, ::-1]
    return framed[np.arange(N)[:, None, None], rows[:, :, None], columns[:, None, :]]
