"""deltajax: convolutional networks on video that recompute only the pixels that changed."""

from .frames import init_delta, reset, scan_frames, state_bytes
from .layers import (
    Activation,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Densify,
    Elementwise,
    Gate,
    GlobalAvgPool,
    MaxPool,
    Multiply,
    Sparsify,
    Upsample,
)
from .tensor import DeltaTensor, frame_of_streams

__all__ = [
    "Activation",
    "Add",
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "ConvTranspose",
    "DeltaTensor",
    "Densify",
    "Elementwise",
    "Gate",
    "GlobalAvgPool",
    "MaxPool",
    "Multiply",
    "Sparsify",
    "Upsample",
    "frame_of_streams",
    "init_delta",
    "reset",
    "scan_frames",
    "state_bytes",
]
