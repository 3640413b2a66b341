"""Putting a ticket into a network."""

from quatgrad.lth.ticket.mask_constraint import set_mask
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.nn import Module


def rewind(model: Module, ticket: Ticket) -> None:
    """Set the network to mask x rewind state, and keep pruned weights at 0 from now on."""
    weights = dict(model.weight_parameters())
    for w in weights.values():
        set_mask(w, None)
    model.load_state_dict(ticket.state)
    for name, w in weights.items():
        set_mask(w, ticket.masks[name])
    for p in model.parameters():
        p.grad = None
