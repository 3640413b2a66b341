"""The loop of the lottery ticket hypothesis: train, prune, rewind, repeat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from quatgrad.backend import get_precision, notice
from quatgrad.data import Dataset, num_batches
from quatgrad.errors import OptionError, RunError
from quatgrad.files import lock
from quatgrad.lth.prune.rule import full_masks
from quatgrad.lth.search.identity import First, begin, check, first_of, remember
from quatgrad.lth.search.level import Level
from quatgrad.lth.search.level_masks import next_masks
from quatgrad.lth.search.protocol import Protocol
from quatgrad.lth.search.signals import remembered
from quatgrad.lth.search.start import LevelStart
from quatgrad.lth.store import files
from quatgrad.lth.store.records import Config, Ended, Record
from quatgrad.lth.store.stage import (
    Stage,
    early_path,
    read_end,
    read_record,
    read_records,
    read_start,
)
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.nn import Module
from quatgrad.option_fields import non_default
from quatgrad.train import Epoch, Recipe, TrainState, train_steps

#: So many levels may end below the floor; one more, and the search ends: the paper's "a few".
LEVELS_BELOW_FLOOR = 2


@dataclass(frozen=True)
class Search:
    """Iterative magnitude pruning with rewinding: `run()` gives one record for each level.

    Level 0 trains the dense network. Level l prunes the weights that level l-1 ended with to the
    share `keep`, rewinds the survivors to their first values, and trains again; `Protocol` has
    other choices. It ends after level `levels`; when more than `LEVELS_BELOW_FLOOR` levels ended
    below `stop_accuracy`, after one that reached it or without any; or after a level from which
    nothing was pruned. Levels that it has on record count all the same. Frankle & Carbin,
    arXiv:1803.03635.

    Each level is a `Stage` in the folder `stages` (default: one in `directory`), taken from there
    if it is finished; `directory` has links to them. `what` names the network and the view of the
    images, for the keys of stages that searches share. Without, the keys have their `identity`:
    the first weights, the images as encoded, and what the network computes; with it, that of a
    stage on record is compared. `seeds` are those of init, order, augment and prune, where they
    are not `seed`; that of init says for the keys which the model was made with.

    `report(record, resumed, first_pass)` is called after each level: was it on record already, and
    is it of a first pass that only finds masks? `watch(directory, level, history)` is called after
    each epoch that is trained, with all epochs of the level, and may raise. With `control`, nothing
    is pruned here.
    """

    model: Module
    dataset: Dataset
    recipe: Recipe
    directory: Path
    protocol: Protocol
    seed: int = 0
    label: str = ""
    report: Callable[[Record, bool, bool], None] = lambda record, resumed, first_pass: None
    progress: bool = True
    control: ControlOf | None = None
    what: Mapping[str, Any] = field(default_factory=dict)
    stages: Path | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)
    watch: Callable[[Path, int, Sequence[Epoch]], None] = lambda directory, level, history: None

    def __post_init__(self) -> None:
        for name in ("directory", "stages"):  # a string is welcome
            if isinstance(given := getattr(self, name), str):
                object.__setattr__(self, name, Path(given))

    def run(self) -> list[Record]:
        """Train, prune, rewind, repeat."""
        if self.stages and not self.what:
            raise OptionError(
                "Search: where stages are shared, say in `what` which network and "
                "data these are: others must have other keys"
            )
        self.protocol.check(self.model, self.recipe)  # better an error now than after hours
        try:
            return self._locked_run()
        finally:
            for search in (self, vars(self).get("first_pass")):
                if search and "first" in vars(search):
                    remember(self.model, search.first)

    def _locked_run(self) -> list[Record]:
        files.prepare_directory(self.directory)
        # With shared stages another process leaves them for this one, which need not fail.
        with lock(self.directory, wait=self.stages is not None):
            if self.stages is None and self.control is None:
                self._config().write(self.directory / "config.json")
            return self._run()

    def _config(self) -> Config:
        """What was run, for the verbs of the command: a search of its own is a run of its own."""
        asked = self.model.architecture or {"model": type(self.model).__name__}
        known = {
            "data": self.dataset.fingerprint(),
            "dataset": self.dataset.name,
            "model": asked["model"],
            "seed": self.seed,
            **self._other_seeds("init", "order", "augment", "prune"),
        }
        options = known | non_default(self.recipe) | non_default(self.protocol)
        return Config.of(options, self.dataset)

    def _run(self) -> list[Record]:
        stages, records, why = self.plan(), list[Record](), ""
        if source := self.masks_from:
            finished = read_records(source.directory) if self.control else source._locked_run()
            if not finished:
                raise RunError(
                    f"{source.directory} has no finished level: its masks were to be "
                    "taken; run it first"
                )
            stages = stages[: len(finished)]
        while len(records) < len(stages) and not (why := self._why_end(records, stages)):
            stage = stages[len(records)]
            self._link(stage)
            with stage.locked(), remembered() as stop_requests:
                resumed = stage.done
                self._check_same(stage)
                if not resumed:
                    ticket, history = self._prune_and_rewind(stage)
                    self._train(stage, ticket, history, stop_requests)
            records.append(stage.record())
            files.write_csv(self.directory / "levels.csv", flat(records))
            self.report(records[-1], resumed, False)
        self._say_end(len(records) - 1, why)
        rewind(self.model, stage.end())
        return records

    def plan(self, precision: str | None = None) -> list[Stage]:
        """The stages of levels 0, 1, ..., done or not; nothing is trained or written.

        `precision`: by default that of now.
        """
        folder = self.stages or self.directory / "stages"
        names = (str(self.what[k]) for k in ("model", "algebra") if k in self.what)
        label = files.folder_name("-".join(names))
        seeds = {"seed": self.seed, **self._other_seeds("init", "order", "augment")}
        images = {"data": self.dataset.fingerprint()}
        precision = precision or get_precision()
        exact = {} if precision == "float32" else {"precision": precision}
        network = self.what or self.first.identity
        how = {**non_default(self.recipe), **seeds, **images, **exact, **network}
        stages = [Stage(folder, "dense", how, label=label)]
        rule = {
            **{k: v for k, v in non_default(self.protocol).items() if k != "masks"},
            **({"control": self.control.name} if self.control and self.control.name else {}),
            **self._other_seeds("prune"),
        }
        masks = self.masks_from.plan(precision) if self.masks_from else []
        levels = min(self.protocol.levels, len(masks) - 1) if masks else self.protocol.levels
        for level in range(1, levels + 1):
            parents = {"dense": stages[0].name, "before": stages[-1].name}
            if masks:
                parents["masks"] = masks[level].name
            kind = "control" if self.control else "level"
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
        """The search whose masks are taken, if any: of a control, or the first pass."""
        return self.control.source if self.control else self.first_pass

    @cached_property
    def first(self) -> First:
        """The network as it was before any search trained it, and digests of it and its data."""
        return first_of(self.model, self.dataset)

    @cached_property
    def first_pass(self) -> Search | None:
        """For `Protocol.masks` finetuned: the search that prunes and never rewinds."""
        if self.control or self.protocol.mask_source != "finetuned":
            return None
        return replace(
            self,
            directory=self.directory / "finetuned",
            protocol=replace(self.protocol, mask_source="retrained", rewind="none"),
            label=f"{self.label} fine-tuned",
            report=lambda record, resumed, _: self.report(record, resumed, True),
            stages=self.stages or self.directory / "stages",
        )

    def _prune_and_rewind(self, stage: Stage) -> tuple[Ticket, list[Epoch]]:
        """The ticket that a level starts from, and the epochs that its state has been trained."""
        if stage.level == 0:
            state = files.read_arrays(stage.path / "start.npz")
            return Ticket(full_masks(dict(self.model.weight_parameters())), state), []
        if self.protocol.rewind_epoch:
            self._keep_early(stage.parent("dense"))
        start = LevelStart.load(stage, self.protocol)
        if "masks" in stage.parents:
            masks = read_end(stage.parent("masks")).masks
        else:
            seed = self.seed_of("prune")
            masks = next_masks(self.model, self.dataset, self.protocol, seed, stage.level, start)
        ticket, control = start.ticket(masks), self.control
        if control is None:
            return ticket, start.history
        return control.change(ticket, stage.level), [] if control.from_scratch else start.history

    def _train(
        self, stage: Stage, ticket: Ticket, history: list[Epoch], stop_requests: list[int]
    ) -> None:
        """Train the ticket until the stage is done, or a signal requests to stop."""
        protocol, level = self.protocol, stage.level
        label = f"{self.label} level {level}/{protocol.levels} ({ticket.density:.1%} left)"
        # All rules share the dense level: it keeps what any of them may need.
        remember = protocol.optimizer_state == "kept" or level == 0
        early = protocol.rewind_epoch if level == 0 else 0
        batches = num_batches(len(self.dataset.train), self.recipe.batch_size)
        recipe = protocol.recipe(self.recipe, level, batches)
        order, augment = (protocol.order_seed(self.seed_of(p), level) for p in ("order", "augment"))
        args = recipe, (order, augment), stage, ticket, history, early, stop_requests
        watch = partial(self.watch, self.directory, level)
        level_training = Level(self.model, self.dataset, *args, watch=watch)
        level_training.train(label if self.progress else None, remember)

    def _link(self, stage: Stage) -> None:
        """Make the link to a stage; links to later levels of another chain go."""
        path = files.level_path(self.directory, stage.level)
        if path.is_symlink() and path.resolve().name != stage.name:
            for later in self.directory.glob("level_*"):
                if later.is_symlink() and later.name > path.name:
                    later.unlink()
        files.link(path, stage.path)

    def _check_same(self, stage: Stage) -> None:
        """Raise `RunError` for a stage that is of another network, or control, than this search.

        A first pass has the same dense stage; when it is done, the model has been trained.
        """
        if stage.level == 0 and not self.first_pass:
            if files.exists(stage.path / "start.npz"):
                check(stage, self.model, self.dataset, self.first)
            else:
                begin(stage, self.first)
        elif self.control and not self.control.name and stage.done:
            ticket, _ = self._prune_and_rewind(stage)
            if ticket.digest() != stage.record().ticket:
                raise RunError(
                    f"{stage.path} was trained from another control of the same masks: name it, "
                    "ControlOf(name=...), or choose another directory"
                )

    def _why_end(self, records: list[Record], stages: list[Stage]) -> str:
        """Why no further level is taken up; "" where nothing speaks against it."""
        level, floor = len(records), self.protocol.stop_accuracy
        if self.dataset.task.relative and records:
            floor *= records[0].steering_accuracy
        above = [record.steering_accuracy >= floor for record in records]
        below = above[above.index(True) if any(above) else 0 :].count(False)
        if any(above) and below > LEVELS_BELOW_FLOOR:
            return f"{below} levels ended below the accuracy of {floor:g}"
        path = files.level_path(self.directory, level)
        if files.is_final(path) and path.resolve() == stages[level].path.resolve():
            return ""  # an earlier version went on
        if below > LEVELS_BELOW_FLOOR:
            return f"{below} levels never reached the accuracy of {floor:g}"
        left = [record.weights_left for record in records[-2:]]
        return "nothing is left to prune" if len(left) == 2 and left[0] == left[1] else ""

    def _say_end(self, level: int, why: str) -> None:
        """Put on record, and log, why the search ended early, if it did."""
        path = self.directory / "ended.json"
        if why:
            Ended(level=level, why=why).write(path)
            notice(f"{self.label or self.directory.name} ends with level {level}: {why}")
        else:
            path.unlink(missing_ok=True)

    def _keep_early(self, dense: Path) -> None:
        """Have the dense network of `rewind_epoch` on record; train it again if needed."""
        path, model = early_path(dense, self.protocol.rewind_epoch), self.model
        with lock(dense, wait=True):
            if path.exists():
                return
            history = read_record(dense).epochs[: self.protocol.rewind_epoch]
            masks = full_masks(dict(model.weight_parameters()))
            rewind(model, Ticket(masks, read_start(dense)))
            optimizer = self.recipe.make_optimizer(model)
            seeds = self.seed_of("order"), self.seed_of("augment")
            label = f"{self.label} dense again" if self.progress else None
            args = model, self.dataset, self.recipe, optimizer, seeds, TrainState(), label
            with closing(train_steps(*args)) as steps:
                again = next(state for state in steps if state.epoch == len(history))
            if list(map(_timeless, again.history)) != list(map(_timeless, history)):
                raise RunError(
                    f"the network of {dense} was trained again up to `rewind_epoch`, and came out "
                    "otherwise: use the backend and machine that trained it, or another `out`"
                )
            files.save_ticket(path, Ticket({}, model.state_dict(), optimizer.state_dict()))


@dataclass(frozen=True)
class ControlOf:
    """The masks of another search, and what is changed of each ticket before it is trained.

    `name` is for the keys. With `from_scratch`, a level is trained for all epochs of the recipe,
    also after a late rewinding.
    """

    source: Search
    change: Callable[[Ticket, int], Ticket] = lambda ticket, level: ticket
    name: str = ""
    from_scratch: bool = False


def _timeless(epoch: Epoch) -> Epoch:
    return replace(epoch, seconds=0.0)


def flat(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What of records fits in a table."""
    plain = [record.plain() for record in records]
    return [{k: v for k, v in r.items() if not isinstance(v, list | dict)} for r in plain]
