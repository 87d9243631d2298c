"""What the parameters of our networks are called where people train them."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..common import VideoNetwork
from ..pose_resnet import PoseResNet
from ..resnet import ResNet


class Modules(NamedTuple):
    """The modules of PyTorch's that one of our layers stands for.

    Attributes:
        layer: a convolution or a linear layer.
        norm: its batch norm; None if it has none.
        transposed: whether the convolution is.
    """

    layer: str
    norm: str | None = None
    transposed: bool = False


Naming = Callable[[tuple[str, ...]], Modules]
"""From the path of a layer in our tree, such as ("backbone", "layer1_0", "conv1")."""


def _resnet(path: tuple[str, ...]) -> Modules:
    """torchvision's ResNet, which the others take over."""
    *parts, last = (part for part in path if part != "backbone")
    prefix = "".join(re.sub(r"^layer(\d+)_(\d+)$", r"layer\1.\2.", part) for part in parts)
    if last == "downsample":
        return Modules(f"{prefix}downsample.0", f"{prefix}downsample.1")
    return Modules(prefix + last, prefix + last.replace("conv", "bn"))


def _pose_resnet(backbone: str, head: str) -> Naming:
    def name(path: tuple[str, ...]) -> Modules:
        if path == ("head",):
            return Modules(f"{head}final_layer")
        if deconv := re.fullmatch(r"deconv(\d)", path[-1]):
            # A transposed convolution, a batch norm and a ReLU each.
            first = 3 * (int(deconv[1]) - 1)
            layers = f"{head}deconv_layers"
            return Modules(f"{layers}.{first}", f"{layers}.{first + 1}", transposed=True)
        layer, norm, _ = _resnet(path)
        return Modules(backbone + layer, f"{backbone}{norm}")

    return name


NAMINGS: Mapping[type[VideoNetwork], Mapping[str, Naming]] = {
    ResNet: {"torchvision": _resnet},
    PoseResNet: {
        "human-pose-estimation.pytorch": _pose_resnet("", ""),
        "mmpose 1": _pose_resnet("backbone.", "head."),
        "mmpose 0": _pose_resnet("backbone.", "keypoint_head."),
    },
}
"""By architecture, and by where weights are from."""

HEADS: Mapping[type[VideoNetwork], str] = {ResNet: "fc", PoseResNet: "head"}
"""The layer whose size depends on the task."""
