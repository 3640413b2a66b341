"""An experiment: networks and their controls, trial by trial; then the table and pictures."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from quatgrad import compile_ahead, data, models
from quatgrad.backend import set_backend, set_precision
from quatgrad.errors import OptionError, RunError
from quatgrad.files import lock
from quatgrad.lth.experiment import several
from quatgrad.lth.experiment.options import REAL, Options, label, overrides, with_preset
from quatgrad.lth.results import compare, plot
from quatgrad.lth.results.run import Run
from quatgrad.lth.search.search import ControlOf, Search
from quatgrad.lth.store import epoch_log, files
from quatgrad.lth.store.records import Config, FirstRun, Record, parse
from quatgrad.lth.ticket.controls import CONTROLS, FROM_ANOTHER_SEED, FROM_SCRATCH, Control
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.models.equal import equal_width
from quatgrad.nn import Module
from quatgrad.option_fields import from_disk, nested
from quatgrad.parallel.processes import Several
from quatgrad.random import generator
from quatgrad.task import Task
from quatgrad.train import Epoch

#: Added to the seed of a trial for the weights of `--control reinitialised`.
CONTROL_SEED = 1_000_000


def prepare(options: Options) -> dict[str, data.Dataset]:
    """The images that each network sees. Raises what is wrong with the options, writes nothing."""
    set_backend(options.run.backend)
    set_precision(options.run.precision)
    recipe, plan = options.recipe, options.protocol
    plan.recipe(recipe, 1, 1)
    if options.run.plot:  # better now than after hours
        files.prepare_directory(Path(options.run.plot).parent, "plot")
    datasets = {name: load(options, name) for name in options.model.networks}
    for name in options.model.networks:  # a network that cannot be made is better known now, too
        plan.check(create(options, name, datasets[name], options.run.seed), recipe)
    check_trials_differ(options, any(d.augment is not None for d in datasets.values()))
    return datasets


def check_trials_differ(options: Options, augmented: bool) -> None:
    """Raise `OptionError` where every draw of the trials is fixed: they would be one network."""
    draws = {"init", "order"} | ({"augment"} if augmented else set())
    shuffles = {"shuffled", "shuffled-whole"} & {*options.run.control}
    if shuffles or options.protocol.rule.score in ("random", "sensitivity"):
        draws.add("prune")
    if options.run.trials > 1 and draws <= options.run.own_seeds.keys():
        fixed = ", ".join(f"`seed_{purpose}`" for purpose in sorted(draws))
        raise OptionError(
            f"{options.run.trials} `trials` with {fixed} would be one network "
            f"{options.run.trials} times: leave out one of these seeds, or give `trials` 1"
        )


def counted(options: Options, datasets: dict[str, data.Dataset]) -> str:
    """How many weights there are with equal ones, and how wide that network is."""
    dataset = datasets["equal"]
    equal, quaternion = (create(options, n, dataset, 0) for n in ("equal", "quaternion"))
    a, b = (sum(w.size for _, w in net.weight_parameters()) for net in (equal, quaternion))
    width = (equal.architecture or {})["width"]
    return f"equal: a real network {width} wide with {a:,} weights; the quaternion one has {b:,}"


def silent(text: str) -> None:
    """Tell nobody."""


def run(options: Options, tell: Callable[[str], None] = silent) -> tuple[Path, list[compare.Trial]]:
    """One experiment: every network of the options, each trial; table and pictures on record.

    Returns its directory, and for each trial the records of each network. `tell` is called with
    what is to be shown on the way: a line for each level, tables, where the pictures are.
    """
    if options.run.parallel is None:
        several.check_alone(options)
        datasets = prepare(options)
        name, images = next(iter(datasets.items()))
        if not images.task.networks:  # those of images
            first = partial(create, options, name, images, options.run.seed)
            compile_ahead.start(first, images.input_shape, options.recipe.batch_size)
        return _run(options, datasets, tell)
    options, group = several.start(options, share)
    return share(group, options, tell)


def share(
    group: Several, options: Options, tell: Callable[[str], None] = silent
) -> tuple[Path, list[compare.Trial]]:
    """`run` with the processes of a group; only process 0 gets to its end."""
    datasets: dict[str, data.Dataset] = {}

    def load_all() -> list[data.Dataset]:
        datasets.update(prepare(options))
        return [*datasets.values()]

    return several.lead(group, options, load_all, partial(_run, options, datasets, tell))


def _run(
    options: Options, datasets: dict[str, data.Dataset], tell: Callable[[str], None]
) -> tuple[Path, list[compare.Trial]]:
    dataset = datasets[options.model.networks[0]]
    directory = open_directory(options, dataset)
    held_out = f"{len(dataset.validation):,} validation, " if dataset.validation else ""
    tell(
        f"{dataset.name}: {len(dataset.train):,} training, {held_out}{len(dataset.test):,} test "
        f"{dataset.task.what}; {options.model.model}, {options.protocol.levels} levels, {directory}"
    )
    if "equal" in options.model.networks:
        tell(counted(options, datasets))
    if options.recipe.batch_size >= len(dataset.train):
        takes = f"A batch of {options.recipe.batch_size} takes them all: an epoch is one step"
        tell(f"{takes}; a smaller --batch-size makes more of them.")
    clock = Clock(options, tell, dataset.task.score)
    for _, search in searches(options, datasets, directory, clock):
        search.run()
    with lock(directory, wait=True):  # another process may have trained the other network
        trials = [Run(directory).records(trial) for trial in range(options.run.trials)]
        conclude(options, dataset, directory, trials, tell)
    return directory, trials


def searches(
    options: Options, datasets: dict[str, data.Dataset], directory: Path, clock: Clock
) -> Iterator[tuple[int, Search]]:
    """Every network and its controls with its trial, in the order of their running.

    Trial t has the seed + t, and in all trials the same where a purpose has one of its own.
    Controls with masks of another trial come when all trials are done.
    """
    recipe, plan, own = options.recipe, options.protocol, options.run.own_seeds

    def search(trial: int, network: str, kind: str = "", **others: Any) -> Search:
        name, seed = f"{network}-{kind}" if kind else network, options.run.seed + trial
        label = f"{name}, trial {trial}" if options.run.trials > 1 else name
        model = create(options, network, datasets[network], own.get("init", seed))
        return Search(
            model, datasets[network], recipe, Run(directory).search_path(trial, name), plan, seed,
            label, partial(clock.report, label), not options.run.quiet,
            what=options.what(network),
            stages=Path(options.run.out) / "stages", seeds=own,
            watch=partial(log, options.run.log, directory), **others,
        )  # fmt: skip

    def control(trial: int, network: str, kind: str, source: Search) -> Search:
        seed = options.run.seed + trial
        init = own.get("init", seed) + CONTROL_SEED
        fresh = create(options, network, datasets[network], init)
        change = partial(apply, CONTROLS[kind], fresh, own.get("prune", seed))
        return search(
            trial, network, kind, control=ControlOf(source, change, kind, kind in FROM_SCRATCH)
        )

    late = [kind for kind in options.run.control if kind in FROM_ANOTHER_SEED]
    trials = list(itertools.product(range(options.run.trials), options.model.networks))
    for trial, network in trials:
        ticket = search(trial, network)
        yield trial, ticket
        for kind in options.run.control:
            if kind not in late:
                yield trial, control(trial, network, kind, ticket)
    for (trial, network), kind in itertools.product(trials, late):
        yield trial, control(trial, network, kind, search(mask_trial(trial), network))


def log(
    names: Sequence[str], run: Path, search: Path, level: int, history: Sequence[Epoch]
) -> None:
    """Write the epochs of a level as each of `epoch_log.WRITERS` that is named."""
    for name in names:
        epoch_log.WRITERS[name](run, search, level, history)


def mask_trial(trial: int) -> int:
    """The trial whose masks a trial takes: the one before it; the first takes those of the second.

    So more trials later change nothing of those there are.
    """
    return trial - 1 if trial else 1


@dataclass
class Clock:
    """Reports levels, and from those trained so far guesses how long the others will take."""

    options: Options
    tell: Callable[[str], None] = silent
    score: str = Task.score
    reported: int = 0
    seconds: list[float] = field(default_factory=list)

    def report(self, label: str, record: Record, resumed: bool, first_pass: bool = False) -> None:
        """One line for a finished level."""
        self.reported += 1
        source = "from the record" if resumed else f"{record.seconds:.1f} s"
        if not resumed:
            self.seconds.append(record.seconds)
        line = (
            f"  {label:>10}  level {record.level:2d}  {record.weights_left:>11,} weights "
            f"({100 * record.density:6.2f} %)  test {self.score} {record.accuracy:7.2%}  {source}"
        )
        line += ", fine-tuned" if first_pass else ""
        if (left := self.left()) > 60:
            line += f", at most {duration(left)} to go"
        self.tell(line)

    def left(self) -> float:
        """Seconds until everything is done, if no search ends early and levels take their mean."""
        o = self.options
        passes = 1 + (o.protocol.mask_source == "finetuned") + len(o.run.control)
        reports = o.run.trials * len(o.model.networks) * passes * (o.protocol.levels + 1)
        return (reports - self.reported) * statistics.fmean(self.seconds or [0.0])


def duration(seconds: float) -> str:
    """2 h 05 min, 3 min, 12 s."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def apply(control: Control, fresh: Module, seed: int, ticket: Ticket, level: int) -> Ticket:
    """The control of a ticket, with draws of the level."""
    components = {name: w.components for name, w in fresh.weight_parameters()}
    rng = generator(seed, "control", level)
    return control(ticket, components, fresh.state_dict(), rng)


