"""deltajax: convolutional networks on video that recompute only the pixels that changed."""

from .frames import init_delta, pack_weights, reset, scan_frames, state_bytes
from .inspecting import Inspection, inspect
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
from .threshold_file import Thresholds
from .tuning import tune_thresholds

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
    "Inspection",
    "MaxPool",
    "Multiply",
    "Sparsify",
    "Thresholds",
    "Upsample",
    "frame_of_streams",
    "init_delta",
    "inspect",
    "pack_weights",
    "reset",
    "scan_frames",
    "state_bytes",
    "tune_thresholds",
]
