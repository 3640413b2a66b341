"""Layers and networks: `Module` owns parameters, the layers compute, `init` starts the weights.

linear       Linear QLinear RotationLinear
conv         Conv2d QConv2d ConvTranspose2d QConvTranspose2d RotationConv2d
norm         BatchNorm2d QVarianceNorm2d QBatchNorm2d
activation   ReLU GELU ModReLU Modulus Dropout QDropout
pool         MaxPool2d QMaxPool2d AvgPool2d GlobalAvgPool2d
conv_norm_act  convolution, norm, residual and activation in one step
conv1d       Conv1d QConv1d: over time
embedding    Embedding: a table of words, characters, places
layer_norm   LayerNorm QLayerNorm
attention    SelfAttention
recurrent    GRU QGRU LSTM QLSTM Bidirectional
layers       Sequential LearnedEncoder Flatten
convert      to_quaternion to_real: a network over the other algebra
"""

from quatgrad.nn import convert, init
from quatgrad.nn.activation import GELU, Dropout, ModReLU, Modulus, QDropout, ReLU
from quatgrad.nn.attention import SelfAttention
from quatgrad.nn.conv import Conv2d, ConvTranspose2d, QConv2d, QConvTranspose2d, RotationConv2d
from quatgrad.nn.conv1d import Conv1d, QConv1d
from quatgrad.nn.conv_norm_act import conv_norm_act
from quatgrad.nn.embedding import Embedding
from quatgrad.nn.layer_norm import LayerNorm, QLayerNorm
from quatgrad.nn.layers import Flatten, LearnedEncoder, Sequential
from quatgrad.nn.linear import Linear, QLinear, RotationLinear
from quatgrad.nn.module import Buffer, Module
from quatgrad.nn.norm import BatchNorm2d, QBatchNorm2d, QVarianceNorm2d
from quatgrad.nn.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d, QMaxPool2d
from quatgrad.nn.recurrent import GRU, LSTM, QGRU, QLSTM, Bidirectional
