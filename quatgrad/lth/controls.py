"""What a ticket is compared with: tickets that lack one of the things that may make it win.

Each control is trained like the ticket, at every level, from the same data in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from quatgrad.lth.ticket import Ticket

State = Mapping[str, np.ndarray]
#: control(ticket, components of each weight, another network's first state, draws) -> ticket
Control = Callable[[Ticket, Mapping[str, int], State, np.random.Generator], Ticket]


def reinitialised(
    ticket: Ticket, components: Mapping[str, int], fresh: State, rng: np.random.Generator
) -> Ticket:
    """The same mask over other initial weights: was it the mask alone?

    Source: Frankle & Carbin, arXiv:1803.03635, "random reinitialization".
    """
    return replace(ticket, state=fresh)


def shuffled(
    ticket: Ticket, components: Mapping[str, int], fresh: State, rng: np.random.Generator
) -> Ticket:
    """The same weights under a mask shuffled in each component tensor: was it the count alone?

    Source: Frankle et al., "Pruning neural networks at initialization", arXiv:2009.08576.
    """
    masks = {}
    for name, mask in ticket.masks.items():
        rows = mask.reshape(components[name], -1)
        masks[name] = rng.permuted(rows, axis=1).reshape(mask.shape)
    return replace(ticket, masks=masks)


def signs(
    ticket: Ticket, components: Mapping[str, int], fresh: State, rng: np.random.Generator
) -> Ticket:
    """w0 <- sign(w0) sqrt(mean w0^2) of its tensor: were it the signs alone?

    Source: Zhou et al., "Deconstructing lottery tickets", arXiv:1905.01067.
    """
    flat = {
        name: (np.sign(w) * np.sqrt(np.mean(w * w, dtype=np.float64))).astype(w.dtype)
        for name, w in ticket.state.items()
        if name in ticket.masks
    }
    return replace(ticket, state={**ticket.state, **flat})


CONTROLS: dict[str, Control] = {
    "reinitialised": reinitialised,
    "shuffled": shuffled,
    "signs": signs,
}
