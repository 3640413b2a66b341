"""Bright discs and squares on noise, each with its box: made, no download.

A picture has up to four of them, of any brightness and colour, which do not touch. Some pictures
have none.
"""

import numpy as np

from quatgrad.data.boxed import Part, from_boxes
from quatgrad.data.dataset import Dataset
from quatgrad.random import generator

H, W = 48, 64
SIDES = (10, 22)  # pixels of the smallest box, and of the largest
MOST = 4  # in a picture
CLASSES = ("disc", "square")
TRAIN, TEST = 240, 80


def load(encoder: str = "rgb_gray") -> Dataset:
    """240 training and 80 test pictures, uint8 (N, 48, 64, 3). They do not depend on a seed."""
    return from_boxes("discs", CLASSES, _part("train", TRAIN), _part("test", TEST), None, encoder)


def _part(name: str, N: int) -> Part:
    rng = generator(0, "discs", name)
    made = [_picture(rng) for _ in range(N)]
    return np.stack([picture for picture, _ in made]), [found for _, found in made]


def _picture(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its boxes (M, 5)."""
    x = 60 + 12 * rng.standard_normal((H, W, 3))
    free, found = np.ones((H, W), bool), []
    for _ in range(rng.integers(0, MOST + 1)):
        kind, side = rng.integers(len(CLASSES)), rng.integers(*SIDES, endpoint=True)
        top, left = rng.integers(H - side + 1), rng.integers(W - side + 1)
        colour = rng.uniform(80, 160, 3)
        inside = slice(top, top + side), slice(left, left + side)
        if free[inside].all():
            free[inside] = False
            rows = np.abs(np.arange(side) - (side - 1) / 2)
            shape = np.hypot(rows[:, None], rows) <= side / 2 if kind == 0 else np.True_
            x[inside] += np.where(shape, 1, 0)[..., None] * colour
            found.append((kind, left, top, left + side, top + side))
    picture = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return picture, np.array(found, np.float32).reshape(-1, 5)
