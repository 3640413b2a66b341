"""The masks of a level: which network is ranked, by what, and in how many rounds."""

import math

import numpy as np

from quatgrad.arrays import asarray, to_numpy
from quatgrad.data import Dataset
from quatgrad.data.dataset import stratified
from quatgrad.lth.prune.counts import between
from quatgrad.lth.prune.flow import synflow_gradients
from quatgrad.lth.prune.rule import Arrays, Masks, prune
from quatgrad.lth.prune.scores import GRADIENTS
from quatgrad.lth.search.protocol import Protocol
from quatgrad.lth.search.start import LevelStart
from quatgrad.lth.ticket.checks import check_pruning, check_start
from quatgrad.lth.ticket.rewind import rewind
from quatgrad.lth.ticket.ticket import Ticket
from quatgrad.nn import Module
from quatgrad.random import generator

#: Images of each class whose loss `sensitivity` is the slope of, and how many go through at once.
IMAGES_OF_A_CLASS, AT_ONCE = 10, 100


def next_masks(
    model: Module, dataset: Dataset, protocol: Protocol, seed: int, level: int, start: LevelStart
) -> Masks:
    """The masks of a level, from the network that `Protocol.score_from` names, by its rule.

    The model is put into the state that is ranked, and stays there. Invariants are asserted.
    """
    weights = dict(model.weight_parameters())
    old, times = protocol.prunings(start.previous.masks, level)
    state = start.ranked(level)
    # A network pruned at once has the same draws at every level: masks of one step are nested.
    rng = generator(seed, "prune", level if protocol.score_from == "last" else 0)
    components = {name: w.components for name, w in weights.items()}
    masks, rule = old, protocol.rule
    before, left = rule.alive(old, components), rule.targets(old, components, times)
    for done in range(1, protocol.pruning_steps + 1):
        ticket = Ticket(masks, state)
        rewind(model, ticket)
        check_start(model, ticket)
        slopes = gradients(rule.score, model, dataset, seed)
        goal = between(before, left, done / protocol.pruning_steps)
        masks = prune(weights, masks, rule, start.init_state, rng, slopes, goal)
    check_pruning(old, masks, components, rule, times)
    return masks


def gradients(score: str, model: Module, dataset: Dataset, seed: int) -> Arrays | None:
    """dF/dw at the weights as they are, for a score that asks for it; the model is as before.

    The loss is computed by the backend, so where two sensitivities agree to rounding, another
    backend may keep the other one. All other scores are the same on every backend.
    """
    if score not in GRADIENTS:
        return None
    if GRADIENTS[score] == "flow":
        return synflow_gradients(model, dataset.input_shape)
    return loss_gradients(model, dataset, seed)


def loss_gradients(model: Module, dataset: Dataset, seed: int) -> dict[str, np.ndarray]:
    """dL/dw of the mean loss over `IMAGES_OF_A_CLASS` of each class, as far as there are.

    The images depend on the seed alone and are not augmented. Batch norm takes the statistics of
    up to `AT_ONCE` of them, as in training: before training there are no others.
    """
    n = min(IMAGES_OF_A_CLASS * dataset.num_classes, len(dataset.train))
    rows = stratified(dataset.strata, n, generator(seed, "sensitivity"))
    state, training = model.state_dict(), model.training
    model.train()
    for p in model.parameters():
        p.grad = None
    for part in np.array_split(rows, math.ceil(n / AT_ONCE)):
        x, y = dataset.encode(dataset.train.images[part]), dataset.train.labels[part]
        loss = dataset.task.step(model, asarray(x), asarray(y), asarray(np.zeros(2)))
        (loss * (len(part) / n)).backward()
    slopes = {
        name: np.zeros(w.shape) if w.grad is None else to_numpy(w.grad).copy()
        for name, w in model.weight_parameters()
    }
    for p in model.parameters():
        p.grad = None
    model.train(training)
    model.load_state_dict(state)  # running statistics have moved
    return slopes
