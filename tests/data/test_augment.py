import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quatgrad.data.augment import pad_crop_flip
from quatgrad.random import generator


def one_by_one(images, rng, pad):
    """The slow reference: frame, cut out, mirror, one image after the other."""
    result = np.empty_like(images)
    N, H, W, C = images.shape
    for n in range(N):
        r, s, flip = rng.random(), rng.random(), rng.random()
        top, left = int(r * (2 * pad + 1)), int(s * (2 * pad + 1))
        framed = np.zeros((H + 2 * pad, W + 2 * pad, C), dtype=np.uint8)
        framed[pad : pad + H, pad : pad + W] = images[n]
        crop = framed[top : top + H, left : left + W]
        result[n] = np.fliplr(crop) if flip < 0.5 else crop
    return result


@given(
    shape=st.tuples(st.integers(0, 9), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    pad=st.integers(0, 5),
    seed=st.integers(0, 999),
)
def test_equals_the_loop(shape, pad, seed):
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    before = images.copy()
    y = pad_crop_flip(images, generator(seed), pad)
    assert y.dtype == np.uint8
    assert np.array_equal(y, one_by_one(images, generator(seed), pad))
    assert np.array_equal(images, before)
    assert not np.shares_memory(images, y)


def test_offsets_are_uniform_and_half_are_mirrored():
    # One bright pixel off the middle says where the image went, and whether it was mirrored.
    image = np.zeros((9, 10, 1), dtype=np.uint8)
    image[4, 4] = 255
    images = np.broadcast_to(image, (20_000, *image.shape))
    y = pad_crop_flip(images, generator(0), pad=1)[..., 0]
    rows, columns = (np.argwhere(y)[:, axis] for axis in (1, 2))
    assert np.array_equal(np.unique(rows), [3, 4, 5])
    # left by 1, stay, right by 1: columns 3 4 5; mirrored, they are 6 5 4
    assert np.array_equal(np.unique(columns), [3, 4, 5, 6])
    share = np.bincount(columns)[3:] / len(y)
    assert np.allclose(share, [1 / 6, 1 / 3, 1 / 3, 1 / 6], atol=0.02)
    assert np.allclose(np.bincount(rows)[3:] / len(y), 1 / 3, atol=0.02)
