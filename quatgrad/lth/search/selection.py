"""The epochs of a training that are reported where validation images choose them.

    last        the end
    best        the highest validation accuracy
    early-stop  the lowest validation loss: where Frankle & Carbin, arXiv:1803.03635, stop

The first counts where several are equal. Their networks see the test images when all are chosen,
once each, and nothing is chosen by what comes out.
"""

from collections.abc import Mapping, Sequence

from quatgrad.data import Dataset
from quatgrad.lth.store.records import Selected
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import State, Ticket
from quatgrad.nn import Module
from quatgrad.train import Epoch, Recipe, evaluate

#: Number of an epoch, from 1 -> the network's state after it.
Snapshots = Mapping[int, State]


def select_epochs(history: Sequence[Epoch], start_epoch: int = 0) -> dict[str, int]:
    """The number, from 1, of each selected epoch.

    The first `start_epoch` epochs, of the dense network that this one was rewound to, cannot be
    selected.
    """
    own = range(start_epoch, len(history))
    measured = _measured(history)
    best = max(own, key=lambda n: measured[n][0])
    stop = min(own, key=lambda n: measured[n][1])
    return {"last": len(history), "best": best + 1, "early-stop": stop + 1}


def update_snapshots(
    snapshots: Snapshots, model: Module, history: Sequence[Epoch], start_epoch: int
) -> Snapshots:
    """The states of the best epochs so far; the model has the state of the last epoch."""
    selected = select_epochs(history, start_epoch)
    numbers = {selected["best"], selected["early-stop"]}
    return {n: snapshots[n] if n in snapshots else model.state_dict() for n in sorted(numbers)}


def measure(
    model: Module,
    dataset: Dataset,
    end: Ticket,
    snapshots: Snapshots,
    history: Sequence[Epoch],
    start_epoch: int,
    recipe: Recipe,
) -> dict[str, Selected]:
    """Test accuracy and loss of each selected epoch. The model ends at `end`."""
    selected = select_epochs(history, start_epoch)
    states, measured = {**snapshots, len(history): end.state}, _measured(history)
    tested = {}
    for n in sorted(set(selected.values())):
        rewind(model, Ticket(end.masks, states[n]))
        loss, accuracy = evaluate(model, dataset.test, dataset, recipe.batch_size)
        tested[n] = Selected(n, accuracy, loss, *measured[n - 1])
    rewind(model, end)
    return {point: tested[n] for point, n in selected.items()}


def _measured(history: Sequence[Epoch]) -> list[tuple[float, float]]:
    """Validation accuracy and loss of each epoch."""
    return [(e.validation_accuracy or 0.0, e.validation_loss or 0.0) for e in history]
