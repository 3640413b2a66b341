"""Patterns of quaternions, each multiplied from the right by an unknown one: made, no download.

    x[h, w] = 128 + 20 (T_k[h, w] q + noise),    |q| = 1

Class k has a template T_k, a normal quaternion for each 2x2 block of the image; q is drawn for each
image. So no quaternion says anything, only how they stand to one another. Classes 2 m and 2 m + 1
are T and i T: all lengths and angles are the same.

A quaternion layer without a bias commutes with q: w (x q) = (w x) q; and the modulus does not know
it: |w x q| = |w x| (`models.modulus_net`). If our tools can show an advantage of quaternions at
all, they must show it here, where one is sure to exist: a positive control.
"""

import numpy as np

from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.encode import Encoding
from quatgrad.errors import OptionError
from quatgrad.random import generator

SIDE, CLASSES = 8, 8
TRAIN_IMAGES, TEST_IMAGES = 2000, 1000
SCALE, NOISE = 20.0, 2.0  # grey levels; standard deviation of the noise, of components 1


def load(encoder: str = "channels", trained: float = 180.0, tested: float = 180.0) -> Dataset:
    """2000 training and 1000 test images, uint8 (N, 8, 8, 4), of 8 classes.

    q = cos a + u sin a. The angles a of the training images are up to `trained` degrees, those of
    the test images from `trained` to `tested` degrees if that is more, else as in training. Axes u
    are uniform on the sphere, angles uniform. The images do not depend on a seed.
    """
    if not 0 < trained <= tested <= 180:
        raise OptionError(
            "angles are up to `trained` degrees in training and `tested` in the test, with "
            f"0 < trained <= tested <= 180; got {trained} and {tested}"
        )
    train = _split("train", TRAIN_IMAGES, 0.0, trained)
    test = _split("test", TEST_IMAGES, trained if tested > trained else 0.0, tested)
    names = tuple(f"pattern_{k // 2}{'_times_i' * (k % 2)}" for k in range(CLASSES))
    encode = Encoding(encoder, (SIDE, SIDE, 4), (128.0,) * 4, (SCALE,) * 4)
    return Dataset("spun", train, test, names, encode)


def templates() -> np.ndarray:
    """The quaternions of each class (8, 8, 8, 4), of variance 1 in each component."""
    T = generator(0, "spun", "templates").standard_normal((CLASSES // 2, 4, 4, 4))
    i_T = np.stack([-T[..., 1], T[..., 0], -T[..., 3], T[..., 2]], axis=-1)
    T = np.stack([T, i_T], axis=1).reshape(CLASSES, 4, 4, 4)
    return T.repeat(2, axis=1).repeat(2, axis=2)  # (8, 4, 4, 4) -> (8, 8, 8, 4)


def product(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """p q for quaternions (..., 4). Not by the package's kernels: data are always the same."""
    a, b = p[..., :1], p[..., 1:]
    c, d = q[..., :1], q[..., 1:]
    real = a * c - (b * d).sum(axis=-1, keepdims=True)
    return np.concatenate([real, a * d + c * b + np.cross(b, d)], axis=-1)


def _split(name: str, N: int, least: float, most: float) -> Split:
    rng = generator(0, "spun", name)
    labels = rng.permutation(np.arange(N) % CLASSES)
    angles = np.deg2rad(least + (most - least) * rng.random((N, 1)))
    axes = rng.standard_normal((N, 3))
    axes /= np.sqrt((axes**2).sum(axis=-1, keepdims=True))
    q = np.concatenate([np.cos(angles), axes * np.sin(angles)], axis=-1)  # (N, 4)
    x = product(templates()[labels], q[:, None, None])  # (N, 8, 8, 4)
    x += NOISE * rng.standard_normal(x.shape)
    images = np.clip(np.rint(128 + SCALE * x), 0, 255).astype(np.uint8)
    return Split(images, labels)
