"""What flows through a network whose weights are all positive: sums over the paths of its graph.

In a network without biases, norms and signs, with means for max-pools, the output for an image of
ones is a sum over all paths from a pixel to a class, of the product of the weights on the way:

    R = sum_paths prod_(w on the path) |w|        dR/d|w| = the same over the paths through w

So |w| dR/d|w| is what the paths through w carry, SynFlow's score; and with 1 for each weight alive
it is 0 exactly where no path from input to output is left: a weight that computes nothing.
A quaternion weight is its real block matrix, in which each component stands in four places.
"""

from typing import Any

import numpy as np

from quatgrad import nn
from quatgrad.autograd import Parameter, Tensor
from quatgrad.backend import use_backend
from quatgrad.errors import DTypeError, InvariantError, OptionError, ShapeError
from quatgrad.kernels.registry import kernel
from quatgrad.lth.prune.rule import Arrays, Masks
from quatgrad.nn.convert import TO_QUATERNION, TO_REAL, groups_of, rebuild, twin_of

#: What passes a positive signal on as it is, or scales it by channel.
PLAIN = (nn.BatchNorm2d, nn.QBatchNorm2d, nn.ModReLU, nn.Dropout)


def flow(model: nn.Module, shape: tuple[int, ...], values: Arrays) -> tuple[float, dict[str, Any]]:
    """R and dR/dv for an image of ones (H, W, C), with `values` v >= 0 for the weights, float64.

    The model is as before. Norms are left out, as in evaluation before any training. NumPy does
    it on every backend, so that masks are the same. Errors: `OptionError` for layers whose weights
    do not multiply their input (rotations) or that have groups; `InvariantError` where a sum over
    paths exceeds float64.
    """
    with use_backend("numpy"), np.errstate(over="ignore", invalid="ignore"):
        net, weights = _positive(model, values)
        try:
            total = net.eval()(Tensor(np.ones((1, *shape)))).sum()
        except (TypeError, ShapeError, DTypeError) as error:
            raise OptionError(
                f"flow: an image of ones does not go through this network ({error}); SynFlow is "
                "for networks of images, choose another `score`"
            ) from error
        total.backward()
        gradients = {name: _gradient(w, values[name]) for name, w in weights.items()}
    if not all(np.isfinite(g).all() for g in gradients.values()):
        raise InvariantError("the flow through the network exceeds float64: it is too deep")
    return total.item(), gradients


def synflow_gradients(model: nn.Module, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """dR/dw = sign(w) dR/d|w| for the weights as they are: w dR/dw is SynFlow's score.

    Source: Tanaka et al., arXiv:2006.05467.
    """
    weights = {n: w.numpy().astype(np.float64) for n, w in model.weight_parameters()}
    _, gradients = flow(model, shape, {name: abs(w) for name, w in weights.items()})
    return {name: np.sign(w) * gradients[name] for name, w in weights.items()}


def connected(model: nn.Module, shape: tuple[int, ...], masks: Masks) -> Masks:
    """The weights alive that lie on a path, of weights alive, from a pixel to a class.

    The others compute nothing that depends on the input and reaches the output: what is left is
    the effective ticket. 1 for each weight alive, scaled layer by layer so that a sum is about 1:
    paths are not lost to underflow.
    """
    scaled = {name: m / max(m.sum() / m.shape[-1], 1.0) for name, m in masks.items()}
    _, gradients = flow(model, shape, scaled)
    return {name: m & (gradients[name] > 0) for name, m in masks.items()}


def _positive(model: nn.Module, values: Arrays) -> tuple[nn.Module, dict[str, Parameter]]:
    """A copy with the real, positive weights of `values`, and those weights by name."""
    names = {id(w): name for name, w in model.weight_parameters()}
    weights: dict[str, Parameter] = {}

    def convert(layer: Any) -> nn.Module | None:
        own = names.get(id(vars(layer).get("weight")))
        if isinstance(layer, PLAIN):
            return nn.Sequential()
        if isinstance(layer, nn.MaxPool2d):
            return nn.AvgPool2d(layer.size, layer.stride, layer.padding)
        if not own or type(layer) not in {**TO_QUATERNION, **TO_REAL} or hasattr(layer, "scale"):
            return None
        real = TO_REAL.get(type(layer), type(layer))
        twin: Any = twin_of(layer, real, _expanded(layer, values[own]))
        twin.bias, weights[own] = None, twin.weight
        return twin

    net = rebuild(model, convert)
    if missing := [name for name in names.values() if name not in weights]:
        raise OptionError(
            f"flow: {missing[0]} belongs to a layer that is neither linear nor a convolution; "
            "the paths through it are not defined"
        )
    return net, weights


def _expanded(layer: Any, v: np.ndarray) -> np.ndarray:
    """|block matrix| of a quaternion layer's v, in float64; that of a real layer is v."""
    if groups_of(layer) != 1:
        raise OptionError(f"flow: {layer!r} has groups, through which paths are not followed")
    v = np.asarray(v, np.float64)
    return abs(kernel("expand")(v)) if type(layer) in TO_REAL else v


def _gradient(w: Parameter, v: np.ndarray) -> np.ndarray:
    """dR/dv: of a component, the sum over the four places where it stands."""
    g = np.zeros(w.shape) if w.grad is None else w.grad
    if w.shape == v.shape:
        return g
    return kernel("fold")(kernel("expand")(np.ones(v.shape)) * g)
