"""What a dataset is: two splits of raw images, and how an image becomes what a network sees."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from quatgrad.data.disk import ImagesOnDisk
from quatgrad.errors import DataError, OptionError
from quatgrad.random import generator
from quatgrad.task import CLASSES, Classes, Task

Encode = Callable[[np.ndarray], np.ndarray]
Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Together:
    """An augmentation that changes what labels say too: (images, labels, generator) -> both."""

    change: Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def _own_source(task: Task) -> bytes:
    """Of a task of one's own, the source of its classes, and its numbers, texts and arrays.

    An edited loss or score is another task.
    """
    kinds = [k for k in type(task).__mro__ if k.__module__.partition(".")[0] != "quatgrad"]
    told = list[bytes]()
    for kind in kinds[:-1]:  # the last one is `object`
        with suppress(OSError, TypeError):  # typed at a prompt
            told.append(inspect.getsource(kind).encode())
    for name, value in sorted(vars(task).items()) if kinds[:-1] else ():
        if isinstance(value, str | int | float | tuple):
            told.append(f"{name} {value!r}".encode())
        elif isinstance(value, np.ndarray):
            told.append(value.tobytes())
    return b"".join(told)


def as_it_is(x: np.ndarray) -> np.ndarray:
    """The encoding of what a network sees as it is stored: series, words, nodes."""
    return x


@dataclass(frozen=True, eq=False)
class Split:
    """Raw images and their classes: `images` uint8 (N, H, W, C), `labels` int64 (N,).

    Images may be float32 too; what a task has in their place, words for instance, is int64 (N,) or
    (N, T). Labels of a task of one's own may be float32 of any shape (N, ...).

    Images stay bytes until a batch is made: a quarter of the memory of float32, in which images of
    one's own may be. Images that still do not fit in memory are `ImagesOnDisk`, which are read by
    `images[rows]`.
    Raises `DataError` for other dtypes, other ranks or unequal lengths.
    """

    images: np.ndarray | ImagesOnDisk
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.dtype != np.int64 or self.images.ndim not in (1, 2):
            _check("images", self.images, (np.uint8, np.float32), "N H W C")
        if self.labels.dtype != np.float32:
            _check("labels", self.labels, (np.int64,), "N")
        if len(self.images) != len(self.labels):
            raise DataError(
                f"a split has {len(self.images)} images and {len(self.labels)} labels: "
                "give one label for each image"
            )

    def __repr__(self) -> str:
        return f"Split({len(self)} x {' x '.join(map(str, self.images.shape[1:]))})"

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Split:
        """The images `indices` and their labels, in that order, as a split of its own."""
        return Split(self.images.take(indices, axis=0), self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split, the names of the classes, and the way to the network.

    encode      raw images (N, H, W, C) -> float32 (N, H', W', C'), what the network sees
    augment     (raw images, generator) -> raw images, only in training; or `Together`; None: none
    validation  images to choose epochs by, see `split_validation`; None: there are none
    task        what is learned of them: loss and score

    Raises `DataError` for a label outside `range(num_classes)`.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    encode: Encode
    augment: Augment | Together | None = None
    validation: Split | None = None
    task: Task = CLASSES

    def __post_init__(self) -> None:
        for which, split in zip(("training", "test", "validation"), self.splits, strict=False):
            labels = split.labels
            if labels.dtype != np.int64:
                if isinstance(self.task, Classes):
                    raise DataError(
                        f"{self.name}: {which} labels are {labels.dtype}, and classes are numbers "
                        "int64; give a `task` of your own for others"
                    )
                continue
            wrong = labels[(labels < 0) | (labels >= self.num_classes)]
            if wrong.size:
                raise DataError(
                    f"{self.name}: a {which} label is {wrong[0]}, but the {self.num_classes} "
                    f"classes are numbered 0 to {self.num_classes - 1}"
                )

    def __repr__(self) -> str:
        sizes = [f"{len(split):,} {which}" for which, split in
                 zip(("training", "test", "validation"), self.splits, strict=False)]  # fmt: skip
        shape = " x ".join(map(str, self.train.images.shape[1:]))
        text = f"{', '.join(sizes)} {self.task.what} of {shape}, {self.num_classes} classes"
        return f"Dataset({self.name}: {text})"

    @property
    def splits(self) -> tuple[Split, ...]:
        """Training images, test images and validation images, if there are any."""
        return (self.train, self.test, *([self.validation] if self.validation else []))

    @property
    def eval_split(self) -> tuple[str, Split]:
        """What training looks at after each epoch: the validation images, else the test images."""
        return ("validation", self.validation) if self.validation else ("test", self.test)

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(H', W', C') of one encoded image: what the first layer has to accept."""
        return self.task.input_shape(self.encode(self.test.images[:1]).shape[1:])

    @property
    def strata(self) -> np.ndarray:
        """The classes of the training examples, (N,); zeros, where they have none."""
        return self.train.labels if self.task.by_class else np.zeros(len(self.train), np.int64)

    def augmented(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Raw images and labels, changed as in training."""
        if isinstance(self.augment, Together):
            return self.augment.change(images, labels, rng)
        return self.augment(images, rng) if self.augment else images, labels

    def fingerprint(self) -> str:
        """16 hex digits of SHA-256 over the images and labels of all splits, in order.

        `ImagesOnDisk` are not read: it takes their checksums.
        """
        sha = hashlib.sha256()
        for split in self.splits:
            sha.update(str(split.images.shape).encode())
            if split.images.dtype != np.uint8:
                sha.update(str(split.images.dtype).encode())
            for piece in _pieces(split.images):
                sha.update(piece.tobytes())
            sha.update(split.labels.tobytes())
        sha.update(self.task.fingerprint() + _own_source(self.task))
        return sha.hexdigest()[:16]

    def subset(self, n: int, seed: int) -> Dataset:
        """The same dataset with `n` training images, spread evenly over the classes.

        They are drawn from `generator(seed, "subset")` and keep their order. With the same seed, a
        smaller subset is part of every larger one. The test split stays whole.

        Raises `OptionError` if `n` is below the number of classes or above the number of images.
        """
        least = self.num_classes if self.task.by_class else 1
        if not least <= n <= len(self.train):
            raise OptionError(
                f"{self.name} has no subset of {n} training {self.task.what}: choose "
                f"{least} (one for each class) to {len(self.train)} (all there are)"
            )
        chosen = stratified(self.strata, n, generator(seed, "subset"))
        return replace(self, train=self.train.take(chosen))

    def split_validation(self, share: float, seed: int) -> Dataset:
        """The same dataset; round(share N) of its N training images become validation images.

        They are spread evenly over the classes, but none gives more than half of its images before
        all have; drawn from `generator(seed, "validation")`. All images keep their order. The test
        split stays whole.

        Raises `OptionError` if there are validation images already, or too few for the two parts.
        """
        if self.validation:
            raise OptionError(
                f"{self.name} has {len(self.validation):,} validation {self.task.what} of its own: "
                "leave out `validation`"
            )
        N, least = len(self.train), self.num_classes if self.task.by_class else 1
        n = round(share * N)
        if not least <= n <= N - least:
            raise OptionError(
                f"a share of {share:g} held out for validation is {n} of the {N} training "
                f"{self.task.what} of {self.name}: choose one that holds out, and leaves, {least} "
                "or more (one for each class)"
            )
        held_out = np.zeros(N, dtype=bool)
        held_out[_dealt(self.strata, n, generator(seed, "validation"), halves=True)] = True
        train, validation = (self.train.take(np.flatnonzero(w)) for w in (~held_out, held_out))
        return replace(self, train=train, validation=validation)


def stratified(labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Ascending indices of `n` of the `labels` (N,), spread evenly over the classes.

    Shuffle, then deal like cards: the first image of every class, then the second of every
    class, and so on until `n` are dealt. A class without any more images is left out.
    """
    return _dealt(labels, n, rng, halves=False)


def _dealt(labels: np.ndarray, n: int, rng: np.random.Generator, halves: bool) -> np.ndarray:
    """As `stratified`; with `halves` so until half of a class is dealt, the others in proportion.

    So a class that is small beside the others is not used up: the last of each is dealt last.
    """
    order = rng.permutation(len(labels))
    by_class = np.argsort(labels[order], kind="stable")
    sizes = np.bincount(labels)
    first = np.cumsum(sizes) - sizes  # where each class starts in by_class
    turn = np.empty(len(labels), dtype=np.int64)  # turn[k] = r: image k is the r-th of its class
    turn[by_class] = np.arange(len(labels)) - np.repeat(first, sizes)
    if halves:
        own = sizes[labels[order]]
        turn = np.where(turn < own // 2, turn, len(labels) + (turn + 1) / own)
    return np.sort(order[np.argsort(turn, kind="stable")[:n]])


def _pieces(images: np.ndarray | ImagesOnDisk) -> Iterator[np.ndarray]:
    """The bytes of the images, or their checksums, in pieces: a copy of one needs little memory."""
    stand_in = images.checksums if isinstance(images, ImagesOnDisk) else images
    return (stand_in[k : k + 1024] for k in range(0, len(stand_in), 1024))


def _check(what: str, a: np.ndarray | ImagesOnDisk, dtypes: tuple[type, ...], axes: str) -> None:
    if a.dtype not in dtypes or a.ndim != len(axes.split()):
        names = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        raise DataError(
            f"the {what} of a split are {a.dtype} of shape {a.shape}; they must be {names} with "
            f"axes {axes}"
        )
