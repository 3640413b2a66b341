"""Measure the engine: kernels against the rung below, layers and steps against PyTorch.

    python experiments/bench.py --quick                    a minute's look
    python experiments/bench.py --suite layers --record    to experiments/results/bench-layers.json
    python experiments/bench.py --suite inference --quick  plans against onnxruntime
    python experiments/bench.py --suite parallel --quick   two processes against two threads
    python experiments/bench.py --suite steps --profile    where the time of a step goes
    python experiments/bench.py --suite steps --rivals     PyTorch in bfloat16 and compiled, too
    python experiments/bench.py --explain                  how each convolution is computed

A machine is never quiet, so nothing is measured by itself: in every round each contestant has a
turn, and each round gives its own ratios. A disturbance hits neighbours alike and leaves the
ratios alone. Printed are medians over the rounds. With a file of results comes a picture of the
same name. The memory of a training step is the peak of a process that does nothing else.

PyTorch is optional. For three rounds it has its channels last in memory and first, from then on the
faster of the two; its optimizer is the fused one. It runs in a process of its own: OpenBLAS, Numba
and PyTorch bring a pool of threads each, idle threads spin while they wait, and on two cores pools
in one process can make each other 50 times slower. The parent computes nothing, it hands out turns.
"""

import argparse
import json
import math
import os
import platform
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import distributions
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from quatgrad import Tensor, generator, nn, use_backend
from quatgrad.kernels import kernel, reference
from quatgrad.kernels.reference.conv_norm_act import Block, Saved
from quatgrad.kernels.reference.optimizer import AdamRule
from quatgrad.models import create, resnet
from quatgrad.models.algebra import Layers
from quatgrad.optim import SGD
from quatgrad.train import TrainStep

SCRIPT = Path(__file__).resolve()
RESULTS = SCRIPT.parent / "results"
OURS = "numba"  # the ratios are theirs / ours
LAYOUTS = {"torch": "channels last", "torch-first": "channels first"}  # maps and weights in memory
ENGINES = {
    "kernels": ["numpy", OURS],
    "layers": ["numpy", OURS, *LAYOUTS],
    "steps": [OURS, *LAYOUTS],
}
APART = ("algebra", "inference", "parallel", "sequences")  # suites that are files of their own
#: What `--rivals` adds, channels last: PyTorch in bfloat16, where there is that, and compiled.
STEP_RIVALS = ("torch-bf16", "torch-compile")
RIVALS = ("torch", "onnxruntime", "numpy-quaternion", "quaternionic")
ROUNDS, QUICK_ROUNDS = 25, 3
TURN = 0.2  # s: a shorter call is repeated for that long, as steps of a training are
WARM_UP = 0.3  # s
PATIENCE = 300  # s: a rival that has not answered by then is left out
LR = 1e-4  # learning rate, so small that thousands of steps on one batch stay finite
REST = 0.2  # s: OpenBLAS's idle threads spin for 0.1 s, in which others run at half their speed

Case = dict[str, Any]  # arguments of one of CALLS, fit for JSON
Call = Callable[[], Any]  # what is timed
Times = dict[str, list[float]]  # of each engine, s in every round
Worker = subprocess.Popen[str]

# ------------------------------------------------------------------------ what is measured

MAPS = [(64, 32, 32, 64), (64, 8, 8, 256)]  # N, H, W, C
LAYERS: list[tuple[int, ...]] = [
    # N, H, W, P, Q: a 3x3 convolution; N, H, W, C: a batch norm; N, P, Q: a linear layer
    (64, 32, 32, 16, 16), (64, 32, 32, 64, 64), (64, 16, 16, 128, 128), (64, 8, 8, 256, 256),
    (64, 4, 4, 512, 512), (64, 32, 32, 64), (256, 2048, 1000),
]  # fmt: skip
KINDS = {5: "conv 3x3", 4: "batch norm", 3: "linear"}
NETS = [  # name, width, rows and columns of an image, classes, batch
    ("resnet8", 16, (32, 32), 100, 64),
    ("resnet20", 16, (32, 32), 100, 64),
    ("conv-2", 64, (32, 32), 10, 64),
    ("conv-4", 64, (32, 32), 10, 64),
    ("lenet-300-100", 300, (14, 14), 10, 64),
]
FULL_NETS = [("resnet18", 64, (32, 32), 100, 64), ("resnet50", 64, (32, 32), 100, 64)]


