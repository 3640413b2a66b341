"""Many runs at once, on an engine that others wrote: Dask, or Slurm through submitit.

Each run is a command of its own, which goes on where it stopped: a worker that dies, or a job whose
time is up, costs the minute since the last checkpoint. There is no other state. Runs that share a
folder, such as more levels of one run, are in different rounds: a round starts when the one before
has ended. Runs that need the same dense network wait for the one that trains it. A run that fails
is a line, and the others go on.
"""

import itertools
import logging
import os
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from quatgrad.errors import OptionError, line
from quatgrad.lth.experiment import experiment
from quatgrad.lth.experiment.options import Options
from quatgrad.lth.experiment.several import check_not_shared
from quatgrad.lth.store.files import content_key
from quatgrad.option_fields import check_bounds

#: engine -> the package that it needs
ENGINES = {"dask": "distributed", "slurm": "submitit", "local": "submitit"}

#: Seconds in which a scheduler must answer.
CONNECT = 10

#: Held by the run of a process: a worker of somebody's cluster may have many threads.
ALONE = threading.Lock()

#: number of a run, and its directory or what is wrong
Outcomes = Iterator[tuple[int, dict[str, Any]]]


def combinations(vary: Sequence[str]) -> list[list[str]]:
    """["seed=0,1", "score=magnitude,random"] -> options of each combination, as typed."""
    choices = []
    for item in vary:
        name, _, values = item.partition("=")
        if not (name and values):
            raise OptionError(f"`vary` is NAME=A,B,..., as in seed=0,1,2; got {item!r}")
        choices.append([[f"--{name}", value] for value in values.split(",")])
    return [list(itertools.chain(*chosen)) for chosen in itertools.product(*choices)]


@dataclass(frozen=True)
class Job:
    """One run, as a function that travels to where it is computed."""

    options: Options

    def __call__(self) -> dict[str, Any]:
        """Its directory, or the line that says what is wrong."""
        return outcome(lambda: {"run": str(experiment.run(self.options)[0])})

    def checkpoint(self) -> Any:
        """Slurm takes the machine back: submitit queues the same job again, and it goes on."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def outcome(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the work gives, or the line that says what is wrong: the other runs go on."""
    try:
        return work()
    except Exception as error:
        return {"error": line(error)}


def rounds(options: Sequence[Options]) -> list[list[int]]:
    """The numbers of the runs, in rounds: within one, no two runs write to the same folders."""
    found: list[list[int]] = []
    last: dict[str, int] = {}
    for i, o in enumerate(options):
        folders = [content_key([o.run.out, o.config(""), n]) for n in o.model.networks]
        number = 1 + max(last.get(folder, -1) for folder in folders)
        last |= dict.fromkeys(folders, number)
        if number == len(found):
            found.append([])
        found[number].append(i)
    return found


def add_arguments(p: ArgumentParser) -> None:
    """The options of a sweep."""
    p.add_argument("--vary", metavar="NAME=A,B,...", action="append", required=True,
                   help="values of an option; several are combined")  # fmt: skip
    p.add_argument("--engine", choices=ENGINES, default="dask", help="dask (default): processes "
                   "here, or --scheduler; slurm; local: all at once, by submitit")  # fmt: skip
    p.add_argument("--workers", type=int, metavar="N", default=1, help="runs at a time (default: "
                   "1); with --backend cupy one for each GPU")  # fmt: skip
    p.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster that is running")
    p.add_argument("--slurm", metavar="KEY=VALUE", action="append", default=[], help="a parameter "
                   "of submitit, as slurm_partition=gpu or timeout_min=600")  # fmt: skip


def sweep(options: Sequence[Options], how: Namespace) -> Outcomes:
    """Run them all; (number, what came out) as they finish. `how`: as in `add_arguments`."""
    if find_spec(ENGINES[how.engine]) is None:
        raise OptionError(
            f"`engine` {how.engine} needs {ENGINES[how.engine]}, which is not "
            "installed: pip install 'quatgrad[sweep]'"
        )
    check_bounds("workers", how.workers, 1, 1000)
    for o in options:
        check_not_shared(o, "sweep")
    jobs = [{i: Job(options[i]) for i in round_} for round_ in rounds(options)]
    if how.engine == "dask":
        return _on_dask(jobs, how.workers, how.scheduler)
    parameters: dict[str, Any] = {"timeout_min": 24 * 60}
    if any(o.run.backend == "cupy" for o in options):
        parameters["gpus_per_node"] = 1
    if how.engine == "slurm":
        parameters["slurm_array_parallelism"] = how.workers
    for item in how.slurm:
        key, _, value = item.partition("=")
        if not (key and value):
            raise OptionError(f"`slurm` is KEY=VALUE, as in timeout_min=600; got {item!r}")
        parameters[key] = int(value) if value.isdigit() else value
    return _on_submitit(jobs, how.engine, Path(options[0].run.out) / "logs", parameters)


def _on_dask(jobs: Sequence[dict[int, Job]], workers: int, scheduler: str | None) -> Outcomes:
    """Processes on this machine, one run at a time in each; or the cluster at `scheduler`.

    A run whose worker dies goes on in another; that of a fourth one that dies is given up.
    """
    from distributed import Client, LocalCluster, as_completed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is wrong is told here
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    with ExitStack() as stack:
        cluster: Any = scheduler or stack.enter_context(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                env={"NUMBA_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            )
        )
        try:
            client = stack.enter_context(Client(cluster, timeout=CONNECT))
        except (OSError, ValueError, TypeError) as error:
            raise OptionError(
                f"`scheduler` {scheduler}: no Dask scheduler answers there ({line(error)})"
            ) from error
        for round_ in jobs:
            number = {client.submit(_on_worker, job, pure=False): i for i, job in round_.items()}
            for future in as_completed(number):
                yield number[future], outcome(future.result)


def _on_worker(job: Job) -> dict[str, Any]:
    """A job on the GPU of this worker, if it wants one; alone, as a process has one backend."""
    from distributed import get_worker

    with ALONE:
        name = str(get_worker().name)
        if job.options.run.backend == "cupy" and name.isdigit():
            _take_gpu(int(name))
        return job()


@cache
def _take_gpu(i: int) -> None:
    """Of the GPUs that this process may see, see number i alone from now on."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[i] if visible else str(i)


def _on_submitit(
    jobs: Sequence[dict[int, Job]], engine: str, logs: Path, parameters: dict[str, Any]
) -> Outcomes:
    """Jobs of Slurm, each with a GPU of its own if it asks for one; or local processes, at once."""
    from submitit import AutoExecutor
    from submitit.helpers import as_completed

    try:
        executor = AutoExecutor(folder=logs, cluster=engine)
        executor.update_parameters(**parameters)
    except (RuntimeError, NameError, TypeError, ValueError, AssertionError) as error:
        raise OptionError(f"`engine` {engine} or `slurm` cannot be used: {line(error)}") from error
    for round_ in jobs:
        with executor.batch():
            submitted = {i: executor.submit(job) for i, job in round_.items()}
        number = {job.job_id: i for i, job in submitted.items()}
        for done in as_completed([*submitted.values()]):
            yield number[done.job_id], outcome(done.result)
