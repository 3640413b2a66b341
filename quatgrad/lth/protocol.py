"""How a search prunes and rewinds: what is chosen once, before the loop runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quatgrad.errors import OptionError
from quatgrad.lth.prune import Rule
from quatgrad.nn import Buffer, Module

State = Mapping[str, np.ndarray]

REWINDS = ("start", "weights", "none")
MASKS = ("retrained", "finetuned")
MEMORIES = ("new", "kept")


@dataclass(frozen=True)
class Protocol:
    """Prune `levels` times to the share `keep` of the weights; what the other choices mean:

    floor    the search ends a few levels after the accuracy fell below it
    score, granularity, scope: the `Rule` of pruning
    rewind   what a level starts from. start: the whole first state. weights: weights and
             batch-norm parameters, while running statistics and the biases of layers keep what
             the level before ended with, as in the published code. none: all of that (fine-tuning)
    late     how many epochs the dense network has been trained at that first state, which pruned
             networks then go on from; 0: the initial weights
    masks    retrained: level l prunes what level l-1 was trained to. finetuned: the masks come
             from a first pass that is never rewound, as in the predecessor of the paper
    memory   the optimizer's (momentum, Adam's moments) at the start of a level: new, or kept
    """

    levels: int
    keep: float
    floor: float = 0.2
    score: str = "magnitude"
    granularity: str = "weight"
    scope: str = "layer"
    rewind: str = "start"
    masks: str = "retrained"
    memory: str = "new"
    late: int = 0

    def __post_init__(self) -> None:
        self.rule  # noqa: B018 - says what is wrong with it
        if self.levels < 0:
            raise OptionError(f"--levels is the number of prunings, at least 0; got {self.levels}")
        if not 0 <= self.floor <= 1:
            raise OptionError(f"--stop-below is an accuracy from 0 to 1; got {self.floor}")
        if self.late < 0:
            raise OptionError(f"--late is a number of epochs, at least 0; got {self.late}")
        choices = {"rewind": REWINDS, "masks": MASKS, "memory": MEMORIES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise OptionError(
                    f"--{name} is one of {', '.join(known)}; got {getattr(self, name)!r}"
                )

    @property
    def rule(self) -> Rule:
        """Which weights go at each level."""
        return Rule(self.keep, self.score, self.granularity, self.scope)

    def state(self, model: Module, start: State, end: State) -> State:
        """The state a level is rewound to, of the first state and the last level's end."""
        if self.rewind == "start":
            return start
        if self.rewind == "none":
            return end
        kept = _not_reset(model)
        return {name: end[name] if name in kept else start[name] for name in start}


def _not_reset(model: Module) -> set[str]:
    """Running statistics, and the biases of layers: what the published reset forgot."""
    return {
        name for name, t in model.named_state()
        if isinstance(t, Buffer) or name.rpartition(".")[2] == "bias"
    }  # fmt: skip
