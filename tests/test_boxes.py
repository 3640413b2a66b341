"""Boxes: overlap, targets, decoding, suppression and mAP, each against its definition."""

import numpy as np
import pytest

from quatgrad import boxes
from quatgrad.errors import DataError

RNG = np.random.default_rng(9)
SIZE = (48, 64)


def some(count, classes=2, rng=RNG):
    """Boxes (count, 5) inside a picture of `SIZE`."""
    H, W = SIZE
    low = rng.uniform(0, (W - 12, H - 12), (count, 2))
    high = np.minimum(low + rng.uniform(4, 30, (count, 2)), (W, H))
    return np.concatenate([rng.integers(0, classes, (count, 1)), low, high], 1).astype(np.float32)


def with_scores(rows, rng=RNG):
    """As something that was found, the highest score first."""
    scores = np.sort(rng.random(len(rows)))[::-1, None]
    return np.concatenate([rows[:, :1], scores, rows[:, 1:]], 1).astype(np.float32)


def plain_iou(a, b):
    """By counting: |a and b| / |a or b|, one side after the other."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    common = w * h if w > 0 and h > 0 else 0.0
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return common / (sum(areas) - common) if sum(areas) > common else 0.0


def test_overlap():
    a, b = some(30)[:, 1:].astype(float), some(20)[:, 1:].astype(float)
    expected = [[plain_iou(p, q) for q in b] for p in a]
    np.testing.assert_allclose(boxes.iou(a[:, None], b), expected, atol=1e-12)
    assert boxes.iou(a[0], a[0]) == 1
    assert boxes.iou(np.zeros(4), np.zeros(4)) == 0


def test_boxes_of_different_numbers_are_one_array():
    labels = boxes.padded([some(3), some(0), some(1)])
    assert labels.shape == (3, 3, 5)
    assert (labels[..., 0] >= 0).sum(axis=1).tolist() == [3, 0, 1]
    boxes.check(labels, SIZE, 2)
    assert boxes.padded([some(0)] * 2).shape == (2, 1, 5)  # of pictures without any


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0, 5, 5, 5, 9), r"box 1 of picture 1, \(0, 5, 5, 5, 9\), has no size"),
        ((0, 9, 5, 5, 9), "has no size"),
        ((2, 1, 1, 5, 9), "has a class that is not 0 to 1"),
        ((0.5, 1, 1, 5, 9), "has a class that is not 0 to 1"),
        ((1, 1, 1, 65, 9), "is not inside the picture of 64 x 48 pixels"),
        ((1, -1, 1, 5, 9), "is not inside"),
        ((1, 1, 1, np.nan, 9), "is no number"),
        ((np.nan, 1, 1, 5, 9), "is no number"),
    ],
)
def test_boxes_that_are_none(row, message):
    labels = boxes.padded([some(2), some(2)])
    labels[1, 1] = row
    with pytest.raises(DataError, match=message):
        boxes.check(labels, SIZE, 2)


def test_boxes_after_the_end_and_other_arrays():
    labels = boxes.padded([some(2)])
    labels[0, 0] = -1
    with pytest.raises(DataError, match=r"box 1 of picture 0, .* stands after the end"):
        boxes.check(labels, SIZE, 2)
    for wrong in (labels[0], labels[..., :4], labels.astype(float)):
        with pytest.raises(DataError, match=r"boxes are float32 \(N, M, 5\)"):
            boxes.check(wrong, SIZE, 2)


# -------------------------------------------------------------------------------- the map


def logits(heat):
    return np.log(np.maximum(heat, 1e-6) / np.maximum(1 - heat, 1e-6))


def test_what_is_decoded_is_what_was_to_be_said():
    """Of boxes with a cell each, none over another."""
    own = np.array([[0, 3, 2, 20, 17], [1, 30, 5, 41, 30], [0, 44.5, 30, 60, 47]], np.float32)
    labels = boxes.padded([own, own[:0], own[1:2]])
    heat, numbers, centres = boxes.targets(labels, (6, 8), 2)
    assert heat.shape == (3, 6, 8, 2)
    assert centres.sum(axis=(1, 2, 3)).tolist() == [3, 0, 1]
    assert ((heat == 1).sum(axis=(1, 2, 3)) == [3, 0, 1]).all()
    found = boxes.decode(logits(heat), numbers)
    for n, true in enumerate((own, own[:0], own[1:2])):
        sure = found[n][found[n, :, 1] > 0.99]
        expected = true[np.lexsort(true.T)]
        np.testing.assert_allclose(sure[:, [0, 2, 3, 4, 5]][np.lexsort(sure[:, [0, 2, 3, 4, 5]].T)],
                                   expected, atol=1e-3)  # fmt: skip
    assert boxes.mean_average_precision(found, labels, 2) == 1


def test_targets_are_those_of_the_definition():
    labels = boxes.padded([some(5, 3) for _ in range(4)])
    heat, numbers, centres = boxes.targets(labels, (6, 8), 3)
    for n, own in enumerate(labels):
        expected = np.zeros((6, 8, 3))
        cells = {}
        for k, x0, y0, x1, y1 in own.astype(float):
            cx, cy, w, h = (x0 + x1) / 16, (y0 + y1) / 16, (x1 - x0) / 8, (y1 - y0) / 8
            i, j = min(int(cy), 5), min(int(cx), 7)
            if (i, j) not in cells or w * h < cells[i, j][0]:
                cells[i, j] = w * h, (cx - j - 0.5, cy - i - 0.5, np.log(w), np.log(h))
            for y in range(6):
                for x in range(8):
                    bell = np.exp(-((x - j) ** 2) / (w / 6) ** 2 / 2)
                    bell *= np.exp(-((y - i) ** 2) / (h / 6) ** 2 / 2)
                    expected[y, x, int(k)] = max(expected[y, x, int(k)], bell)
        np.testing.assert_allclose(heat[n], expected, atol=1e-5)
        assert {tuple(c) for c in np.argwhere(centres[n, ..., 0] == 1)} == set(cells)
        for cell, (_, four) in cells.items():
            np.testing.assert_allclose(numbers[n][cell], four, atol=1e-4)


def test_a_box_at_the_edge_has_a_cell():
    labels = boxes.padded([np.array([[0, 56, 40, 64, 48], [0, 0, 0, 1, 1]], np.float32)])
    _, _, centres = boxes.targets(labels, (6, 8), 1)
    assert np.argwhere(centres).tolist() == [[0, 0, 0, 0], [0, 5, 7, 0]]


def test_numbers_that_are_none_are_found_nowhere_and_raise_nothing():
    scores, numbers = RNG.standard_normal((2, 3, 4, 2)), RNG.standard_normal((2, 3, 4, 4))
    scores[0, 1], numbers[1] = np.nan, np.inf
    found = boxes.decode(scores, numbers)
    assert np.isfinite(found).all()
    labels = boxes.padded([some(2), some(3)])
    assert 0 <= boxes.mean_average_precision(found, labels, 2) <= 1


# ------------------------------------------------------------------------- suppression, mAP


def plain_suppression(found):
    kept = []
    for row in found:
        rivals = [k for k in kept if k[0] == row[0]]
        if all(plain_iou(row[2:], k[2:]) <= boxes.OVERLAP for k in rivals):
            kept.append(row)
    return kept


def test_suppression_is_the_greedy_one():
    pictures = np.stack([with_scores(some(40)) for _ in range(5)])
    once = boxes.suppress(pictures)
    for row, found in zip(once, pictures, strict=True):
        expected = np.array(plain_suppression(found.astype(float)))
        kept = row[row[:, 0] >= 0]
        assert len(kept) < len(found)
        np.testing.assert_allclose(kept, expected, rtol=1e-6)
        assert (row[len(kept) :] == -1).all()
    np.testing.assert_array_equal(boxes.suppress(once), once)


def brute_force_map(found, truth, classes):
    """By the definition: at each threshold of the score its precision and recall, then the area."""
    areas = []
    for k in range(classes):
        total = sum(int((own[:, 0] == k).sum()) for own in truth)
        if not total:
            continue
        thresholds = sorted({row[1] for rows in found for row in rows if row[0] == k}, reverse=True)
        points = []
        for threshold in thresholds:
            right = said = 0
            for rows, own in zip(found, truth, strict=True):
                rows = [r for r in rows if r[0] == k and r[1] >= threshold]
                free = [b[1:] for b in own if b[0] == k]
                for row in sorted(rows, key=lambda r: -r[1]):
                    said += 1
                    best = max(free, key=lambda b: plain_iou(row[2:], b), default=None)
                    if best is not None and plain_iou(row[2:], best) >= 0.5:
                        right += 1
                        free = [b for b in free if b is not best]
            points.append((right / total, right / said))
        area, before = 0.0, 0.0
        for recall in sorted({r for r, _ in points}):
            area += (recall - before) * max(p for r, p in points if r >= recall)
            before = recall
        areas.append(area)
    return sum(areas) / len(areas)


@pytest.mark.parametrize("seed", range(6))
def test_map_is_that_of_brute_force(seed):
    """Some found boxes are true ones, moved; some are twice there, some of another class."""
    rng = np.random.default_rng(seed)
    truth = [some(rng.integers(0, 7), 3, rng) for _ in range(8)]
    found = []
    for own in truth:
        moved = np.repeat(own, 2, axis=0)
        moved[:, 1:] += rng.normal(0, 2, moved[:, 1:].shape)
        moved[:, 0] = np.where(rng.random(len(moved)) < 0.2, 1, moved[:, 0])
        rows = with_scores(np.concatenate([moved, some(3, 3, rng)]), rng)
        rows[:, 1] = rng.permutation(rows[:, 1])  # the highest need not stand first
        found.append(rows[np.argsort(-rows[:, 1])])
    D = max(map(len, found))
    array = np.full((len(found), D, 6), -1, np.float32)
    for row, own in zip(array, found, strict=True):
        row[: len(own)] = own
    ours = boxes.mean_average_precision(array, boxes.padded(truth), 3)
    assert ours == pytest.approx(brute_force_map(found, truth, 3), abs=1e-9)
    assert 0 < ours < 1


def test_map_of_nothing():
    truth, none = boxes.padded([some(3, 1)]), np.full((1, 4, 6), -1, np.float32)
    assert boxes.mean_average_precision(none, truth, 1) == 0
    assert boxes.mean_average_precision(none, boxes.padded([some(0)]), 1) == 0
    right = np.full((1, 3, 6), -1, np.float32)
    right[0] = with_scores(truth[0])
    assert boxes.mean_average_precision(right, truth, 1) == 1
    assert boxes.mean_average_precision(right, truth, 5) == 1  # of classes without a box, nothing


def test_a_box_that_is_found_twice_is_once_wrong():
    truth = boxes.padded([np.array([[0, 2, 2, 20, 20]], np.float32)])
    twice = np.array([[[0, 0.9, 40, 2, 60, 20], [0, 0.8, 2, 2, 20, 20], [0, 0.7, 2, 2, 20, 20]]])
    assert boxes.mean_average_precision(twice.astype(np.float32), truth, 1) == 0.5