def groups(suite: str, full: bool) -> Iterator[dict[str, Case]]:
    """The cases of a suite by name; those of a group take turns in the same rounds."""
    if suite == "kernels":
        for shape, name in product(MAPS, KERNELS):
            yield {f"{name} {shape}": {"name": name, "shape": shape}}
        return
    keys = "name", "width", "image_size", "num_classes", "batch"
    cases = {
        "layers": {f"{KINDS[len(s)]} {s}": {"sizes": s} for s in LAYERS},
        "steps": {n[0]: dict(zip(keys, n, strict=True)) for n in NETS + FULL_NETS * full},
    }
    for name, case in cases[suite].items():
        algebras = ("real",) if name.startswith("batch norm") else ("real", "quaternion")
        yield {f"{a} {name}": {"algebra": a, **case} for a in algebras}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers in float32."""
    return generator(seed, "bench").standard_normal(shape, np.float32)


# -------------------------------------------------------------------------- what is timed

WINDOW, HALVE = ((3, 3), (1, 1), (1, 1)), ((2, 2), (2, 2), (0, 0))  # size, stride, padding

#: kernel, perhaps with a remark -> its arguments, from x (N, H, W, C), y (N, H/2, W/2, C),
#: P (patches), c (C,), eps
KERNELS: dict[str, Callable[..., tuple[Any, ...]]] = {
    "patches": lambda x, y, P, c, eps: (x, *WINDOW),
    "unpatches": lambda x, y, P, c, eps: (P, x.shape, *WINDOW[1:]),
    "max_pool": lambda x, y, P, c, eps: (x, *HALVE),
    "max_pool_dx": lambda x, y, P, c, eps: (y, abs(4 * y).astype("i4") % 4, x.shape, *HALVE),
    "avg_pool": lambda x, y, P, c, eps: (x, *HALVE),
    "avg_pool_dx": lambda x, y, P, c, eps: (y, x.shape, *HALVE),
    "batch_norm": lambda x, y, P, c, eps: (x, c, c, eps),
    "batch_norm_dx": lambda x, y, P, c, eps: (1 - x, x, c, c, c, eps),
    "batch_norm_eval": lambda x, y, P, c, eps: (x, c, c, c, c, eps),
    "update_running_stats": lambda x, y, P, c, eps: (c.copy(), 1 + c, 0.1),
    "conv_norm_act": lambda x, y, P, c, eps: (
        *(x, same_width(x)[0], c, c, x, Block(*WINDOW[1:], eps, True)),
    ),
    "conv_norm_act_dx": lambda x, y, P, c, eps: (
        *(1 - x, Saved(x, x, x, c, c), same_width(x)[0], c, c, Block(*WINDOW[1:], eps, True), True),
    ),
    "relu": lambda x, y, P, c, eps: (x,),
    "add": lambda x, y, P, c, eps: (x, 1 - x),
    "add_to": lambda x, y, P, c, eps: (x.copy(), 0 * x),
    "add bias": lambda x, y, P, c, eps: (x, c),
    "relu_dx": lambda x, y, P, c, eps: (1 - x, x),
    "bias_relu": lambda x, y, P, c, eps: (x.copy(), c),
    "bias_relu_dx": lambda x, y, P, c, eps: (1 - x, x),
    "gelu": lambda x, y, P, c, eps: (x,),
    "gelu_dx": lambda x, y, P, c, eps: (1 - x, x),
    "dropout": lambda x, y, P, c, eps: (x, generator(0).random(x.shape) >= 0.3, 0.3),
    "layer_norm": lambda x, y, P, c, eps: (rows(x), c, c, 1, eps),
    "layer_norm_dx": lambda x, y, P, c, eps: (rows(1 - x), rows(x), rows(x)[:, 0], c, 1),
    "sum_over": lambda x, y, P, c, eps: (rows(y), 0),
    "sum_over maps": lambda x, y, P, c, eps: (x, (1, 2)),
    "segment_sum": lambda x, y, P, c, eps: (rows(y), integers(rows(y).shape[0], 65), 65),
    "csr_matmul": lambda *_: (
        *(normal(20_000), integers(20_000, 2708), np.linspace(0, 20_000, 2709).astype(int)),
        normal(2708, 128),
    ),
    "attention": lambda *_: (*(normal(12, 64, 128) for _ in range(3)), np.full(12, 64), 4, 1, True),
    "attention_dx": lambda *_: (
        *(normal(12, 64, 128) for _ in range(4)),
        normal(12, 4, 64, 64),
        np.full(12, 64),
        1,
    ),
    "gru": lambda *_: (*recurrent(3), normal(128), np.full(32, 100), False),
    "gru_dx": lambda *_: (
        *(normal(32, 100, 128), normal(32, 100, 128), recurrent(3)[1], recurrent(3)[0]),
        *(normal(32, 100, 128), np.full(32, 100), False),
    ),
    "lstm": lambda *_: (*recurrent(4), np.full(32, 100), False),
    "lstm_dx": lambda *_: (
        *(normal(32, 100, 128), recurrent(4)[1], recurrent(4)[0], normal(32, 100, 128)),
        *(np.full(32, 100), False),
    ),
    "sgd": lambda x, y, P, c, eps: (x.copy(), 1 - x, 0 * x, LR, 0.9, True, 5e-4),
    "sgd_all": lambda x, y, P, c, eps: (
        *([a.copy() for a in 20 * [c, P[0, 0]]] for _ in range(3)),
        *(LR, 0.9, True, 5e-4),
    ),
    "adam": lambda x, y, P, c, eps: (
        *(x.copy(), 1 - x, 0 * x, 0 * x, 1, LR, AdamRule((0.9, 0.999), 1e-8, 5e-4, False)),
    ),
    "conv2d": lambda x, *_: (x, same_width(x)[0], *WINDOW[1:]),
    "conv2d_dx": lambda x, *_: (x, same_width(x)[0], x.shape, *WINDOW[1:]),
    "conv2d_dw": lambda x, *_: (x, 1 - x, same_width(x)[0].shape, *WINDOW[1:]),
    "matmul": lambda *_: (normal(256, 2048), normal(2048, 1000)),
    "expand": lambda *_: (normal(4, 3, 3, 64, 64),),
    "fold": lambda *_: (normal(3, 3, 256, 256),),
    "hamilton_linear": lambda *_: (normal(256, 1024), normal(4, 256, 256)),
    "hamilton_linear_dx": lambda *_: (normal(256, 1024), normal(4, 256, 256)),
    "hamilton_linear_dw": lambda *_: (normal(256, 1024), normal(256, 1024, seed=1)),
    "conv2d quaternion": lambda x, *_: (x, same_width(x, 4), *WINDOW[1:]),
    "conv2d_dx quaternion": lambda x, *_: (x, same_width(x, 4), x.shape, *WINDOW[1:]),
    "conv2d_dw quaternion": lambda x, *_: (x, 1 - x, same_width(x, 4).shape, *WINDOW[1:]),
}


def rows(x: np.ndarray) -> np.ndarray:
    """(N, H, W, C) -> (N H W, C)."""
    return x.reshape(-1, x.shape[3])


def integers(count: int, high: int) -> np.ndarray:
    """So many integers below `high`."""
    return generator(0, "integers").integers(0, high, count)


def recurrent(gates: int) -> tuple[np.ndarray, np.ndarray]:
    """What comes in at 100 steps of 32 sequences, and the weight of a state of 128 numbers."""
    return normal(32, 100, gates * 128) / 8, normal(128, gates * 128) / 16


def same_width(x: np.ndarray, components: int = 1) -> np.ndarray:
    """Weights, with an axis of components, of a convolution that keeps the channels of x."""
    Q = x.shape[3] // components
    return normal(components, *WINDOW[0], Q, Q)


def kernel_call(engine: str, name: str, shape: Sequence[int]) -> Call:
    """A kernel on the best rung in force."""
    x, c = normal(*shape), 1 + normal(shape[-1]) ** 2
    y, P = x[:, ::2, ::2].copy(), reference.patches(x, *WINDOW)
    args = KERNELS[name](x, y, P, c, 1e-5)
    return lambda: kernel(name.split()[0])(*args)


def layer_call(engine: str, algebra: str, sizes: Sequence[int]) -> Call:
    """Forward, and backward to the input and the weights; returns the output."""
    make, kind = Layers(algebra, generator(0, "weights")), KINDS[len(sizes)]
    *shape, P, Q = sizes if kind != "batch norm" else (*sizes, sizes[-1])
    layers = {
        "conv 3x3": lambda: make.conv(P, Q, 3, padding=1),
        "batch norm": lambda: nn.BatchNorm2d(Q),
        "linear": lambda: make.linear(P, Q),
    }
    layer, x, g = layers[kind](), normal(*shape, P), normal(*shape, Q, seed=1)
    if engine.startswith("torch"):
        f, leaves = torch_twin(layer, engine)
        x, g = torch_maps(x, engine).requires_grad_(), torch_maps(g, engine)
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
    """A whole training step on random images, with the sums of losses and of right answers that
    an epoch reports; returns the loss. Ours is the `TrainStep` of every training.
    """
    model = create(image_size=tuple(image_size), **net)
    x = normal(batch, *image_size, 4)
    labels = generator(0, "labels").integers(0, net["num_classes"], batch)
    options = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    if engine.startswith("torch"):
        return torch_step(engine, model, x, labels, options)
    step = TrainStep(model, SGD(model.parameters(), **options))

    def call() -> Any:
        step.sums[:] = 0
        step(x, labels, LR)
        return step.sums[0] / batch

    return call


def torch_step(engine: str, model: nn.Module, x: Any, labels: Any, options: Case) -> Call:
    """PyTorch's loop: in float32, or as "torch-bf16" or "torch-compile" says; step fused."""
    import torch

    f, leaves = torch_twin(model, engine)
    if engine == "torch-compile":
        resnet.relu = torch.relu  # for good: the compiler does not follow torch_twin's patch
        f = torch.compile(model.forward)
    x, labels = torch_maps(x, engine), torch.tensor(labels)
    sums = torch.zeros(2, dtype=torch.float64)
    optimizer = torch.optim.SGD(leaves, lr=LR, fused=True, **options)

    def call() -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=engine == "torch-bf16"):
            logits = f(x)
            loss = torch.nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            sums[0] += loss * len(labels)
            sums[1] += (logits.argmax(1) == labels).sum()
        return loss

    return call


