"""How a search prunes and rewinds: what is chosen once, before the loop runs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quatgrad.errors import OptionError
from quatgrad.lth.prune.rule import Masks, Rule
from quatgrad.lth.ticket.ticket import State
from quatgrad.nn import Module
from quatgrad.optim import SCHEDULES
from quatgrad.random import generator
from quatgrad.train import Recipe

PRUNE_FROM = ("last", "dense", "start")
REWINDS = ("start", "weights", "none")
RATES = ("again", "last")
ORDERS = ("same", "fresh")
MASKS = ("retrained", "finetuned")
MEMORIES = ("new", "kept", "restored")

#: name -> options of a search. The five of the literature differ in what a level starts from:
#: lth       Frankle & Carbin, arXiv:1803.03635: the initial weights
#: late      Frankle et al., arXiv:1912.05671: the dense network after an epoch (or --late N)
#: lr-rewind, finetune  Renda et al., arXiv:2003.02389: the weights go on; the learning rate starts
#:           anew, or stays as small as it ended
#: reinit    the same masks over other initial weights, as a control beside the ticket
#: and two prune before training, at once: SNIP, arXiv:1810.02340; SynFlow, arXiv:2006.05467.
METHODS: dict[str, dict[str, Any]] = {
    "lth": {"rewind": "start"},
    "late": {"rewind": "start", "late": 1},
    "lr-rewind": {"rewind": "none", "rate": "again"},
    "finetune": {"rewind": "none", "rate": "last"},
    "reinit": {"rewind": "start", "control": ("reinitialised",)},
    "snip": {"score": "sensitivity", "scope": "global", "prune_from": "start"},
    "synflow": {"score": "synflow", "scope": "global", "prune_from": "start", "rounds": 100},
}


@dataclass(frozen=True)
class Protocol:
    """Prune `levels` times to the share `keep` of the weights; what the other choices mean:

    floor    the search ends a few levels after the accuracy fell below it
    score, granularity, scope, exclude, keep_of: the `Rule` of pruning
    prune_from  the network that is ranked. last: the one that the level before ended with, among
             what is left there. dense: level 0's, all at once (one-shot). start: the one that
             training starts from, before it is trained, all at once. Counts are the same for all
    rounds   in so many steps, each ranked anew, a level's masks are reached: n, ..., left
    rewind   what a level starts from. start: the whole first state. weights: weights and
             batch-norm parameters, while running statistics and the biases of layers keep what
             the level before ended with, as in the published code. none: all of that
    late     how many epochs the dense network has been trained at that first state; every level
             goes on from there, with the epochs and the learning rate that follow; 0: none
    rate     the learning rate of a level after the dense. again: the schedule, from epoch `late`.
             last: what the schedule ended with, all the time. So rewind none is learning-rate
             rewinding with again, and fine-tuning with last
    memory   the optimizer's (momentum, Adam's moments) at the start of a level: new, kept from
             the end of the level before, or restored, that of the dense network after `late` epochs
    order    same: every level sees the images in the order, and moved, as the dense network did in
             that epoch. fresh: each level draws its own
    masks    retrained: level l prunes what level l-1 was trained to. finetuned: the masks come
             from a first pass that is never rewound, as in the predecessor of the paper
    """

    levels: int
    keep: float
    floor: float = 0.2
    score: str = "magnitude"
    granularity: str = "weight"
    scope: str = "layer"
    exclude: str = ""
    keep_of: str = ""
    prune_from: str = "last"
    rounds: int = 1
    rewind: str = "start"
    late: int = 0
    rate: str = "again"
    memory: str = "new"
    order: str = "same"
    masks: str = "retrained"

    def __post_init__(self) -> None:
        self.rule  # noqa: B018 - says what is wrong with it
        if self.levels < 0:
            raise OptionError(f"--levels is the number of prunings, at least 0; got {self.levels}")
        if not 0 <= self.floor <= 1:
            raise OptionError(f"--stop-below is an accuracy from 0 to 1; got {self.floor}")
        if self.late < 0:
            raise OptionError(f"--late is a number of epochs, at least 0; got {self.late}")
        if self.rounds < 1:
            raise OptionError(f"--rounds is how often is ranked, at least 1; got {self.rounds}")
        choices = {
            "prune_from": PRUNE_FROM,
            "rewind": REWINDS,
            "rate": RATES,
            "memory": MEMORIES,
            "order": ORDERS,
            "masks": MASKS,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise OptionError(
                    f"--{name.replace('_', '-')} is one of {', '.join(known)}; "
                    f"got {getattr(self, name)!r}"
                )
        self._check_together()

    def _check_together(self) -> None:
        """Raise for choices that exclude one another, or that would change nothing."""
        if self.memory == "restored" and not self.late:
            raise OptionError("--memory restored is that after --late epochs: give --late N")
        if self.prune_from == "start" and not self.late and self.score in ("increase", "movement"):
            raise OptionError(
                f"--score {self.score} compares with the initial weights, and --prune-from start "
                "ranks them: choose another score, or --late N"
            )
        if self.masks == "finetuned" and self.prune_from != "last":
            raise OptionError(
                "--masks finetuned prunes and trains on, level by level: it needs --prune-from last"
            )

    @property
    def rule(self) -> Rule:
        """Which weights go at each level."""
        return Rule(self.keep, self.score, self.granularity, self.scope, self.exclude, self.keep_of)

    def state(self, statistics: Collection[str], start: State, end: State) -> State:
        """The state a level is rewound to, of the first state and the last level's end.

        `statistics` are the names of running statistics.
        """
        if self.rewind == "start":
            return start
        if self.rewind == "none":
            return end
        return {
            name: end[name]
            if name in statistics or name.rpartition(".")[2] == "bias"
            else start[name]
            for name in start
        }

    def check(self, model: Module, recipe: Recipe) -> None:
        """Raise `OptionError` where the protocol does not fit the network or the recipe."""
        self.rule.own_rates(dict(model.weight_parameters()))
        self.recipe(recipe, 1, 1)

    def recipe(self, dense: Recipe, level: int, batches: int) -> Recipe:
        """How a level is trained, of the recipe of level 0 and the batches of an epoch.

        Raises `OptionError` where it would be for no epoch, or with a learning rate of nothing.
        """
        if self.late >= dense.epochs:
            raise OptionError(
                f"--late {self.late} leaves nothing of the {dense.epochs} epochs of a level: "
                "rewind to an earlier one, or give more --epochs"
            )
        if level == 0 or self.rate == "again":
            return dense
        if dense.schedule == "cosine":
            raise OptionError(
                "--rate last keeps the learning rate that the schedule ended with, and cosine ends "
                "at 0, where nothing is learned: choose --schedule step"
            )
        steps = dense.epochs * batches
        rate = SCHEDULES[dense.schedule](dense.lr, steps, round(dense.warmup * batches))
        return replace(dense, lr=rate(steps - 1), schedule="constant", warmup=0.0)

    def prunings(self, last: Masks, level: int) -> tuple[Masks, int]:
        """The masks from which those of a level are pruned, and how often: of the level before
        once, or of the dense network `level` times at once.
        """
        if self.prune_from == "last":
            return last, 1
        return {name: np.ones_like(mask) for name, mask in last.items()}, level

    def order_seed(self, seed: int, level: int) -> int:
        """The seed of order and augmentation at a level."""
        if level == 0 or self.order == "same":
            return seed
        return int(generator(seed, "order of level", level).integers(2**62))
