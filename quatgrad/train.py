"""The training loop: forward, loss, backward, step; then validation or test, once an epoch.

TrainStep      one step, on one batch
train_steps    all steps, one by one: to save, measure or stop between them
train          all steps at once
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice

import numpy as np
from tqdm import tqdm

from quatgrad.arrays import Array, asarray, to_numpy
from quatgrad.autograd import Parameter, no_grad
from quatgrad.backend import get_backend
from quatgrad.data import Dataset, Split, batch_sizes, batches, num_batches, test_batches
from quatgrad.errors import DivergedError, OptionError
from quatgrad.nn import Buffer, Module
from quatgrad.nn.module import evaluation_mode
from quatgrad.optim import SCHEDULES, SGD, Adam, Optimizer, SideBySide, clip_grad_norm
from quatgrad.option_fields import check_values, option
from quatgrad.parallel import ALONE, WHOLE, Processes, Share, processes
from quatgrad.step_calls import StepCalls
from quatgrad.step_graphs import StepGraphs
from quatgrad.task import CLASSES, Task


@dataclass(frozen=True)
class Recipe:
    """How to train a network once; `warmup` is in epochs, `momentum` is Nesterov's."""

    epochs: int = option("times through the training data", bounds=(1, 10**6))
    batch_size: int = option("examples in a step", bounds=(1, 10**7))
    lr: float = option("highest learning rate")
    optimizer: str = option(
        "sgd has Nesterov momentum; adamw: decay apart from the gradient",
        "sgd",
        choices=("sgd", "adam", "adamw"),
    )
    schedule: str = option("how the learning rate falls", "cosine", choices=sorted(SCHEDULES))
    warmup: float = option("warm-up epochs: the learning rate rises first", 0.0)
    momentum: float = option("momentum of sgd", 0.9)
    weight_decay: float = option("weight decay of all parameters", 0.0)
    decay_of: str = option(
        "what decays: all, or weights alone and not norms and biases, as in arXiv:1812.01187",
        choices=("all", "weights"),
    )
    quaternion_lr: float = option(
        "the learning rate of quaternion weights is X times the others'. A component acts in four "
        "places, so its gradient is a sum of four: try 0.5, 0.25",
        1.0,
    )
    quaternion_decay: float = option("the same of their weight decay", 1.0)
    label_smoothing: float = option(
        "share of the target that is spread over all classes, arXiv:1512.00567", 0.0
    )
    beta1: float = option("share of adam's mean of gradients that a step keeps", 0.9)
    beta2: float = option("the same of its mean of squares", 0.999)
    clip: float = option("greatest length of all gradients as one vector; 0: any", 0.0)

    def __post_init__(self) -> None:
        check_values(self)
        if not (self.lr > 0 and math.isfinite(self.lr)):
            raise OptionError(f"`lr`, the learning rate, is a number above 0; got {self.lr}")
        for name in ("momentum", "label_smoothing", "beta1", "beta2"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise OptionError(f"`{name}` is at least 0 and below 1; got {value}")
        for name in ("warmup", "weight_decay", "quaternion_lr", "quaternion_decay", "clip"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise OptionError(f"`{name}` is a number, at least 0; got {value}")
        if self.warmup > self.epochs:
            raise OptionError(
                f"a `warmup` of {self.warmup:g} epochs is longer than the training of {self.epochs}"
            )

    def make_optimizer(self, model: Module) -> Optimizer:
        """A new optimizer for all parameters of the model."""
        parameters = model.parameters()
        groups = dict[tuple[float, float], list[Parameter]]()  # (rate, decay) -> of these
        for p in parameters:
            groups.setdefault(self._own(p), []).append(p)
        if len(groups) == 1:
            (decay,) = (decay for _, decay in groups)
            return self._optimizer(parameters, decay)
        parts = [(self._optimizer(ps, decay), rate) for (rate, decay), ps in groups.items()]
        return SideBySide(parameters, parts)

    def _own(self, p: Parameter) -> tuple[float, float]:
        """The factor of the learning rate, and the weight decay, of a parameter."""
        is_quaternion = p.components == 4
        rate = self.quaternion_lr if is_quaternion else 1.0
        decay = self.weight_decay * (self.quaternion_decay if is_quaternion else 1.0)
        return rate, 0.0 if self.decay_of == "weights" and p.ndim < 2 else decay

    def _optimizer(self, parameters: list[Parameter], decay: float) -> Optimizer:
        if self.optimizer == "sgd":
            return SGD(parameters, self.momentum, self.momentum > 0, decay)
        betas = self.beta1, self.beta2
        return Adam(parameters, betas, weight_decay=decay, decoupled=self.optimizer == "adamw")


@dataclass(frozen=True)
class Epoch:
    """What was measured in one epoch; accuracies are fractions, losses means.

    With validation images only these are measured. The test images wait until everything is
    chosen.
    """

    train_loss: float
    train_accuracy: float
    test_loss: float | None = None
    test_accuracy: float | None = None
    seconds: float = 0.0
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def __str__(self) -> str:
        """For a progress bar: "test 98.1%"."""
        if self.validation_accuracy is not None:
            return f"validation {self.validation_accuracy:.1%}"
        return f"test {self.test_accuracy:.1%}"


@dataclass(frozen=True)
class TrainState:
    """Where a training stands: after the epochs of `history`, and `batch` batches of the next.

    `sums` are the sums of the losses and scores (right answers) of those batches, on the
    device: the next step writes into the same array. `seconds` is the time that they took.
    """

    history: Sequence[Epoch] = ()
    batch: int = 0
    sums: Array | Sequence[float] = (0.0, 0.0)
    seconds: float = 0.0

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.history)


class TrainStep:
    """One step of training, for one model and one optimizer; the task says what the loss is.

        step = TrainStep(model, optimizer)
        for images, labels in batches:
            step(images, labels, lr)
        loss, correct = step.take()

    The sums of losses and right answers stay on the device: reading them means waiting for it.
    Where several processes train, each gives the images of its share of the batch.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        recipe: Recipe | None = None,
        task: Task = CLASSES,
    ):
        self.model, self.optimizer, self.task = model, optimizer, task
        self.label_smoothing = recipe.label_smoothing if recipe else 0.0
        self.clip = recipe.clip if recipe else 0.0
        self.group = processes()
        self.sums = asarray(np.zeros(2))  # of losses and of right answers
        self.own_sums = self.group.own(self.sums)
        self.calls = StepCalls(model, task)  # on a CPU
        self.graphs = StepGraphs(optimizer, model)  # on a GPU

    def __call__(self, images: Array, labels: Array, lr: float, share: Share = WHOLE) -> None:
        """One step on images (N, H, W, C) and labels (N,), recorded once and then repeated."""
        images, labels = asarray(images), asarray(labels)
        try:
            self.graphs.run(self.eager, images, labels, lr, *([] if share is WHOLE else [share]))
        except MemoryError as error:
            error.__traceback__ = None  # which holds all arrays of the step
            advice = _batch_that_fits(self.task, self.model, images, labels)
            raise MemoryError(f"{error} {advice}") from error

    def eager(self, images: Array, labels: Array, lr: float | Array, share: Share = WHOLE) -> None:
        """Forward, loss, backward, update."""
        self.calls.run(self.gradients, images, labels, self.own_sums, share)
        self.group.complete(self.optimizer, self.model, share)
        if self.clip:
            clip_grad_norm(self.optimizer.parameters, self.clip)
        self.optimizer.step(lr)
        self.group.add(self.sums, self.own_sums, share)

    def gradients(self, images: Array, labels: Array, sums: Array, share: Share) -> None:
        """Forward, loss, backward; sums += those of the losses and right answers."""
        with self.group.norms(share):
            loss = self.task.step(self.model, images, labels, sums, self.label_smoothing)
        self.optimizer.zero_grad()
        self.group.backward(loss, self.optimizer, self.model, share)

    def take(self) -> tuple[float, float]:
        """(sum of losses, right answers) of all images since the last call."""
        loss, correct = to_numpy(self.sums).tolist()
        self.sums[...] = 0
        return loss, correct


def train_steps(
    model: Module,
    dataset: Dataset,
    recipe: Recipe,
    optimizer: Optimizer,
    seeds: tuple[int, int] = (0, 0),
    state: TrainState = TrainState(),
    label: str | None = None,
) -> Generator[TrainState]:
    """Train the model in place; yields the state after each step, and after each epoch.

    After an epoch `state.batch` is 0 and `state.history` has one more entry. `seeds` are (seed of
    the order of the images, seed of their augmentation). Both depend on (seed, epoch) alone. So a
    model and an optimizer that stand at `state` continue with the same bits as if they had never
    stopped. `label` names the progress bar, which appears on terminals alone; None hides it.
    A loss that is not finite raises `RunError`. Until the generator ends or is closed, NumPy does
    not warn of overflow and invalid values, in the caller too, and denormal numbers are 0 in the
    threads of the kernels.
    """
    per_epoch = num_batches(len(dataset.train), recipe.batch_size)
    steps, count = recipe.epochs * per_epoch, state.epoch * per_epoch + state.batch
    lr = SCHEDULES[recipe.schedule](recipe.lr, steps, round(recipe.warmup * per_epoch))
    step = TrainStep(model, optimizer, recipe, dataset.task)
    step.sums[...] = asarray(to_numpy(state.sums))
    with (
        _no_denormals() as as_before,
        np.errstate(over="ignore", invalid="ignore"),
        step.group.training(model, dataset, recipe, optimizer, seeds, state),
        _bar(label, steps, count) as bar,
    ):
        for epoch in range(state.epoch, recipe.epochs):
            start = time.perf_counter() - state.seconds
            model.train()
            cut = _shares(dataset, recipe.batch_size, seeds, epoch, step.group)
            for (images, labels), share in islice(cut, state.batch, None):
                step.group.go_on()
                step(images, labels, lr(count), share)
                count += 1
                bar.update()
                seconds = time.perf_counter() - start
                state = TrainState(state.history, state.batch + 1, step.sums, seconds)
                with as_before():
                    yield state
            when = f"in epoch {epoch + 1}, by step {count}"
            measured = _measure(step, dataset, recipe.batch_size, when, start)
            bar.set_postfix_str(f"epoch {epoch + 1}/{recipe.epochs}, {measured}")
            state = TrainState((*state.history, measured))
            with as_before():
                yield state
        step.group.go_on()


def _bar(label: str | None, steps: int, done: int) -> tqdm:
    hidden = True if label is None else None  # None: hidden in a log file
    return tqdm(desc=label, total=steps, initial=done, unit="batch", leave=False, disable=hidden)


def _shares(
    dataset: Dataset, batch_size: int, seeds: tuple[int, int], epoch: int, group: Processes
) -> Iterator[tuple[tuple[Array, Array], Share]]:
    """The batches of an epoch, of each what this process takes."""
    (order, augment), sizes = seeds, batch_sizes(len(dataset.train), batch_size)
    cut = batches(dataset, batch_size, order, epoch, augment, lambda n: group.share(n).rows)
    return zip(cut, map(group.share, sizes), strict=True)


def _measure(step: TrainStep, dataset: Dataset, batch_size: int, when: str, start: float) -> Epoch:
    """An epoch from the sums of its steps since `start`, and from images not trained on."""
    total, correct = step.take()
    _check_finite(total, when)
    name, split = dataset.eval_split
    at_once = _evaluated_at_once(batch_size)
    loss, accuracy = evaluate(step.model, split, dataset, at_once, step.group)
    _check_finite(loss, when)
    n = dataset.task.answers(len(dataset.train))
    measured = {f"{name}_loss": loss, f"{name}_accuracy": accuracy}
    return Epoch(total / n, correct / n, seconds=time.perf_counter() - start, **measured)


def train(
    model: Module, dataset: Dataset, recipe: Recipe, seed: int = 0, progress: bool = True
) -> list[Epoch]:
    """Train the model in place by the recipe, from its first step to its last; all epochs."""
    optimizer, label = recipe.make_optimizer(model), "" if progress else None
    for state in train_steps(model, dataset, recipe, optimizer, (seed, seed), label=label):
        history = state.history
    return list(history)


def evaluate(
    model: Module, split: Split, dataset: Dataset, batch_size: int = 256, group: Processes = ALONE
) -> tuple[float, float]:
    """(mean loss, accuracy) of the model, in evaluation mode, on every image of the split.

    Of another task than classes, its score. Each process of `group` takes its share, where scores
    add up; else each measures all.

    The model does not change: afterwards each module is in the same mode as before.
    """
    task, n = dataset.task, dataset.task.answers(len(split))
    share = group.share(len(split)) if task.adds_up else WHOLE
    rows = range(len(split))[share.rows]
    with no_grad(), evaluation_mode(model):
        sums = task.measure(model, test_batches(split, dataset.encode, batch_size, rows))
    total, correct = to_numpy(group.sum_metrics(sums, share) if task.adds_up else sums).tolist()
    return total / n, correct / n


def _no_denormals() -> AbstractContextManager[Callable[[], AbstractContextManager[None]]]:
    """Inside, denormal numbers are 0; without Numba they stay. Kernels of CuPy do it themselves."""
    if get_backend() == "cupy" or not find_spec("numba"):
        return nullcontext(nullcontext)
    # Here, because it loads Numba: half a second.
    from quatgrad.kernels.numba_cpu.machine.denormals import flush_denormals

    return flush_denormals()


def _evaluated_at_once(batch_size: int) -> int:
    """Images in a batch of the test set: many on a GPU, where each launch takes its time."""
    return max(batch_size, 512) if get_backend() == "cupy" else batch_size


def _batch_that_fits(task: Task, model: Module, images: Array, labels: Array) -> str:
    """How many of the images fit into memory, found by trying; the model stays as it is."""
    buffers = [(t, t.numpy().copy()) for _, t in model.named_state() if isinstance(t, Buffer)]
    n, fits = len(images) // 2, False
    while n > 1 and not fits:
        try:
            task.step(model, images[:n], labels[:n], asarray(np.zeros(2))).backward()
            fits = True
        except MemoryError:
            n //= 2
        for p in model.parameters():
            p.grad = None
    for t, before in buffers:
        t.data = before
    return f"A batch of {n} fits." if fits else "Not even a batch of 2 fits."


def _check_finite(loss: float, when: str) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            f"training diverged: the loss is {loss} {when}; try a smaller `lr`, or a `warmup`"
        )
