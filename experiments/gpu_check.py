"""Is the GPU right, and how fast is it? One command for a machine with an NVIDIA GPU.

    python experiments/gpu_check.py     under 8 minutes; writes experiments/results/gpu-check.json

Each section runs in a process of its own, with a time limit: one that fails, hangs or kills its
process takes nothing from the others, what it measured until then is kept, and the record is
written after each. First every kernel and a few training steps are compared with NumPy in float64,
recorded steps with eager ones, and steps over NCCL with those without; then ResNets are trained on
random images that lie on the device, beside PyTorch where it is installed. The exit code is 0 if
all sections ended well and all numbers agree.

--backend numpy --tiny runs the same on a CPU, at sizes that take seconds: for the tests.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from bench import about, check_out, normal, torch_twin

from quatgrad import Tensor, autograd, data, generator, models
from quatgrad.arrays import asarray, to_numpy
from quatgrad.backend import (
    BACKENDS,
    PRECISIONS,
    get_backend,
    notice,
    set_backend,
    use_backend,
    use_precision,
)
from quatgrad.data import Dataset, Split
from quatgrad.data.augment import pad_crop_flip
from quatgrad.data.encode import colour_encoding
from quatgrad.errors import BackendError, QuatgradError
from quatgrad.kernels import reference, use_kernels
from quatgrad.kernels.cupy_gpu.nccl import is_installed
from quatgrad.kernels.reference.conv_norm_act import Block, Saved
from quatgrad.kernels.reference.optimizer import AdamRule
from quatgrad.kernels.registry import kernel, kernels_of
from quatgrad.models import resnet
from quatgrad.nn import Module
from quatgrad.ops import cross_entropy
from quatgrad.optim import SGD
from quatgrad.parallel import use_processes
from quatgrad.parallel.nccl import One
from quatgrad.task import Nodes, Padded, Sentences, Task, Text
from quatgrad.train import TrainStep

OUT = Path(__file__).parent / "results" / "gpu-check.json"
#: A comparison: "what", "error", "limit". A measurement: "case", "engine", "speed" (images/s), or
#: "kernel", "seconds" by rung, or "where" a step spends "us" in so many "launches".
Row = dict[str, Any]
Call = Callable[[], Any]

#: The largest error, relative to the largest number of the result.
LIMITS = {"float32": 2e-5, "tf32": 3e-3, "bf16": 2e-2}
TRAINING = {"float32": 1e-3, "tf32": 5e-3, "bf16": 5e-2}  # the same, after three steps
FAR = sys.float_info.max  # an error that JSON has a number for
BATCHES, TINY_BATCHES = (128, 512), (4,)
MAPS, LARGE_MAPS, TINY_MAPS = (8, 16, 64), (128, 32, 64), (2, 6, 8)  # N, H = W, C
SECONDS, KERNEL_SECONDS, TINY_SECONDS = 0.6, 0.1, 0.02  # that are timed, after WARM_UP calls
WARM_UP = 3  # the first compiles and plans, the second records
DEADLINE = 440  # seconds, after which no section goes on

# ----------------------------------------------------------------------------- is it right?

WINDOW, HALVE = ((3, 3), (1, 1), (1, 1)), ((2, 2), (2, 2), (0, 0))  # size, stride, padding


def arguments(N: int, H: int, C: int) -> dict[str, tuple[Any, ...]]:
    """Arguments for every kernel, in float32."""
    x, g = normal(N, H, H, C), normal(N, H, H, C, seed=1)
    w, v = normal(3, 3, C, C, seed=2), normal(4, 3, 3, C // 4, C // 4, seed=3)
    c, c2 = normal(C, seed=4), 1 + normal(C, seed=5) ** 2
    half, winner = normal(N, H // 2, H // 2, C), reference.max_pool(x, *HALVE)[1]
    p, q = normal(1000, 4), normal(1000, 4, seed=1)
    units = reference.quaternion_normalize(np.stack([p, q]))
    X, G, W = normal(N, C), normal(N, C, seed=1), normal(4, C // 4, C // 4)
    numbers, rule = (0.1, 0.9, True, 5e-4), AdamRule((0.9, 0.999), 1e-8, 0.1, True)
    rng = np.random.default_rng(0)
    labels, moves = rng.integers(0, N, N), rng.integers(-4, 5, (N, 3)).astype(np.int32)
    images, alive = rng.integers(0, 256, (N, H, H, 3)).astype(np.uint8), -(g < 0).astype(np.uint32)
    dots, one = X @ G.T, np.ones((), np.float32)
    table = {
        "patches": (x, *WINDOW),
        "unpatches": (reference.patches(x, *WINDOW), x.shape, *WINDOW[1:]),
        "max_pool": (x, *HALVE),
        "max_pool_dx": (half, winner, x.shape, *HALVE),
        "avg_pool": (x, *HALVE),
        "avg_pool_dx": (half, x.shape, *HALVE),
        "cast_input": (x,),
        "upcast": ((x.view(np.uint32) >> 16).astype(np.uint16),),
        "add": (x, g),
        "add_to": (x.copy(), g),
        "sum_over": (g, (0, 1, 2)),
        "relu": (x,),
        "relu_dx": (g, x),
        "bias_relu": (x, c),
        "bias_relu_dx": (g, x),
        "batch_norm": (x, c, c, 1e-5),
        "batch_norm_dx": (g, x, c, c2, c, 1e-5),
        "batch_norm_eval": (x, c, c2, c, c, 1e-5),
        "update_running_stats": (c, c2, 0.1),
        "expand": (v,),
        "fold": (w,),
        "hamilton": (p, q),
        "matmul": (X, G.T),
        "hamilton_linear": (X, W),
        "hamilton_linear_dx": (G, W),
        "hamilton_linear_dw": (X, G),
        "augment": (images, labels, moves, c[:3], c2[:3], normal(3, 4)),
        "cross_entropy": (dots, labels, 0.1),
        "cross_entropy_dz": (-abs(dots), labels, 0.1, one),
        "accumulate_metrics": (np.zeros(2), dots, labels, one),
        "sgd_masked": (x, g, normal(*x.shape, seed=6), alive, one, *numbers[1:]),
        "sgd": (x, g, normal(*x.shape, seed=6), *numbers),
        "sgd_all": ((x, c), (g, c2), (normal(*x.shape, seed=6), c), *numbers),
        "adam": (x, g, normal(*x.shape, seed=6), x * x, 3, 1e-3, rule),
        "quaternion_divide": (p, q),
        "quaternion_rotate": (p, q[:, 1:]),
        "quaternion_power": (p, q[:, 0]),
        "quaternion_slerp": (units[0], units[1], q[:, 0], True),
        "quaternion_distance": (p, q, True, False),
        "quaternion_to_euler": (p, (3, 2, 1), True),
        "quaternion_from_matrix": (reference.quaternion_to_matrix(np.sign(p)),),  # exact
    }
    for name in ("exp", "inverse", "log", "norm", "normalize", "polar", "sqrt", "to_matrix"):
        table[f"quaternion_{name}"] = (p,)
    return table | convolutions(x, g, w, v, c, c2) | sequences(N, 2 * H, C)


def convolutions(x: Any, g: Any, w: Any, v: Any, c: Any, c2: Any) -> dict[str, tuple[Any, ...]]:
    """The part of `arguments` for convolutions; the weights are w and, of quaternions, v."""
    table: dict[str, tuple[Any, ...]] = {}
    for kind, weight in (("", w), (" quaternion", v)):
        table[f"conv2d{kind}"] = x, weight, *WINDOW[1:]
        table[f"conv2d_dx{kind}"] = g, weight, x.shape, *WINDOW[1:]
        table[f"conv2d_dw{kind}"] = x, g, weight.shape, *WINDOW[1:]
    block, saved = Block(*WINDOW[1:], 1e-5, True), Saved(x, normal(*x.shape, seed=7), x, c, c2)
    table["conv_norm_act"] = x, v, c, c, g, block
    table["conv_norm_act_dx"] = g, saved, v, c, c, block, True
    return table


def sequences(N: int, T: int, C: int) -> dict[str, tuple[Any, ...]]:
    """The part of `arguments` for sequences (N, T, C) and graphs."""
    q, k, v, g = (normal(N, T, C, seed=s) for s in range(4))
    U, V = (normal(C, gates * C, seed=gates) / np.float32(C**0.5) for gates in (3, 4))
    x, z = normal(N, T, 3 * C, seed=5), normal(N, T, 4 * C, seed=6)
    lengths = np.arange(1, N + 1) % T + 1
    row, row_g, gain = q.reshape(-1, C), g.reshape(-1, C), normal(C // 4, seed=7)
    heads = reference.attention(q, k, v, lengths, 2, 4, True)
    states = reference.gru(x, U, v[0, 0], lengths, True)
    _, gates, cells = reference.lstm(z, V, lengths, False)
    keys, starts = np.arange(len(row)) % 7, np.arange(len(row) + 1)
    normed = reference.layer_norm(row, gain, v[0, 0], 4, 1e-5)
    return {
        "gelu": (x,),
        "gelu_dx": (z[..., : 3 * C], x),
        "dropout": (x, x > 0, 0.3),
        "layer_norm": (row, gain, v[0, 0], 4, 1e-5),
        "layer_norm_dx": (row_g, *normed[1:], gain, 4),
        "attention": (q, k, v, lengths, 2, 4, True),
        "attention_dx": (g, q, k, v, heads[1], lengths, 4),
        "gru": (x, U, v[0, 0], lengths, True),
        "gru_dx": (g, states[0], U, *states[1:], lengths, True),
        "lstm": (z, V, lengths, False),
        "lstm_dx": (g, V, gates, cells, lengths, False),
        "segment_sum": (row, keys, 9),
        "csr_matmul": (row[:, 0], keys, starts, row[:7]),
    }


IN_PLACE = {  # the arguments that are the result
    "sgd": (0, 2), "sgd_all": (0, 2), "sgd_masked": (0, 2), "adam": (0, 2, 3),
    "update_running_stats": (0,), "accumulate_metrics": (0,),
}  # fmt: skip


def in_precision(name: str) -> AbstractContextManager[None]:
    """`use_precision` on a GPU; a rehearsal on a CPU computes in float32."""
    return use_precision(name) if get_backend() == "cupy" else nullcontext()


def kernels(tiny: bool) -> Iterator[Row]:
    """Every kernel of the best rung that has it, against `reference` in float64."""
    for name, args in arguments(*(TINY_MAPS if tiny else MAPS)).items():
        short = name.split()[0]
        true = results(short, getattr(reference, short), args, wide)
        for precision in PRECISIONS if "conv" in name else ("float32",):
            row: Row = {"what": f"{name} {precision}", "limit": LIMITS[precision]}
            try:
                with in_precision(precision):
                    found = results(short, kernel(short), args, on_device)
                yield row | {"error": max(map(distance, found, true))}
            except Exception as error:  # one that does not compile hides none of the others
                yield row | {"error": FAR, "why": f"{type(error).__name__}: {error}"}


def results(
    name: str, f: Callable[..., Any], args: tuple[Any, ...], move: Callable[[Any], Any]
) -> list[np.ndarray]:
    """What the kernel f makes of the arguments, moved; as NumPy arrays."""
    args = tuple(moved(a, move) for a in args)
    y = f(*args)
    if name in IN_PLACE:
        y = tuple(args[k] for k in IN_PLACE[name])
    parts = y if isinstance(y, tuple) else (y,)
    parts = [b for a in parts for b in (a if isinstance(a, tuple) else (a,))]
    return [to_numpy(autograd.upcast(a)) for a in parts if a is not None]


def moved(a: Any, move: Callable[[Any], Any]) -> Any:
    """An argument whose arrays are moved: those of `Saved` and of tuples too."""
    if isinstance(a, Saved):
        return Saved(*(moved(b, move) for b in a))
    if type(a) is tuple:
        return tuple(moved(b, move) for b in a)
    return move(a) if isinstance(a, np.ndarray) else a


def wide(a: np.ndarray) -> np.ndarray:
    """A copy; numbers as float64, and masks of all bits or none as long as they."""
    if a.dtype == np.uint32:
        return a.view(np.int32).astype(np.int64).view(np.uint64)
    return a.astype(np.float64 if a.dtype.kind == "f" else a.dtype)


def on_device(a: np.ndarray) -> Any:
    """A copy on the backend in force."""
    return asarray(a.copy())


def distance(y: np.ndarray, true: np.ndarray) -> float:
    """max |y - true| / max |true|; FAR if y is not finite or of another shape."""
    if y.shape != true.shape or not np.isfinite(y).all():
        return FAR
    return float(np.abs(y - true).max() / max(np.abs(true).max(), 1e-30))


def training(tiny: bool) -> Iterator[Row]:
    """Three steps against NumPy in float64; and twice the same, bit for bit."""
    width = 4 if tiny else 16
    for algebra in ("real", "quaternion"):
        with use_backend("numpy"):
            true = trained(algebra, width, in_float64)
        for precision, limit in TRAINING.items():
            with in_precision(precision):
                found, again = (trained(algebra, width) for _ in range(2))
            what = f"3 steps, {algebra} {precision}"
            for name, y in found.items():
                error = distance(y, true[name])
                yield {"what": f"{what}: {name}", "limit": limit, "error": error}
            repeats = all(found[name].tobytes() == again[name].tobytes() for name in found)
            row = {"what": f"{what}: differ from run to run", "limit": 0}
            yield row | {"error": float(not repeats)}


def sequence_steps(tiny: bool) -> Iterator[Row]:
    """A step of every network of sequences and graphs against NumPy."""
    for name, algebra in product(NETWORKS, ("real", "quaternion")):
        with use_backend("numpy"):
            true = step_of(name, algebra, tiny)
        with in_precision("float32"):
            found = step_of(name, algebra, tiny)
        for what, y in found.items():
            row = {"what": f"a step of {name}, {algebra}: {what}", "limit": TRAINING["float32"]}
            yield row | {"error": distance(y, true[what])}


#: Networks of sequences and graphs, and how many numbers a step has; words and nodes, so many.
NETWORKS = {"gpt": 1, "transformer": 50, "gru": 4, "lstm": 4, "gcn": 12}


def step_of(name: str, algebra: str, tiny: bool) -> dict[str, np.ndarray]:
    """Loss and gradients of a step, without dropout."""
    rng, C, (N, T) = generator(0, name), NETWORKS[name], (4, 6) if tiny else (50, 60)
    width = 16 if tiny else 128
    tokens, lengths = rng.integers(1, 50, (N, T + 1)), rng.integers(1, T + 1, N)
    ended = np.arange(T + 1) >= lengths[:, None]
    x, y = tokens, rng.integers(0, 4, N)
    task: Task = Text(T)
    if name == "transformer":
        task, x = Sentences(C), np.where(ended, 0, tokens)[:, :T]
    elif name == "gcn":
        task, x = Nodes(normal(N * T, C), rng.integers(0, N * T, (N * T * 3, 2))), np.arange(N)
    elif name != "gpt":
        task, x = Padded(), np.where(ended[:, :T, None, None], 0, normal(N, T, 1, C))
    how = {"num_classes": 50 if name == "gpt" else 4, "in_channels": C, "image_size": (T, 1)}
    net, sums = models.create(name, algebra, width=width, **how).eval(), asarray(np.zeros(2))
    task.step(
        net, asarray(x.astype(np.float32 if C == 4 else np.int64)), asarray(y), sums
    ).backward()
    gradients = np.concatenate([to_numpy(p.grad).ravel() for p in net.parameters()])
    return {"loss": to_numpy(sums)[:1], "gradients": gradients}


def recorded(tiny: bool) -> Iterator[Row]:
    """Steps recorded as a CUDA graph against eager ones: bit for bit the same."""
    for precision, algebra in product(PRECISIONS, ("real", "quaternion")):
        with in_precision(precision):
            one, two = (stepped(algebra, tiny, records) for records in (True, False))
        differ = any(one[name].tobytes() != a.tobytes() for name, a in two.items())
        what = f"recorded steps, {algebra} {precision}: differ from eager ones"
        yield {"what": what, "error": float(differ), "limit": 0}


def over_nccl(tiny: bool) -> Iterator[Row]:
    """One process over NCCL, in recorded steps with several buckets, against one without it."""
    if get_backend() != "cupy":
        return
    if not is_installed():
        notice("CuPy finds no NCCL: one process over it is left out")
        return
    for algebra in ("real", "quaternion"):
        alone, group = stepped(algebra, tiny, True), One(sync_norm=False)
        group.least = 1 << (12 if tiny else 16)  # bytes
        with use_processes(group):
            found = stepped(algebra, tiny, True)
        if not (group.cut and len(group.cut.gradients) > 2):
            raise BackendError("the gradients were not summed in buckets")
        differ = any(found[name].tobytes() != a.tobytes() for name, a in alone.items())
        what = f"one process over NCCL, {algebra}: differs from one without"
        yield {"what": what, "error": float(differ), "limit": 0}


def stepped(algebra: str, tiny: bool, records: bool) -> dict[str, np.ndarray]:
    """The state of a ResNet-8 after five steps, of which three are recorded, if any is."""
    step, x, labels = trainee(16, records, **network("resnet8", algebra, tiny))
    for k in range(5):
        step(x, labels, 0.01 / (1 + k))
    if records and get_backend() == "cupy" and not any(step.graphs.recorded.values()):
        raise BackendError("the step was not recorded")
    return step.model.state_dict()


def trained(
    algebra: str, width: int, change: Callable[[Module], None] | None = None
) -> dict[str, np.ndarray]:
    """Losses of three steps of a ResNet-8, and its state afterwards as one vector."""
    net = models.create("resnet8", algebra, image_size=(8, 8), width=width)
    if change:
        change(net)
    dtype = net.parameters()[0].dtype
    optimizer = SGD(net.parameters(), 0.9, nesterov=True, weight_decay=5e-4)
    x, labels = normal(16, 8, 8, 4).astype(dtype), generator(0, "labels").integers(0, 10, 16)
    losses = []
    for _ in range(3):
        loss = cross_entropy(net(Tensor(x)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(0.01)
        losses.append(loss.item())
    state = np.concatenate([a.ravel() for a in net.state_dict().values()])
    return {"losses": np.array(losses), "weights": state}


def in_float64(net: Module) -> None:
    """Replace parameters and buffers by the same in float64."""
    for _, module in net.named_modules():
        for name, t in list(module.members()):
            if isinstance(t, Tensor):
                setattr(module, name, type(t)(t.numpy().astype(np.float64)))


# ----------------------------------------------------------------------------- how fast is it?


def kernel_speed(tiny: bool) -> Iterator[Row]:
    """Every kernel of the GPU rung against the rung below."""
    rungs = ("cupy_gpu", "gemm") if get_backend() == "cupy" else ("gemm", "reference")
    for name, args in arguments(*(TINY_MAPS if tiny else LARGE_MAPS)).items():
        if name.split()[0] not in kernels_of("cupy_gpu"):
            continue
        there = [moved(a, on_device) for a in args]
        seconds = {}
        for rung in rungs:
            with use_kernels(rung):
                call = partial(kernel(name.split()[0]), *there)
                seconds[rung] = 1 / per_second(call, 1, TINY_SECONDS if tiny else KERNEL_SECONDS)
        yield {"kernel": name, "seconds": seconds}


def speed(model: str, tiny: bool) -> Iterator[Row]:
    """Training steps of ours: every batch and algebra; those of most interest first."""
    engines = ENGINES if get_backend() == "cupy" else {"CPU": ("float32", False)}
    for engine, batch, algebra in product(engines, batches(tiny)[::-1], ("quaternion", "real")):
        precision, records = engines[engine]
        with in_precision(precision):
            step, x, labels = trainee(batch, records, **network(model, algebra, tiny))
            call = partial(step, x, labels, 1e-4)
            images = per_second(call, batch, TINY_SECONDS if tiny else SECONDS)
        yield {"case": case(model, algebra, batch), "engine": engine, "speed": images}
        del step, call  # and their memory


#: What is timed of ours: precision, and whether steps are recorded.
ENGINES = {
    "bf16": ("bf16", True),
    "tf32": ("tf32", True),
    "bf16 eager": ("bf16", False),
    "float32": ("float32", True),
}


def fed(tiny: bool) -> Iterator[Row]:
    """An epoch as it is trained: bf16 steps on batches that the device makes of images there."""
    n, size, classes = (40, 8, 10) if tiny else (50_000, 32, 100)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    split = Split(images, rng.integers(0, classes, n))
    encode = colour_encoding("rgb_gray", images.shape[1:], "cifar100")
    names = tuple(map(str, range(classes)))
    dataset = Dataset("noise", split, split.take(np.arange(2)), names, encode, pad_crop_flip)
    for batch in batches(tiny)[::-1]:
        net = network("resnet18", "quaternion", tiny)
        with in_precision("bf16"):
            step, _, _ = trainee(batch, True, **net)
            for epoch in range(2):  # the first compiles, plans and records
                start = time.perf_counter()
                for x, labels in data.batches(dataset, batch, 0, epoch):
                    step(x, labels, 1e-4)
                step.take()  # waits
        images = n / (time.perf_counter() - start)
        yield {
            "case": case("resnet18", "quaternion", batch),
            "engine": "bf16, fed",
            "speed": images,
        }


def trainee(
    batch: int, records: bool, image_size: Sequence[int], **net: Any
) -> tuple[TrainStep, Any, Any]:
    """A training step, and random images and labels on the device."""
    model = models.create(image_size=tuple(image_size), **net)
    step = TrainStep(model, SGD(model.parameters(), 0.9, nesterov=True, weight_decay=5e-4))
    step.graphs.enabled &= records
    labels = generator(0, "labels").integers(0, net["num_classes"], batch)
    return step, asarray(normal(batch, *image_size, 4)), asarray(labels)


def where(tiny: bool) -> Iterator[Row]:
    """The kernels in which a recorded step spends its time: PyTorch's profiler, if it is there."""
    if get_backend() != "cupy" or not find_spec("torch"):
        return
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.init()
    steps = 5
    with in_precision("bf16"):
        step, x, labels = trainee(
            batches(tiny)[-1], True, **network("resnet18", "quaternion", tiny)
        )
        call = partial(step, x, labels, 1e-4)
        per_second(call, 1, TINY_SECONDS)
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            for _ in range(steps):
                call()
            synchronize()
    for event in found.key_averages():
        if event.self_device_time_total:
            each = {"us": event.self_device_time_total / steps, "launches": event.count / steps}
            yield {"where": event.key} | each


