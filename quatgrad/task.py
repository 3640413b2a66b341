"""What is learned: what a network computes of a batch, its loss, and its score in [0, 1].

Classes    of images, series or tables: cross-entropy and accuracy
Series     the same of series of one length
Padded     of series of different lengths, which end in steps of zeros
Sentences  the same of words, the number 0 after their end
Text       at each character the next one
Nodes      of one graph: the batch says which of them count
Detection  boxes on pictures: where, of which class
Attitude   which way is up, at each moment of a series

A task of one's own is a `Task` with a `loss`; its dataset has it as `task`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from quatgrad import ops
from quatgrad.arrays import Array, array_module, asarray, to_numpy
from quatgrad.autograd import Tensor
from quatgrad.boxes import STRIDE, decode, mean_average_precision, targets
from quatgrad.calls import call
from quatgrad.errors import DataError, OptionError, ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.models import NAMED
from quatgrad.models.detector import split
from quatgrad.models.gcn import propagation
from quatgrad.nn import Module
from quatgrad.ops import cross_entropy
from quatgrad.tensor_file import digest


class Task:
    """A loss to minimise and a score, higher is better; x and y are what a dataset's batches are.

    what      what one example is called
    score     what the score is called
    networks  those of the package that do it; empty: all that take images
    relative  is `stop_accuracy` a share of the dense score? Else it is a score.
    by_class  are labels classes of the examples, over which a subset is spread evenly?
    adds_up   is the score of all examples the mean of theirs? Else it is one of `measure`.
    """

    what, score = "images", "accuracy"
    networks: tuple[str, ...] = ()
    relative, by_class, adds_up = True, False, True

    def output(self, model: Module, x: Array) -> Any:
        """What the model computes of a batch x."""
        return model(Tensor(x))

    def loss(self, output: Any, y: Array) -> tuple[Tensor, Any]:
        """(loss, score) of a batch with the labels y, means over it; the score is from 0 to 1."""
        raise TypeError(f"{type(self).__name__} does not define loss(self, output, y)")

    def step(
        self, model: Module, x: Array, y: Array, sums: Array, smoothing: float = 0.0
    ) -> Tensor:
        """The mean loss of a batch; sums (2,) += sums of its losses and of its scores."""
        if smoothing:
            raise OptionError("`label_smoothing` is of classes; the loss of this task has none")
        loss, score = self.loss(self.output(model, x), y)
        sums[0] += loss.data.astype(np.float64) * len(y)
        sums[1] += score * len(y)
        return loss

    def measure(self, model: Module, batches: Iterable[tuple[Array, Array]]) -> Array:
        """The sums (2,) of losses and of scores over batches."""
        sums = asarray(np.zeros(2))  # read once: reading waits for the device
        for x, y in batches:
            self.step(model, asarray(x), asarray(y), sums)
        return sums

    def answers(self, count: int) -> int:
        """Of how many answers the losses of so many examples are added."""
        return count

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(H, W, C) of which a network is made, for encoded examples of that shape."""
        H, W, C = (*shape, 1, 1)[: max(3, len(shape))]
        return H, W, C

    def fingerprint(self) -> bytes:
        """Of what all batches share, if there is anything."""
        return b""

    def check_network(self, name: str) -> None:
        """Raise `OptionError` for a network of the package that does something else."""
        fits = name in self.networks if self.networks else name not in NOT_OF_IMAGES
        if name in NAMED and not fits:
            good = self.networks or [n for n in NAMED if n not in NOT_OF_IMAGES]
            raise OptionError(
                f"`model` {name} is not for {self.what}; choose one of {', '.join(good)}"
            )


class Classes(Task):
    """Cross-entropy of logits (N, K) and labels (N,); accuracy."""

    relative, by_class = False, True

    def targets(self, x: Array, y: Array) -> Array:
        """The class of each row of logits."""
        return y

    def step(
        self, model: Module, x: Array, y: Array, sums: Array, smoothing: float = 0.0
    ) -> Tensor:
        """As of `Task`; the sums stay on the device."""
        logits, y = self.output(model, x), asarray(self.targets(x, y))
        loss = cross_entropy(logits, y, smoothing)
        call(_accumulate, sums, logits, y, loss)
        return loss


