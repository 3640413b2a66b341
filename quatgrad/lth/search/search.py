"""The loop of the lottery ticket hypothesis: train, prune, rewind, repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quatgrad.backend import get_precision
from quatgrad.data import Dataset, num_batches
from quatgrad.errors import OptionError, RunError
from quatgrad.files import lock
from quatgrad.lth.prune.rule import full_masks
from quatgrad.lth.search.level import Level, early_path
from quatgrad.lth.search.level_masks import next_masks
from quatgrad.lth.search.protocol import Protocol
from quatgrad.lth.search.signals import remembered
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import Record, Stage, chosen, read_end, read_record, read_start
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import State, Ticket
from quatgrad.nn import Module
from quatgrad.train import Epoch, Recipe, TrainState, train_steps

#: So many levels may end below the floor; one more, and the search ends: the paper's "a few".
LEVELS_BELOW_FLOOR = 2


@dataclass(frozen=True)
class Search:
    """Iterative magnitude pruning with rewinding: `run()` gives one record for each level.

    Level 0 trains the dense network. Level l prunes the weights that level l-1 ended with to the
    share `keep`, rewinds the survivors to their first values, and trains again; `Protocol` says
    what else may be chosen. It ends after level `levels`, or once the accuracy has stood at
    `floor` and then ended more than `LEVELS_BELOW_FLOOR` levels below it. `report(record)` is
    called after each level. Frankle & Carbin, arXiv:1803.03635.

    Each level is a `Stage` in the folder `stages` (default: one in `directory`), taken from there
    if it is finished; `directory` has links to them. `what` names the network and the view of the
    images, for the keys of stages that searches share.

    With `source`, another search, its masks are taken, and nothing is pruned here; `control`
    changes the ticket of a level before it is trained, and `branch` names it for the keys. With
    `from_scratch`, it is trained for all epochs of the recipe, also after a late rewinding.

    `seeds` are those of init, order, augment and prune, where they are not `seed`; that of init
    says for the keys which the model was made with.
    """

    model: Module
    dataset: Dataset
    recipe: Recipe
    directory: Path
    protocol: Protocol
    seed: int = 0
    label: str = ""
    report: Callable[[Record], None] = lambda record: None
    progress: bool = True
    source: Search | None = None
    control: Callable[[Ticket, int], Ticket] = lambda ticket, level: ticket
    branch: Mapping[str, Any] = field(default_factory=dict)
    from_scratch: bool = False
    what: Mapping[str, Any] = field(default_factory=dict)
    stages: Path | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)

    def run(self) -> list[Record]:
        """Train, prune, rewind, repeat."""
        if self.stages and not self.what:
            raise OptionError(
                "Search: where stages are shared, say in `what` which network and "
                "images these are: others must have other keys"
            )
        self.protocol.check(self.model, self.recipe)  # better an error now than after hours
        return self._go()

    def _go(self) -> list[Record]:
        files.prepare_directory(self.directory)
        with lock(self.directory):
            return self._run()

    def _run(self) -> list[Record]:
        stages, records, floor = self.plan(), list[Record](), self.protocol.floor
        if masks := self.masks_from:
            found = masks._go() if masks is not self.source else files.read_records(masks.directory)
            if not found:
                raise RunError(
                    f"{masks.directory} has no finished level: its masks were to be "
                    "taken; run it first"
                )
            stages = stages[: len(found)]
        while len(records) < len(stages) and not _finished(records, floor):
            level = len(records)
            stage = stages[level]
            files.link(files.level_path(self.directory, level), stage.path)
            with stage.held(), remembered() as asked:
                new = not stage.done
                if new:
                    ticket, behind = self._prune_and_rewind(stage, level)
                    self._train(stage, level, ticket, behind, asked)
            records.append(stage.record())
            files.write_csv(self.directory / "levels.csv", _flat(records))
            self.report(records[-1] | {"resumed": not new})
        rewind(self.model, stage.end())
        return records

    def plan(self) -> list[Stage]:
        """The stages of levels 0, 1, ..., done or not; nothing is trained or written."""
        folder = self.stages or self.directory / "stages"
        label = "-".join(str(self.what[k]) for k in ("model", "algebra") if k in self.what)
        seeds = {"seed": self.seed, **self._other_seeds("init", "order", "augment")}
        images = {"data": self.dataset.fingerprint()}
        precision = {} if get_precision() == "float32" else {"precision": get_precision()}
        how = {**chosen(self.recipe), **seeds, **images, **precision, **self.what}
        stages = [Stage(folder, "dense", how, label=label)]
        rule = {
            **chosen(self.protocol, ("levels", "floor", "masks")),
            **self.branch,
            **self._other_seeds("prune"),
        }
        masks = self.masks_from.plan() if self.masks_from else []
        levels = min(self.protocol.levels, len(masks) - 1) if masks else self.protocol.levels
        for level in range(1, levels + 1):
            parents = {"dense": stages[0].name, "before": stages[-1].name}
            if masks:
                parents["masks"] = masks[level].name
            kind = "control" if self.source else "level"
            stages.append(Stage(folder, kind, {"level": level, **rule}, parents, label))
        return stages

    def seed_of(self, purpose: str) -> int:
        """The seed of init, order, augment or prune."""
        return self.seeds.get(purpose, self.seed)

    def _other_seeds(self, *purposes: str) -> dict[str, int]:
        """For the keys: those that are not `seed`."""
        return {f"seed_{p}": s for p in purposes if (s := self.seed_of(p)) != self.seed}

    @property
    def masks_from(self) -> Search | None:
        """Whose masks are taken: the source, or a first pass that prunes and never rewinds."""
        if self.source or self.protocol.masks != "finetuned":
            return self.source
        return replace(
            self,
            directory=self.directory / "finetuned",
            protocol=replace(self.protocol, masks="retrained", rewind="none"),
            label=f"{self.label} fine-tuned",
            report=lambda record: self.report(record | {"pass": "fine-tuned"}),
            stages=self.stages or self.directory / "stages",
        )

    def _prune_and_rewind(self, stage: Stage, level: int) -> tuple[Ticket, list[Epoch]]:
        """The ticket that a level starts from, and the epochs that it has behind it."""
        model, protocol = self.model, self.protocol
        if not level:
            full = full_masks(dict(model.weight_parameters()))
            return Ticket(full, _kept(stage.path / "start.npz", model)), []
        dense, before = stage.parent("dense"), read_end(stage.parent("before"))
        start = read_start(dense)
        behind = [Epoch(**e) for e in read_record(dense)["epochs"][: protocol.late]]
        early = self._early(dense, start, behind) if behind else Ticket({}, start)
        if "masks" in stage.parents:
            masks = read_end(stage.parent("masks")).masks
        else:
            masks = next_masks(
                model, self.dataset, protocol, self.seed_of("prune"), level, before,
                read_end(dense).state, early.state, start,
            )  # fmt: skip
        memory = {"new": {}, "kept": before.optimizer_state, "restored": early.optimizer_state}[
            protocol.memory
        ]
        ticket = Ticket(masks, protocol.state(model, early.state, before.state), memory)
        return self.control(ticket, level), [] if self.from_scratch else behind

    def _train(
        self, stage: Stage, level: int, ticket: Ticket, behind: list[Epoch], asked: list[int]
    ) -> None:
        """Train the ticket until the stage is done, or a signal is `asked` to stop."""
        protocol = self.protocol
        label = f"{self.label} level {level}/{protocol.levels} ({ticket.density:.1%} left)"
        # All rules share the dense level: it keeps what any of them may ask for.
        remember = protocol.memory == "kept" or not level
        early = 0 if level else protocol.late
        batches = num_batches(len(self.dataset.train), self.recipe.batch_size)
        recipe = protocol.recipe(self.recipe, level, batches)
        order, augment = (protocol.order_seed(self.seed_of(p), level) for p in ("order", "augment"))
        Level(self.model, self.dataset, recipe, (order, augment), stage, ticket, asked).train(
            behind, label, self.progress, remember, early
        )

    def _early(self, dense: Path, start: State, history: list[Epoch]) -> Ticket:
        """The dense network after the epochs of `history`; trained again if nobody kept it."""
        path, model = early_path(dense, len(history)), self.model
        with lock(dense, wait=True):
            if not path.exists():
                rewind(model, Ticket(full_masks(dict(model.weight_parameters())), start))
                optimizer = self.recipe.make_optimizer(model)
                seeds = self.seed_of("order"), self.seed_of("augment")
                label = f"{self.label} dense again" if self.progress else None
                args = model, self.dataset, self.recipe, optimizer, seeds, TrainState(), label
                with closing(train_steps(*args)) as steps:
                    again = next(state for state in steps if state.epoch == len(history))
                if list(map(_timeless, again.history)) != list(map(_timeless, history)):
                    raise RunError(
                        f"the network of {dense} was trained again up to --late, and came out "
                        "otherwise: use the backend and machine that trained it, or another --out"
                    )
                early = Ticket({}, model.state_dict(), optimizer.state_dict())
                files.save_ticket(path, early)
        return files.load_ticket(path)


def _finished(records: list[Record], floor: float) -> bool:
    """Did the accuracy fall below the floor, where it once stood, more than a few levels ago?

    That of validation images, where there are any.
    """
    key = "validation_accuracy" if records and "validation_accuracy" in records[0] else "accuracy"
    above = [r[key] >= floor for r in records]
    return any(above) and above[above.index(True) :].count(False) > LEVELS_BELOW_FLOOR


def _kept(path: Path, model: Module) -> State:
    """The state of a new network, as it is on record: kept by the first that asks."""
    if not path.exists():
        files.write_arrays(path, model.state_dict())
    return files.read_arrays(path)


def _timeless(epoch: Epoch) -> Epoch:
    return replace(epoch, seconds=0.0)


def _flat(records: list[Record]) -> list[Record]:
    """What of records fits in a table."""
    return [{k: v for k, v in r.items() if not isinstance(v, list | dict)} for r in records]
