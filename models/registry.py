"""Networks by name, for command lines and configuration files."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .common import VideoNetwork
from .pose_resnet import PoseResNet
from .resnet import BLOCKS, ResNet
from .simple_cnn import SimpleCNN

_NETWORKS: dict[str, Callable[..., VideoNetwork]] = {
    "simple_cnn": SimpleCNN,
    **{f"resnet{depth}": partial(ResNet, depth=depth) for depth in BLOCKS},
    **{f"pose_resnet{depth}": partial(PoseResNet, depth=depth) for depth in BLOCKS},
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
    if name not in _NETWORKS:
        raise ValueError(f"there is no network {name!r}; known are {', '.join(NAMES)}")
    return _NETWORKS[name](**settings)
