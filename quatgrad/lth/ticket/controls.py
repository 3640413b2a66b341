"""What a ticket is compared with: tickets that lack one of the things that may make it win.

Each control is trained like the ticket, at every level, from the same data in the same order.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.random import Generator

from quatgrad.lth.ticket.ticket import State, Ticket

Components = Mapping[str, int]

#: control(ticket, components of each weight, another network's first state, draws) -> ticket
Control = Callable[[Ticket, Components, State, Generator], Ticket]


def reinitialised(ticket: Ticket, components: Components, fresh: State, rng: Generator) -> Ticket:
    """The same mask over other initial weights, with a new optimizer: was it the mask alone?

    The weights are untrained. So a search trains them for all its epochs, also where the ticket is
    rewound to a later epoch (`FROM_SCRATCH`).
    Source: Frankle & Carbin, arXiv:1803.03635, "random reinitialization".
    """
    return replace(ticket, state=fresh, optimizer_state={})


def shuffled(ticket: Ticket, components: Components, fresh: State, rng: Generator) -> Ticket:
    """The same weights under a mask shuffled in each component tensor: was it the count alone?

    This is the random mask of equal counts, too: shuffled uniformly, any mask becomes each mask of
    its counts with the same probability.
    Source: Frankle et al., "Pruning neural networks at initialization", arXiv:2009.08576.
    """
    masks = {}
    for name, mask in ticket.masks.items():
        rows = mask.reshape(components[name], -1)
        masks[name] = rng.permuted(rows, axis=1).reshape(mask.shape)
    return replace(ticket, masks=masks)


def shuffled_whole(ticket: Ticket, components: Components, fresh: State, rng: Generator) -> Ticket:
    """As `shuffled`, but quaternions move as they are: was it which components go together?

    The number of quaternions of each of the 16 patterns stays. Where whole quaternions were
    pruned, they stay whole. In a real weight it is `shuffled`.
    """
    masks = {}
    for name, mask in ticket.masks.items():
        columns = mask.reshape(components[name], -1)
        masks[name] = rng.permutation(columns, axis=1).reshape(mask.shape)
    return replace(ticket, masks=masks)


def signs(ticket: Ticket, components: Components, fresh: State, rng: Generator) -> Ticket:
    """w0 <- sign(w0) sqrt(mean w0^2) of its tensor: were it the signs alone?

    Source: Zhou et al., "Deconstructing lottery tickets", arXiv:1905.01067.
    """
    flat = {
        name: (np.sign(w) * np.sqrt(np.mean(w * w, dtype=np.float64))).astype(w.dtype)
        for name, w in ticket.state.items()
        if name in ticket.masks
    }
    return replace(ticket, state={**ticket.state, **flat})


def mask_transfer(ticket: Ticket, components: Components, fresh: State, rng: Generator) -> Ticket:
    """The mask that another seed found, over the weights of this seed: does it fit them alone?

    `reinitialised` has the same kind of ticket, but sees the images in the order of the mask's
    seed; this control sees them in the order of the weights' seed. Its search takes the masks of
    the other seed's search (`FROM_ANOTHER_SEED`). So the ticket has them already.
    """
    return ticket


CONTROLS: dict[str, Control] = {
    "reinitialised": reinitialised,
    "shuffled": shuffled,
    "shuffled-whole": shuffled_whole,
    "signs": signs,
    "transplanted": mask_transfer,
}
#: Controls whose weights are untrained, whatever epoch the ticket is rewound to.
FROM_SCRATCH = ("reinitialised",)
#: Controls whose masks come from another trial.
FROM_ANOTHER_SEED = ("transplanted",)
