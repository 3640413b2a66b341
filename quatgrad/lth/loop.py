"""The lottery ticket hypothesis on one screen: train, prune, rewind, repeat."""

from collections.abc import Iterator
from typing import NamedTuple

from quatgrad.data import Dataset
from quatgrad.lth.prune.rule import Rule, full_masks, prune
from quatgrad.lth.search.level_masks import gradients
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import State, Ticket
from quatgrad.nn import Module
from quatgrad.random import generator
from quatgrad.train import Recipe, train


class Level(NamedTuple):
    """A ticket, and what it was trained to: its accuracy (validation, else test) and state."""

    ticket: Ticket
    accuracy: float
    state: State


def find_tickets(
    model: Module, dataset: Dataset, recipe: Recipe, rule: Rule, levels: int, seed: int = 0
) -> Iterator[Level]:
    """Levels 0 (the dense network), 1, ..., `levels`, each with a share `rule.keep` of the weights.

    Frankle & Carbin, arXiv:1803.03635: a dense network contains a sparse one, the ticket, that
    trains as well alone, from the same first weights. To find it: train the network, prune the
    weights that matter least, rewind the others to their first values, and repeat. Between levels
    leave `model` as it is: what it was trained to is what is pruned. `Search` is the same on
    disk, with more choices.
    """
    start, weights = model.state_dict(), dict(model.weight_parameters())
    masks, left = full_masks(weights), 0
    for level in range(levels + 1):
        if level:
            slopes = gradients(rule.score, model, dataset, seed)
            masks = prune(weights, masks, rule, start, generator(seed, "prune", level), slopes)
        ticket = Ticket(masks, start)
        rewind(model, ticket)
        last = train(model, dataset, recipe, seed, progress=False)[-1]
        accuracy = last.validation_accuracy if dataset.validation else last.test_accuracy
        yield Level(ticket, accuracy or 0.0, model.state_dict())
        if left == ticket.weights_left:
            return  # nothing is left to prune
        left = ticket.weights_left
