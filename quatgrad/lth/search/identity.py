"""Of which network a stage is: digests that are the same on every backend and machine.

A key that says "the network of this name" is a promise of whoever chose the name. So the first
search of a dense stage writes down what it is of, `network.json`, and each later one is compared.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from quatgrad.arrays import to_numpy
from quatgrad.autograd import Parameter, no_grad
from quatgrad.backend import use_backend
from quatgrad.data import Dataset
from quatgrad.errors import DTypeError, RunError
from quatgrad.lth.store import files
from quatgrad.lth.store.records import NetworkFile
from quatgrad.lth.store.stage import Stage, read_start
from quatgrad.lth.ticket.ticket import State
from quatgrad.nn import Buffer, Module
from quatgrad.random import generator
from quatgrad.tensor_file import digest

#: Images that go through the network; images of each split that are encoded.
PROBES, ENCODED = 2, 256
#: Numbers of the probe are rounded to so many parts of the largest: machines agree to 1e-15.
PARTS = 10**6


def identity(model: Module, dataset: Dataset, state: State) -> dict[str, str]:
    """Digests of the state, of images as they are encoded and moved, and of the function."""
    found = {"start": digest(state), "encoded": _encoded(dataset)}
    try:
        numbers = probe(model, state, dataset, np.float64)
    except DTypeError:  # a layer of somebody's own has constants in float32
        numbers = probe(model, state, dataset, np.float32)
    found["computes"] = digest({name: _rounded(arrays) for name, arrays in numbers.items()})
    return {name: text[:16] for name, text in found.items()}


class First(NamedTuple):
    """What a network is before any search trains it: its state, and the identity with that."""

    state: State
    identity: dict[str, str]


#: A network that a search has trained: the digest of the state that it was left in, the first one.
_left: WeakKeyDictionary[Module, tuple[str, First]] = WeakKeyDictionary()


def remember(model: Module, first: First) -> None:
    """Of a network that a search has trained: what it was before. The next search may ask."""
    _left[model] = digest(model.state_dict()), first


def first_of(model: Module, dataset: Dataset) -> First:
    """The network as it is; as a search has left it, as it was before that search."""
    state = model.state_dict()
    left, first = _left.get(model, ("", None))
    if first is None or left != digest(state):
        return First(state, identity(model, dataset, state))
    return First(first.state, {**first.identity, "encoded": _encoded(dataset)[:16]})


def _encoded(dataset: Dataset) -> str:
    """The digest of some images of each split as the network sees them, augmented ones too."""
    arrays = {"classes": np.array(dataset.num_classes)}
    for number, split in enumerate(dataset.splits):
        rows = np.unique(np.linspace(0, len(split) - 1, ENCODED).astype(int))
        arrays[f"split {number}"] = to_numpy(dataset.encode(split.images[rows]))
        if dataset.augment and not number:
            rng = generator(0, "probe")
            images, _ = dataset.augmented(split.images[rows], split.labels[rows], rng)
            arrays["augmented"] = to_numpy(images)
    return digest(arrays)


def probe(model: Module, state: State, dataset: Dataset, dtype: Any) -> dict[str, list[np.ndarray]]:
    """What a step of training and an evaluation of a copy with that state compute, of noise.

    Of words, which cannot be noise, the first ones of the test.

    Gradients, the state after it, loss and logits: so layers that differ only in training count.
    """
    with use_backend("numpy"):
        twin = _copy(model, state, dtype)
        task, x, y = dataset.task, *_examples(dataset, dtype)
        twin.train()
        loss = task.step(twin, x, y, np.zeros(2))
        loss.backward()
        gradients = [to_numpy(p.grad) for p in twin.parameters() if p.grad is not None]
        trained = [*twin.state_dict().values()]
        twin.eval()
        with no_grad():
            logits = [loss.numpy(), task.output(twin, x).numpy()]
        return {"gradients": gradients, "state": trained, "logits": logits}


def _examples(dataset: Dataset, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """A batch of `PROBES`."""
    x, y = to_numpy(dataset.encode(dataset.test.images[:PROBES])), dataset.test.labels[:PROBES]
    if x.dtype.kind == "f":
        N = len(y) if y.dtype == np.float32 else PROBES  # of a small test there may be fewer labels
        x = generator(0, "probe").standard_normal((N, *dataset.input_shape)).astype(dtype)
    if y.dtype == np.int64 and x.dtype.kind == "f":
        y = np.arange(PROBES) % dataset.num_classes
    return x, y


def _copy(model: Module, state: State, dtype: Any) -> Module:
    """The network with that state in another dtype, and without masks.

    `deepcopy` asks its memo for what it has copied before, by id: there the new tensors wait.
    """
    memo: dict[int, Any] = {}
    for name, t in model.named_state():
        value = np.array(state[name])
        value = value.astype(dtype) if value.dtype.kind == "f" else value
        memo[id(t)] = Parameter(value, t.components) if isinstance(t, Parameter) else Buffer(value)
    return deepcopy(model, memo)


def _rounded(arrays: list[np.ndarray]) -> np.ndarray:
    """All numbers of one kind, in parts of the largest: a 0 that is no exact one is 0."""
    flat = np.nan_to_num(np.concatenate([np.ravel(a).astype(np.float64) for a in arrays]))
    largest = 2.0 ** np.ceil(np.log2(max(float(abs(flat).max(initial=0.0)), 1e-30)))
    return np.rint(flat / largest * PARTS).astype(np.int64)


def begin(stage: Stage, first: First) -> None:
    """Write down what a dense stage is of, before it is trained."""
    found = first.identity
    NetworkFile(encoded=found["encoded"], computes=found["computes"]).write(_path(stage))
    files.write_arrays(stage.path / "start.npz", first.state)


def check(stage: Stage, model: Module, dataset: Dataset, first: First) -> None:
    """Raise `RunError` where a dense stage was begun with another network, or another encoding.

    First weights may differ by rounding: they were drawn on another machine. Stages of earlier
    versions say no more than their first weights.
    """
    path, here = stage.path / "start.npz", first.identity
    start = read_start(stage.path) if stage.done else files.read_arrays(path)
    if digest(start)[:16] != here["start"]:
        if not _equal(start, first.state):
            raise _another(stage, "its first weights are others")
        here = identity(model, dataset, start)
    if not files.exists(_path(stage)):
        return
    stored = NetworkFile.read(_path(stage))
    if stored.encoded != here["encoded"]:
        raise _another(stage, "its data are encoded or augmented otherwise")
    if stored.computes != here["computes"]:
        raise _another(stage, "of the same weights it computes something else")


def _path(stage: Stage) -> Path:
    return stage.path / "network.json"


def _equal(a: State, b: State) -> bool:
    return {n: x.shape for n, x in a.items()} == {n: x.shape for n, x in b.items()} and all(
        np.allclose(a[n], b[n], rtol=1e-4, atol=1e-6, equal_nan=True) for n in a
    )


def _another(stage: Stage, why: str) -> RunError:
    return RunError(
        f"this network does not fit {stage.path}, which was trained under the same name: {why} "
        f"(see {_path(stage).name} there); choose another `out`, or name what differs in `what`"
    )
