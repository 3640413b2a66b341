"""Are two networks in one valley? The error on the straight line between them.

Two copies of one network, trained on the same images in different order, are linearly connected
where no error rises between them: then the network was stable to the order, and a ticket rewound
to it trains to what it was found for. Frankle et al., arXiv:1912.05671.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quatgrad.arrays import asarray
from quatgrad.autograd import no_grad
from quatgrad.data import Dataset, test_batches
from quatgrad.errors import OptionError
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.nn import BatchNorm2d, Module, QBatchNorm2d
from quatgrad.train import Epoch, Recipe, TrainState, evaluate, train_steps


@dataclass(frozen=True)
class Line:
    """Error (1 - accuracy) and mean loss at the shares of the second end along a line."""

    shares: list[float]
    errors: list[float]
    losses: list[float]

    @property
    def barrier(self) -> float:
        """max error - mean error of the two ends: what Frankle et al. call instability."""
        return max(self.errors) - (self.errors[0] + self.errors[-1]) / 2


def line(
    model: Module,
    one: Ticket,
    other: Ticket,
    dataset: Dataset,
    points: int = 11,
    batch_size: int = 256,
) -> Line:
    """(1 - t) one + t other at `points` shares t from 0 to 1, on the test images.

    Weights alive in either end are alive between. Running statistics do not interpolate: at each
    point, the ends too, they are estimated anew, as means over the training images (no
    augmentation, batches of `batch_size`). The model is left at the last point.
    Raises `OptionError` for fewer than 2 points.
    """
    if points < 2:
        raise OptionError(f"line: two ends are 2 points at least; got {points}")
    masks = {name: m | other.masks[name] for name, m in one.masks.items()}
    shares = np.linspace(0, 1, points).tolist()
    losses, errors = [], []
    for t in shares:
        state = {
            name: ((1 - t) * a + t * other.state[name]).astype(a.dtype)
            for name, a in one.state.items()
        }
        rewind(model, Ticket(masks, state))
        estimate_statistics(model, dataset, batch_size)
        loss, accuracy = evaluate(model, dataset.test, dataset, batch_size)
        losses.append(loss)
        errors.append(1 - accuracy)
    return Line(shares, errors, losses)


def stability(
    model: Module,
    ticket: Ticket,
    dataset: Dataset,
    recipe: Recipe,
    seeds: tuple[int, int] = (0, 1),
    history: Sequence[Epoch] = (),
    points: int = 11,
) -> Line:
    """The line between two trainings from one ticket, whose images come in two orders.

    `seeds` are those of order and augmentation; `history` are the epochs that the ticket's state
    was trained for. It costs two trainings.
    """
    ends = []
    for seed in seeds:
        rewind(model, ticket)
        optimizer = recipe.make_optimizer(model)
        optimizer.load_state_dict(ticket.optimizer_state)
        for _ in train_steps(model, dataset, recipe, optimizer, (seed, seed), TrainState(history)):
            pass
        ends.append(Ticket(ticket.masks, model.state_dict()))
    one, other = ends
    return line(model, one, other, dataset, points=points, batch_size=recipe.batch_size)


def estimate_statistics(model: Module, dataset: Dataset, batch_size: int = 256) -> None:
    """Running statistics <- their mean over batches of the training images, in order.

    Norms alone are in training mode, nothing is dropped. Batch b moves the statistics by 1 / b,
    which makes the running mean the plain one.
    """
    norms = [m for _, m in model.named_modules() if isinstance(m, BatchNorm2d | QBatchNorm2d)]
    if not norms:
        return
    momenta, training = [norm.momentum for norm in norms], model.training
    model.eval()
    for norm in norms:
        norm.train()
    try:
        with no_grad():
            parts = test_batches(dataset.train, dataset.encode, batch_size)
            for b, (images, _) in enumerate(parts, 1):
                for norm in norms:
                    norm.momentum = 1 / b
                dataset.task.output(model, asarray(images))
    finally:
        model.train(training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
