"""A ticket on disk: a trained network of which only the weights that live are written.

The container is that of `tensor_file`, and what is said of the network is what `network` says. For
each weight, by its name:

    values/NAME   the survivors, in the order of the array; (4, n) of whole quaternions
    scale/NAME    of int8 values: w = scale_q value for each output feature q
    places/NAME   how many entries are left out before each survivor; none, where all live
    state/NAME    everything else; of batch norm what it does, without its statistics

A gap is written as Rice did: its lowest k bits, all gaps side by side, then for the rest so many
bits 0 and a bit 1. The first byte is k. With k = 0 it is a bit for each entry; at 5 % of the
weights a place takes 6 bits. Rice, "Some practical universal noiseless coding techniques" (1979).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from quatgrad.arrays import Array
from quatgrad.costs import check_masks
from quatgrad.errors import DataError, OptionError, unknown
from quatgrad.network import About, Build, Network, restore
from quatgrad.nn import BatchNorm2d, Module
from quatgrad.sparse.rounding import WEIGHTS, int8_scale, to_float16
from quatgrad.tensor_file import read_tensors, write_tensors

MOST = 1 << 26  # entries of a weight
K = 16  # more lowest bits than any gap needs


def save(path: str | Path, network: Network, weights: str = "float32") -> None:
    """Write a network with its masks, values in so many bits: whole, or not at all.

    Errors: `OptionError` for unknown `weights`, numbers that these cannot hold, masks that fit no
    weight, a weight of more than `MOST` entries, and what is no network or a prepared one;
    `DataError` if it cannot be written.
    """
    if weights not in WEIGHTS:
        raise OptionError(unknown("weights", weights, WEIGHTS))
    if not isinstance(network, Network):
        raise OptionError(
            "sparse.save(path, network) writes a Network, which Network.of(model) makes; got a "
            f"{type(network).__name__}"
        )
    state = network.model.state_dict()
    check_masks("sparse.save", network.model, network.masks)
    arrays: dict[str, np.ndarray] = {}
    for name, w in network.model.weight_parameters():
        if w.dtype != np.float32:
            raise OptionError(f"a ticket is of float32; {name} is {w.dtype}: keep it by its `save`")
        if w.size > MOST:
            raise OptionError(
                f"a ticket has weights of at most {MOST:,} entries; {name} is {w.shape}: keep "
                "this network by its `save`, or make it narrower"
            )
        mask = np.asarray(network.masks.get(name, np.ones(w.shape, bool)), bool)
        if np.any(state[name][~mask]):
            raise OptionError(
                f"sparse.save: weights that the mask {name} prunes are not 0: give the masks of "
                "the model's own ticket, after they were applied"
            )
        arrays |= {f"{part}/{name}": a for part, a in pack(state[name], mask, weights).items()}
    shapes = {name: list(w.shape) for name, w in network.model.weight_parameters()}
    rest, norms = without_statistics(network.model, state)
    arrays |= {f"state/{name}": a for name, a in rest.items() if name not in shapes}
    said = {"weights": weights, "of": shapes, "norms": norms}
    write_tensors(path, arrays, network.about() | {"ticket": said})


def load(path: str | Path, build: Build | None = None) -> Network:
    """The network in a file of `save`, with its masks, in evaluation mode, in float32.

    `build` as in `quatgrad.load`. No code is in the file. Errors: `DataError` in one line if it is
    missing, damaged or no ticket.
    """
    arrays, about = read_tensors(path)
    if "ticket" not in about:
        raise DataError(f"{path} holds a network, and no ticket: quatgrad.load reads it")
    try:
        known = msgspec.convert(about, About)
        shapes = {name: tuple(map(int, n)) for name, n in about["ticket"]["of"].items()}
        names = (name for name in arrays if name.startswith("state/"))
        state = {name.removeprefix("state/"): arrays[name] for name in names}
        state = with_statistics(state, about["ticket"]["norms"])
        masks: dict[str, Array] = {}
        for name, shape in shapes.items():
            state[name], mask = unpack(_parts(arrays, name), shape)
            masks[name] = mask
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        MemoryError,
    ) as error:
        raise DataError(
            f"{path} is no whole ticket ({type(error).__name__}: {str(error)[:100]}): copy it again"
        ) from error
    return restore(known, state, masks, path, build)


def _parts(arrays: Mapping[str, Array], name: str) -> dict[str, Array]:
    parts = {part: arrays.get(f"{part}/{name}") for part in ("values", "scale", "places")}
    return {part: a for part, a in parts.items() if a is not None}


# ------------------------------------------------------------------------------ one weight


def pack(w: Array, mask: Array, weights: str) -> dict[str, Array]:
    """The parts of a weight (..., Q) and its mask, by their names above."""
    whole = w.ndim in (3, 5) and w.shape[0] == 4 and bool((mask == mask[:1]).all())
    places = mask[0] if whole else mask
    parts = {} if places.all() else {"places": positions(places.ravel())}
    values = w.reshape(4, -1)[:, places.ravel()] if whole else w[places]
    if weights == "float16":
        values = to_float16(values)
    if weights == "int8":
        parts["scale"] = int8_scale(np.where(mask, w, 0))
        scaled = w / parts["scale"]
        scaled = scaled.reshape(4, -1)[:, places.ravel()] if whole else scaled[places]
        values = np.clip(np.rint(scaled), -127, 127).astype(np.int8)
    return parts | {"values": values}


def unpack(parts: Mapping[str, Array], shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The weight, float32, and its mask; `ValueError` for parts that do not belong together."""
    values = parts["values"]
    whole = values.ndim == 2
    places = shape[1:] if whole else shape
    size = math.prod(places)
    if size > MOST or min(shape, default=0) < 0 or (whole and len(values) != shape[0]):
        raise ValueError(f"values {values.shape} for a weight of shape {shape}"[:100])
    n = values.shape[-1]
    mask = places_of(parts["places"], n, size) if "places" in parts else np.ones(size, bool)
    if int(mask.sum()) != n or values.ndim > 2:
        raise ValueError(f"{n} values for {int(mask.sum())} places")
    w = np.zeros((shape[0] if whole else 1, mask.size), np.float32)
    w[:, mask] = values
    w = w.reshape(shape)
    if "scale" in parts:
        scale = parts["scale"].astype(np.float32).reshape(shape[-1])
        if not np.isfinite(scale).all():
            raise ValueError("a scale that is no number")
        w = w * scale
    return w, np.broadcast_to(mask.reshape(places), shape)


