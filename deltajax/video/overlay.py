"""Pictures that show what a network predicts and which pixels were recomputed for it."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._font import GLYPH_HEIGHT, GLYPH_WIDTH, text_mask
from ._picture import Picture, blend, interpolate, pale, require_picture, to_bytes

# The middle of matplotlib's colour map "inferno", magenta to gold: its lightness rises
# evenly, and its dark and pale ends would not stand out from a picture.
_HEAT_COLOURS = np.array(
    [[137, 34, 106], [187, 55, 85], [227, 89, 50], [249, 141, 10], [249, 202, 50]], np.float32
)


def heat_overlay(frame: Picture, heat: ArrayLike, alpha: float = 0.65) -> NDArray[np.uint8]:
    """Colours the pixels where a map is above zero, over a paler picture of the frame.

    Args:
        frame: uint8 [H, W, 3] RGB.
        heat: [h, w] of any size, in [0, 1] or bool: a mask of updates, or how often or in
            which share of the layers a pixel was recomputed. Each value covers a
            rectangle of the frame, with hard edges. NaN counts as 0.
        alpha: opacity of the colour where `heat` is 1; just above 0 it is half of that.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: a shape or `alpha` is wrong.
    """
    require_picture(frame, "frame")
    values = np.nan_to_num(np.asarray(heat, np.float32), nan=0.0)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"heat must be [h, w], got shape {values.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    # Rounded up, so that the smallest heat is not taken for none.
    levels = np.ceil(np.clip(values, 0, 1) * 255).astype(np.uint8)
    height, width = frame.shape[:2]
    rows = np.arange(height) * levels.shape[0] // height
    columns = np.arange(width) * levels.shape[1] // width
    levels = levels[rows[:, None], columns]
    heated = levels > 0
    picture = to_bytes(pale(frame))
    scale = np.linspace(0, 1, 256)
    knots = np.linspace(0, 1, len(_HEAT_COLOURS))
    colours = np.stack([np.interp(scale, knots, channel) for channel in _HEAT_COLOURS.T], axis=1)
    opacity = alpha * (0.5 + 0.5 * scale[:, None])
    layer = np.concatenate([colours, opacity], axis=1).astype(np.float32)
    picture[heated] = blend(picture[heated], layer[levels[heated]])
    return picture


def heatmap_overlay(
    frame: Picture, heatmaps: ArrayLike, *, peak: float | None = None, alpha: float = 0.85
) -> NDArray[np.uint8]:
    """Draws the heatmaps of a pose network over the frame, one hue for each joint.

    Args:
        frame: uint8 [H, W, 3] RGB.
        heatmaps: [h, w, K] of any size; values below 0 and NaN count as 0.
        peak: the value that is drawn at full opacity. None takes it from the maps: the
            third quartile of the K maxima, which a few wild joints do not move.
        alpha: opacity at the peak.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: a shape, `peak` or `alpha` is wrong.
    """
    require_picture(frame, "frame")
    maps = np.nan_to_num(np.asarray(heatmaps, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if maps.ndim != 3 or not maps.size:
        raise ValueError(f"heatmaps must be [h, w, joints], got shape {maps.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    if peak is not None and not peak > 0:
        raise ValueError(f"peak must be positive, got {peak}")
    maps = np.maximum(maps, 0)
    if peak is None:
        peak = max(float(np.quantile(maps.max(axis=(0, 1)), 0.75)), 1e-6)
    maps = np.minimum(maps / peak, 1)
    # Powers let the strongest joint of a pixel decide its hue.
    weights = np.square(maps) + 1e-6
    colours = (weights @ _hues(maps.shape[2])) / weights.sum(axis=-1, keepdims=True)
    layer = np.concatenate([colours, alpha * maps.max(axis=-1, keepdims=True)], axis=-1)
    layer = layer.astype(np.float32)
    height, width = frame.shape[:2]
    layer = interpolate(interpolate(layer, height, axis=0), width, axis=1)
    return blend(pale(frame), layer)


def draw_text(
    picture: Picture,
    lines: str | Sequence[str],
    *,
    position: tuple[int, int] = (0, 0),
    scale: int | None = None,
    colour: tuple[int, int, int] = (255, 255, 255),
    background: tuple[int, int, int] | None = (0, 0, 0),
) -> NDArray[np.uint8]:
    """Writes lines of text onto a copy of a picture; what does not fit is cut off.

    Args:
        picture: uint8 [H, W, 3] RGB.
        lines: printable ASCII; other characters become question marks.
        position: row and column of the upper left corner, in pixels.
        scale: pixels per dot of the 5x7 font; None chooses by the size of the picture.
        colour: of the text, RGB.
        background: of the box behind the text, RGB; None draws no box.

    Returns:
        uint8 [H, W, 3].
    """
    require_picture(picture, "picture")
    if scale is None:
        scale = _text_scale(picture)
    if scale < 1 or min(position) < 0:
        raise ValueError(
            f"scale must be at least 1 and position not negative, got {scale} and {position}"
        )
    picture = picture.copy()
    masks = [text_mask(line, scale) for line in ([lines] if isinstance(lines, str) else lines)]
    row, column = position
    for mask in masks:
        box = np.pad(mask, scale)
        region = picture[row : row + box.shape[0], column : column + box.shape[1]]
        if background is not None:
            region[:] = background
        region[box[: region.shape[0], : region.shape[1]]] = colour
        row += box.shape[0]
    return picture


def side_by_side(
    left: Picture,
    right: Picture,
    captions: tuple[str, str] | None = None,
) -> NDArray[np.uint8]:
    """Puts two pictures beside each other, each under its caption.

    Args:
        left: uint8 [H, W, 3] RGB; its size sets that of the text.
        right: uint8 [H', W', 3] RGB; the lower of the two is filled up with black.
        captions: one line for each, cut off at the width of its picture.

    Returns:
        uint8, as high as the higher picture and its caption, and W + W' + 2 pixels wide.
    """
    pictures = [left, right]
    for picture, name in zip(pictures, ("left", "right"), strict=True):
        require_picture(picture, name)
    height = max(len(left), len(right))
    pictures = [np.pad(p, ((0, height - len(p)), (0, 0), (0, 0))) for p in pictures]
    if captions is not None:
        scale = _text_scale(left)
        bar_height = (GLYPH_HEIGHT + 2) * scale
        for index, caption in enumerate(captions):
            bar = np.zeros((bar_height, pictures[index].shape[1], 3), np.uint8)
            bar = draw_text(bar, caption, scale=scale)
            pictures[index] = np.concatenate([bar, pictures[index]])
    gap = np.zeros((len(pictures[0]), 2, 3), np.uint8)
    return np.concatenate([pictures[0], gap, pictures[1]], axis=1)


def tile(pictures: Sequence[Picture], columns: int | None = None) -> NDArray[np.uint8]:
    """Puts pictures of one size, uint8 [H, W, 3], into a grid, row by row.

    Args:
        pictures: at least one.
        columns: of the grid; None makes it as nearly square as it gets.

    Returns:
        uint8 [rows * H, columns * W, 3]; places left over are black.

    Raises:
        ValueError: there is no picture, or they differ in size.
    """
    if not pictures:
        raise ValueError("tile needs at least one picture")
    for picture in pictures:
        require_picture(picture, "picture")
        if picture.shape != pictures[0].shape:
            raise ValueError(
                f"tile needs pictures of one size, got {pictures[0].shape} and {picture.shape}"
            )
    height, width = pictures[0].shape[:2]
    if columns is None:
        columns = min(len(pictures), math.ceil(math.sqrt(len(pictures) * height / width)))
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    rows = math.ceil(len(pictures) / columns)
    grid = np.zeros((rows * columns, height, width, 3), np.uint8)
    grid[: len(pictures)] = pictures
    grid = grid.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, 3)


def _text_scale(picture: Picture) -> int:
    """Dots of a size that lets about forty characters fit into the width."""
    return max(1, round(picture.shape[1] / (40 * (GLYPH_WIDTH + 1))))


def _hues(count: int) -> NDArray[np.float32]:
    """Colours [count, 3] of full saturation, evenly spaced around the colour circle."""
    hue = np.arange(count, dtype=np.float32)[:, None] / count
    offsets = np.array((0, 2 / 3, 1 / 3), np.float32)
    ramps = np.abs((hue + offsets) % 1 * 6 - 3) - 1
    return (255 * np.clip(ramps, 0, 1)).astype(np.float32)