def _accumulate(sums: Array, logits: Tensor, y: Array, loss: Tensor) -> None:
    kernel("accumulate_metrics")(sums, logits.data, y, loss.data)


#: What a dataset has, if nothing else is said.
CLASSES = Classes()


class Series(Classes):
    """Classes of series (N, T, 1, C) of one length: to a network, images one pixel wide."""

    what = "series"


class Padded(Classes):
    """Classes of series (N, T, 1, C) of different lengths: after its end, one has zeros only."""

    what = "series"
    networks = ("gru", "lstm", "bilstm")

    def output(self, model: Module, x: Array) -> Tensor:
        """Logits; steps after the end of a series do not count, and none comes after the last."""
        empty = np.abs(to_numpy(x)).max(axis=(2, 3)) == 0  # (N, T)
        lengths = np.where(empty.all(axis=1), 1, x.shape[1] - np.argmin(empty[:, ::-1], axis=1))
        return model(Tensor(x[:, : lengths.max()]), lengths)


class Sentences(Classes):
    """Classes of sentences (N, T) of word numbers below `words`, 0 after their end."""

    what = "sentences"
    networks = ("transformer",)

    def __init__(self, words: int):
        self.words = words

    def output(self, model: Module, x: Array) -> Tensor:
        """Logits; places after the end of a sentence do not count."""
        lengths = np.maximum((to_numpy(x) != 0).sum(axis=1), 1)
        return model(x[:, : lengths.max()], lengths)

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(T, 1, words)."""
        return shape[0], 1, self.words


class Text(Classes):
    """What comes next? Windows (N, T + 1): logits of their first T characters, the last T to tell.

    The labels of its dataset say nothing.
    """

    what = "windows"
    networks = ("gpt",)
    relative, by_class = True, False

    def __init__(self, steps: int):
        self.steps = steps

    def output(self, model: Module, x: Array) -> Tensor:
        """Logits (N T, K)."""
        logits = model(x[:, :-1])
        return logits.reshape(-1, logits.shape[2])

    def targets(self, x: Array, y: Array) -> Array:
        """What follows, (N T,)."""
        return call(x[:, 1:].reshape, -1)

    def answers(self, count: int) -> int:
        """T of each window."""
        return count * self.steps

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(T, 1, 1)."""
        return self.steps, 1, 1


