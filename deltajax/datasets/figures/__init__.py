"""People who are made, not found: pictures and clips whose joints are known exactly.

Everything is a function of a key, written in JAX: pictures are painted on the device that trains.
"""

from ..joints import JOINT_NAMES
from .clip import FigureClip, figure_clips
from .pictures import FigurePictures, figure_pictures, sample_pictures
from .scene import Joints, Scene, joints_at, picture_at, sample_scene
from .stills import still_backgrounds

__all__ = [
    "JOINT_NAMES",
    "FigureClip",
    "FigurePictures",
    "Joints",
    "Scene",
    "figure_clips",
    "figure_pictures",
    "joints_at",
    "picture_at",
    "sample_pictures",
    "sample_scene",
    "still_backgrounds",
]