CALLS = {"kernels": kernel_call, "layers": layer_call, "steps": step_call}

# ------------------------------------------------------------------- the same in PyTorch


def laid_out(t: Any, engine: str) -> Any:
    """Maps (N, C, H, W) or weights (Q, P, kh, kw), their channels first or last in memory."""
    import torch

    if t.ndim != 4:
        return t
    first = engine == "torch-first"
    kind = torch.contiguous_format if first else torch.channels_last
    return t.contiguous(memory_format=kind)


def torch_maps(x: np.ndarray, engine: str) -> Any:
    """(N, H, W, C) as (N, C, H, W); anything else as it is."""
    import torch

    t = torch.tensor(x)
    return laid_out(t.permute(0, 3, 1, 2), engine) if t.ndim == 4 else t


def torch_twin(model: nn.Module, engine: str) -> tuple[Callable[[Any], Any], list[Any]]:
    """The same network or layer as a function on PyTorch tensors, and its parameters.

    The network's own code runs on them: only the forward of each layer becomes PyTorch's. `model`
    serves nothing else any more, and its arrays are given up, so that memory holds one network.
    """
    import torch

    leaves: list[Any] = []

    def leaf(a: np.ndarray) -> Any:
        t = laid_out(torch.tensor(np.ascontiguousarray(a)), engine)
        leaves.append(t.requires_grad_())
        return leaves[-1]

    for _, m in list(model.named_modules()):
        m.forward = torch_forward(m, leaf, engine) or m.forward  # type: ignore[method-assign]
    for p in model.parameters():
        p._array = np.broadcast_to(np.zeros((), p.dtype), p.shape)
    return model, leaves


