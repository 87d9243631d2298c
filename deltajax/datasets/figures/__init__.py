"""People who are made, not found: pictures and clips whose joints are known exactly.

Everything is a function of a key, written in JAX: pictures are painted on the device that trains.
"""

from .body import JOINT_NAMES
from .clip import FigureClip
from .scene import Joints, Scene, joints_at, picture_at, sample_pictures, sample_scene

__all__ = [
    "JOINT_NAMES",
    "FigureClip",
    "Joints",
    "Scene",
    "joints_at",
    "picture_at",
    "sample_pictures",
    "sample_scene",
]
