"""Measure inference: plans, dense and sparse, beside the engine, PyTorch and onnxruntime.

    python experiments/bench.py --suite inference --quick     a look: 5 % alone, one thread
    python experiments/bench.py --suite inference --record    to results/bench-inference.json
    python experiments/bench_inference.py --table FILE        the README's table of a record

Every call of one contestant takes the weights of the others out of the caches. So a turn is a block
of calls, of which the first one does not count; in every round each contestant has a turn, and each
round gives its own ratios. "Cold" calls come after a walk through more memory than the caches have.
Each library has a process of its own, as many threads as the others, and the same float32 network;
masks are random, of one density in every layer. The rivals have the real network: the quaternion
network is for them a real one of the same size.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from timeit import repeat
from typing import Any

import numpy as np
from bench import (
    LAYOUTS,
    REST,
    Worker,
    about,
    measured_on,
    parsed,
    parser_of,
    start_worker,
    torch_maps,
    torch_twin,
)
from matplotlib.style import context

from quatgrad import Tensor, generator, models, no_grad, sparse
from quatgrad.lth.results.drawing import CAPTION, percent
from quatgrad.nn import Module

ROUNDS, QUICK_ROUNDS = 15, 3
TURN = 0.05  # s: so long is a block of calls, at least
COLD_CALLS = 5
WARM_UP = 0.2  # s
RIVALS = ("onnxruntime", "torch")
DENSITIES = (0.1, 0.05, 0.02, 0.01)
ALGEBRAS = ("real", "quaternion", "whole quaternions")
NETS: dict[str, dict[str, Any]] = {
    "resnet18": {"width": 64, "image_size": (32, 32), "num_classes": 100},
    "resnet8": {"width": 16, "image_size": (32, 32), "num_classes": 100},
    "lenet-300-100": {"width": 300, "image_size": (14, 14), "num_classes": 10},
}
CHANNELS = 4

Case = dict[str, Any]  # what a block of calls is about, fit for JSON
Call = Callable[[], np.ndarray]  # gives the logits

# ------------------------------------------------------------------------ what is measured


def contestants(quick: bool) -> list[Case]:
    """Engine, algebra and density; the rivals first."""
    found = [{"engine": r, "algebra": "real", "density": 1.0} for r in RIVALS if find_spec(r)]
    found += [{"engine": "engine", "algebra": a, "density": 1.0} for a in ALGEBRAS[:2]]
    found += [{"engine": "plan", "algebra": a, "density": 1.0} for a in ALGEBRAS[:2]]
    densities = (0.05,) if quick else DENSITIES
    return found + [
        {"engine": "plan", "algebra": a, "density": d} for a in ALGEBRAS for d in densities
    ]


def settings(quick: bool, threads: int) -> Iterator[Case]:
    """Network, images, and whether the caches are cold."""
    for net, (images, cold) in product(NETS, ((1, False), (1, True), (64, False))):
        dear = cold or (net == "resnet18" and images > 1)
        if not (quick and dear) and not (cold and threads > 1):
            yield {"net": net, "images": images, "threads": threads, "cold": cold}


def name_of(case: Case) -> str:
    """What a contestant is called in tables."""
    if case["engine"] in RIVALS:
        return {"torch": "PyTorch"}.get(case["engine"], case["engine"])
    if case["engine"] == "engine":
        return f"engine, {case['algebra']}"
    return f"plan, {case['algebra']}, {100 * case['density']:g} %"


def network(net: str, algebra: str, density: float) -> tuple[Module, dict[str, np.ndarray]]:
    """A network with random masks, and norms that shift: no map of it dies out."""
    rng = generator(0, "bench", "inference")
    model = models.create(net, algebra.split()[-1].removesuffix("s"), seed=0, **NETS[net])
    masks = {}
    for name, w in model.weight_parameters():
        whole = algebra.startswith("whole") and w.components == 4
        alive = rng.random(w.shape[1:] if whole else w.shape) < density
        masks[name] = np.broadcast_to(alive, w.shape).copy()
        w.data = w.data * masks[name]
    for name, t in model.named_state():
        if name.endswith("shift"):
            t.data = (0.2 * rng.standard_normal(t.shape)).astype(np.float32)
    return model.eval(), masks


def pictures(net: str, images: int) -> np.ndarray:
    """Normal numbers (N, H, W, C)."""
    shape = (images, *NETS[net]["image_size"], CHANNELS)
    return generator(1, "bench", "inference").standard_normal(shape, np.float32)


# -------------------------------------------------------------------------- what is timed


def plan_call(net: str, algebra: str, density: float, x: np.ndarray, threads: int) -> Call:
    """A plan: of the density 1 with every layer dense, else as it chooses."""
    model, masks = network(net, algebra, density)
    plan = sparse.prepare(model, x.shape[1:], masks)
    return lambda: plan(x)


def engine_call(net: str, algebra: str, density: float, x: np.ndarray, threads: int) -> Call:
    """The network itself, in evaluation mode."""
    model, images = network(net, algebra, density)[0], Tensor(x)

    def call() -> np.ndarray:
        with no_grad():
            return model(images).data

    return call


def torch_call(net: str, algebra: str, density: float, x: np.ndarray, threads: int) -> Call:
    """The same network in PyTorch, in inference mode; of two layouts in memory, the faster."""
    import torch

    torch.set_num_threads(threads)

    def in_layout(engine: str) -> Call:
        f, _ = torch_twin(network(net, algebra, density)[0], engine)
        images = torch_maps(x, engine)

        def call() -> np.ndarray:
            with torch.inference_mode():
                return f(images).numpy()

        return call

    return min(map(in_layout, LAYOUTS), key=lambda call: min(repeat(call, number=1, repeat=7)))


def onnxruntime_call(net: str, algebra: str, density: float, x: np.ndarray, threads: int) -> Call:
    """The same network from a file, with all of onnxruntime's optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    model, masks = network(net, algebra, density)
    options.add_free_dimension_override_by_name("N", len(x))
    with tempfile.TemporaryDirectory() as folder:
        plan = sparse.prepare(model, x.shape[1:], masks)
        file = sparse.export_onnx(plan, Path(folder) / "net")
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, feed)[0]


