"""Random generators whose draws depend on a seed and a purpose alone."""

import hashlib

import numpy as np

from quatgrad.scalars import integer

Source = int | np.random.Generator


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """A random generator for one purpose: Philox keyed by SHA-256 of (seed, *purpose).

    Two purposes never share a stream, and the draws depend neither on the backend nor on what
    was drawn before: `generator(seed, "augment", epoch)` replays any epoch by itself.
    """
    text = "|".join(map(str, (seed, *purpose)))
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def as_generator(rng: Source, *purpose: str | int) -> np.random.Generator:
    """rng, or `generator(rng, *purpose)` of a seed; `OptionError` for anything else, as None."""
    if isinstance(rng, np.random.Generator):
        return rng
    return generator(integer(rng, "rng, where it is no generator,"), *purpose)
