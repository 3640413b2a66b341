"""Putting a ticket into a network, and proof that it is there: the invariants of every run.

Each check raises `InvariantError`: the numbers of such a run must not be used.
"""

from __future__ import annotations

import numpy as np

from quatgrad.backend import to_numpy
from quatgrad.errors import InvariantError
from quatgrad.lth.prune import Masks, Rule, survivors
from quatgrad.lth.ticket import Ticket
from quatgrad.nn import Module
from quatgrad.optim import Optimizer


def rewind(model: Module, ticket: Ticket) -> None:
    """Set the network to mask x rewind state, and keep pruned weights at 0 from now on."""
    weights = dict(model.prunable_parameters())
    for w in weights.values():
        w.prune(None)
    model.load_state_dict(ticket.state)
    for name, w in weights.items():
        w.prune(ticket.masks[name])
    for p in model.parameters():
        p.grad = None


def check_start(model: Module, ticket: Ticket) -> None:
    """The state is mask x rewind state, bit for bit: also biases, batch norm and statistics."""
    for name, t in model.named_state():
        expected = ticket.state[name]
        if name in ticket.masks:
            expected = np.where(ticket.masks[name], expected, np.zeros((), expected.dtype))
        if to_numpy(t.data).tobytes() != np.ascontiguousarray(expected).tobytes():
            raise InvariantError(f"{name} does not start from mask x rewind state")
    check_pruned(model, ticket)


def check_pruned(model: Module, ticket: Ticket, optimizer: Optimizer | None = None) -> None:
    """Pruned weights, their gradients and their momenta are exactly 0; nothing else is masked."""
    state = {id(p): s for p, s in zip(*_of(optimizer), strict=True)}
    for name, p in model.named_parameters():
        mask = ticket.masks.get(name)
        if mask is None:
            if p.mask is not None:
                raise InvariantError(f"{name} is not prunable, but it has a mask")
            continue
        if p.mask is None or not np.array_equal(to_numpy(p.mask), mask):
            raise InvariantError(f"{name} does not carry the mask of the ticket")
        arrays = {"value": p.data, "gradient": p.grad, **state.get(id(p), {})}
        for what, a in arrays.items():
            # logical_and, not a[~mask]: the same truth in a fifteenth of the time.
            if getattr(a, "shape", None) == mask.shape and np.logical_and(to_numpy(a), ~mask).any():
                raise InvariantError(f"{name}: a pruned entry has a {what} that is not 0")


def check_pruning(old: Masks, new: Masks, components: dict[str, int], rule: Rule) -> None:
    """Masks only shrink, n - round((1 - keep) n) of n groups are left, and groups stay whole."""
    if old.keys() != new.keys():
        raise InvariantError("pruning changed which weights are prunable")
    for name, c in components.items():
        if (new[name] & ~old[name]).any():
            raise InvariantError(f"{name}: a pruned weight came back")
        groups = rule.groups(new[name], c)
        if (groups.any(axis=-1) != groups.all(axis=-1)).any():
            raise InvariantError(f"{name}: a {rule.granularity} is pruned in part")
    before, after = (_counts(masks, components, rule) for masks in (old, new))
    for where, counts in before.items():
        expected = [survivors(n, rule.keep) for n in counts]
        if after[where] != expected:
            raise InvariantError(
                f"{where}: {after[where]} weights are left, the rule says {expected}"
            )


def _counts(masks: Masks, components: dict[str, int], rule: Rule) -> dict[str, list[int]]:
    """Groups alive in each pool."""
    counts = {
        n: rule.groups(masks[n], c).any(axis=-1).sum(axis=1).tolist() for n, c in components.items()
    }
    return {"all tensors": [sum(map(sum, counts.values()))]} if rule.scope == "global" else counts


def check_unchanged(ticket: Ticket, digest: str) -> None:
    """Training has not written to the ticket: an aliased rewind state would hold its results."""
    if ticket.digest() != digest:
        raise InvariantError("training has changed the ticket: its state is aliased")


def _of(optimizer: Optimizer | None) -> tuple[list, list]:
    return (optimizer.parameters, optimizer.state) if optimizer else ([], [])
