"""Texts, character by character: what comes next?

dataset = as_dataset(load("citizens"))          windows of a text that comes with the package
text = load("citizens")                         or by hand:
for tokens, following in text.batches(size=12, steps=64, count=2000, rng=0): ...
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np

from quatgrad.data.dataset import Dataset, Split
from quatgrad.data.packed import read_files
from quatgrad.errors import DataError, OptionError, brief, unknown
from quatgrad.random import Source, as_generator
from quatgrad.task import Text as Task

TRAIN = 0.9  # share of a text; the rest is for validation
STEPS, STRIDE = 64, 4  # characters of a window; so many windows begin in a piece of the text
FILES = {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"}
ADVICE = (
    "get input.txt of github.com/karpathy/char-rnn, data/tinyshakespeare, into DIR/tinyshakespeare "
    "and set QUATGRAD_DATA=DIR"
)


@dataclass(frozen=True, eq=False)
class Text:
    """A text whose last tenth is for validation; `characters` are those that occur, in order.

    Raises `DataError` for a text that is too short to have both parts.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        if len(self.text) < 20:
            raise DataError(f"{self.name}: a text of {len(self.text)} characters is too short")

    def __repr__(self) -> str:
        return f"Text({self.name}: {len(self.text):,} characters, {len(self.characters)} kinds)"

    @cached_property
    def characters(self) -> str:
        """The token k stands for characters[k]."""
        return "".join(sorted(set(self.text)))

    @cached_property
    def tokens(self) -> np.ndarray:
        """The whole text, int64."""
        return self.encode(self.text)

    @property
    def train(self) -> np.ndarray:
        """The first nine tenths."""
        return self.tokens[: int(TRAIN * len(self.tokens))]

    @property
    def validation(self) -> np.ndarray:
        """The last tenth."""
        return self.tokens[len(self.train) :]

    def encode(self, text: str) -> np.ndarray:
        """Tokens of characters; `DataError` for one that the text has not."""
        number = {c: k for k, c in enumerate(self.characters)}
        wrong = sorted(set(text) - number.keys())
        if wrong:
            raise DataError(f"{self.name} has no character {brief(repr(wrong[0]))}")
        return np.array([number[c] for c in text], np.int64)

    def decode(self, tokens: np.ndarray) -> str:
        """The characters of tokens."""
        return "".join(self.characters[int(k)] for k in tokens)

    def batches(
        self, size: int, steps: int, count: int, rng: Source
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`count` batches of windows (size, steps) of the training part, and what follows each."""
        rng, T = as_generator(rng, "text"), _check_steps(self.train, steps)
        for _ in range(count):
            first = rng.integers(0, len(self.train) - T, size)[:, None]
            yield self.train[first + np.arange(T)], self.train[first + np.arange(1, T + 1)]

    def windows(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """All windows (N, steps) of the validation part, side by side, and what follows each."""
        T = _check_steps(self.validation, steps)
        N = (len(self.validation) - 1) // T
        return (
            self.validation[: N * T].reshape(N, T),
            self.validation[1 : N * T + 1].reshape(N, T),
        )


def _check_steps(tokens: np.ndarray, steps: int) -> int:
    if not 1 <= steps < len(tokens):
        raise OptionError(f"a window has 1 to {len(tokens) - 1} steps of this text; got {steps}")
    return steps


def _shakespeare(data_dir: str | os.PathLike[str] | None) -> str:
    return read_files("tinyshakespeare", FILES, data_dir, ADVICE)["input.txt"].decode("ascii")


def _citizens(data_dir: str | os.PathLike[str] | None) -> str:
    return (files("quatgrad.data") / "citizens.txt").read_text("ascii")


TEXTS = {"citizens": _citizens, "tinyshakespeare": _shakespeare}


def load(name: str = "citizens", data_dir: str | os.PathLike[str] | None = None) -> Text:
    """A text by name.

    citizens         about the first 30,000 characters of the next, which come with the package
    tinyshakespeare  1,115,394 characters of plays: DIR/tinyshakespeare/input.txt, plain or .xz

    Raises `OptionError` for another name, `DataError` for a file that is missing or damaged.
    """
    if name not in TEXTS:
        raise OptionError(unknown("text", name, TEXTS))
    return Text(name, TEXTS[name](data_dir))


@dataclass(frozen=True)
class Cut:
    """A window of T + 1 characters of each piece (N, 5 T), at a random place; each is as likely."""

    steps: int

    def __call__(self, pieces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(N, T + 1)."""
        first = rng.integers(0, pieces.shape[1] - self.steps, len(pieces))[:, None]
        return pieces[np.arange(len(pieces))[:, None], first + np.arange(self.steps + 1)]


@dataclass(frozen=True)
class Window:
    """Windows of T + 1 characters as they are; of a piece (N, 5 T) one that no other piece has."""

    steps: int

    def __call__(self, pieces: np.ndarray) -> np.ndarray:
        """(N, T + 1)."""
        first = self.steps if pieces.shape[1] > self.steps + 1 else 0
        return pieces[:, first : first + self.steps + 1]


def as_dataset(text: Text, steps: int = STEPS) -> Dataset:
    """Windows of a text: what is learned is the next character.

    An epoch sees one window, drawn anew, of each piece of 4 T characters of the first nine tenths
    (pieces have the first T of the next, so that all places are as likely). For testing are all
    windows of the last tenth, side by side. Raises `DataError` for a text that is too short.
    """
    T, train, last = steps, text.train, text.validation
    count, tests = (len(train) - T) // (STRIDE * T), (len(last) - 1) // T
    if T < 1 or count < 2 or tests < 2:
        raise DataError(
            f"{text.name}: a text of {len(text.text):,} characters is too short for windows of {T}"
        )
    pieces = train[np.arange(count)[:, None] * STRIDE * T + np.arange((STRIDE + 1) * T)]
    windows = last[np.arange(tests)[:, None] * T + np.arange(T + 1)]
    trained, tested = (Split(a, np.zeros(len(a), np.int64)) for a in (pieces, windows))
    how = tuple(text.characters), Window(T), Cut(T), None, Task(T)
    return Dataset(text.name, trained, tested, *how)