def torch_forward(
    m: nn.Module, leaf: Callable[[np.ndarray], Any], engine: str
) -> Callable[[Any], Any] | None:
    """The forward of a layer in PyTorch; None for a module that only calls others."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    match m:
        case nn.ReLU():
            return F.relu
        case nn.MaxPool2d():
            return lambda x: F.max_pool2d(x, m.size, m.stride, m.padding)
        case nn.GlobalAvgPool2d():
            return lambda x: x.mean(dim=(2, 3))
        case nn.Flatten():  # (N, 4Q, H, W) -> (N, 4HWQ), components apart
            return lambda x: x.unflatten(1, (4, -1)).permute(0, 1, 3, 4, 2).flatten(1)
        case nn.BatchNorm2d():
            scale, shift = leaf(m.scale.data), leaf(m.shift.data)
            running = torch.zeros(len(scale)), torch.ones(len(scale))
            how = m.training, m.momentum, m.eps
            return lambda x: F.batch_norm(x, *running, scale, shift, *how)
        case nn.Linear() | nn.QLinear():
            return with_weight(m, (1, 0), leaf, F.linear, engine)
        case nn.Conv2d() | nn.QConv2d():
            conv = partial(F.conv2d, stride=m.window.stride, padding=m.window.padding)
            return with_weight(m, (3, 2, 0, 1), leaf, conv, engine)
    return None


def with_weight(
    m: Any, axes: tuple[int, ...], leaf: Callable[[Any], Any], f: Any, engine: str
) -> Call:
    """x -> f(x, w, b). As published, a quaternion weight is expanded at every call: to the real
    weight (4Q, 4P, ...) that is the paper's block matrix.
    """
    from torch import cat

    b = None if m.bias is None else leaf(m.bias.data)
    if m.weight.components == 1:
        w = leaf(m.weight.data.transpose(axes))
        return lambda x: f(x, w, b)
    r, i, j, k = (leaf(part.transpose(axes)) for part in m.weight.data)

    def forward(x: Any) -> Any:
        rows = (r, -i, -j, -k), (i, r, -k, j), (j, k, r, -i), (k, -j, i, r)
        return f(x, laid_out(cat([cat(row, dim=1) for row in rows], dim=0), engine), b)

    return forward


# ------------------------------------------------------------------------------ measuring


@lru_cache(maxsize=4)  # a group has up to four contestants in one process
def prepare(request: str) -> Call:
    """The call that a request, (suite, engine, case) in JSON, is about; kept for later turns.

    It has been compiled, and has its memory: fresh pages are slow, most of all on virtual machines.
    """
    suite, engine, case = json.loads(request)
    call = CALLS[suite](engine, **case)
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_UP:
        call()
    return call


def turn(request: str) -> float:
    """Seconds of a call: the median over `TURN` s, after one call to fill the caches."""
    engine, times = json.loads(request)[1], []
    with nullcontext() if engine.startswith("torch") else use_backend(engine):
        call = prepare(request)
        call()
        while sum(times) < TURN:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return float(np.median(times))


_gave_up: set[str] = set()


def turn_or_nothing(request: str) -> float:
    """`turn`; NaN, at once from then on, where the rival cannot, or not within `PATIENCE`."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"no answer within {PATIENCE} s")

    if request in _gave_up:
        return math.nan
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        return turn(request)
    except Exception as error:
        print(f"bench.py: {request.strip()}: {error}"[:500], file=sys.stderr)
        _gave_up.add(request)
        return math.nan
    finally:
        signal.alarm(0)


