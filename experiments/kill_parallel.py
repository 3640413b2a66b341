"""Kill or stop one of several processes of a search at random moments; compare what it ends with.

    python experiments/kill_parallel.py [--kills 20] [--processes 2] [--seed 0]

A run by two processes is made once undisturbed. Then the same command is started again and again,
in a new directory whenever it got to its end, and one of its processes gets a signal: SIGKILL at
any moment from the first line of the program on, or SIGSTOP from when all have met to the end of
the work. (One that stands still before is as one that comes late, and is waited for; afterwards
mpirun waits for it.) mpirun and all processes must have ended 10 seconds later. Every directory
must end with the same bits: weights, masks, records, table and picture. A checkpoint is written
every few steps. Writes experiments/results/kill-parallel.json; exits with 1 if anything is
otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench import about
from kill_test import outcome
from mpi_here import command, environment, versions

from quatgrad.lth.store import files
from quatgrad.parallel.mpi import is_alive

OPTIONS = ["--preset", "smoke", "--model", "resnet8", "--width", "8", "--algebra", "quaternion",
           "--backend", "numpy", "--levels", "1", "--epochs", "40", "--quiet",
           "--parallel", "mpi"]  # fmt: skip
RESULT = Path(__file__).parent / "results" / "kill-parallel.json"
LIMIT = 10.0  # s
#: What each process does: it says who it is, and saves every few steps.
PROGRAM = """
import os, pathlib, sys
me = pathlib.Path(sys.argv[1], os.environ["OMPI_COMM_WORLD_RANK"])
me.with_suffix(".tmp").write_text(str(os.getpid()))
me.with_suffix(".tmp").rename(me)
from quatgrad.lth.command import cli
from quatgrad.lth.search import checkpoint
from quatgrad.parallel import start
def compare(*given, honest=start.compare_starts):
    honest(*given)
    me.with_suffix(".met").touch()
start.compare_starts = compare
checkpoint.INTERVAL, checkpoint.SHARE = 0.02, 0
try:
    sys.exit(cli.main(sys.argv[2:]))
finally:
    me.with_suffix(".end").touch()
"""


class Run:
    """One start of the command, with the numbers of its processes."""

    def __init__(self, out: Path, processes: int):
        self.folder, self.said = tempfile.TemporaryDirectory(), tempfile.TemporaryFile("w+")  # noqa: SIM115
        words = command(processes, "-c", PROGRAM, self.folder.name, *OPTIONS, "--out", out)
        self.mpirun = subprocess.Popen(
            words, env=environment(), stdout=subprocess.DEVNULL, stderr=self.said
        )
        names = [Path(self.folder.name, str(rank)) for rank in range(processes)]
        while not all(name.exists() for name in names):
            if self.mpirun.poll() is not None:
                sys.exit(f"the run in {out} did not start: {self.text()}")
            time.sleep(0.005)
        self.began, self.pids = time.monotonic(), [int(name.read_text()) for name in names]
        self.met, self.end = ([n.with_suffix(s) for n in names] for s in (".met", ".end"))

    def meets(self) -> float:
        """Seconds from the beginning until all its processes have met."""
        while self.mpirun.poll() is None and not all(path.exists() for path in self.met):
            time.sleep(0.005)
        return time.monotonic() - self.began

    def ends_within(self, seconds: float) -> bool:
        """Has it ended by then?"""
        with suppress(subprocess.TimeoutExpired):
            self.mpirun.wait(seconds)
        return self.mpirun.poll() is not None

    def left(self, seconds: float) -> list[int]:
        """Processes that are alive so many seconds later; they are killed.

        One that is killed while it waits for the disk lives until the disk answers, and one that
        has ended is no more than an entry until its parent asks: neither is left over.
        """
        end = time.monotonic() + seconds
        while (there := [*filter(is_alive, self.pids)]) and time.monotonic() < end:
            time.sleep(0.005)
        for pid in there:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [self.pids.index(pid) for pid in there]

    def text(self) -> str:
        """What it has said on stderr."""
        self.said.seek(0)
        return self.said.read().strip()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.said.close()
        self.folder.cleanup()


def disturbed(out: Path, processes: int, length: float, rng: random.Random) -> dict[str, Any]:
    """One run that is disturbed at a moment of `length` seconds, unless it has ended before."""
    rank, moment = rng.randrange(processes), rng.uniform(0, length)
    number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
    with Run(out, processes) as run:
        if number == signal.SIGSTOP:
            moment = max(moment, run.meets())
        if run.ends_within(run.began + moment - time.monotonic()) and run.mpirun.returncode:
            sys.exit(f"the run in {out} cannot go on: {run.text()}")
        if number == signal.SIGKILL or not any(path.exists() for path in run.end):
            with suppress(ProcessLookupError):
                os.kill(run.pids[rank], number)
        began = time.monotonic()
        ended = run.ends_within(3 * LIMIT)
        if run.mpirun.returncode == 0:
            return {}
        left = run.left(max(0.0, began + LIMIT - time.monotonic()))
        seconds = time.monotonic() - began
        if not ended:
            run.mpirun.kill()
            run.mpirun.wait()
        return {
            "signal": number.name, "process": rank, "moment": round(moment, 3),
            "seconds to the end": round(seconds, 3), "left": left,
            "lines of ours": run.text().count("quatgrad-lth: error:"),
            "checkpoint": bool(list(out.glob("stages/*/checkpoint.npz"))),
        }  # fmt: skip


def undisturbed(out: Path, processes: int) -> float:
    """The seconds of a run to its end."""
    with Run(out, processes) as run:
        if run.mpirun.wait():
            sys.exit(f"the run in {out} fails: {run.text()}")
        return time.monotonic() - run.began


def compared(given: argparse.Namespace, root: Path) -> dict[str, Any]:
    """All kills, and what differs after them."""
    rng, kills, different, runs = random.Random(given.seed), list[Any](), list[str](), 0
    length = undisturbed(root / "whole", given.processes)
    expected = outcome(root / "whole")
    while len(kills) < given.kills:
        out, runs = root / f"killed{runs}", runs + 1
        while len(kills) < given.kills and (kill := disturbed(out, given.processes, length, rng)):
            kills.append(kill)
            print(kill, flush=True)
        undisturbed(out, given.processes)
        found = outcome(out)
        different += [f"{out.name}/{n}" for n in expected.keys() | found.keys()
                      if expected.get(n) != found.get(n)]  # fmt: skip
    seconds = [kill["seconds to the end"] for kill in kills]
    return {
        "options": " ".join(OPTIONS), "processes": given.processes,
        "seconds of a run": round(length, 2), "kills": kills,
        "seconds to the end": {"median": statistics.median(seconds), "longest": max(seconds)},
        "not ended in time": [k for k in kills if k["seconds to the end"] > LIMIT or k["left"]],
        "runs compared": runs, "files compared in each": len(expected), "different": different,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Kill, go on, compare; the result as JSON."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--kills", type=int, default=20)
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--result", type=Path, default=RESULT, help="where it is written")
    given = p.parse_args(argv)
    record = about(1, None)
    record["versions"] |= versions()
    with tempfile.TemporaryDirectory() as scratch:
        record |= compared(given, Path(scratch))
    files.write_json(given.result, record)
    told = {k: v for k, v in record.items() if k != "kills"}
    print(json.dumps(told, indent=2))
    return int(bool(record["different"] or record["not ended in time"]))


if __name__ == "__main__":
    sys.exit(main())
