"""Measure the engine: kernels against the rung below, layers and steps against PyTorch.

    python experiments/bench.py --quick                   a minute's look
    python experiments/bench.py --suite layers --record   writes experiments/results/bench-layers.json

A machine is never quiet, so nothing is measured by itself. In every round each contestant has one
turn, and each round gives one ratio; printed are the medians over all rounds. A disturbance hits
neighbours alike and leaves the ratios alone.

PyTorch is optional. It runs in a process of its own, because thread pools in one process keep
each other from running: OpenBLAS, Numba and PyTorch bring one each, whose idle threads spin while
they wait for work, and on two cores that costs up to 50 times. This process only hands out turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from functools import lru_cache, reduce
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad import Tensor, generator, nn, use_backend
from quatgrad.kernels import kernel
from quatgrad.models import create
from quatgrad.models.algebra import Layers
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD

RESULTS = Path(__file__).parent / "results"
OURS = "numba"  # the backend that the ratios are about
ENGINES = {"kernels": ["numpy", OURS], "layers": ["numpy", OURS, "torch"], "steps": [OURS, "torch"]}
ROUNDS, QUICK_ROUNDS = 25, 3
TURN = 0.02  # s: a shorter call is repeated for that long
REST = 0.05  # s: longer than the idle threads of OpenBLAS and OpenMP spin before they sleep

Case = dict[str, Any]  # the arguments of a function of CALLS, less the engine: plain JSON
Call = Callable[[], Any]  # what is timed

# ------------------------------------------------------------------------ what is measured

MAPS = [(64, 32, 32, 64), (64, 8, 8, 256)]  # N, H, W, C
CONVS = [(64, 32, 32, 64), (64, 16, 16, 128), (64, 8, 8, 256), (64, 4, 4, 512)]
LINEARS = [(256, 2048, 1000)]  # N, P, Q
NETS = [("resnet8", 16, (32, 32), 100), ("conv-4", 64, (32, 32), 10)]  # name, width, H W, classes
NETS += [("lenet-300-100", 300, (14, 14), 10)]
FULL_NETS = [("resnet18", 64, (32, 32), 100)]
BATCH = 64
ALGEBRAS = ("real", "quaternion")

#: kernel -> its arguments, given the shape of a feature map
KERNELS: dict[str, Callable[[tuple[int, ...]], tuple[Any, ...]]] = {
    "patches": lambda shape: (normal(shape), *WINDOW),
    "unpatches": lambda shape: (normal((*shape[:3], 3, 3, shape[3])), shape, *WINDOW[1:]),
    "max_pool": lambda shape: (normal(shape), *HALVE),
    "max_pool_dx": lambda shape: (normal(halved(shape)), winners(halved(shape)), shape, *HALVE),
    "avg_pool": lambda shape: (normal(shape), *HALVE),
    "avg_pool_dx": lambda shape: (normal(halved(shape)), shape, *HALVE),
    "batch_norm": lambda shape: (normal(shape), *per_channel(shape, 2), 1e-5),
    "batch_norm_dx": lambda shape: (normal(shape), normal(shape, 1), *per_channel(shape, 3), 1e-5),
    "batch_norm_eval": lambda shape: (normal(shape), *per_channel(shape, 4), 1e-5),
}
WINDOW = (3, 3), (1, 1), (1, 1)  # size, stride, padding
HALVE = (2, 2), (2, 2), (0, 0)


def groups(suite: str, full: bool = False) -> list[dict[str, Case]]:
    """The cases of a suite by name; those of one group take turns in the same rounds."""
    if suite == "kernels":
        cases = [{"name": name, "shape": shape} for shape in MAPS for name in KERNELS]
        return [{f"{case['name']} {by(case['shape'])}": case} for case in cases]
    if suite == "layers":
        kinds = [("conv 3x3", (*s, s[3])) for s in CONVS] + [("linear", s) for s in LINEARS]
        return [
            {f"{a} {kind} {by(sizes)}": {"algebra": a, "sizes": sizes} for a in ALGEBRAS}
            for kind, sizes in kinds
        ]
    keys = "name", "width", "image_size", "num_classes"
    nets = [dict(zip(keys, net, strict=True)) for net in NETS + FULL_NETS * full]
    return [
        {f"{a} {net['name']}": {"algebra": a, "batch": BATCH, **net} for a in ALGEBRAS}
        for net in nets
    ]


def by(sizes: Sequence[int]) -> str:
    """(64, 8, 8) -> 64x8x8."""
    return "x".join(map(str, sizes))


def normal(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Normal numbers in float32."""
    return generator(seed, "bench").standard_normal(tuple(shape), np.float32)


