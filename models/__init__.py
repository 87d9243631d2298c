"""Networks written in deltajax layers."""

from .common import VideoNetwork
from .pose_resnet import PoseResNet
from .resnet import ResNet
from .simple_cnn import SimpleCNN

__all__ = ["PoseResNet", "ResNet", "SimpleCNN", "VideoNetwork"]
