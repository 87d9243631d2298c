"""Networks written in deltajax layers."""

from .common import VideoNetwork
from .folding import fold_batch_norm
from .pose_resnet import PoseResNet
from .registry import NAMES, create
from .resnet import ResNet
from .simple_cnn import SimpleCNN

__all__ = [
    "NAMES",
    "PoseResNet",
    "ResNet",
    "SimpleCNN",
    "VideoNetwork",
    "create",
    "fold_batch_norm",
]
