"""Cutting people out of pictures, in the size that a network takes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from deltajax.video._pyav import import_av


class Box(NamedTuple):
    """Whole pixels of a picture; may reach beyond it.

    Attributes:
        x, y: number of the first column and row.
        width, height: how many there are.
    """

    x: int
    y: int
    width: int
    height: int


def box_around(points: Float[np.ndarray, "K 2"], size: tuple[int, int], margin: float) -> Box:
    """The box in whose middle these points are.

    Args:
        points: x and y in pixels from the middle of the first one.
        size: (H, W), of which only the aspect counts.
        margin: how many times as high and as wide as the points' own box the box is at least.
    """
    first, last = points.min(axis=0), points.max(axis=0)
    middle = (first + last) / 2
    # From the outer edges of their pixels: rounding the corner leaves the points in the box.
    width, height = (last - first) * margin + 1
    width = max(width, height * size[1] / size[0])
    extent = np.ceil([width, width * size[0] / size[1]])
    # A pixel reaches half a pixel beyond its middle.
    corner = np.rint(middle + 0.5 - extent / 2)
    return Box(*(int(number) for number in (*corner, *extent)))


def to_crop(
    points: Float[np.ndarray, "K 2"], box: Box, size: tuple[int, int]
) -> Float32[np.ndarray, "K 2"]:
    """Points of the picture in the crop of the box that is scaled to size (H, W).

    Both are counted from the middle of their first pixel.
    """
    scale = np.array([size[1] / box.width, size[0] / box.height])
    return ((points - [box.x, box.y] + 0.5) * scale - 0.5).astype(np.float32)


def in_picture(points: Float[np.ndarray, "K 2"], size: tuple[int, int]) -> Bool[np.ndarray, " K"]:
    """Which points are on a pixel of a picture of size (H, W)."""
    return np.all((points >= -0.5) & (points < np.array(size[::-1]) - 0.5), axis=-1)


def crop(
    picture: UInt8[np.ndarray, "PH PW 3"], box: Box, size: tuple[int, int]
) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels of the box, scaled to size (H, W) as `VideoReader` scales.

    Beyond the picture it is black.

    Raises:
        ImportError: PyAV is not installed.
    """
    height, width = picture.shape[:2]
    left, top = max(0, -box.x), max(0, -box.y)
    right = min(box.width, width - box.x)
    bottom = min(box.height, height - box.y)
    cut = np.zeros((box.height, box.width, 3), np.uint8)
    if left < right and top < bottom:
        cut[top:bottom, left:right] = picture[
            box.y + top : box.y + bottom, box.x + left : box.x + right
        ]
    if (box.height, box.width) == size:
        return cut
    av = import_av()
    interpolation = av.video.reformatter.Interpolation
    shrinks = size[0] * size[1] < box.height * box.width
    frame = av.VideoFrame.from_ndarray(cut, format="rgb24").reformat(
        width=size[1],
        height=size[0],
        # AREA averages all pixels under a smaller one; the others alias there.
        interpolation=interpolation.AREA if shrinks else interpolation.BICUBIC,
    )
    return frame.to_ndarray()
