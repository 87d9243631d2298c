"""Pictures that show a segmentation or a pose: masks with their outlines, and skeletons."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._picture import Picture, interpolate, pale, require_picture, to_bytes

_Colour = tuple[int, int, int]

# Left, middle and right. Orange and blue can be told apart by the colour-blind, too.
_SIDE_COLOURS = ((255, 150, 0), (90, 230, 90), (0, 170, 255))
_WHITE = (255, 255, 255)
_RIM_OPACITY = 0.6  # of the dark rim that sets a line off from a picture of its own colour
_FARTHEST = 1e9  # pixels: beyond, rounding moves a line by parts of a pixel, then overflows


def mask_overlay(
    frame: Picture,
    probability: ArrayLike,
    colour: _Colour = (0, 230, 160),
    alpha: float = 0.2,
) -> NDArray[np.uint8]:
    """Shows a segmentation: what it selects in colour, the rest dark and pale, a line between.

    Args:
        frame: uint8 [H, W, 3] RGB.
        probability: [h, w] of any size, in [0, 1], scaled to the frame bilinearly; what
            lies beyond is clipped, NaN counts as 0. The line runs along 0.5.
        colour: of the tint and of the line, RGB.
        alpha: opacity of the tint where `probability` is 1.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: a shape or `alpha` is wrong.
    """
    require_picture(frame, "frame")
    values = np.nan_to_num(np.asarray(probability, np.float32), nan=0.0)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"probability must be [h, w], got shape {values.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    height, width = frame.shape[:2]
    values = np.clip(values, 0, 1)
    values = interpolate(interpolate(values, height, axis=0), width, axis=1)
    shade = np.array(colour, np.float32)
    tinted = frame + np.float32(alpha) * (shade - frame)
    rest = 0.6 * pale(frame)
    picture = rest + values[..., None] * (tinted - rest)
    line = _discs(_crossings(values - 0.5), 0.5 * _line_width(frame), frame)
    return to_bytes(picture + line[..., None] * (shade - picture))


def skeleton_overlay(
    frame: Picture,
    points: ArrayLike,
    edges: Sequence[tuple[int, int]],
    visible: ArrayLike | None = None,
    *,
    sides: ArrayLike | None = None,
    colours: tuple[_Colour, _Colour, _Colour] = _SIDE_COLOURS,
    line_width: float | None = None,
) -> NDArray[np.uint8]:
    """Draws the joints of a body as dots and its bones as lines, onto a copy of the frame.

    Lines are cut off at the edges of the frame, so its points may lie outside. A point that
    is not finite, or farther than 1e9 pixels, is left out with its lines.

    Args:
        frame: uint8 [H, W, 3] RGB.
        points: [K, 2] as (x, y) in pixels; integers are the centres of pixels.
        edges: pairs of indices of `points`, the ends of a line each.
        visible: bool [K]; False leaves a point out, with its lines. None shows all.
        sides: [K] of -1 (left), 0 (middle) and 1 (right), which choose the colour of a
            point. A line from the middle to a side has the colour of that side, one from
            left to right that of the middle. None takes all for the middle.
        colours: left, middle and right, RGB.
        line_width: in pixels; None chooses by the size of the picture.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: a shape is wrong, or a number is out of range.
    """
    require_picture(frame, "frame")
    joints = np.asarray(points, np.float64)
    if joints.ndim != 2 or joints.shape[1] != 2:
        raise ValueError(f"points must be [joints, 2], got shape {joints.shape}")
    count = len(joints)
    for edge in edges:
        if len(edge) != 2 or not 0 <= min(edge) <= max(edge) < count:
            raise ValueError(f"edges must be pairs of indices below {count}, got {edge}")
    shown = np.ones(count, bool) if visible is None else np.asarray(visible)
    if shown.shape != (count,) or shown.dtype != bool:
        raise ValueError(
            f"visible must be bool [{count}], got {shown.dtype} with shape {shown.shape}"
        )
    hues = np.zeros(count, int) if sides is None else np.asarray(sides)
    if hues.shape != (count,) or not np.isin(hues, (-1, 0, 1)).all():
        raise ValueError(f"sides must be [{count}] of -1, 0 and 1, got {hues.tolist()}")
    hues = hues.astype(int)
    if line_width is None:
        line_width = _line_width(frame)
    if not line_width > 0:
        raise ValueError(f"line_width must be positive, got {line_width}")
    # False for NaN, too.
    shown = shown & (np.abs(joints) <= _FARTHEST).all(axis=1)
    radius = 0.5 * line_width
    strokes = [
        _Stroke(joints[start], joints[end], radius, colours[1 + np.sign(hues[start] + hues[end])])
        for start, end in edges
        if shown[start] and shown[end]
    ]
    for joint, side in zip(joints[shown], hues[shown], strict=True):
        strokes.append(_Stroke(joint, joint, 2 * radius, colours[1 + side]))
        strokes.append(_Stroke(joint, joint, 0.9 * radius, _WHITE))
    rim = np.zeros(frame.shape[:2], np.float32)
    for stroke in strokes:
        box, coverage = stroke.coverage(frame, max(1.0, 0.6 * radius))
        np.maximum(rim[box], coverage, out=rim[box])
    picture = frame * (1 - np.float32(_RIM_OPACITY) * rim[..., None])
    for stroke in strokes:
        box, coverage = stroke.coverage(frame)
        picture[box] += coverage[..., None] * (np.array(stroke.colour, np.float32) - picture[box])
    return to_bytes(picture)


class _Stroke(NamedTuple):
    """A line with round ends, or a dot where both ends are one."""

    start: NDArray[np.float64]  # (x, y)
    end: NDArray[np.float64]
    radius: float
    colour: _Colour

    def coverage(
        self, frame: Picture, rim: float = 0.0
    ) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """The box of the frame around the line, and which share of its pixels is covered.

        `rim` pixels are added to the radius.
        """
        radius = self.radius + rim
        low = np.floor(np.minimum(self.start, self.end) - radius)
        high = np.ceil(np.maximum(self.start, self.end) + radius) + 1
        height, width = frame.shape[:2]
        left, top = np.clip(low, 0, (width, height)).astype(int)
        right, bottom = np.clip(high, 0, (width, height)).astype(int)
        x = np.arange(left, right) - self.start[0]
        y = (np.arange(top, bottom) - self.start[1])[:, None]
        axis = self.end - self.start
        along = np.clip((x * axis[0] + y * axis[1]) / max(axis @ axis, 1e-12), 0, 1)
        distance = np.hypot(x - along * axis[0], y - along * axis[1])
        coverage = np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
        return (slice(top, bottom), slice(left, right)), coverage


def _line_width(frame: Picture) -> float:
    """In pixels: 2 in a picture of 256x256."""
    return max(1.5, min(frame.shape[:2]) / 128)


def _crossings(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The points [M, 2], (y, x), where values [H, W] change sign between two neighbours."""
    points = []
    for axis in (0, 1):
        lines = np.moveaxis(values, axis, 0)
        before, after = lines[:-1], lines[1:]
        place = np.nonzero((before >= 0) != (after >= 0))
        before, after = before[place], after[place]
        crossing = (place[0] + before / (before - after), place[1])
        points.append(np.stack(crossing if axis == 0 else crossing[::-1], axis=1))
    return np.concatenate(points).astype(np.float32)


def _discs(centres: NDArray[np.float32], radius: float, frame: Picture) -> NDArray[np.float32]:
    """Which share of each pixel [H, W] the discs around centres [M, 2], (y, x), cover."""
    height, width = frame.shape[:2]
    reach = math.ceil(radius + 0.5)
    covered = np.zeros((height + 2 * reach, width + 2 * reach), np.float32)
    nearest = np.rint(centres).astype(int)
    for step in itertools.product(range(-reach, reach + 1), repeat=2):
        pixel = nearest + np.array(step)
        distance = np.hypot(*(pixel - centres).T)
        coverage = np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
        np.maximum.at(covered, tuple((pixel + reach).T), coverage)
    return covered[reach : reach + height, reach : reach + width]