def serve() -> int:
    """The life of a worker: a request on every line in; its seconds, our peak memory out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends our input
    for request in sys.stdin:
        seconds = (
            turn_or_nothing(request) if json.loads(request)[1] in STEP_RIVALS else turn(request)
        )
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
    return 0


def start_worker(threads: int | None, script: Path = SCRIPT) -> Worker:
    """A process for one engine, which finds the environment that it would have by itself."""
    pools = [f"{p}_NUM_THREADS" for p in ("OPENBLAS", "OMP", "MKL", "NUMBA")]
    environment = os.environ | dict.fromkeys(pools if threads else (), str(threads))
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):  # quatgrad sets its own
        environment.pop(name, None)
    command = [sys.executable, str(script), "--serve"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)


def ask(worker: Worker, request: str) -> tuple[float, int]:
    """One turn in a worker: seconds, and the peak of its memory so far in kB."""
    print(request, file=worker.stdin, flush=True)
    answer = worker.stdout.readline()
    if not answer:
        sys.exit(f"bench.py: error: the worker ended with code {worker.wait()} at {request}")
    seconds, peak = answer.split()
    return float(seconds), int(peak)


def measure(
    suite: str, group: dict[str, Case], workers: dict[str, Worker], rounds: int
) -> list[dict[str, Any]]:
    """One result for each case of a group; `workers` has the engines that there are."""
    times: dict[tuple[str, str], list[float]] = {(e, name): [] for e in workers for name in group}
    last = None
    for k in range(rounds):
        for engine, name in list(times)[:: 1 if k % 2 else -1]:  # neighbours change sides
            if engine != last:
                time.sleep(REST)
            last, request = engine, json.dumps([suite, engine, group[name]])
            times[engine, name].append(ask(workers[engine], request)[0])
        if k + 1 == QUICK_ROUNDS:
            for name in group:
                drop_slower_layout(times, name)
    known = {key: t for key, t in times.items() if not np.isnan(t).any()}
    return [
        result(suite, n, group[n], {e: known[e, n] for e in workers if (e, n) in known})
        for n in group
    ]


def drop_slower_layout(times: dict[tuple[str, str], list[float]], name: str) -> None:
    """From now on PyTorch has a turn in that layout alone in which it was faster until now."""
    found = [(float(np.median(times[e, name])), e) for e in LAYOUTS if (e, name) in times]
    if len(found) == len(LAYOUTS):
        del times[max(found)[1], name]


def peak_memory(engine: str, case: Case, threads: int | None) -> float:
    """MB that a new process holds at most for training steps of one case, libraries and all.

    PyTorch's also holds quatgrad's libraries, some 40 MB.
    """
    with start_worker(threads) as worker:
        _, peak = ask(worker, json.dumps(["steps", engine, case]))
        worker.stdin.close()
    return peak / 1024


def result(suite: str, name: str, case: Case, times: Times) -> dict[str, Any]:
    """Medians and quartiles of the seconds, and the median over rounds of theirs / ours.

    PyTorch is "torch", in whatever layout; the row says so if its channels were first.
    """
    first = times.get("torch-first")
    times = {"torch" if e in LAYOUTS else e: t for e, t in times.items()}
    q = {e: np.percentile(t, (25, 50, 75)).tolist() for e, t in times.items()}
    ratio = {e: float(np.median(np.divide(t, times[OURS]))) for e, t in times.items() if e != OURS}
    row = {"suite": suite, "name": name, "case": case, "ratios": ratio}
    row |= {"layout": LAYOUTS["torch-first"]} if first else {}
    row |= {"seconds": {e: q[e][1] for e in q}, "quartiles": {e: q[e][::2] for e in q}}
    if "batch" in case:
        row["images_per_second"] = {e: case["batch"] / q[e][1] for e in q}
    return row


def layout_of(engine: str, row: dict[str, Any]) -> str:
    """PyTorch's engine in the layout that counts in this row; any other is itself."""
    return "torch-first" if engine == "torch" and "layout" in row else engine


