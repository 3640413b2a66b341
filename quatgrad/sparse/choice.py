"""Dense or sparse: which way of computing a layer is faster, by its density."""

from quatgrad.sparse.steps import Layer, Steps

KINDS = ("dense", "sparse")

#: (components, is the output one pixel?) -> the density at which both ways take the same time. For
#: maps they were measured with a prototype of these kernels, for one pixel they are estimates.
BREAK_EVEN = {(1, False): 0.4, (4, False): 0.27, (1, True): 0.35, (4, True): 0.35}


def choose(layer: Layer, steps: Steps) -> str:
    """The faster way. A layer of which nothing is left is always sparse."""
    single = steps.shapes[layer.y][:2] == (1, 1)
    return KINDS[layer.density <= BREAK_EVEN[layer.components, single]]