def per_channel(shape: Sequence[int], count: int) -> np.ndarray:
    """`count` vectors of positive numbers, one number for each channel of a map."""
    return 1 + normal((count, shape[-1])) ** 2


def halved(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a map after 2 x 2 pooling."""
    N, H, W, C = shape
    return N, H // 2, W // 2, C


def winners(shape: Sequence[int]) -> np.ndarray:
    """Random offsets in windows of 2 x 2."""
    return generator(0, "winners").integers(0, 4, tuple(shape), np.int32)


# -------------------------------------------------------------------------- what is timed


def kernel_call(engine: str, name: str, shape: Sequence[int]) -> Call:
    """A kernel of the backend in force."""
    args = KERNELS[name](tuple(shape))
    return lambda: kernel(name)(*args)


def layer_call(engine: str, algebra: str, sizes: Sequence[int]) -> Call:
    """Forward, and backward to the input and the weights; returns the output.

    sizes (N, H, W, P, Q): a 3x3 convolution that keeps the map, (N, P, Q): a linear layer.
    """
    *shape, P, Q = sizes
    make = Layers(algebra, generator(0, "weights"))
    layer = make.conv(P, Q, 3, padding=1) if len(shape) == 3 else make.linear(P, Q)
    x, g = normal((*shape, P)), normal((*shape, Q), 1)
    if engine == "torch":
        f, leaves = torch_twin(layer)
        x, g = torch_maps(x).requires_grad_(), torch_maps(g)
    else:
        f, leaves, x = layer, layer.parameters(), Tensor(x, requires_grad=True)

    def call() -> Any:
        for t in (x, *leaves):
            t.grad = None
        y = f(x)
        y.backward(g)
        return y

    return call


def step_call(engine: str, batch: int, image_size: Sequence[int], **net: Any) -> Call:
    """A whole training step on random images; returns the loss."""
    model = create(image_size=tuple(image_size), **net)
    x = normal((batch, *image_size, 4))
    labels = generator(0, "labels").integers(0, net["num_classes"], batch)
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    if engine == "torch":
        import torch

        f, leaves = torch_twin(model)
        x, labels = torch_maps(x), torch.tensor(labels)
        loss_of, optimizer = F.cross_entropy, torch.optim.SGD(leaves, lr=0.01, **options)
        step = optimizer.step
    else:
        f, x, loss_of = model, Tensor(x), cross_entropy
        optimizer = SGD(model.parameters(), **options)
        step = partial(optimizer.step, 0.01)

    def call() -> Any:
        loss = loss_of(f(x), labels)
        optimizer.zero_grad()
        loss.backward()
        step()
        return loss

    return call


CALLS = {"kernels": kernel_call, "layers": layer_call, "steps": step_call}

# ------------------------------------------------------------------- the same in PyTorch


def torch_maps(x: np.ndarray) -> Any:
    """(N, H, W, C) as (N, C, H, W), channels last in memory: PyTorch's fastest on a CPU."""
    import torch

    t = torch.tensor(x)
    return t.permute(0, 3, 1, 2) if t.ndim == 4 else t


def torch_twin(module: nn.Module) -> tuple[Callable[[Any], Any], list[Any]]:
    """The same network or layer as a function on PyTorch tensors, and its parameters."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    leaves: list[Any] = []

    def leaf(a: np.ndarray) -> Any:
        leaves.append(torch.tensor(np.ascontiguousarray(a), requires_grad=True))
        return leaves[-1]

    def layer(m: Any) -> Callable[[Any], Any]:
        if isinstance(m, nn.BatchNorm2d):
            scale, shift = leaf(m.scale.data), leaf(m.shift.data)
            running = torch.zeros(len(scale)), torch.ones(len(scale))
            return lambda x: F.batch_norm(x, *running, scale, shift, True, m.momentum, m.eps)
        parts = m.weight.data if m.weight.components == 4 else [m.weight.data]
        parts = [leaf(w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T) for w in parts]
        bias = None if m.bias is None else leaf(m.bias.data)
        if isinstance(m, nn.Linear | nn.QLinear):
            return lambda x: F.linear(x, block_matrix(*parts), bias)
        return lambda x: F.conv2d(x, block_matrix(*parts), bias, m.stride, m.padding)

    return compose(module, layer, F), leaves


def compose(m: nn.Module, layer: Callable[[Any], Any], F: Any) -> Callable[[Any], Any]:
    """The twin of a module of modules, or without parameters; `layer` makes the others."""
    f = {n: compose(c, layer, F) for n, c in m.members() if isinstance(c, nn.Module)}

    def chain(x: Any, start: str = "") -> Any:
        return reduce(lambda x, name: f[name](x), (n for n in f if n.startswith(start)), x)

    def block(x: Any) -> Any:
        y = f["bn2"](f["conv2"](F.relu(f["bn1"](f["conv1"](x)))))
        return F.relu(y + f["shortcut"](x))

    def resnet(x: Any) -> Any:
        return f["head"](f["pool"](chain(F.relu(f["bn"](f["stem"](x))), "stages")))

    twins = {
        "Sequential": chain,
        "BasicBlock": block,
        "ResNet": resnet,
        "ReLU": F.relu,
        "GlobalAvgPool2d": lambda x: x.mean(dim=(2, 3)),
        "MaxPool2d": lambda x: F.max_pool2d(x, m.size, m.stride, m.padding),
        # (N, 4Q, H, W) -> (N, 4, H, W, Q) in one line: component blocks stay together
        "Flatten": lambda x: x.unflatten(1, (4, -1)).permute(0, 1, 3, 4, 2).flatten(1),
    }
    return twins.get(type(m).__name__) or layer(m)


def block_matrix(r: Any, *ijk: Any) -> Any:
    """The paper's real weight (4Q, 4P, ...) of four parts, made at every call, as published."""
    if not ijk:
        return r  # of a real layer
    from torch import cat

    i, j, k = ijk
    rows = (r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r)
    return cat([cat(row, dim=1) for row in rows], dim=0)


# ------------------------------------------------------------------------------ measuring


@lru_cache(maxsize=4)  # the contestants of one group in one process, at most: two by two
def prepare(request: str) -> Call:
    """The call that a request, [suite, engine, case] in JSON, is about; kept for its next turn."""
    suite, engine, case = json.loads(request)
    return CALLS[suite](engine, **case)


def turn(request: str) -> float:
    """Seconds of one call: the median over `TURN` s, without the first (cold) call if it can."""
    engine = json.loads(request)[1]
    with nullcontext() if engine == "torch" else use_backend(engine):
        call = prepare(request)
        times: list[float] = []
        while sum(times) < TURN:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return float(np.median(times[1:] or times))


def serve() -> None:
    """The worker process: a request on every line that comes in, its seconds on the line out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; then our input ends
    for line in sys.stdin:
        print(turn(line), flush=True)


def start_worker(threads: int | None) -> subprocess.Popen[str]:
    """A process that serves one engine, with the threads it would have by itself."""
    pools = ("OPENBLAS", "OMP", "MKL", "NUMBA")
    environment = os.environ | {f"{p}_NUM_THREADS": str(threads) for p in pools if threads}
    environment.pop("OMP_WAIT_POLICY", None)  # quatgrad sets its own; PyTorch's must be its own
    command = [sys.executable, str(Path(__file__).resolve()), "--serve"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def ask(worker: subprocess.Popen[str], request: str) -> float:
    """One turn in a worker."""
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write(request + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        sys.exit(f"bench.py: error: the worker ended with code {worker.wait()} at {request}")
    return float(answer)


def measure(
    suite: str, group: dict[str, Case], workers: dict[str, subprocess.Popen[str]], rounds: int
) -> list[dict[str, Any]]:
    """One result for each case of a group; `workers` has the engines that there are."""
    turns = [
        (e, name, json.dumps([suite, e, case])) for e in workers for name, case in group.items()
    ]
    times: dict[tuple[str, str], list[float]] = {(name, e): [] for e, name, _ in turns}
    last = None
    for k in range(rounds + 1):
        for engine, name, request in turns[:: 1 if k % 2 else -1]:  # neighbours change sides
            worker = workers[engine]
            if worker is not last:
                time.sleep(REST)
            last = worker
            seconds = ask(worker, request)
            if k > 0:  # the first round compiles
                times[name, engine].append(seconds)
    return [
        result(suite, name, case, {e: times[name, e] for e in workers})
        for name, case in group.items()
    ]


def result(suite: str, name: str, case: Case, times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians and quartiles of the seconds, and of the ratios theirs / ours of every round."""
    quartiles = {e: np.percentile(t, (25, 50, 75)).tolist() for e, t in times.items()}
    ratios = {e: np.divide(t, times[OURS]) for e, t in times.items() if e != OURS}
    row = {
        "suite": suite,
        "name": name,
        "case": case,
        "seconds": {e: quartiles[e][1] if e in times else None for e in ENGINES[suite]},
        "quartiles": {e: [q1, q3] for e, (q1, _, q3) in quartiles.items()},
        "times_as_fast_as": {e: float(np.median(r)) for e, r in ratios.items()},
    }
    if "batch" in case:
        row["images_per_second"] = {e: case["batch"] / q[1] for e, q in quartiles.items()}
    return row


# ---------------------------------------------------------------------------- the command


def line(name: str, suite: str, row: dict[str, Any] | None = None) -> str:
    """A line of the table, or its header: milliseconds, ratios, and images where there are."""
    engines = ENGINES[suite]
    others = [e for e in engines if e != OURS]
    pick = row or {"seconds": {}, "times_as_fast_as": {}}
    cells = [number(pick["seconds"].get(e), 1e3, "{:.2f}") if row else f"{e} ms" for e in engines]
    cells += [
        number(pick["times_as_fast_as"].get(e), 1, "{:.2f} x") if row else f"vs {e}" for e in others
    ]
    if suite == "steps":
        speed = pick.get("images_per_second", {})
        cells += [number(speed.get(e), 1, "{:,.0f}") if row else f"{e} img/s" for e in engines]
    return f"{name:<36}" + "".join(f"{cell:>13}" for cell in cells)


def number(x: float | None, unit: float, form: str) -> str:
    """A cell of the table; "-" where nothing was measured."""
    return "-" if x is None else form.format(x * unit)


def versions() -> dict[str, str | None]:
    """Versions of what was measured; None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("numpy", "numba", "quatgrad", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def machine() -> dict[str, Any]:
    """Processor, cores that we may use, and memory."""
    models = [x for x in lines("/proc/cpuinfo") if x.startswith("model name")]
    memory = [x for x in lines("/proc/meminfo") if x.startswith("MemTotal")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_gib": round(int(memory[0].split()[1]) / 2**20, 1) if memory else None,
        "system": platform.platform(),
    }


def lines(path: str) -> list[str]:
    """The lines of a file of the system; none where there is no such file."""
    return Path(path).read_text().splitlines() if os.path.exists(path) else []


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; what is wrong with them ends the program with code 2 before any measuring."""
    p = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--suite", choices=(*CALLS, "all"), default="all", help="default: all")
    p.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, not {ROUNDS}")
    p.add_argument("--full", action="store_true", help="steps: resnet18 too (minutes)")
    p.add_argument("--threads", type=int, metavar="N", help="of every engine (default: its own)")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the results there, as JSON")
    p.add_argument("--record", action="store_true", help="--out experiments/results/bench-*.json")
    p.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = p.parse_args(argv)
    if options.threads is not None and options.threads < 1:
        p.error(f"--threads is at least 1; got {options.threads}")
    if options.record and not options.out:
        options.out = RESULTS / f"bench-{options.suite}.json"
    if options.out:
        try:
            if options.out.is_dir():
                raise IsADirectoryError("it is a directory")
            tempfile.TemporaryFile(dir=options.out.parent).close()
        except OSError as error:
            p.error(f"--out {options.out} cannot be written: {error.strerror or error}")
    return options


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure and print, suite by suite; all results."""
    suites = list(CALLS) if options.suite == "all" else [options.suite]
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    results = []
    with ExitStack() as stack:
        ours = stack.enter_context(start_worker(options.threads))
        workers = dict.fromkeys(("numpy", OURS), ours)
        if find_spec("torch") and suites != ["kernels"]:
            workers["torch"] = stack.enter_context(start_worker(options.threads))
        for suite in suites:
            print(f"\n{line(suite, suite)}")
            there = {e: workers[e] for e in ENGINES[suite] if e in workers}
            for group in groups(suite, options.full):
                for row in measure(suite, group, there, rounds):
                    print(line(row["name"], suite, row), flush=True)
                    results.append(row)
    print(f"\nMedians of {rounds} rounds; vs: how many times as fast {OURS} is, > 1 is faster.")
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0, 2 for wrong options, 130 if interrupted."""
    options = parse(argv)
    if options.serve:
        serve()
        return 0
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["bench.py", *(sys.argv[1:] if argv is None else argv)]),
        "machine": machine(),
        "versions": versions(),
        "threads": options.threads,
        "rounds": QUICK_ROUNDS if options.quick else ROUNDS,
    }
    print(f"{about['machine']['cpu']}, {about['machine']['cores']} cores;",
          ", ".join(f"{k} {v or '-'}" for k, v in about["versions"].items()))  # fmt: skip
    try:
        results = run(options)
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was written", file=sys.stderr)
        return 130
    if options.out:
        options.out.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
        print(f"Written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
