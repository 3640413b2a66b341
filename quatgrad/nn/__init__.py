"""Layers and networks: `Module` owns parameters, `layers` compute, `init` starts the weights."""

from quatgrad.nn import init
from quatgrad.nn.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    LearnedEncoder,
    Linear,
    MaxPool2d,
    QConv2d,
    QLinear,
    ReLU,
    Sequential,
)
from quatgrad.nn.module import Buffer, Module

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "LearnedEncoder",
    "Linear",
    "MaxPool2d",
    "Module",
    "QConv2d",
    "QLinear",
    "ReLU",
    "Sequential",
    "init",
]
