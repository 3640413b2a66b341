"""Where the time of a training step goes on the CPU: which compiled function, how many bytes.

    python experiments/bench.py --suite steps --profile            a table for each network
    python experiments/bench.py --suite steps --profile --record   to results/bench-profile.json

Every compiled function that Python calls is timed, with the bytes of the arrays that it is given:
what it must read or write at least once. What is left of a step is Python and NumPy. Times are
medians over the steps; with NUMBA_NUM_THREADS=1 no thread waits for another.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bench import OURS, about, check_out, groups, step_call
from numba.core.dispatcher import Dispatcher
from numba.core.registry import CPUDispatcher

from quatgrad import use_backend

STEPS, QUICK_STEPS, WARM_UP = 30, 5, 5
REST = "Python and NumPy"

Row = dict[str, Any]


class Meter:
    """Seconds, calls and bytes of each function, of one step."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget a step before the next."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self.bytes: dict[str, int] = defaultdict(int)

    def add(self, f: Dispatcher, args: tuple[Any, ...], seconds: float) -> None:
        """A call of f."""
        where = f.py_func.__module__.rpartition(".")[2]
        name = f"{where}.{f.py_func.__name__.lstrip('_')}"
        self.seconds[name] += seconds
        self.calls[name] += 1
        self.bytes[name] += sum(a.nbytes for a in args if isinstance(a, np.ndarray))


@contextmanager
def measured_functions(meter: Meter) -> Iterator[None]:
    """Measure each compiled function that Python calls."""
    plain = Dispatcher.__call__

    def measured(f: Dispatcher, *args: Any) -> Any:
        start = time.perf_counter()
        y = plain(f, *args)
        meter.add(f, args, time.perf_counter() - start)
        return y

    CPUDispatcher.__call__ = measured
    try:
        yield
    finally:
        del CPUDispatcher.__call__


def profile(case: Row, steps: int) -> list[Row]:
    """For each function: ms, calls and megabytes of a step, and its share of the time."""
    meter, times = Meter(), defaultdict(list)
    with use_backend(OURS):
        step = step_call(OURS, **case)
        for _ in range(WARM_UP):
            step()
        with measured_functions(meter):
            for _ in range(steps):
                meter.clear()
                start = time.perf_counter()
                step()
                wall = time.perf_counter() - start
                rest = wall - sum(meter.seconds.values())
                for name, seconds in (*meter.seconds.items(), (REST, rest)):
                    times[name].append(seconds)
    medians = {name: float(np.median(t)) for name, t in times.items()}
    return [
        {
            "name": name,
            "ms": 1e3 * medians[name],
            "share": medians[name] / sum(medians.values()),
            "calls": meter.calls[name],
            "megabytes": meter.bytes[name] / 1e6,
        }
        for name in sorted(medians, key=lambda name: -medians[name])
    ]


def table(rows: list[Row]) -> Iterator[str]:
    """The lines of a table, and a last one with the sums."""
    total = {key: sum(row[key] for row in rows) for key in ("ms", "share", "calls", "megabytes")}
    for row in (*rows, {"name": "a step", **total}):
        cells = row["ms"], row["share"], row["calls"], row["megabytes"]
        yield "{:<44}{:>10.3f}{:>8.1%}{:>8g}{:>10.1f}".format(row["name"], *cells)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    p = argparse.ArgumentParser(prog="bench.py --suite steps --profile", description=__doc__)
    p.add_argument("--quick", action="store_true", help=f"{QUICK_STEPS} steps, not {STEPS}")
    p.add_argument("--full", action="store_true", help="resnet18 and resnet50 too")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the results there, as JSON")
    options = p.parse_args(argv)
    check_out(p, options.out)
    steps, results = QUICK_STEPS if options.quick else STEPS, []
    for group in groups("steps", options.full):
        for name, case in group.items():
            rows = profile(case, steps)
            print(f"\n{name:<44}{'ms':>10}{'share':>8}{'calls':>8}{'MB':>10}")
            print(*table(rows), sep="\n", flush=True)
            results.append({"name": name, "case": case, "functions": rows})
    if options.out:
        record = about(steps, None) | {"results": results}
        options.out.write_text(json.dumps(record, indent=1) + "\n")
        print(f"\nWritten: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