CALLS = {
    "plan": plan_call,
    "engine": engine_call,
    "torch": torch_call,
    "onnxruntime": onnxruntime_call,
}


# ------------------------------------------------------------------------------ measuring


@lru_cache(maxsize=32)  # all contestants of a process
def prepare(request: str) -> Call:
    """The call that a case, in JSON, is about; compiled and with its memory."""
    case = json.loads(request)
    x = pictures(case["net"], case["images"])
    own = {name: case[name] for name in ("net", "algebra", "density", "threads")}
    call = CALLS[case["engine"]](x=x, **own)
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_UP:
        call()
    return call


@cache
def memory() -> np.ndarray:
    """Twice as much as the caches hold."""
    path = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
    kilobytes = int(path.read_text().strip().removesuffix("K")) if path.exists() else 32768
    return np.zeros(2 * 1024 * kilobytes // 8)


def block(request: str) -> list[float]:
    """Seconds of the calls of a block."""
    case, times = json.loads(request), list[float]()
    cold = case.pop("cold")
    call = prepare(json.dumps(case))
    if not cold:
        call()
    while len(times) < COLD_CALLS if cold else sum(times) < TURN:
        if cold:
            memory().__iadd__(1)
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def serve() -> int:
    """The life of a worker: a case on every line in; median and minimum of its block out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends our input
    for request in sys.stdin:
        times = block(request)
        print(float(np.median(times)), min(times), flush=True)
    return 0


def ask(worker: Worker, case: Case) -> tuple[float, float]:
    """One turn in a worker."""
    print(json.dumps(case), file=worker.stdin, flush=True)
    answer = worker.stdout.readline()
    if not answer:
        sys.exit(f"bench_inference.py: error: the worker ended with code {worker.wait()} at {case}")
    median, least = map(float, answer.split())
    return median, least


def process_of(case: Case) -> str:
    """Plans and the engine are in one process."""
    return case["engine"] if case["engine"] in RIVALS else "quatgrad"


def measure(
    setting: Case, cases: list[Case], workers: dict[str, Worker], rounds: int
) -> list[Case]:
    """A row for each contestant: seconds for a call, and ratios to the others."""
    medians, least = np.zeros((2, len(cases), rounds))
    last = None
    for k in range(-1, rounds):  # in the first round all is prepared, and -1 is written again
        for i in range(len(cases))[:: 1 if k % 2 else -1]:  # neighbours change sides
            if process_of(cases[i]) != last:
                time.sleep(REST)
            last = process_of(cases[i])
            medians[i, k], least[i, k] = ask(workers[last], cases[i] | setting)
    return [row(setting, cases, i, medians, least) for i in range(len(cases))]


def row(setting: Case, cases: list[Case], i: int, medians: np.ndarray, least: np.ndarray) -> Case:
    """Ratios: other / this one; above 1: this one is so many times as fast."""
    mine = cases[i]
    algebra = mine["algebra"].split()[-1].removesuffix("s")
    others = {
        name: j
        for j, other in enumerate(cases)
        for name in [other["engine"] if other["engine"] != "plan" else "dense plan"]
        if j != i and other["density"] == 1
        if other["engine"] in RIVALS or other["algebra"] == algebra
    }
    ratios = {
        name: {
            "median": float(np.median(medians[j] / medians[i])),
            "lowest": float(np.min(medians[j] / medians[i])),
            "of_minima": float(least[j].min() / least[i].min()),
        }
        for name, j in others.items()
    }
    seconds = {"median": float(np.median(medians[i])), "minimum": float(least[i].min())}
    return {"name": name_of(mine), **mine, **setting, "seconds": seconds, "ratios": ratios}


# ---------------------------------------------------------------------- tables and pictures

COLUMNS = (
    ("ResNet-18, one image", {"net": "resnet18", "images": 1, "threads": 1, "cold": False}),
    ("the same, cold caches", {"net": "resnet18", "images": 1, "threads": 1, "cold": True}),
    ("64 images, two threads", {"net": "resnet18", "images": 64, "threads": 2, "cold": False}),
    ("ResNet-8, one image", {"net": "resnet8", "images": 1, "threads": 1, "cold": False}),
    ("LeNet, one image", {"net": "lenet-300-100", "images": 1, "threads": 1, "cold": False}),
)  # fmt: skip


def find(results: list[Case], **wanted: Any) -> list[Case]:
    """The rows that have these values."""
    return [r for r in results if all(r[name] == value for name, value in wanted.items())]


def table(record: dict[str, Any]) -> str:
    """The README's: ms for a call, and in brackets how many times as fast as onnxruntime."""
    results = record["results"]
    lines = [["ms (times as fast as onnxruntime)", *(title for title, _ in COLUMNS)]]
    lines.append(["---", *["---:"] * len(COLUMNS)])
    for name in dict.fromkeys(r["name"] for r in results):
        cells = [cell(find(results, name=name, **setting)) for _, setting in COLUMNS]
        if set(cells) != {"-"}:
            lines.append([name, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(rows: list[Case]) -> str:
    """Milliseconds, and the ratio where there is one."""
    if not rows:
        return "-"
    ratio = rows[0]["ratios"].get("onnxruntime")
    return short(1e3 * rows[0]["seconds"]["median"]) + (
        f" ({short(ratio['median'])})" if ratio else ""
    )


def short(x: float) -> str:
    """A number in two or three digits."""
    return next(f"{x:.{d}f}" for d, least in enumerate((99.5, 9.95, 0.0995, 0)) if x >= least)


def line(found: Case | None = None) -> str:
    """A line of what is printed while it measures, or its header."""
    ratios = (*RIVALS, "engine", "dense plan")
    if found is None:
        titles = ("median ms", "minimum", *(f"{r}/it" for r in ratios))
        return f"{'':34}" + "".join(f"{t:>15}" for t in titles)
    seconds = [f"{1e3 * found['seconds'][n]:.3f}" for n in ("median", "minimum")]
    known = found["ratios"]
    cells = seconds + [f"{known[r]['median']:.2f}" if r in known else "-" for r in ratios]
    return f"{found['name']:34}" + "".join(f"{c:>15}" for c in cells)


def heading(setting: Case) -> str:
    """What a block of lines is about."""
    images = "one image" if setting["images"] == 1 else f"{setting['images']} images"
    cold = ", cold caches" if setting["cold"] else ""
    return f"{setting['net']}, {images}, {setting['threads']} thread(s){cold}"


@context("quatgrad.style")
def draw(record: dict[str, Any], path: Path) -> None:
    """Milliseconds against the share of weights that is left, one thread, hot caches."""
    results: list[Case] = record["results"]
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, LogLocator

    counts, nets = (1, 64), list(dict.fromkeys(r["net"] for r in results))
    size = {"figsize": (1 + 3.2 * len(nets), 6.4), "sharex": True, "squeeze": False}
    fig, axes = pyplot.subplots(len(counts), len(nets), **size)
    for ax, (images, net) in zip(axes.flat, product(counts, nets), strict=True):
        here = find(results, net=net, images=images, threads=1, cold=False)
        if not here:
            ax.set_visible(False)
            continue
        for k, algebra in enumerate(ALGEBRAS):
            plans = find(here, engine="plan", algebra=algebra)
            if algebra == ALGEBRAS[2]:  # dense, they are quaternions
                plans = find(here, engine="plan", algebra=ALGEBRAS[1], density=1.0) + plans
            x, y = ([f(r) for r in plans] for f in (share, milliseconds))
            ax.plot(x, y, "o-", color=f"C{k}", label=f"plan, {algebra}")
        for r in (r for r in here if r["engine"] in RIVALS):
            style = "--" if r["engine"] == RIVALS[0] else ":"
            ax.axhline(milliseconds(r), color="0.4", linestyle=style, label=f"{r['name']}, dense")
        for k, r in enumerate(find(here, engine="engine")):
            ax.plot([100], [milliseconds(r)], "x", color=f"C{k}", label=r["name"])
        ax.set(
            xscale="log", yscale="log", title=f"{net}, {'1 image' if images == 1 else '64 images'}"
        )
        ax.set_xticks([100, 10, 5, 2, 1], [percent(x) for x in (100, 10, 5, 2, 1)])
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        ax.minorticks_off()
        ax.xaxis.set_inverted(True)
    for ax in axes[-1]:
        ax.set_xlabel("weights remaining")
    for ax in axes[:, 0]:
        ax.set_ylabel("ms, one thread: lower is better")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        title_fontsize=CAPTION,
        title=f"{measured_on(record)}; medians of a call; {spread(results)}",
    )
    fig.savefig(path)
    pyplot.close(fig)


def spread(results: list[Case]) -> str:
    """How far calls in one thread, with hot caches, scatter."""
    drawn = find(results, threads=1, cold=False)
    below = [1 - r["seconds"]["minimum"] / r["seconds"]["median"] for r in drawn]
    middle, most = 100 * float(np.median(below)), 100 * max(below)
    return f"the fastest call took {middle:.0f} % less, in one case {most:.0f} %"


def share(row: Case) -> float:
    """% of the weights."""
    return 100 * row["density"]


def milliseconds(row: Case) -> float:
    """Of a call, the median."""
    return 1e3 * row["seconds"]["median"]


# ---------------------------------------------------------------------------- the command


def run(nets: Sequence[str], quick: bool, rounds: int) -> Iterator[Case]:
    """Measure and print; yields the rows."""
    cases, script = contestants(quick), Path(__file__).resolve()
    for threads in (1,) if quick else (1, 2):
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(start_worker(threads, script))
                for name in sorted(set(map(process_of, cases)))
            }
            for setting in settings(quick, threads):
                if setting["net"] in nets:
                    print(f"\n{heading(setting)}\n{line()}", flush=True)
                    rows = measure(setting, cases, workers, rounds)
                    print("\n".join(map(line, rows)), flush=True)
                    yield from rows


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    p = parser_of("inference", __doc__, ROUNDS)
    p.add_argument("--net", choices=NETS, action="append", help="only this one; may be repeated")
    p.add_argument("--table", type=Path, metavar="FILE", help="the README's table of a record")
    return parsed(p, argv, "inference")


def read_record(path: Path) -> dict[str, Any]:
    """A record; the program ends if it is none."""
    try:
        record = json.loads(path.read_text())
        if not record["results"]:
            raise ValueError("it has no results")
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"bench_inference.py: error: {path} is no record of this program: {error}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0, or 130 if interrupted."""
    options = parse(argv)
    if options.serve:
        return serve()
    if options.table:
        print(table(read_record(options.table)))
        return 0
    record = about(QUICK_ROUNDS if options.quick else ROUNDS, None)
    print(*record["machine"].values(), *(f"{n} {v}" for n, v in record["versions"].items() if v))
    missing = [name for name in RIVALS if not find_spec(name)]
    if missing:
        print(f"Not installed, so not measured: {', '.join(missing)}")
    record["not_installed"] = missing
    try:
        record["results"] = list(run(options.net or list(NETS), options.quick, record["rounds"]))
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was written", file=sys.stderr)
        return 130
    print(f"\nMedians of {record['rounds']} rounds; ratios above 1: it is so many times as fast.")
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n")
        draw(record, options.out.with_suffix(".png"))
        print(f"Written: {options.out} and {options.out.with_suffix('.png')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
