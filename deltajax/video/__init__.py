"""Video in and out: files and cameras, a procedural clip, and pictures that show the work."""

from pathlib import Path

from .batch import VideoBatch
from .drawing import mask_overlay, skeleton_overlay
from .overlay import draw_text, heat_overlay, heatmap_overlay, side_by_side, tile
from .procedural import JOINT_NAMES, ProceduralClip
from .reader import VideoError, VideoReader
from .writer import OverlayWriter

__all__ = [
    "JOINT_NAMES",
    "OverlayWriter",
    "ProceduralClip",
    "VideoBatch",
    "VideoError",
    "VideoReader",
    "draw_text",
    "heat_overlay",
    "heatmap_overlay",
    "mask_overlay",
    "sample_clip",
    "side_by_side",
    "skeleton_overlay",
    "tile",
]


def sample_clip() -> Path:
    """Returns the path of a real clip: pedestrians, 100 frames of 576x768 at 10 per second."""
    return Path(__file__).parent / "clips" / "vtest.mp4"
