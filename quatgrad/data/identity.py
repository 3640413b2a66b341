"""Are the files of a dataset what they are taken for?

Official files have known MD5 sums. Of others the sums are remembered when they are first read, and
a change is refused. In these no file may repeat the images of another: a test image that is also
trained on says nothing.

MD5 finds a damaged file, and publishers of data state it; it is no proof against fraud.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from quatgrad.data import fetch
from quatgrad.errors import DataError, brief
from quatgrad.files import write_whole
from quatgrad.random import generator

TWINS = 0.1  # share of the images of a file that may be in other files too; CIFAR-100 has 0.001
PIECE = 1024  # images that are looked at together
RECORD = "quatgrad-digests.json"


def md5_of(path: Path) -> str:
    """The MD5 sum of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def is_known(folder: Path, sums: Mapping[str, str]) -> bool:
    """Were the files of `folder` read before, with these `sums`? See `remember`.

    Raises `DataError` if one was read with another sum.
    """
    for record in _records(folder):
        with suppress(OSError, msgspec.MsgspecError, RecursionError):
            with open(record, "rb") as file:
                before = msgspec.json.decode(file.read(1 << 16), type=dict[str, str])
            for name, came in sums.items():
                if before.get(name, came) != came:
                    raise DataError(
                        f"{folder / name} has changed since it was first read: its MD5 sum is "
                        f"{brief(came)}, not {brief(before[name])}; get it again, or delete "
                        f"{record} if you changed it"
                    )
            return before.keys() >= sums.keys()
    return False


def remember(folder: Path, sums: Mapping[str, str]) -> None:
    """Write down the `sums` of the files of `folder`: there or, where we may not, in the cache."""
    for record in _records(folder):
        with suppress(OSError):
            record.parent.mkdir(parents=True, exist_ok=True)
            write_whole(record, msgspec.json.format(msgspec.json.encode(dict(sums))) + b"\n")
            return


def _records(folder: Path) -> list[Path]:
    """Where the sums of a folder may be written, the best place first."""
    key = hashlib.sha256(os.path.realpath(folder).encode("utf-8", "replace")).hexdigest()[:8]
    places = [folder / RECORD]
    with suppress(RuntimeError):  # there is no home
        places.append(fetch.CACHE.expanduser() / f"{key}-{RECORD}")
    return places


def hashes(images: np.ndarray) -> np.ndarray:
    """A number for each image, uint64 (N,): equal for equal images, and else different.

    It is the sum over the image's words of 4 bytes, each times a random number, mod 2^64.
    """
    rows = np.ascontiguousarray(images).reshape(len(images), -1).view(np.uint8)
    if rows.shape[1] % 4:
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    words = rows.view(np.uint32)
    factors = generator(0, "identity").integers(0, 1 << 64, words.shape[1], dtype=np.uint64)
    pieces = (words[k : k + PIECE] @ factors for k in range(0, len(words), PIECE))
    return np.concatenate([*pieces, np.zeros(0, np.uint64)])


def refuse_twins(folder: Path, files: Mapping[str, np.ndarray], advice: str) -> None:
    """`DataError` if more than `TWINS` of the images of a file are in it, or a file before, twice.

    files: a number for each image, for each file
    """
    every = np.concatenate(list(files.values()))
    file_of = np.repeat(np.arange(len(files)), [len(numbers) for numbers in files.values()])
    _, first, which = np.unique(every, return_index=True, return_inverse=True)
    twin_of = first[which]  # the first image that is equal
    is_twin = twin_of != np.arange(len(every))
    for k, name in enumerate(files):
        twins = twin_of[is_twin & (file_of == k)]
        if len(twins) > TWINS * len(files[name]):
            ((other, _),) = Counter(file_of[twins].tolist()).most_common(1)
            where = "in it before" if other == k else f"in {list(files)[other]}"
            raise DataError(
                f"{folder / name}: {len(twins)} of its {len(files[name])} images are {where} "
                f"already, so that they would count twice; {advice}"
            )
