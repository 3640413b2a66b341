"""The epochs of a training that are reported where validation images choose them.

    last        the end
    best        the highest validation accuracy
    early-stop  the lowest validation loss: where Frankle & Carbin, arXiv:1803.03635, stop

The first counts where several are equal. Their networks see the test images when all are chosen,
once each, and nothing is chosen by what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quatgrad.data import Dataset
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import State, Ticket
from quatgrad.nn import Module
from quatgrad.train import Epoch, evaluate

POINTS = ("last", "best", "early-stop")
#: Number of an epoch, from 1 -> the network's state after it.
Kept = Mapping[int, State]


def choose(history: Sequence[Epoch], behind: int = 0) -> dict[str, int]:
    """The number of the epoch of each point, from 1; not among the first `behind`, which are those
    of the dense network that this one was rewound to.
    """
    own = range(behind, len(history))
    measured = [(e.validation_accuracy or 0.0, e.validation_loss or 0.0) for e in history]
    best = max(own, key=lambda n: measured[n][0])
    stop = min(own, key=lambda n: measured[n][1])
    return {"last": len(history), "best": best + 1, "early-stop": stop + 1}


def keep(kept: Kept, model: Module, history: Sequence[Epoch], behind: int) -> Kept:
    """The states of the epochs that are ahead so far, the model being in that of the last."""
    ahead = choose(history, behind)
    numbers = {ahead["best"], ahead["early-stop"]}
    return {n: kept[n] if n in kept else model.state_dict() for n in sorted(numbers)}


def measure(
    model: Module,
    dataset: Dataset,
    end: Ticket,
    kept: Kept,
    history: Sequence[Epoch],
    behind: int,
    batch_size: int,
) -> dict[str, dict[str, Any]]:
    """For each point its epoch, validation and test accuracy and loss. The model ends at `end`."""
    chosen = choose(history, behind)
    states, tested = {**kept, len(history): end.state}, {}
    for n in sorted(set(chosen.values())):
        rewind(model, Ticket(end.masks, states[n]))
        tested[n] = evaluate(model, dataset.test, dataset, batch_size)
    rewind(model, end)
    return {
        point: {
            "epoch": n,
            "accuracy": tested[n][1],
            "loss": tested[n][0],
            "validation_accuracy": history[n - 1].validation_accuracy,
            "validation_loss": history[n - 1].validation_loss,
        }
        for point, n in chosen.items()
    }
