"""Networks by name, for command lines and configuration files."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .blazepose import BlazePose
from .common import VideoNetwork
from .efficientnet_lite import EfficientNetLite0
from .hrnet import PoseHRNet
from .mobilenet_v2 import MobileNetV2
from .pose_resnet import PoseResNet
from .resnet import BLOCKS, ResNet
from .selfie_segmentation import SelfieSegmentation
from .simple_cnn import SimpleCNN

_NETWORKS: dict[str, Callable[..., VideoNetwork]] = {
    "simple_cnn": SimpleCNN,
    **{f"resnet{depth}": partial(ResNet, depth=depth) for depth in BLOCKS},
    **{f"pose_resnet{depth}": partial(PoseResNet, depth=depth) for depth in BLOCKS},
    "pose_small": partial(PoseResNet, depth=18, width=16, deconv_features=64, joints="human36m"),
    **{f"pose_hrnet_w{width}": partial(PoseHRNet, width=width) for width in (32, 48)},
    "mobilenet_v2": MobileNetV2,
    "efficientnet_lite0": EfficientNetLite0,
    "blazepose": BlazePose,
    "selfie_segmentation": SelfieSegmentation,
}

NAMES = tuple(_NETWORKS)
"""The names that `create` knows."""


def create(name: str, **settings: Any) -> VideoNetwork:
    """The network of this name.

    Args:
        name: one of `NAMES`.
        **settings: its attributes, such as `threshold` or `dtype`.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    check_name(name)
    return _NETWORKS[name](**settings)


def check_name(name: str) -> None:
    """Raises ValueError for a network that there is not."""
    if name not in _NETWORKS:
        raise ValueError(f"there is no network {name!r}; known are {', '.join(NAMES)}")