class Nodes(Classes):
    """Classes of the nodes x (N,) of one graph, which the network sees as a whole.

    features (all nodes, C), edges (E, 2) undirected. `DataError` where they do not fit.
    """

    what = "nodes"
    networks = ("gcn",)

    def __init__(self, features: np.ndarray, edges: np.ndarray):
        if features.ndim != 2 or features.dtype != np.float32:
            raise DataError(
                "features of a graph are float32 (nodes, C); "
                f"got {features.dtype} of shape {features.shape}"
            )
        self.features, self.edges = features, edges
        self.A = propagation(edges, len(features))

    def output(self, model: Module, x: Array) -> Tensor:
        """Logits of the nodes x."""
        dtype = model.parameters()[0].dtype
        logits = model(Tensor(self.features.astype(dtype, copy=False)), self.A)
        return ops.embedding(logits, x)

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(1, 1, C)."""
        return 1, 1, self.features.shape[1]

    def fingerprint(self) -> bytes:
        """Of features and edges."""
        return digest({"features": self.features, "edges": self.edges}).encode()


#: So far off, a number of a box is pulled as hard as any: Ren et al., arXiv:1506.01497.
BETA = 1 / 9


class Detection(Task):
    """Boxes on pictures: focal loss of scores on one map, smooth L1 of the boxes; mAP.

    Labels as of `quatgrad.boxes`. The loss of a picture is a sum over its map, in parts of
    `density`, the mean number of boxes of a picture in training. The mAP is of all pictures that
    are measured; in training it is the mean over the batches of theirs.
    """

    what, score = "pictures with boxes", "mAP at 0.5"
    networks = ("detector",)
    adds_up = False

    def __init__(self, classes: int, density: float):
        self.classes, self.density = classes, density

    def output(self, model: Module, x: Array) -> Tensor:
        """A map of cells; `ShapeError` where a network gives anything else."""
        y = model(Tensor(x))
        size = (-(-n // STRIDE) for n in x.shape[1:3])
        expected = (len(x), *size, 4 * (1 + -(-self.classes // 4)))
        if y.shape != expected:
            raise ShapeError(
                f"a detector of {self.classes} classes maps pictures {x.shape} to {expected}: see "
                f"models/detector.py; this network gives {y.shape}"
            )
        return y

    def loss(self, output: Tensor, y: Array) -> tuple[Tensor, float]:
        """The loss, and the mAP of the batch alone."""
        labels = to_numpy(y)
        found = self.found(output)
        return self.distance(output, labels), mean_average_precision(found, labels, self.classes)

    def distance(self, output: Tensor, labels: np.ndarray) -> Tensor:
        """The loss."""
        scores, numbers = split(output, self.classes)
        heat, at, centres = targets(labels, output.shape[1:3], self.classes)
        wrong = ops.focal_loss(scores, heat) * heat.size
        off = ops.smooth_l1_loss(numbers, at.astype(output.dtype), centres, BETA) * at.size
        return (wrong + off) * (1 / (len(labels) * self.density))

    def found(self, output: Tensor) -> np.ndarray:
        """The boxes that a network has found, as of `quatgrad.boxes`."""
        return decode(*split(to_numpy(output.data), self.classes))

    def measure(self, model: Module, batches: Iterable[tuple[Array, Array]]) -> Array:
        """As of `Task`; the score is one of all pictures."""
        total, found, truth = 0.0, [], []
        for x, y in batches:
            output, labels = self.output(model, asarray(x)), to_numpy(y)
            total += self.distance(output, labels).item() * len(labels)
            found.append(self.found(output))
            truth.append(labels)
        labels = np.concatenate(truth)
        score = mean_average_precision(np.concatenate(found), labels, self.classes)
        return asarray(np.array([total, score * len(labels)]))


class Attitude(Task):
    """Unit quaternions q (N, T, 4) of a sensor to the world, told from what it feels.

    Labels are the true ones; 0 where nothing counts. The error e = q conj(true) is a rotation of
    the world; t is its inclination, heading aside: sin^2(t / 2) = e_i^2 + e_j^2, up is axis 3.
    The loss is 4 sin^2(t / 2), nearly t^2; the score 1 - t / 90 degrees, at least 0. Both are means
    over the moments of a window. Source of the error: Laidig et al., Data 6(7), 2021.
    """

    what, score = "windows of motion", "1 - error / 90 degrees"
    networks = ("attitude",)

    def loss(self, output: Tensor, y: Array) -> tuple[Tensor, Any]:
        """(loss, score) of a batch."""
        if output.shape != y.shape or y.shape[-1] != 4:
            raise ShapeError(f"orientations are (N, T, 4); got {output.shape}, true {y.shape}")
        xp, dtype = array_module(y), output.dtype
        e = ops.hamilton(output, ops.algebra.conjugate(Tensor(y.astype(dtype))))
        sines = (e * e)[:, :, 1:3].sum(axis=2)  # sin^2(t / 2), (N, T); 0 where nothing counts
        counts = y.any(axis=2)
        share = counts / (xp.maximum(counts.sum(axis=1, keepdims=True), 1) * len(y))
        t = 2 * xp.arcsin(xp.sqrt(xp.minimum(sines.data, 1)))
        score = (xp.maximum(1 - t / (np.pi / 2), 0) * share).sum()
        return (sines * Tensor((4 * share).astype(dtype))).sum(), score


#: Networks of the package that do not classify images; a series is an image one pixel wide.
NOT_OF_IMAGES = tuple(
    name for task in (Text, Sentences, Nodes, Detection, Attitude) for name in task.networks
)


def task_of(network: str) -> type[Task]:
    """The task that a network of the package is for: of images, if it names none."""
    tasks = (Padded, Text, Sentences, Nodes, Detection, Attitude)
    return next((task for task in tasks if network in task.networks), Task)