def torch_speed(model: str, compiled: bool, tiny: bool) -> Iterator[Row]:
    """The same steps by PyTorch: bf16 autocast, channels last.

    Compiled, which takes a minute, quaternions at the last batch alone.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    torch.set_default_device("cuda" if on_gpu else "cpu")
    torch.backends.cudnn.benchmark = True
    chosen = batches(tiny)[-1:] if compiled else batches(tiny)
    algebras = ("quaternion",) if compiled else ("quaternion", "real")
    for batch, algebra in product(chosen[::-1], algebras):
        call = torch_step(batch, compiled, **network(model, algebra, tiny))
        wait = torch.cuda.synchronize if on_gpu else int
        images = per_second(call, batch, TINY_SECONDS if tiny else SECONDS, wait)
        engine = "torch compiled" if compiled else "torch eager"
        yield {"case": case(model, algebra, batch), "engine": engine, "speed": images}


def case(model: str, algebra: str, batch: int) -> str:
    """A row of the last table."""
    return f"{model} {algebra}, batch {batch}"


def batches(tiny: bool) -> tuple[int, ...]:
    """The batch sizes that are timed."""
    return TINY_BATCHES if tiny else BATCHES


def network(model: str, algebra: str, tiny: bool) -> dict[str, Any]:
    """What `models.create` makes of CIFAR-100's images."""
    size, width = ((8, 8), 4) if tiny else ((32, 32), 64)
    net = {"name": model, "algebra": algebra, "num_classes": 100}
    return net | {"image_size": size, "width": width}


