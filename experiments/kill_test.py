"""Kill a search with -9 at random moments, a hundred times, and compare what it ends with.

    python experiments/kill_test.py [--kills 100] [--seed 0]

A run of two small networks with a control is made once undisturbed. Then the same run is started
and killed, again and again, in a new directory whenever it got to its end, until it has been killed
so often: in turns in training, in pruning and in writing a file, each time at a random call and up
to some milliseconds into it. Every directory must end with the same bits: weights, masks, records,
table and picture; and no level that was finished may be trained again. A checkpoint is written
every few steps. Writes experiments/results/kill-test.json; exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quatgrad import __version__
from quatgrad.lth.command import cli
from quatgrad.lth.search import checkpoint, level_masks
from quatgrad.lth.store import files
from quatgrad.lth.store.stage import read_done
from quatgrad.train import TrainStep

OPTIONS = ["--preset", "smoke", "--epochs", "3", "--levels", "3",
           "--optimizer-state", "kept", "--rewind-epoch", "1", "--control", "shuffled",
           "--quiet"]  # fmt: skip
#: phase -> the code that is it
CODE = {"training": (TrainStep, "__call__"), "pruning": (level_masks, "prune"),
        "writing": (files, "write_file")}  # fmt: skip
#: phase -> it dies in one of so many calls, at most so many seconds after its beginning
PHASES = {"training": (40, 0.0015), "pruning": (3, 0.0004), "writing": (40, 0.006)}
RESULT = Path(__file__).parent / "results" / "kill-test.json"


def start(out: Path, phase: str = "never", call: int = 0, delay: float = 0.0) -> tuple[int, str]:
    """The run as a process of its own: its exit code, and where it was killed.

    A fork of this one, which has everything imported and nothing used.
    """
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(write, 2)
        watch(phase, call, delay)
        os._exit(cli.main([*OPTIONS, "--out", str(out)]))
    os.close(write)
    with open(read) as pipe:
        said = pipe.read().rstrip()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code not in (0, -signal.SIGKILL):
        sys.exit(f"the run in {out} cannot go on: {said}")
    return code, said.rpartition("\n")[2].removeprefix("killed in ")


def watch(phase: str, call: int, delay: float) -> None:
    """Make this process die `delay` seconds after it began call number `call` of the phase."""
    checkpoint.INTERVAL, checkpoint.SHARE = 0.004, 0
    here = ["between"]
    calls = itertools.count()

    def die() -> None:
        os.write(2, f"killed in {here[-1]}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def watched(name: str, honest: Callable[..., Any]) -> Callable[..., Any]:
        def f(*args: Any, **kwargs: Any) -> Any:
            here.append(name)
            if name == phase and next(calls) == call:
                threading.Timer(delay, die).start() if delay else die()
            try:
                return honest(*args, **kwargs)
            finally:
                here.pop()

        return f

    for name, (owner, attribute) in CODE.items():
        setattr(owner, attribute, watched(name, getattr(owner, attribute)))


def outcome(out: Path) -> dict[str, Any]:
    """Everything a run leaves, without times."""
    left: dict[str, Any] = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = str(path.relative_to(out))
        if path.name.startswith(".") and path.suffix == ".tmp" and "stages" not in name:
            continue  # half a table or picture: gc removes it
        if path.suffix == ".npz":
            left[name] = files.digest(files.read_arrays(path))
        elif path.name == "record.json":
            left[name] = timeless(json.loads(files.read_final(path, read_done(path.parent))))
        elif path.name in ("levels.csv", "done", "checks.json"):  # times, and counts of checks
            left[name] = "there"
        else:
            left[name] = path.read_bytes().replace(os.fsencode(out), b"OUT")
    return left


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """A record without how long it took."""
    epochs = [{k: v for k, v in e.items() if k != "seconds"} for e in record["epochs"]]
    return {k: v for k, v in record.items() if k != "seconds"} | {"epochs": epochs}


def finished(out: Path) -> dict[str, int]:
    """The finished levels, and when they were."""
    return {p.parent.name: p.stat().st_mtime_ns for p in out.glob("stages/*/done")}


def kill_one_run(out: Path, left: int, rng: random.Random, tally: Counter[str]) -> list[str]:
    """Start and kill it until it gets to its end, at most `left` times: levels that were lost."""
    lost, before = [], dict[str, int]()
    while True:
        phase = rng.choice(list(PHASES)) if left > 0 else "never"
        calls, longest = PHASES.get(phase, (0, 0.0))
        # A third dies at once, when nothing of the call is done.
        delay = rng.choice([0.0, rng.uniform(0, longest), rng.uniform(0, longest)])
        code, where = start(out, phase, rng.randrange(calls) if calls else 0, delay)
        after = finished(out)
        lost += [name for name, when in before.items() if after.get(name) != when]
        before = after
        if code == 0:
            return lost
        left -= 1
        tally["kills"] += 1
        tally[where] += 1
        tally["checkpoints"] += bool(list(out.glob("stages/*/checkpoint.npz")))
        tally["half-written files"] += bool(list(out.rglob(".*.tmp")))


def main() -> None:
    """Kill, resume, compare; the result as JSON."""
    p = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    p.add_argument("--kills", type=int, default=100)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--result", type=Path, default=RESULT, help="where it is written")
    given = p.parse_args()
    rng, began = random.Random(given.seed), time.perf_counter()
    different: list[str] = []
    lost: list[str] = []
    tally: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        root, runs = Path(scratch), 0
        start(root / "whole")
        expected = outcome(root / "whole")
        while tally["kills"] < given.kills:
            out = root / f"killed{runs}"
            lost += kill_one_run(out, given.kills - tally["kills"], rng, tally)
            found = outcome(out)
            different += [f"{out.name}/{n}" for n in expected.keys() | found.keys()
                          if expected.get(n) != found.get(n)]  # fmt: skip
            runs += 1
    result = {
        "command": " ".join(["python experiments/kill_test.py", *sys.argv[1:]]),
        "options": " ".join(OPTIONS),
        "kills": tally.pop("kills"),
        "killed in": {k: tally[k] for k in ("training", "pruning", "writing", "between")},
        "left by the killed": {k: tally[k] for k in ("checkpoints", "half-written files")},
        "runs compared": runs,
        "files compared in each": len(expected),
        "different": different,
        "finished levels lost": lost,
        "seconds": round(time.perf_counter() - began),
        "python": platform.python_version(),
        "quatgrad": __version__,
    }
    files.write_json(given.result, result)
    print(json.dumps(result, indent=2))
    sys.exit(bool(different or lost))


if __name__ == "__main__":
    main()