# ---------------------------------------------------------------------------- the command


def table_line(suite: str, row: dict[str, Any] | None = None) -> str:
    """A line of the table, or its header: milliseconds, ratios, images per second."""
    engines = [e for e in ENGINES[suite] if e != "torch-first"]
    columns = [(f"{e} ms", "seconds", e, 1e3, ".2f") for e in engines]
    columns += [(f"{e}/{OURS}", "ratios", e, 1, ".2f") for e in engines if e != OURS]
    if suite == "steps":
        columns += [(f"{e} img/s", "images_per_second", e, 1, ",.0f") for e in engines]
        columns += [(f"{e} MB", "peak_mb", e, 1, ",.0f") for e in engines]
    line = f"{row['name'] if row else suite:<44}"
    for title, key, e, unit, form in columns:
        cell = title if row is None else format(row[key][e] * unit, form) if e in row[key] else "-"
        line += cell.rjust(max(13, len(title) + 2))
    return line


def parser_of(suite: str, doc: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that every suite in a file of its own has."""
    p = argparse.ArgumentParser(
        prog=f"bench_{suite}.py", description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    p.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, not {rounds}")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the results there, as JSON")
    p.add_argument("--record", action="store_true", help="--out experiments/results/...")
    p.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return p


def check_out(p: argparse.ArgumentParser, out: Path | None) -> None:
    """End the program, before anything is measured, if the results cannot be written there."""
    try:
        if out and out.is_dir():
            raise IsADirectoryError("it is a directory")
        if out:
            tempfile.TemporaryFile(dir=out.parent).close()
    except OSError as error:
        p.error(f"cannot write {out}: {error.strerror or error}")


def parsed(p: argparse.ArgumentParser, argv: Sequence[str] | None, name: str) -> argparse.Namespace:
    """The options of a suite in a file of its own; --record is --out bench-NAME.json."""
    options = p.parse_args(argv)
    if options.record and not options.out:
        options.out = RESULTS / f"bench-{name}.json"
    check_out(p, options.out)
    return options


def measured_on(record: dict[str, Any]) -> str:
    """The machine, and how often it was measured."""
    machine, versions = record["machine"], record["versions"]
    text = f"{machine['cpu']}, {machine['cores']} cores; {record['rounds']} interleaved rounds"
    return text + (f"; PyTorch {versions['torch']}" if versions.get("torch") else "")


def draw(record: dict[str, Any], path: Path) -> None:
    """A bar for each ratio of a layer or step to PyTorch, or of a kernel to the rung below.

    The lines on a bar are of the quartiles of the rival's times: how much they scatter.
    """
    import matplotlib  # here: gpu_check.py takes of this file what needs nothing

    matplotlib.use("Agg")
    from matplotlib import pyplot, style

    from quatgrad.lth.results.drawing import set_title

    bars = {}
    for row in record["results"]:
        for rival in ("torch", "numpy"):
            if rival in row["ratios"]:
                ratio, seconds = row["ratios"][rival], row["seconds"][rival]
                spread = [abs(ratio * q / seconds - ratio) for q in row["quartiles"][rival]]
                bars[f"{row['name']}, {rival}"] = ratio, spread, rival
                break
    ratios, spreads, rivals = zip(*bars.values(), strict=True)
    colours = ["C0" if rival == "torch" else "0.6" for rival in rivals]
    with style.context("quatgrad.style"):
        figure, axes = pyplot.subplots(figsize=(8, 1.6 + 0.22 * len(bars)))
        lines = {"xerr": np.transpose(spreads), "error_kw": {"elinewidth": 0.7}}
        axes.barh(list(bars), ratios, color=colours, **lines)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.invert_yaxis()
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_xlabel(f"time of the rival / time of {OURS}: longer is better for {OURS}")
        bar = "bars: medians of the ratio; lines: quartiles of the rival's time"
        figure.draw_without_rendering()  # so that the width of the axes is known
        set_title(axes, f"{OURS} beside its rivals", f"{measured_on(record)}; {bar}")
        figure.savefig(path)
        pyplot.close(figure)


def explained() -> Iterator[str]:
    """A line for each convolution of the layers: the algorithm of y, dx and dw."""
    from quatgrad.kernels.numba_cpu.conv.algorithm import explain

    for N, *maps, P, Q in (sizes for sizes in LAYERS if len(sizes) == 5):
        for algebra, w in (("real", (3, 3, P, Q)), ("quaternion", (4, 3, 3, P // 4, Q // 4))):
            answer = explain((maps[0], maps[1]), w, *WINDOW[1:])
            line = "; ".join(f"{of}: {how}" for of, how in answer.items())
            yield f"{algebra} conv 3x3 {(N, *maps, P, Q)}: {line}"


def about(rounds: int, threads: int | None) -> dict[str, Any]:
    """What a reader of the numbers wants to know: when, how, on which machine, with what."""

    def read(path: str, key: str) -> str:
        text = Path(path).read_text() if Path(path).exists() else ""
        return "".join(re.findall(rf"^{key}\s*:\s*(.*)", text, re.MULTILINE)[:1])

    root = f"{SCRIPT.parents[1]}/"  # of this machine, and nobody else's
    known = {d.name: d.version for d in distributions()} | {"python": platform.python_version()}
    machine = {"cpu": read("/proc/cpuinfo", "model name") or platform.processor()}
    machine |= {"cores": os.cpu_count(), "memory": read("/proc/meminfo", "MemTotal")}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *(a.replace(root, "") for a in sys.argv)]),
        "machine": machine,
        "versions": {n: known.get(n) for n in ("python", "numpy", "numba", "quatgrad", *RIVALS)}
        | {n: version for n, version in known.items() if n.startswith("nvidia-cudnn")},
        "rounds": rounds,
        "threads": threads,
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; what is wrong with them ends the program with code 2, before measuring."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="bench.py", description=__doc__, formatter_class=raw)
    p.add_argument("--suite", choices=(*CALLS, *APART, "all"), default="all",
                   help=f"{', '.join(APART)}: by itself (default: all others)")  # fmt: skip
    p.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds, not {ROUNDS}")
    p.add_argument("--full", action="store_true", help="steps: resnet18 and resnet50 too (minutes)")
    p.add_argument("--rivals", action="store_true",
                   help=f"steps: {', '.join(STEP_RIVALS)} too, where they work")  # fmt: skip
    p.add_argument("--threads", type=int, metavar="N", help="of every engine (default: its own)")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the results there, as JSON")
    p.add_argument("--record", action="store_true", help="write experiments/results/bench-*.json")
    p.add_argument("--profile", action="store_true",
                   help="with --suite steps: where the time of a step goes")  # fmt: skip
    p.add_argument("--explain", action="store_true", help="say how convolutions are computed")
    p.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = p.parse_args(argv)
    if options.threads is not None and options.threads < 1:
        p.error(f"--threads is at least 1; got {options.threads}")
    if options.profile and options.suite != "steps":
        p.error("--profile is of --suite steps")
    apart = options.suite in APART or options.profile
    for name in ("threads", "rivals", "full"):
        if apart and getattr(options, name) and not (name == "full" and options.profile):
            p.error(f"--{name} is not of this suite: it is measured as its own file says")
    if options.record and not options.out:
        options.out = RESULTS / f"bench-{'profile' if options.profile else options.suite}.json"
    check_out(p, options.out)
    return options


def run(suites: list[str], full: bool, rounds: int, threads: int | None) -> Iterator[Case]:
    """Measure and print, suite by suite; yields the results."""
    with ExitStack() as stack:
        workers = dict.fromkeys(("numpy", OURS), stack.enter_context(start_worker(threads)))
        if find_spec("torch") and suites != ["kernels"]:
            for engine in {e for s in suites for e in ENGINES[s] if e.startswith("torch")}:
                workers[engine] = stack.enter_context(start_worker(threads))
        for suite in suites:
            print(f"\n{table_line(suite)}")
            there = {e: workers[e] for e in ENGINES[suite] if e in workers}
            for group in groups(suite, full):
                for row in measure(suite, group, there, rounds):
                    if suite == "steps":
                        row["peak_mb"] = {
                            e: peak_memory(layout_of(e, row), row["case"], threads)
                            for e in row["seconds"]
                        }
                    print(table_line(suite, row), flush=True)
                    yield row
    print(f"\nMedians of {rounds} rounds; a ratio above 1: {OURS} is so many times as fast.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command: 0, 2 for wrong options, 130 if interrupted."""
    options = parse(argv)
    if options.serve:
        return serve()
    if options.explain:
        print(*explained(), sep="\n")
        return 0
    if (
        options.suite in APART or options.profile
    ):  # a process of its own: threads are set before NumPy starts
        own = ["--quick"] * options.quick + (["--out", str(options.out)] if options.out else [])
        own += ["--full"] * (options.full and options.profile)
        script = RESULTS.with_name(f"bench_{'profile' if options.profile else options.suite}.py")
        return subprocess.call([sys.executable, str(script), *own])
    if options.rivals:
        flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        has_bf16 = re.search("avx512_bf16|amx_bf16", flags) is not None
        ENGINES["steps"] += STEP_RIVALS[not has_bf16 :]
    record = about(QUICK_ROUNDS if options.quick else ROUNDS, options.threads)
    print(*record["machine"].values(), *(f"{n} {v}" for n, v in record["versions"].items() if v))
    suites = list(CALLS) if options.suite == "all" else [options.suite]
    try:
        record["results"] = list(run(suites, options.full, record["rounds"], options.threads))
    except KeyboardInterrupt:
        print("\ninterrupted: nothing was written", file=sys.stderr)
        return 130
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n")
        picture = options.out.with_suffix(".png")
        draw(record, picture)
        print(f"Written: {options.out} and {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
