"""Proof that a ticket is in a network as it should be: the invariants of every run.

Each check raises `InvariantError`: the numbers of such a run must not be used.
"""

import numpy as np

from quatgrad.arrays import array_module, asarray, to_numpy
from quatgrad.errors import InvariantError
from quatgrad.lth.prune.counts import Counts
from quatgrad.lth.prune.rule import Masks, Rule
from quatgrad.lth.ticket.mask_constraint import mask_of
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.nn import Module
from quatgrad.optim import Optimizer


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
    pairs = zip(optimizer.parameters, optimizer.state, strict=True) if optimizer else ()
    state = {id(p): s for p, s in pairs}
    for name, p in model.named_parameters():
        mask, own = ticket.masks.get(name), mask_of(p)
        if mask is None:
            if own is not None:
                raise InvariantError(f"{name} is not prunable, but it has a mask")
            continue
        alive = asarray(mask)  # on a GPU all is compared there
        if own is None or own.shape != mask.shape or (own != alive).any():
            raise InvariantError(f"{name} does not carry the mask of the ticket")
        arrays = {"value": p.data, "gradient": p.grad, **state.get(id(p), {})}
        for what, a in arrays.items():
            # logical_and, not a[~mask]: the same truth in a fifteenth of the time.
            if getattr(a, "shape", None) != mask.shape:
                continue
            if array_module(a).logical_and(a, ~alive).any():
                raise InvariantError(f"{name}: a pruned entry has a {what} that is not 0")


def check_pruning(
    old: Masks, new: Masks, components: dict[str, int], rule: Rule, times: int = 1
) -> None:
    """Masks only shrink, groups stay whole, and as many are left as the rule says.

    That is n - round((1 - keep) n) of n groups, `times` times; `old` are the masks before.
    """
    if old.keys() != new.keys():
        raise InvariantError("pruning changed which weights are prunable")
    for name, c in components.items():
        if (new[name] & ~old[name]).any():
            raise InvariantError(f"{name}: a pruned weight came back")
        groups = rule.groups(new[name], c)
        if (groups.any(axis=-1) != groups.all(axis=-1)).any():
            raise InvariantError(f"{name}: a {rule.granularity} is pruned in part")
    expected, left = _expected(old, components, rule, times), rule.alive(new, components)
    for where, counts in left.items():
        if counts != expected[where]:
            raise InvariantError(
                f"{where}: {counts} weights are left, the rule says {expected[where]}"
            )


def _expected(old: Masks, components: dict[str, int], rule: Rule, times: int) -> Counts:
    """`Rule.targets`, with `counts.survivors` written a second time: a bug there is seen here."""
    own, counts = rule.own_rates(old), rule.alive(old, components)
    shared = [place for place in counts if place not in own]
    pools = [n for place in shared for n in counts[place] if n]
    total = sum(pools)
    for _ in range(times):
        total = max(total - round((1 - rule.keep) * total), len(pools))
        counts = {
            place: [max(n - round((1 - own.get(place, rule.keep)) * n), min(n, 1)) for n in ns]
            for place, ns in counts.items()
        }
    if rule.scope == "erk":
        shares = rule.targets(old, components, times)
        counts |= {place: shares[place] for place in shared}
        if total != (found := sum(n for place in shared for n in counts[place])):
            raise InvariantError(f"{found} weights are shared out, the rule says {total}")
    return counts


def check_unchanged(ticket: Ticket, digest: str) -> None:
    """Training has not written to the ticket: an aliased rewind state would hold its results."""
    if ticket.digest() != digest:
        raise InvariantError("training has changed the ticket: its state is aliased")
