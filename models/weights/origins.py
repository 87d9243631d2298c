"""Where weights of our networks come from, and what their parameters are called there."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..blazepose import BlazePose
from ..common import VideoNetwork
from ..efficientnet_lite import EfficientNetLite0
from ..hrnet import PoseHRNet
from ..mobilenet_v2 import MobileNetV2
from ..pose_resnet import PoseResNet
from ..resnet import ResNet
from ..selfie_segmentation import SelfieSegmentation
from .keras_names import blazepose, keras, selfie_segmentation
from .layout import Layout
from .torch_names import (
    efficientnet_lite,
    mobilenet_v2,
    pose_hrnet,
    pose_resnet,
    resnet,
    torch,
)


class Origin(NamedTuple):
    """A project that publishes weights of a network.

    Attributes:
        name: of the project.
        stored: from the path of an array in our variables and its number of axes to its key there
            and how it is laid out.
        folded: whether norms are folded into the convolutions there.
    """

    name: str
    stored: Callable[[tuple[str, ...], int], tuple[str, Layout]]
    folded: bool = False


ORIGINS: Mapping[type[VideoNetwork], tuple[Origin, ...]] = {
    ResNet: (Origin("torchvision", torch(resnet)),),
    PoseResNet: (
        Origin("human-pose-estimation.pytorch", torch(pose_resnet("", ""))),
        Origin("mmpose 1", torch(pose_resnet("backbone.", "head."))),
        Origin("mmpose 0", torch(pose_resnet("backbone.", "keypoint_head."))),
    ),
    PoseHRNet: (
        Origin("deep-high-resolution-net.pytorch", torch(pose_hrnet("", ""))),
        Origin("mmpose 1", torch(pose_hrnet("backbone.", "head."))),
        Origin("mmpose 0", torch(pose_hrnet("backbone.", "keypoint_head."))),
    ),
    MobileNetV2: (Origin("torchvision", torch(mobilenet_v2)),),
    EfficientNetLite0: (Origin("efficientnet_lite_pytorch", torch(efficientnet_lite)),),
    BlazePose: (Origin("MediaPipe", keras(blazepose()), folded=True),),
    SelfieSegmentation: (Origin("MediaPipe", keras(selfie_segmentation()), folded=True),),
}

OWN_PREFIX = "params/"
"""With which the keys of weights begin that `save_weights` wrote."""


def _own(path: tuple[str, ...], axes: int) -> tuple[str, Layout]:
    return "/".join(path), Layout(tuple(range(axes)))


OWN = Origin("deltajax", _own)
"""Weights that were trained here, of any network."""

HEADS: Mapping[type[VideoNetwork], str] = {
    ResNet: "fc",
    PoseResNet: "head",
    PoseHRNet: "head",
    MobileNetV2: "fc",
    EfficientNetLite0: "fc",
}
"""The layer whose size depends on the task."""
