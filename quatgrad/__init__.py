"""quatgrad: a readable deep-learning engine for quaternion networks and lottery tickets.

autograd   Tensor, Function, backward: read this first
ops        differentiable operations       nn      layers, initialisation
models     LeNet, Conv-2/4/6, ResNets      optim   SGD, Adam, schedules
data       digits, CIFAR, batches          lth     prune, rewind, retrain
"""

from quatgrad import kernels, ops, quaternion
from quatgrad.autograd import Function, Parameter, Tensor, no_grad
from quatgrad.backend import generator, get_backend, set_backend, use_backend
from quatgrad.kernels import use_kernels

__version__ = "0.1.0"

__all__ = [
    "Function",
    "Parameter",
    "Tensor",
    "generator",
    "get_backend",
    "kernels",
    "no_grad",
    "ops",
    "quaternion",
    "set_backend",
    "use_backend",
    "use_kernels",
]
