"""Dense or sparse: which way of computing a layer is faster, by its density.

The numbers are those of `python -m quatgrad.sparse.measure` on one core of a Zen 4 (AVX-512).
"""

from quatgrad.sparse.steps import Layer, Steps

KINDS = ("dense", "sparse")

#: (what lives or dies, is the output one pixel?) -> the density at which both ways take the same
#: time. Of maps of 32x32x64 to 4x4x512 it was 0.38 to 0.46, 0.22 to 0.28 and 0.46 to 0.52.
BREAK_EVEN = {
    ("real", False): 0.42,
    ("quaternion", False): 0.25,
    ("whole", False): 0.49,
    ("real", True): 0.23,
    ("quaternion", True): 0.12,
    ("whole", True): 0.12,
}

#: What a 3x3 layer of stride 1 takes by the engine's kernels, of the time of a dense plan, in a
#: batch of 64: 0.32 to 0.64, for they transform the maps (Winograd). Other layers gain nothing.
ENGINE = 0.5
#: Products of an image below which that is lost again: the engine's threads meet after each step.
LEAST_PRODUCTS = 1e8


def choose(layer: Layer, steps: Steps) -> str:
    """The faster way. A layer of which nothing is left is always sparse."""
    return KINDS[layer.density <= _break_even(layer, steps)]


def engine_is_faster(steps: Steps) -> bool:
    """Whether a batch is computed sooner by the engine, which knows no zeros."""
    plan = engine = total = 0.0
    for layer in steps.layers():
        H, W, _ = steps.shapes[layer.y]
        products = H * W * layer.weight.size * layer.components
        total += products
        plan += products * min(1, layer.density / _break_even(layer, steps))
        transformed = layer.window == (3, 3) and layer.stride == (1, 1) and (H, W) != (1, 1)
        engine += products * (ENGINE if transformed else 1)
    return total > LEAST_PRODUCTS and engine < plan


def _break_even(layer: Layer, steps: Steps) -> float:
    kind = "real" if layer.components == 1 else "whole" if layer.whole else "quaternion"
    return BREAK_EVEN[kind, steps.shapes[layer.y][:2] == (1, 1)]
