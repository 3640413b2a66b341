"""A trained network and all that a prediction needs, in one file without code.

    Network.of(model, dataset).save("net.safetensors")

    net = quatgrad.load("net.safetensors")
    net.predict(images)     # uint8 (N, H, W, C) -> probabilities (N, K) of net.classes

The file is that of `quatgrad.tensor_file`; `About` is what it says beside the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from quatgrad import models
from quatgrad.autograd import Tensor, no_grad
from quatgrad.backend import notice
from quatgrad.data.dataset import Dataset
from quatgrad.data.encode import Encoding
from quatgrad.errors import DataError, OptionError, QuatgradError, ShapeError, brief
from quatgrad.models.gpt import GPT
from quatgrad.nn import Module
from quatgrad.nn.module import evaluation_mode
from quatgrad.random import Source, as_generator
from quatgrad.task import Detection, Padded, Series
from quatgrad.tensor_file import read_tensors, write_tensors

MASK = "mask/"  # before the name of a weight: its mask, eight entries in a byte
AT_ONCE = 256  # images


class About(msgspec.Struct, frozen=True):
    """What is said of a network beside its arrays; `Module.save` writes the first two.

    `padded`: of series, do zeros follow their end? In older files only the name of the network is.
    """

    layers: dict[str, str]
    architecture: dict[str, Any] | None = None
    classes: list[str] = []
    encoding: Encoding | None = None
    said: dict[str, Any] = {}
    padded: bool | msgspec.UnsetType = msgspec.UNSET


def finds_boxes(model: Module) -> bool:
    """Is it a detector of the package, or its plan?"""
    return (model.architecture or {}).get("model") in Detection.networks


def writes_text(model: Module) -> bool:
    """Is it a GPT of the package?"""
    return isinstance(model, GPT)


def about(model: Module, dataset: Dataset | None = None) -> About:
    """What there is to say of a model and of the dataset that it was trained on.

    An encoding that is a function of the user's is left out: no file can hold it.
    """
    classes = list(dataset.class_names) if dataset else []
    encoding = dataset.encode if dataset and isinstance(dataset.encode, Encoding) else None
    task = dataset.task if dataset else None
    padded = isinstance(task, Padded) if isinstance(task, Padded | Series) else msgspec.UNSET
    return About(**model.about(), classes=classes, encoding=encoding, padded=padded)


@dataclass(frozen=True, eq=False)
class Network:
    """A model, the names of its classes, the way of an image to it, and the masks of its weights.

    `network(x)` gives the logits of encoded images; `said` is anything else worth to be kept, of
    JSON's types. Without `encoding`, images are what the model takes. `padded`: as of `About`.
    """

    model: Module
    classes: tuple[str, ...] = ()
    encoding: Encoding | None = None
    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    said: Mapping[str, Any] = field(default_factory=dict)
    padded: bool | msgspec.UnsetType = msgspec.UNSET

    @staticmethod
    def of(
        model: Module, dataset: Dataset | None = None, masks: Mapping[str, np.ndarray] | None = None
    ) -> Network:
        """The model with the classes and the encoding of the dataset that it was trained on."""
        known = about(model, dataset)
        if dataset is not None and known.encoding is None:
            raise OptionError(
                f"the images of {dataset.name} are encoded by a function of yours, which no file "
                "can hold: save without the dataset, and give encoded images to the network"
            )
        classes, padded = tuple(known.classes), known.padded
        return Network(model, classes, known.encoding, masks or {}, padded=padded)

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, K) of encoded images x."""
        return self.model(x)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """p = softmax(logits), float64 (N, K): how probable the model finds each class.

        images: uint8 (N, H, W, C) as the encoding takes them; without one, float32 as the model
        does. Of series of different lengths: after the end of one there are zeros, as in training.
        Raises `ShapeError` for images of another shape.
        """
        architecture, logits, is_padded = self.model.architecture or {}, [], self.padded
        if is_padded is msgspec.UNSET:
            is_padded = architecture.get("model") in Padded.networks
        for x in self._encoded(images):
            z = (Padded().output(self.model, x) if is_padded else self.model(Tensor(x))).numpy()
            if z.ndim != 2:
                raise OptionError(
                    f"the network gives numbers of shape {z.shape[1:]} for an image, and no "
                    "logits: from Python, network(x), or of a detector network.find(images)"
                )
            logits.append(z.astype(np.float64))
        if not logits and not self.classes:  # K is known of the logits of any image
            given = np.asarray(images)
            return self.predict(np.ones((1, *given.shape[1:]), given.dtype))[:0]
        z = np.concatenate(logits) if logits else np.zeros((0, len(self.classes)))  # (N, K)
        e = np.exp(z - z.max(axis=1, keepdims=True, initial=-np.inf))
        return e / e.sum(axis=1, keepdims=True)

    def find(self, images: np.ndarray) -> np.ndarray:
        """The boxes that a detector finds, by falling score: float32 (N, D, 6), `quatgrad.boxes`.

        images: as of `predict`. Raises `ShapeError` for a network that is no detector.
        """
        task = Detection(len(self.classes), density=1.0)
        found = [task.found(task.output(self.model, x)) for x in self._encoded(images)]
        return np.concatenate(found) if found else np.zeros((0, 0, 6), np.float32)

    def write(self, text: str, length: int, temperature: float = 1.0, seed: Source = 0) -> str:
        """`text` and `length` characters after it, each drawn from softmax(logits / temperature).

        At a low temperature the most probable ones come. Raises `OptionError` for a network that
        is no GPT of characters, `DataError` for a text with a character that it does not know.
        """
        if not writes_text(self.model):
            raise OptionError("this network tells no characters: only a GPT continues a text")
        if not (length >= 0 and 0 < temperature < math.inf):
            raise OptionError(
                "`length` is at least 0 and `temperature` above 0; "
                f"got {length} and {temperature:g}"
            )
        number = {c: k for k, c in enumerate(self.classes)}
        wrong = sorted(set(text) - number.keys())
        if wrong or not text:
            what = f"the network knows no {wrong[0]!r}" if wrong else "the text is empty"
            raise DataError(f"{what}: begin with some of {brief(''.join(self.classes))}")
        start, rng, gpt = (
            [number[c] for c in text],
            as_generator(seed, "text"),
            cast(GPT, self.model),
        )
        with no_grad(), evaluation_mode(gpt):
            tokens = gpt.generate(start, length, rng, temperature)
        return "".join(self.classes[k] for k in tokens)

    def _encoded(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """What the model takes, in parts, without gradients and in evaluation mode."""
        images = np.asarray(images)
        if not images.ndim:
            raise ShapeError(
                f"the network takes images (N, H, W, C), an array; got {brief(images.item())!r}"
            )
        if self.encoding and (images.shape[1:] != self.encoding.image_shape):
            H, W, C = self.encoding.image_shape
            raise ShapeError(
                f"the network takes images (N, {H}, {W}, {C}); got an array of shape "
                f"{images.shape}: resize them, or give one as image[None]"
            )
        if self.encoding is None and images.dtype == np.uint8:
            raise OptionError(
                "this network does not say how images are encoded: give it what its first layer "
                "takes, float32"
            )
        with no_grad(), evaluation_mode(self.model):
            for start in range(0, len(images), AT_ONCE):
                part = images[start : start + AT_ONCE]
                yield self.encoding(part) if self.encoding else part

    def save(self, path: str | Path) -> None:
        """Write all of it to one .safetensors file, which `load` reads: whole, or `DataError`."""
        state = self.model.state_dict()
        for name, mask in self.masks.items():
            fits = name in state and mask.shape == state[name].shape
            if not fits or np.any(state[name][~mask]):
                raise OptionError(
                    f"the mask {name} does not fit the weight: it has another name or shape, or "
                    "a weight that it prunes is not 0; give the masks of the model's own ticket, "
                    "after they were applied"
                )
        masks = {MASK + name: np.packbits(mask) for name, mask in self.masks.items()}
        write_tensors(path, state | masks, self.about())

    def about(self) -> dict[str, Any]:
        """What a file says of it: an `About` of JSON's types."""
        known = About(
            **self.model.about(),
            classes=list(self.classes),
            encoding=self.encoding,
            said=dict(self.said),
            padded=self.padded,
        )
        return msgspec.to_builtins(known)


Build = Module | str | Callable[..., Module]


def load(path: str | Path, build: Build | None = None) -> Network:
    """The network in a file of `Network.save` or `Module.save`, in evaluation mode.

    Networks of the package are made anew by name. For one of your own, `build` is the model, the
    function that makes it, or FILE.py:NAME. The file has no code, and names none that is run.
    Raises `DataError` for a file that is missing, damaged, of another program or of a later
    version; `OptionError` where `build` is needed; `ShapeError` if it makes another network.
    """
    arrays, written = read_tensors(path)
    if "ticket" in written:
        raise DataError(f"{path} holds a ticket for small devices: quatgrad.sparse.load reads it")
    try:
        known = msgspec.convert(written, About)
    except (msgspec.ValidationError, MemoryError) as error:
        raise DataError(f"{path} does not say what it holds ({error}): write it again") from error
    state = {n: a for n, a in arrays.items() if not n.startswith(MASK)}
    bits = {n.removeprefix(MASK): a for n, a in arrays.items() if n.startswith(MASK)}
    for name, packed in bits.items():
        count = -(-state[name].size // 8) if name in state else -1
        if packed.shape != (count,) or packed.dtype != np.uint8:
            raise DataError(f"{path}: the mask {name[:80]} fits no weight: write the file again")
    masks = {name: _unpack(packed, state[name].shape) for name, packed in bits.items()}
    return restore(known, state, masks, path, build)


def restore(
    known: About,
    state: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    path: str | Path,
    build: Build | None = None,
) -> Network:
    """The network that was known so, with its state; `path`: where it was found, for errors."""
    model = _build(known, build, path)
    here = model.about()["layers"]
    if here != known.layers:
        both = zip(known.layers.items(), here.items(), strict=False)
        there, made = next(((a, b) for a, b in both if a != b), ("more layers", "fewer"))
        raise ShapeError(
            f"{path} holds another network than the one that was made for it: {there} there, "
            f"{made} here; give the function that made it: load(path, build)"
        )
    model.load_state_dict(state)
    classes = tuple(known.classes)
    return Network(model.eval(), classes, known.encoding, masks, known.said, known.padded)


def _build(known: About, build: Build | None, path: str | Path) -> Module:
    """The model with first weights."""
    if isinstance(build, Module):
        return build
    architecture = known.architecture
    if architecture is None:
        if not callable(build):
            raise OptionError(
                f"{path} holds a network of your own: give the model or the function that makes "
                "it, load(path, build)"
            )
        return build()
    name = architecture.get("model")
    if build is None and (not isinstance(name, str) or not models.is_known(name)):
        raise OptionError(
            f"{path} holds the network {str(name)[:80]!r} of your own: give the function that "
            "makes it, load(path, build)"
        )
    try:
        model = models.create_again(architecture, build)
    except QuatgradError:
        raise
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
        MemoryError,
    ) as error:
        raise DataError(
            f"{path} names no network that can be made ({error}): write it again"
        ) from error
    if (model.architecture or {}).get("source") != architecture.get("source"):
        notice(f"the function that makes the network of {path} has changed since it was saved")
    return model


def _unpack(bits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.unpackbits(bits, count=int(np.prod(shape))).astype(bool).reshape(shape)