def positions(mask: Array) -> Array:
    """Where a flat mask is True, in bytes, with the k that makes them fewest."""
    gaps = np.diff(np.flatnonzero(mask), prepend=-1) - 1
    return min((_rice(gaps, k) for k in range(K)), key=len)


def _rice(gaps: Array, k: int) -> Array:
    low = (gaps[:, None] >> np.arange(k)) & 1
    ends = np.cumsum((gaps >> k) + 1) - 1
    high = np.zeros(ends[-1] + 1 if len(ends) else 0, np.uint8)
    high[ends] = 1
    return np.concatenate([[np.uint8(k)], np.packbits(low.astype(np.uint8)), np.packbits(high)])


def places_of(code: Array, n: int, size: int) -> Array:
    """The flat mask of so many entries that has n True; `ValueError` if the code has not."""
    k = int(code[0])
    if code.dtype != np.uint8 or k >= K or not 0 <= n <= size:
        raise ValueError(f"{n} places of {size}, with k = {k}")
    split = 1 + -(-n * k // 8)
    bits = np.unpackbits(code[1:split], count=n * k).reshape(n, k).astype(np.int64)
    ends = np.flatnonzero(np.unpackbits(code[split:]))
    if len(ends) != n:
        raise ValueError(f"{len(ends)} places for {n} values")
    gaps = (bits << np.arange(k)).sum(axis=1) + ((np.diff(ends, prepend=-1) - 1) << k)
    mask = np.zeros(size, bool)
    mask[np.cumsum(gaps + 1) - 1] = True
    return mask


# -------------------------------------------------------------------------------- batch norm


def without_statistics(model: Module, state: Mapping[str, Array]) -> tuple[dict[str, Array], dict]:
    """The state with every split norm as a scale and a shift; and the eps of each, by its name."""
    left, norms = dict(state), {}
    modules = {id(m): (name, m) for name, m in reversed([*model.named_modules()])}
    held = Counter(id(t) for _, m in modules.values() for _, t in m.members())
    for name, norm in modules.values():  # each once, by its first name
        scale, shift, mean, var = _names(name)
        if type(norm) is BatchNorm2d and all(held[id(t)] == 1 for _, t in norm.members()):
            factor = state[scale] / np.sqrt(state[var].astype(np.float64) + norm.eps)
            left[scale] = factor.astype(np.float32)
            left[shift] = (state[shift] - state[mean] * factor).astype(np.float32)
            del left[mean], left[var]
            norms[name] = norm.eps
    return left, norms


def with_statistics(state: Mapping[str, Array], norms: Mapping[str, float]) -> dict[str, Array]:
    """The state with statistics that do nothing in each of these norms, whose eps they have."""
    whole = dict(state)
    for name, eps in norms.items():
        scale, _, mean, var = _names(name)
        whole[mean] = np.zeros_like(whole[scale])
        whole[var] = np.full_like(whole[scale], 1 - eps)
    return whole


def _names(norm: str) -> list[str]:
    return [f"{norm}.{n}".lstrip(".") for n in ("scale", "shift", "running_mean", "running_var")]