def load(options: Options, network: str) -> data.Dataset:
    """The images as a network sees them."""
    o, seed = options.data, options.run.seed
    if o.encoder == "learned" and o.dataset in ("digits", "mnist"):
        raise OptionError(f"`encoder` learned is for colour images; {o.dataset} is grey")
    encoder = o.encoder_of(network)
    dataset = data.load(
        o.dataset, o.data_dir, encoder, o.subset, seed, o.statistics, o.image_size, o.test_share
    )
    return dataset.split_validation(o.validation, seed) if o.validation else dataset


def create(options: Options, network: str, dataset: data.Dataset, seed: int) -> Module:
    """A network for the dataset; "half" is a real one of half the width, "equal" of equal weights.

    Raises `OptionError` for a network that does not fit the task.
    """
    name, (H, W, C) = options.model.model, dataset.input_shape
    dataset.task.check_network(name)
    how = {
        "num_classes": dataset.num_classes, "in_channels": C, "image_size": (H, W),
        "init": options.model.init, "real_head": options.model.real_head,
        "learned_encoder": options.data.encoder == "learned", **options.style(network),
    }  # fmt: skip
    width = options.model.width_of(network)
    if network == "equal":
        assert width is not None  # of a network of the package
        width = equal_width(name, width, **how)
        how.pop("real_parts", None)
    algebra = "real" if network in REAL else network
    return models.create(name, algebra, width=width, seed=seed, **how)


