"""The training loop: batches, loss, backward, step; then validation or test, once an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice

import numpy as np
from tqdm import tqdm

from quatgrad.arrays import Array, asarray, to_numpy
from quatgrad.autograd import Tensor, no_grad
from quatgrad.backend import get_backend
from quatgrad.data import Dataset, Split, batches, num_batches, test_batches
from quatgrad.errors import OptionError, RunError, unknown
from quatgrad.kernels.registry import kernel
from quatgrad.nn import Module
from quatgrad.ops import cross_entropy
from quatgrad.optim import SCHEDULES, SGD, Adam, Optimizer
from quatgrad.train_step import Step


@dataclass(frozen=True)
class Recipe:
    """How to train a network once; `warmup` is in epochs, `momentum` is Nesterov's."""

    epochs: int
    batch_size: int
    lr: float
    optimizer: str = "sgd"
    schedule: str = "cosine"
    warmup: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is at least 1; got {getattr(self, name)}")
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise OptionError(f"lr, the learning rate, is a number above 0; got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise OptionError(f"momentum is at least 0 and below 1; got {self.momentum}")
        for name in ("warmup", "weight_decay"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise OptionError(f"{name} is a number, at least 0; got {value}")
        if self.warmup > self.epochs:
            raise OptionError(
                f"a warmup of {self.warmup:g} epochs is longer than the training of {self.epochs}"
            )
        for name, known in (("schedule", list(SCHEDULES)), ("optimizer", ["sgd", "adam"])):
            if getattr(self, name) not in known:
                raise OptionError(unknown(name, getattr(self, name), known))

    def make_optimizer(self, model: Module) -> Optimizer:
        """A new optimizer, with no memory, for all parameters of the model."""
        if self.optimizer == "adam":
            return Adam(model.parameters(), weight_decay=self.weight_decay)
        nesterov = self.momentum > 0
        return SGD(model.parameters(), self.momentum, nesterov, self.weight_decay)


@dataclass(frozen=True)
class Epoch:
    """What was measured in one epoch; accuracies are fractions, losses means.

    Where images are held out, they are measured, and the test images are not: those wait until
    all is chosen.
    """

    train_loss: float
    train_accuracy: float
    test_loss: float | None = None
    test_accuracy: float | None = None
    seconds: float = 0.0
    validation_loss: float | None = None
    validation_accuracy: float | None = None


@dataclass(frozen=True)
class Part:
    """The epoch in progress: batches and seconds behind it, [sum of losses, right answers]."""

    batches: int = 0
    sums: Array | Sequence[float] = (0.0, 0.0)
    seconds: float = 0.0


def train(
    model: Module,
    dataset: Dataset,
    recipe: Recipe,
    seed: int = 0,
    label: str = "",
    progress: bool = True,
    optimizer: Optimizer | None = None,
    history: Sequence[Epoch] = (),
    after_epoch: Callable[[Optimizer, list[Epoch]], None] = lambda optimizer, history: None,
    part: Part = Part(),
    after_step: Callable[[Optimizer, list[Epoch], Part], None] = lambda optimizer, history, part: (
        None
    ),
    until: int | None = None,
    augment_seed: int | None = None,
) -> list[Epoch]:
    """Train the model in place; measurements for each epoch.

    Order and augmentation of an epoch depend on (seed, epoch) alone, or the augmentation on an
    `augment_seed` of its own. So a model and an optimizer that have been trained for the epochs of
    `history`, and for `part` of the next, go on as if they had never stopped; `until` stops after
    so many epochs, to go on another day. The progress bar appears on terminals alone. A loss that
    is not finite raises `RunError`; NumPy's warnings on the way there are not shown.
    """
    optimizer = optimizer or recipe.make_optimizer(model)
    per_epoch = num_batches(len(dataset.train), recipe.batch_size)
    steps = recipe.epochs * per_epoch
    rate = SCHEDULES[recipe.schedule](recipe.lr, steps, round(recipe.warmup * per_epoch))
    history = list(history)
    step, count = Step(model, optimizer), len(history) * per_epoch + part.batches
    step.sums[...] = asarray(np.asarray(part.sums))
    hidden = None if progress else True  # None: hidden where nobody looks, as in a log file
    with (
        _no_denormals(),
        np.errstate(over="ignore", invalid="ignore"),
        tqdm(
            total=steps, initial=count, desc=label, unit="batch", leave=False, disable=hidden
        ) as bar,
    ):
        for epoch in range(len(history), until or recipe.epochs):
            start = time.perf_counter() - part.seconds
            model.train()
            cut = batches(dataset, recipe.batch_size, seed, epoch, augment_seed)
            for images, labels in islice(cut, part.batches, None):
                step(images, labels, rate(count))
                count += 1
                bar.update()
                now = Part(count - epoch * per_epoch, step.sums, time.perf_counter() - start)
                after_step(optimizer, history, now)
            part = Part()
            total, correct = step.take()
            _finite(total, epoch, count)
            n = len(dataset.train)
            name, split = dataset.watched
            loss, accuracy = evaluate(model, split, dataset, _evaluated_at_once(recipe.batch_size))
            _finite(loss, epoch, count)
            found = {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
            seconds = time.perf_counter() - start
            history.append(Epoch(total / n, correct / n, seconds=seconds, **found))
            bar.set_postfix_str(f"epoch {epoch + 1}/{recipe.epochs}, {name} {accuracy:.1%}")
            after_epoch(optimizer, history)
    return history


def evaluate(
    model: Module, split: Split, dataset: Dataset, batch_size: int = 256
) -> tuple[float, float]:
    """(mean loss, accuracy) of the model, in evaluation mode, on every image of the split.

    Nothing of the model changes; afterwards it is in the mode in which it came.
    """
    training = model.training
    model.eval()
    sums = asarray(np.zeros(2))  # read once: whoever reads waits for the device
    with no_grad():
        for images, labels in test_batches(split, dataset.encode, batch_size):
            logits = model(Tensor(images))
            loss = cross_entropy(logits, labels)
            kernel("tally")(sums, logits.data, asarray(labels), loss.data)
    model.train(training)
    total, correct = to_numpy(sums).tolist()
    return total / len(split), correct / len(split)


def _no_denormals() -> AbstractContextManager[None]:
    """Denormal numbers are 0 meanwhile; CuPy has its kernels do so by themselves."""
    if get_backend() == "cupy":
        return nullcontext()
    from quatgrad.kernels.numba_cpu.denormals import flush_denormals  # loads Numba, half a second

    return flush_denormals()


def _evaluated_at_once(batch_size: int) -> int:
    """Images in a batch of the test set: many on a GPU, where each launch takes its time."""
    return max(batch_size, 512) if get_backend() == "cupy" else batch_size


def _finite(loss: float, epoch: int, count: int) -> float:
    if not math.isfinite(loss):
        raise RunError(
            f"training diverged: the loss is {loss} in epoch {epoch + 1}, by step {count}; "
            "try a smaller --lr, or a --warmup"
        )
    return loss
