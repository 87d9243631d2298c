"""Flax layers: one definition, dense and incremental."""

from .batch_norm import BatchNorm
from .conv import Conv, ConvTranspose
from .gate import Gate
from .pointwise import Activation, Add, Concat, Elementwise, Multiply
from .pooling import AvgPool, GlobalAvgPool, MaxPool
from .sparsify import Densify, Sparsify
from .upsample import Upsample

__all__ = [
    "Activation",
    "Add",
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Densify",
    "Elementwise",
    "Gate",
    "GlobalAvgPool",
    "MaxPool",
    "Multiply",
    "Sparsify",
    "Upsample",
]