def torch_step(batch: int, compiled: bool, image_size: Sequence[int], **net: Any) -> Call:
    """A training step in PyTorch on random images."""
    import torch

    model = models.create(image_size=tuple(image_size), **net)
    forward, leaves = torch_twin(model, "torch")
    if compiled:
        resnet.relu = torch.relu  # for good: the compiler does not follow torch_twin's patch
        forward = torch.compile(model.forward)
    x = torch.tensor(normal(batch, *image_size, 4)).permute(0, 3, 1, 2)
    labels = torch.tensor(generator(0, "labels").integers(0, net["num_classes"], batch))
    rule = {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    optimizer = torch.optim.SGD(leaves, lr=1e-4, fused=True, **rule)

    def call() -> Any:
        with torch.autocast(x.device.type, torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(forward(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return call


def synchronize() -> None:
    """Wait until the device has done what it was asked to do."""
    if get_backend() == "cupy":
        sys.modules["cupy"].cuda.Device().synchronize()


def per_second(call: Call, batch: int, seconds: float, wait: Call = synchronize) -> float:
    """Images per second, `batch` in a call, over calls that take so long together."""
    for _ in range(WARM_UP):
        call()
    wait()
    start = time.perf_counter()
    call()
    wait()
    some = min(max(int(seconds / 5 / (time.perf_counter() - start)), 1), 100)
    start, calls, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        for _ in range(some):  # the device has work while Python prepares more
            call()
        calls += some
        wait()
        elapsed = time.perf_counter() - start
    return calls * batch / elapsed


# ------------------------------------------------------------------------------- the sections

#: name -> what it does, and the seconds it may take
SECTIONS: dict[str, tuple[Callable[[bool], Iterator[Row]], float]] = {
    "kernels": (kernels, 90),  # compiles everything, also what others need
    "training": (training, 40),
    "sequences": (sequence_steps, 40),
    "recorded": (recorded, 60),
    "nccl": (over_nccl, 40),
    "resnet18": (partial(speed, "resnet18"), 75),
    "torch resnet18": (partial(torch_speed, "resnet18", False), 50),
    "fed": (fed, 40),
    "where": (where, 40),
    "resnet50": (partial(speed, "resnet50"), 90),
    "torch resnet50": (partial(torch_speed, "resnet50", False), 60),
    "torch resnet18 compiled": (partial(torch_speed, "resnet18", True), 120),
    "kernel speed": (kernel_speed, 40),
}


def child(name: str, backend: str, tiny: bool) -> int:
    """The life of a section: its rows, one on a line. PyTorch's need no backend of ours."""
    try:
        set_backend("numpy" if name.startswith("torch") else backend)
        for row in SECTIONS[name][0](tiny):
            print(json.dumps(row), flush=True)
    except QuatgradError as error:  # one clear line
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def run(name: str, backend: str, tiny: bool, left: float = DEADLINE) -> dict[str, Any]:
    """A section in a process of its own: its rows, and what went wrong, if anything did.

    It gets its own time, and no more than what is left for all.
    """
    command = [sys.executable, __file__, "--section", name, "--backend", backend]
    limit = min(SECTIONS[name][1], max(round(left), 1))
    started = time.perf_counter()
    process = subprocess.Popen(
        command + ["--tiny"] * tiny, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, errors = process.communicate(timeout=limit)
        problem = f"ended with code {process.returncode}" if process.returncode else ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with its children, which hold the pipes open
        out, errors = process.communicate()
        problem = f"not finished after {limit:g} s"
    except KeyboardInterrupt:  # Ctrl-C does not reach a session of its own
        os.killpg(process.pid, signal.SIGKILL)
        raise
    if problem:
        problem += "".join(f": {line}" for line in errors.strip().splitlines()[-1:])
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    notices = [line for line in errors.splitlines() if line.startswith("quatgrad: ")]
    found = {"section": name, "rows": rows, "problem": problem, "notices": notices}
    return found | {"seconds": time.perf_counter() - started}


def report(section: dict[str, Any]) -> bool:
    """Print how a section went; True if all is well."""
    compared = [row for row in section["rows"] if "error" in row]
    wrong = [row for row in compared if not row["error"] <= row["limit"]]
    done = f"{len(compared)} comparisons" if compared else f"{len(section['rows'])} measurements"
    print(f"{section['section']}: {done}, {len(wrong)} wrong, {section['seconds']:.0f} s")
    for row in (r for r in section["rows"] if "kernel" in r):
        (rung, mine), (below, theirs) = row["seconds"].items()
        print(f"  {row['kernel']:<20}{1e6 * mine:9.0f} us   {below}/{rung} {theirs / mine:6.1f}")
    for row in sorted((r for r in section["rows"] if "where" in r), key=lambda r: -r["us"])[:15]:
        print(f"  {row['us']:7.0f} us in {row['launches']:4.0f} launches: {row['where'][:80]}")
    for row in wrong or sorted(compared, key=lambda row: row["error"])[-1:]:
        verdict = "WRONG" if row in wrong else "worst"
        print(f"  {verdict}: {row['what']}, error {row['error']:.1e}, limit {row['limit']:.0e}")
        if "why" in row:
            print(f"    {row['why'].strip().splitlines()[0]}")
    for line in section["notices"] + ["FAILED: " + section["problem"]] * bool(section["problem"]):
        print(f"  {line}")
    return not wrong and not section["problem"]


def table(sections: list[dict[str, Any]]) -> str:
    """Images per second: a row for each case, a column for each engine."""
    speed = {(r["case"], r["engine"]): r["speed"]
             for s in sections for r in s["rows"] if "speed" in r}  # fmt: skip
    cases, engines = (dict.fromkeys(key[k] for key in speed) for k in (0, 1))
    lines = [f"{'training, images/s':<34}" + "".join(f"{e:>16}" for e in engines)]
    for name in cases:
        cells = (f"{speed[name, e]:,.0f}" if (name, e) in speed else "-" for e in engines)
        lines.append(f"{name:<34}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """All sections, a report of each, and the verdict."""
    raw = argparse.RawDescriptionHelpFormatter
    p = argparse.ArgumentParser(prog="gpu_check.py", description=__doc__, formatter_class=raw)
    p.add_argument("--backend", choices=BACKENDS, default="cupy", help="default: cupy")
    p.add_argument("--tiny", action="store_true", help="sizes that take seconds on a CPU")
    p.add_argument("--out", type=Path, default=OUT, metavar="FILE", help=f"default: {OUT}")
    p.add_argument("--section", choices=tuple(SECTIONS), help=argparse.SUPPRESS)
    options = p.parse_args(argv)
    if options.section:
        return child(options.section, options.backend, options.tiny)
    check_out(p, options.out)
    try:
        with use_backend(options.backend):
            pass
    except BackendError as error:  # before a record is overwritten
        print(f"gpu_check.py: {error}", file=sys.stderr)
        return 2
    names = [n for n in SECTIONS if find_spec("torch") or not n.startswith("torch")]
    sections, bad, started = [], [], time.perf_counter()
    record = about(1, None) | {"device": device(options.backend), "sections": sections}
    print(f"{record['device']}, {record['versions']}", flush=True)
    for name in names:
        left = DEADLINE - (time.perf_counter() - started)
        sections.append(run(name, options.backend, options.tiny, left))
        if not report(sections[-1]):
            bad.append(name)
        sys.stdout.flush()
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{table(sections)}\n")
    print(f"{'failed: ' + ', '.join(bad) if bad else 'all is well'}; written to {options.out}")
    return int(bool(bad))


def device(backend: str) -> dict[str, Any]:
    """The GPU, and the libraries that drive it."""
    if backend != "cupy":
        return {"backend": backend}
    try:
        import cupy

        properties = cupy.cuda.runtime.getDeviceProperties(0)
        return {
            "name": properties["name"].decode(),
            "memory": properties["totalGlobalMem"],
            "cuda": cupy.cuda.runtime.runtimeGetVersion(),
            "driver": cupy.cuda.runtime.driverGetVersion(),
            "cupy": cupy.__version__,
        }
    except (ImportError, RuntimeError) as error:
        return {"problem": str(error)}


if __name__ == "__main__":
    sys.exit(main())