def run_path(options: Options, dataset: data.Dataset) -> Path:
    """The run directory that belongs to these options and these images."""
    key = files.content_key(named_by(options, dataset))[:8]
    return (
        Path(options.run.out) / f"{label(options.data.dataset)}-{label(options.model.model)}-{key}"
    )


def named_by(options: Options, dataset: data.Dataset) -> dict[str, Any]:
    """What names a run: an edited network of one's own is another one."""
    return options.config(dataset.fingerprint()) | options.source


def open_directory(options: Options, dataset: data.Dataset) -> Path:
    """`run_path`, made where it is not, with what was run in `config.json`."""
    config, directory = named_by(options, dataset), run_path(options, dataset)
    files.prepare_directory(directory)
    path = directory / "config.json"
    if not path.exists():
        first = FirstRun(options.preset, overrides(options))
        Config.of(config, dataset, first).write(path)
    elif Config.read(path).options != config:
        raise RunError(f"{path} was changed by hand; delete its directory, run again")
    return directory


def options_of(run: Run) -> Options:
    """The options that a run was first run with; `RunError` if there is no run."""
    config, first, path = _named_on_record(run), run.config.first_run, run.path / "config.json"
    if first is None:
        raise RunError(
            f"{run.path} is of a Search from Python, which was given a network and data: "
            "the command cannot make them again"
        )
    try:
        changes = from_disk(Options, first.overrides)
        given = with_preset({"preset": first.preset, "model": config["model"]} | changes)
        options = parse(msgspec.json.encode(nested(Options, given)), path, Options)
    except OptionError as error:  # a name that is no option, or no preset
        raise RunError(f"{path} was changed by hand ({error}); run it again") from error
    if options.config(str(config["data"])) != config:
        raise RunError(
            f"{path} was changed by hand, or its preset since, or such runs have another name "
            "in this version; run it again"
        )
    return options


def _named_on_record(run: Run) -> dict[str, Any]:
    """The options on record, and not of which source a network of one's own was."""
    config = {name: value for name, value in run.config.options.items() if name != "source"}
    if run.config.first_run:
        try:
            models.check_name(str(config["model"]))
        except OptionError as error:
            raise RunError(
                f"{run.path}: {error}. A network that a program registered is known to that "
                "program alone: ask from there"
            ) from error
    return config


def options_on_record(run: Run) -> Options:
    """The options that name a run, whatever its preset says today; `RunError` if they cannot be."""
    config, path = _named_on_record(run), run.path / "config.json"
    preset = run.config.first_run.preset if run.config.first_run else ""
    known = {"levels": 1, "preset": preset, **config}
    try:
        given = from_disk(Options, {k: v for k, v in known.items() if k != "data"})
        options = parse(msgspec.json.encode(nested(Options, given)), path, Options)
    except OptionError as error:  # of another version
        raise RunError(f"{path} is of another version ({error})") from error
    if options.config(str(config["data"])) != config:
        raise RunError(f"{path} is of another version: its options have other names now")
    return options


def conclude(
    options: Options,
    dataset: data.Dataset,
    directory: Path,
    trials: list[compare.Trial],
    tell: Callable[[str], None],
) -> None:
    """Table, verdict, CSV and pictures."""
    runs = compare.mean(trials)
    tell("\n" + "\n\n".join(compare.tables(runs)))
    for other in ("real", "equal") if "quaternion" in runs else ():
        if other in runs:
            tell("\n" + compare.verdict(runs, other))
    files.write_csv(directory / "comparison.csv", compare.rows(runs))
    figure = Run(directory).picture(runs)
    pictures = [directory / "accuracy.png", directory / "accuracy.svg"]
    for path in pictures + ([Path(options.run.plot)] if options.run.plot else []):
        plot.save(figure, path)
    tell(f"\nPicture: {pictures[0]}  (also .svg; the numbers: comparison.csv)")
