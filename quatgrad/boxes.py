"""Boxes on pictures, as arrays: what a network is to say of them, what it has said, how good it is.

    labels  float32 (N, M, 5)  of each picture its boxes: class, x0, y0, x1, y1; then rows of -1
    map     (N, H, W, ...)     a cell for each `STRIDE` x `STRIDE` pixels of a picture
    found   float32 (N, D, 6)  class, score, x0, y0, x1, y1 by falling score; then rows of -1

x is to the right, y down, in pixels from the upper left corner of the picture. All in NumPy.
"""

from collections.abc import Sequence

import numpy as np

from quatgrad.errors import DataError

STRIDE = 8  # pixels of a cell
MOST = 100  # boxes that are looked for in a picture
OVERLAP = 0.5  # IoU from which two boxes are one
LIMIT = 8.0  # of |ln(side / STRIDE)| that is believed


def padded(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Boxes (M_n, 5) of N pictures as labels (N, M, 5), M the most that one has, at least 1."""
    labels = np.full((len(boxes), max([1, *map(len, boxes)]), 5), -1, np.float32)
    for row, own in zip(labels, boxes, strict=True):
        row[: len(own)] = own
    return labels


def check(labels: np.ndarray, size: tuple[int, int], classes: int, what: str = "labels") -> None:
    """Raise `DataError` unless `labels` are boxes of `classes` on pictures of `size` (H, W)."""
    if labels.ndim != 3 or labels.shape[2] != 5 or labels.dtype != np.float32:
        raise DataError(
            f"{what}: boxes are float32 (N, M, 5): class, x0, y0, x1, y1; got {labels.dtype} of "
            f"shape {labels.shape}"
        )
    kind, (x0, y0, x1, y1) = labels[..., 0], np.moveaxis(labels[..., 1:], 2, 0)
    H, W = size
    there = kind != -1
    wrong = {
        "is no number": there & ~np.isfinite(labels).all(axis=2),
        f"has a class that is not 0 to {classes - 1}": there & ~np.isin(kind, np.arange(classes)),
        "stands after the end of those of its picture": there[:, 1:] & ~there[:, :-1],
        "has no size": there & ~((x0 < x1) & (y0 < y1)),
        f"is not inside the picture of {W} x {H} pixels": there
        & ~((x0 >= 0) & (y0 >= 0) & (x1 <= W) & (y1 <= H)),
    }
    for why, where in wrong.items():
        if where.any():
            n, m = np.argwhere(where)[0] + (0, labels.shape[1] - where.shape[1])
            row = ", ".join(f"{v:g}" for v in labels[n, m])
            raise DataError(f"{what}: box {m} of picture {n}, ({row}), {why}")


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a and b| / |a or b| for boxes (..., 4): x0, y0, x1, y1. 0 for boxes without size."""
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    common = np.maximum(high - low, 0).prod(axis=-1)
    areas = ((c[..., 2:] - c[..., :2]).prod(axis=-1) for c in (a, b))
    union = sum(areas) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


# ------------------------------------------------------------------- what is to be said of them


def targets(
    labels: np.ndarray, shape: tuple[int, int], classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(heat (N, H, W, K), numbers (N, H, W, 4), centres (N, H, W, 1)) of boxes, float32.

    heat     1 in the cell of the middle of a box, falling as a bell around it: a sixth of a side,
             in cells, is its deviation; of several boxes of a class the highest counts
    numbers  there x and y of the middle from that of the cell, in cells, and ln(w / STRIDE),
             ln(h / STRIDE); of two boxes with one cell, those of the smaller
    centres  1 where there are numbers, 0 elsewhere
    """
    N, (H, W) = len(labels), shape
    kind, low, high = labels[..., 0], labels[..., 1:3], labels[..., 3:]
    middle, sides = (low + high) / (2 * STRIDE), (high - low) / STRIDE  # (N, M, 2): x, y
    cell = np.clip(np.floor(middle), 0, (W - 1, H - 1))
    spread = np.maximum(np.abs(sides) / 6, 1e-3)
    bells = [
        np.exp(-(((np.arange(n) - cell[..., d, None]) / spread[..., d, None]) ** 2) / 2)
        for d, n in enumerate((W, H))
    ]  # (N, M, W) and (N, M, H)
    bell = bells[1][..., None] * bells[0][:, :, None]  # (N, M, H, W)
    of = [np.where((kind == k)[..., None, None], bell, 0).max(axis=1) for k in range(classes)]
    heat = np.stack(of, axis=-1).astype(np.float32)
    numbers = np.zeros((N, H, W, 4), np.float32)
    centres = np.zeros((N, H, W, 1), np.float32)
    n, m = np.nonzero(kind >= 0)
    order = np.argsort(-sides[n, m].prod(axis=1), kind="stable")  # the last one written stays
    n, m = n[order], m[order]
    x, y = cell[n, m].T.astype(np.int64)
    numbers[n, y, x, :2] = middle[n, m] - cell[n, m] - 0.5
    numbers[n, y, x, 2:] = np.log(sides[n, m])
    centres[n, y, x] = 1
    return heat, numbers, centres


# ----------------------------------------------------------------------- what a network has said


def decode(scores: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """What is found, after `suppress`: of logits (N, H, W, K) and numbers as of `targets`."""
    N, H, W, K = scores.shape
    flat = np.nan_to_num(scores.reshape(N, -1), nan=-np.inf)
    best = np.argsort(-flat, axis=1, kind="stable")[:, :MOST]
    cell, kind = np.divmod(best, K)
    t = np.take_along_axis(numbers.reshape(N, H * W, 4), cell[..., None], axis=1)
    t = np.clip(np.nan_to_num(t), -1e3, 1e3)
    middle = np.stack([cell % W, cell // W], axis=-1) + 0.5 + t[..., :2]
    half = np.exp(np.clip(t[..., 2:], -LIMIT, LIMIT)) / 2
    corners = STRIDE * np.concatenate([middle - half, middle + half], axis=-1)
    corners = np.clip(corners, 0, np.array([W, H, W, H]) * STRIDE)
    z = np.take_along_axis(flat, best, axis=1)
    p = np.exp(-np.logaddexp(0, -z))
    found = np.concatenate([kind[..., None], p[..., None], corners], axis=-1).astype(np.float32)
    return suppress(found)


def suppress(found: np.ndarray) -> np.ndarray:
    """Non-maximum suppression: without boxes that a higher score of their class overlaps.

    From the highest score down: a box that stays takes out all whose IoU with it is over
    `OVERLAP`. found (N, D, 6), the highest score first -> the same shape.
    """
    corners, kind = found[..., 2:], found[..., 0]
    rivals = iou(corners[:, :, None], corners[:, None]) > OVERLAP  # (N, D, D)
    rivals &= kind[:, :, None] == kind[:, None]
    stays = kind >= 0
    for d in range(found.shape[1]):
        stays[:, d + 1 :] &= ~(rivals[:, d, d + 1 :] & stays[:, d, None])
    order = np.argsort(~stays, axis=1, kind="stable")[..., None]
    kept = np.where(stays[..., None], found, np.float32(-1))
    return np.take_along_axis(kept, order, axis=1)


# --------------------------------------------------------------------------------- how good it is


def mean_average_precision(found: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """mAP at an IoU of `OVERLAP`: the mean over the classes that there are boxes of, else 0."""
    right, kind = _matched(found, labels), found[..., 0]
    each = []
    for k in range(classes):
        if count := int((labels[..., 0] == k).sum()):
            of = kind == k
            each.append(average_precision(found[..., 1][of], right[of], count))
    return float(np.mean(each)) if each else 0.0


def average_precision(scores: np.ndarray, right: np.ndarray, count: int) -> float:
    """The area under the precision over the recall, of `count` boxes, all points.

    The precision at a recall is the highest at that or a higher one, as of Pascal VOC from 2010.
    """
    right = right[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[right].sum() / count)


def _matched(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which boxes (N, D) are right: from the highest score down, each takes the box of its class
    that it overlaps most, of those that are not taken; a box that overlaps none enough is wrong.
    """
    overlap = iou(found[:, :, None, 2:], labels[:, None, :, 1:])  # (N, D, M)
    same = found[:, :, None, 0] == labels[:, None, :, 0]
    overlap = np.where(same & (labels[:, None, :, 0] >= 0), overlap, 0)
    right = np.zeros(found.shape[:2], bool)
    every = np.arange(len(found))
    for d in range(found.shape[1]):
        best = overlap[:, d].argmax(axis=1)
        right[:, d] = overlap[every, d, best] >= OVERLAP
        taken = np.nonzero(right[:, d])[0]
        overlap[taken, :, best[taken]] = 0
    return right
