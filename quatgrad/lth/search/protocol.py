"""How a search prunes and rewinds: what is chosen once, before the loop runs."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quatgrad.errors import OptionError
from quatgrad.lth.prune.rule import Masks, Rule
from quatgrad.lth.ticket.ticket import State
from quatgrad.nn import Module
from quatgrad.optim import SCHEDULES
from quatgrad.option_fields import check_values, option
from quatgrad.random import generator
from quatgrad.train import Recipe

#: name -> options of a search. The five of the literature differ in what a level starts from:
#: lth       Frankle & Carbin, arXiv:1803.03635: the initial weights
#: late      Frankle et al., arXiv:1912.05671: the dense network after one epoch, or more
#: lr-rewind, finetune  Renda et al., arXiv:2003.02389: the weights go on; the learning rate starts
#:           anew, or stays as small as it ended
#: reinit    the same masks over other initial weights, as a control beside the ticket
#: and two prune before training, at once: SNIP, arXiv:1810.02340; SynFlow, arXiv:2006.05467.
METHODS: dict[str, dict[str, Any]] = {
    "lth": {"rewind": "start"},
    "late": {"rewind": "start", "rewind_epoch": 1},
    "lr-rewind": {"rewind": "none", "lr_schedule": "again"},
    "finetune": {"rewind": "none", "lr_schedule": "last"},
    "reinit": {"rewind": "start", "control": ("reinitialised",)},
    "snip": {"score": "sensitivity", "scope": "global", "score_from": "start"},
    "synflow": {"score": "synflow", "scope": "global", "score_from": "start", "pruning_steps": 100},
}


@dataclass(frozen=True)
class Protocol:
    """Prune `levels` times by `rule`; what the other choices mean:

    stop_accuracy    the search ends a few levels after the accuracy fell below it; below this share
                     of the dense one, where the task is not classes (`Task.relative`)
    score_from       the network whose weights are ranked. last: what the level before ended with,
                     among the weights left there. dense: what level 0 ended with, all levels at
                     once (one-shot). start: what training starts from, before it is trained, all
                     at once. The counts are the same for all
    pruning_steps    the masks of a level are reached in so many steps, each ranked anew
    rewind           what a level starts from. start: the whole rewind state. weights: its weights
                     and batch-norm parameters, while running statistics and the biases of layers
                     keep what the level before ended with, as in the published code. none: all
                     of what the level before ended with
    rewind_epoch     how many epochs the dense network was trained to the rewind state; every level
                     goes on from there, with the epochs and the learning rate that follow
    lr_schedule      the learning rate of a level after the dense one. again: the schedule, from
                     `rewind_epoch` on. last: what the schedule ended with, all the time. So rewind
                     none is learning-rate rewinding with again, and fine-tuning with last
    optimizer_state  momentum, or Adam's moments, at the start of a level: new, kept from the end
                     of the level before, or restored to the dense network's at `rewind_epoch`
    order            same: every level sees the images in the order of the dense network, augmented
                     as there. fresh: each level draws its own
    mask_source      retrained: level l prunes what level l-1 was trained to. finetuned: the masks
                     come from a first pass that is never rewound, as in the paper's predecessor
    """

    rule: Rule
    levels: int = option(
        "prune so many times, after the dense network is trained", bounds=(0, 10**5), names=False
    )
    stop_accuracy: float = option(
        "stop 2 levels after the accuracy fell below X; of texts, and tasks of your own, below "
        "the share X of the dense one",
        0.2,
        key="stop_below",
        names=False,
    )
    score_from: str = option(
        "rank the network of the level before; or, at once, the dense one or its first weights",
        key="prune_from",
        choices=("last", "dense", "start"),
    )
    pruning_steps: int = option(
        "reach the masks of a level in N steps", 1, bounds=(1, 10**4), key="rounds"
    )
    rewind: str = option(
        "rewind to the whole start, to its weights alone as the paper's code, or not at all",
        choices=("start", "weights", "none"),
    )
    rewind_epoch: int = option(
        "rewind to the dense network after N epochs", 0, bounds=(0, 10**6), key="late"
    )
    lr_schedule: str = option(
        "learning rate of a level: the schedule again, or (with rewind none) its last value",
        key="rate",
        choices=("again", "last"),
    )
    optimizer_state: str = option(
        "momentum at the start of a level; restored: the dense network's at the rewind epoch",
        key="memory",
        choices=("new", "kept", "restored"),
    )
    order: str = option(
        "order of the data at each level: as for the dense network, or drawn anew",
        choices=("same", "fresh"),
    )
    mask_source: str = option(
        "masks come from the retrained networks, or from a first pass of fine-tuning",
        key="masks",
        choices=("retrained", "finetuned"),
    )

    def __post_init__(self) -> None:
        check_values(self)
        if not 0 <= self.stop_accuracy <= 1:
            raise OptionError(
                f"`stop_accuracy` is an accuracy from 0 to 1; got {self.stop_accuracy}"
            )
        self._check_together()

    def _check_together(self) -> None:
        """Raise for choices that exclude one another, or that would change nothing."""
        late, score = self.rewind_epoch, self.rule.score
        if self.optimizer_state == "restored" and not late:
            raise OptionError(
                "`optimizer_state` restored is the dense network's at an epoch: give a "
                "`rewind_epoch` of 1 or more"
            )
        if self.score_from == "start" and not late and score in ("increase", "movement"):
            raise OptionError(
                f"`score` {score} compares with the initial weights, and `score_from` start "
                "ranks them: choose another score, or a `rewind_epoch`"
            )
        if self.score_from == "start" and self.rewind == "none":
            raise OptionError(
                "`score_from` start prunes before training, and `rewind` none goes on from what "
                "was trained: choose another `rewind`, or `score_from` last"
            )
        if self.mask_source == "finetuned" and self.score_from != "last":
            raise OptionError(
                "`mask_source` finetuned prunes and trains on, level by level: it needs "
                "`score_from` last"
            )

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
        if self.rewind_epoch >= dense.epochs:
            raise OptionError(
                f"`rewind_epoch` {self.rewind_epoch} leaves nothing of the {dense.epochs} epochs "
                "of a level: rewind to an earlier one, or give more `epochs`"
            )
        if level == 0 or self.lr_schedule == "again":
            return dense
        if dense.schedule == "cosine":
            raise OptionError(
                "`lr_schedule` last keeps the learning rate that the schedule ended with, and "
                "cosine ends at 0, where nothing is learned: choose `schedule` step"
            )
        steps = dense.epochs * batches
        rate = SCHEDULES[dense.schedule](dense.lr, steps, round(dense.warmup * batches))
        return replace(dense, lr=rate(steps - 1), schedule="constant", warmup=0.0)

    def prunings(self, last: Masks, level: int) -> tuple[Masks, int]:
        """The masks from which those of a level are pruned, and how often: of the level before
        once, or of the dense network `level` times at once.
        """
        if self.score_from == "last":
            return last, 1
        return {name: np.ones_like(mask) for name, mask in last.items()}, level

    def order_seed(self, seed: int, level: int) -> int:
        """The seed of order and augmentation at a level."""
        if level == 0 or self.order == "same":
            return seed
        return int(generator(seed, "order of level", level).integers(2**62))
