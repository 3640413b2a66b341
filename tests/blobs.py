"""A dataset so small that an epoch of it takes a few milliseconds."""

import numpy as np

from quatgrad.data import Dataset, Split


def blobs(train=48, test=30, noise=40, seed=0):
    """Three classes of 4x4 images with 4 channels: a pattern each, and noise."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(60, 196, (3, 4, 4, 4))

    def split(n):
        labels = np.arange(n, dtype=np.int64) % 3
        images = patterns[labels] + rng.normal(0, noise, (n, 4, 4, 4))
        return Split(images.clip(0, 255).astype(np.uint8), labels)

    def encode(images):
        return images.astype(np.float32) / 64 - 2

    return Dataset("blobs", split(train), split(test), ("a", "b", "c"), encode)
