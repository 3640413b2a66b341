"""quatgrad: a readable deep-learning engine for quaternion networks and lottery tickets.

autograd   Tensor, Function, backward: read this first
ops        differentiable operations       nn      layers, initialisation
models     LeNet, Conv-2/4/6, ResNets      optim   SGD, Adam, schedules
data       digits, CIFAR, batches          lth     prune, rewind, retrain
load       a network from a file           interop weights of PyTorch
sparse     prepared for inference          costs   weights, multiply-adds, a summary
"""

from importlib import import_module
from typing import Any

from quatgrad import kernels, ops, quaternion
from quatgrad.autograd import Function, Parameter, Tensor, no_grad
from quatgrad.backend import get_backend, set_backend, use_backend
from quatgrad.kernels import use_kernels
from quatgrad.quaternion import Quaternion
from quatgrad.random import generator

__version__ = "0.1.0"

__all__ = [
    "Function",
    "Parameter",
    "Quaternion",
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


#: Parts that are imported when they are first asked for, and names that come from one.
_PARTS = (
    *("costs", "data", "interop", "lth", "models", "network", "nn", "optim", "sham", "sparse"),
    *("testing", "train"),
)
_FROM = {"Network": "network", "load": "network"}


def __dir__() -> list[str]:
    return sorted({*globals(), *_PARTS, *_FROM})


def __getattr__(name: str) -> Any:
    """quatgrad.nn, quatgrad.lth, ..., quatgrad.load."""
    if name in _PARTS:
        return import_module(f"quatgrad.{name}")
    if name in _FROM:
        return getattr(import_module(f"quatgrad.{_FROM[name]}"), name)
    raise AttributeError(f"module 'quatgrad' has no attribute {name!r}")
