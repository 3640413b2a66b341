"""A network that predicts by its plan."""

from dataclasses import replace

import numpy as np

from quatgrad.autograd import Tensor
from quatgrad.backend import get_backend
from quatgrad.errors import OptionError
from quatgrad.network import Network, finds_boxes
from quatgrad.nn import Module
from quatgrad.sparse.plan import Plan, prepare
from quatgrad.task import NOT_OF_IMAGES

#: Below this share of the weights a plan computes batches faster than the network itself does. With
#: ResNet-18, ResNet-8 and LeNet-300-100 it was 2.5 to 7 times as fast at 10 %, 0.7 to 3.4 at 24 %.
PAYS = 0.2


class Planned(Module):
    """The plan of a network in the place of its model."""

    def __init__(self, plan: Plan, model: Module):
        self.plan, self.architecture = plan, model.architecture

    def forward(self, x: Tensor) -> Tensor:
        """The logits of the plan, or its map; without a graph."""
        y, (H, W, C) = self.plan(x), self.plan.output_shape
        return Tensor(y.reshape(-1, H, W, C) if finds_boxes(self) or H * W > 1 else y)

    def state_dict(self) -> dict[str, np.ndarray]:
        """`OptionError`: whatever is saved begins here."""
        raise OptionError(
            "a network that was prepared has a plan, and no weights to save: save the network that "
            "it was made from"
        )


def prepared(network: Network) -> Network:
    """The same network, to predict with: `prepared(load(path)).predict(images)`.

    It can be called, and not be trained or saved. One that was prepared is given back as it is.
    """
    if isinstance(network.model, Planned):
        return network
    plan = prepare(network.model, image_shape(network), network)
    return replace(network, model=Planned(plan, network.model))


def faster(network: Network) -> Network:
    """The same network for many images: by its plan where so few weights are left that it pays.

    Probabilities differ by rounding alone; training does not use it, and its records do not move.
    """
    sizes = [w.size for _, w in network.model.weight_parameters()]
    alive = sum(int(mask.sum()) for mask in network.masks.values())
    if not network.masks or get_backend() != "numba" or alive > PAYS * sum(sizes):
        return network
    try:
        return prepared(network)
    except OptionError:  # a layer of one's own, for which a plan has no step
        return network


def image_shape(network: Network) -> tuple[int, ...]:
    """(H, W, C) of what the model takes: an encoded image, or what the architecture says."""
    if isinstance(network.model, Planned):
        return network.model.plan.input_shape
    if network.encoding:
        black = np.zeros((1, *network.encoding.image_shape), np.uint8)
        return np.asarray(network.encoding(black)).shape[1:]
    architecture = network.model.architecture
    if not architecture:
        raise OptionError(
            "nothing says which images this network takes: use sparse.prepare(network.model, "
            "input_shape, network.masks)"
        )
    if architecture["model"] in NOT_OF_IMAGES:
        raise OptionError(
            f"{architecture['model']} takes no images, and nothing but networks of images is "
            "deployed, exported or planned yet: use it from Python, as network.model"
        )
    return (*architecture["image_size"], architecture["in_channels"])
