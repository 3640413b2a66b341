"""Patterns of colours, seen through an unknown rotation of RGB space: made, exact, no download.

    x[h, w] = 128 + 40 (R T_k[h, w] + noise),    R a rotation about a random axis

Class k has a template T_k, a normal colour vector for each 2x2 block of the image; R is drawn for
each image. So no colour says anything, only how colours stand to one another. Classes 2 m and 2 m +
1 are mirror images (T with its red negated): all lengths and angles between colours are the same,
and only the sign of triple products tells them apart.

Conjugation by a unit quaternion turns a colour (`quatgrad.quaternion.rotate`). If quaternion
networks have an advantage in colours at all, it must show here: Gaudet & Maida, arXiv:1712.04604,
and Parcollet et al., arXiv:1806.04418, give it as their reason.
"""

import numpy as np

from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import Encoding
from quatgrad.errors import OptionError
from quatgrad.random import generator

SIDE, CLASSES = 8, 8
TRAIN_IMAGES, TEST_IMAGES = 2000, 1000
SCALE, NOISE = 40.0, 0.5  # grey levels; standard deviation of the noise, of colours 1


def load(encoder: str = "zero_real", trained: float = 180.0, tested: float = 180.0) -> Dataset:
    """2000 training and 1000 test images, uint8 (N, 8, 8, 3), of 8 classes.

    Turns of the training images are by up to `trained` degrees, those of the test images from
    `trained` to `tested` degrees if that is more, else as in training. Axes are uniform on the
    sphere, angles uniform. The images do not depend on a seed, and train images of the same
    `trained` are the same.
    """
    if not 0 < trained <= tested <= 180:
        raise OptionError(
            "turns are up to `trained` degrees in training and `tested` in the test, with "
            f"0 < trained <= tested <= 180; got {trained} and {tested}"
        )
    least = trained if tested > trained else 0.0
    train = _split("train", TRAIN_IMAGES, 0.0, trained)
    test = _split("test", TEST_IMAGES, least, tested)
    names = tuple(f"pattern_{k // 2}{'_mirrored' * (k % 2)}" for k in range(CLASSES))
    encode = Encoding(encoder, (SIDE, SIDE, 3), (128.0,) * 3, (SCALE,) * 3)
    return Dataset("turned", train, test, names, encode)


def templates() -> np.ndarray:
    """The colours of each class (8, 8, 8, 3), of variance 1."""
    T = generator(0, "turned", "templates").standard_normal((CLASSES // 2, 4, 4, 3))
    T = np.stack([T, T * [-1, 1, 1]], axis=1).reshape(CLASSES, 4, 4, 3)
    return T.repeat(2, axis=1).repeat(2, axis=2)  # (8, 4, 4, 3) -> (8, 8, 8, 3)


def turn(v: np.ndarray, axes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """v cos a + (u x v) sin a + u (u . v) (1 - cos a), u = axis / |axis|; (..., 3) -> (..., 3).

    Source: Rodrigues 1840. Not by the package's kernels: data are the same with every backend.
    """
    u = axes / np.sqrt((axes**2).sum(axis=-1, keepdims=True))
    c, s = np.cos(angles)[..., None], np.sin(angles)[..., None]
    return v * c + np.cross(u, v) * s + u * (u * v).sum(axis=-1, keepdims=True) * (1 - c)


def _split(name: str, N: int, least: float, most: float) -> Split:
    rng = generator(0, "turned", name)
    labels = rng.permutation(np.arange(N) % CLASSES)
    angles = np.deg2rad(least + (most - least) * rng.random(N))
    axes = rng.standard_normal((N, 3))
    colours = turn(templates()[labels], axes[:, None, None], angles[:, None, None])  # (N, 8, 8, 3)
    colours += NOISE * rng.standard_normal(colours.shape)
    images = np.clip(np.rint(128 + SCALE * colours), 0, 255).astype(np.uint8)
    return Split(images, labels)
