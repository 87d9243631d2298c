"""Still backgrounds from videos of a fixed camera."""

from collections.abc import Sequence
from os import PathLike

import numpy as np
from jaxtyping import Float

from deltajax.video import VideoReader

FRAMES = 25
"""Frames of a video of which the median is taken."""


def still_backgrounds(
    videos: Sequence[str | PathLike[str]], size: tuple[int, int]
) -> Float[np.ndarray, "B H W 3"]:
    """What stands still in videos, or in pictures, which are videos of a frame.

    A pixel's median over the frames is free of whoever walks by.

    Args:
        videos: files.
        size: (H, W) to which they are scaled.

    Returns:
        In [0, 1], float32.

    Raises:
        ValueError: without any video.
        VideoError: for one that cannot be read.
    """
    if not videos:
        raise ValueError("backgrounds need at least one video or picture")
    stills = []
    for video in videos:
        with VideoReader(video, size=size) as reader:
            frames = np.concatenate([batch.frames for batch in reader])[:, 0]
        few = frames[np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).astype(int)]
        stills.append(np.median(few, axis=0).astype(np.float32) / 255)
    return np.stack(stills)
