"""How far incremental predictions are from dense ones, in the terms of a task."""

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from .heatmaps import decode_heatmaps

SURE = 0.2
"""Value of a heatmap from which on there is a keypoint."""


def relative_error(outputs: Any, expected: Any) -> float:
    """‖outputs − expected‖ / ‖expected‖, over all arrays of a tree together.

    Args:
        outputs: a tree of arrays.
        expected: the same.

    Returns:
        0 where they are equal, infinite where nothing but zeros was expected and they are not.
    """
    pairs = [
        _pair(*pair)
        for pair in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True)
    ]
    error = sum(float(np.sum(np.square(first - second))) for first, second in pairs)
    norm = sum(float(np.sum(np.square(second))) for _, second in pairs)
    if norm == 0:
        return 0.0 if error == 0 else math.inf
    return math.sqrt(error / norm)


def top1_agreement(logits: ArrayLike, expected: ArrayLike) -> float:
    """The share of frames in which the most probable class is the same.

    Args:
        logits: [..., classes].
        expected: the same shape.
    """
    logits, expected = _pair(logits, expected)
    return float(np.mean(np.argmax(logits, axis=-1) == np.argmax(expected, axis=-1)))


def intersection_over_union(
    probabilities: ArrayLike, expected: ArrayLike, threshold: float = 0.5
) -> float:
    """Of the pixels above a threshold, over all frames together; 1 if there are none in both.

    Args:
        probabilities: any shape.
        expected: the same shape.
        threshold: above which a pixel counts as foreground.
    """
    probabilities, expected = _pair(probabilities, expected)
    found, wanted = probabilities > threshold, expected > threshold
    union = int(np.count_nonzero(found | wanted))
    return int(np.count_nonzero(found & wanted)) / union if union else 1.0


def keypoint_shift(
    points: ArrayLike, expected: ArrayLike, valid: ArrayLike | None = None
) -> Float[np.ndarray, "..."]:
    """The mean distance of a frame's keypoints, in the units of the points.

    Args:
        points: [..., K, 2].
        expected: the same shape.
        valid: [..., K] bool, the keypoints that count; None for all.

    Returns:
        [...], NaN for a frame in which none counts.
    """
    points, expected = _pair(points, expected)
    distance = np.linalg.norm(points - expected, axis=-1)
    counts = np.ones(distance.shape, bool) if valid is None else np.asarray(valid, bool)
    if counts.shape != distance.shape:
        raise ValueError(f"valid has shape {counts.shape}, but there are {distance.shape} points")
    number = counts.sum(axis=-1)
    total = np.where(counts, distance, 0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def heatmap_shift(heatmaps: ArrayLike, expected: ArrayLike, sure: float = SURE) -> float:
    """The mean distance of keypoints, as a share of the picture's height.

    Both are where a heatmap is largest, refined to a quarter of a pixel (`decode_heatmaps`). In
    each frame those count that are expected with some confidence, and frames count alike.

    Args:
        heatmaps: [..., N, h, w, K].
        expected: the same shape.
        sure: a keypoint counts if its expected heatmap exceeds this somewhere.

    Returns:
        0 where all keypoints are in place, NaN if none counts.
    """
    heatmaps, expected = _pair(heatmaps, expected)
    if heatmaps.ndim < 4:
        raise ValueError(f"heatmaps have shape {heatmaps.shape}; it must be [..., N, h, w, K]")
    height, width, joints = heatmaps.shape[-3:]
    flat = (np.reshape(maps, (-1, height, width, joints)) for maps in (heatmaps, expected))
    (points, _), (wanted, scores) = (decode_heatmaps(maps) for maps in flat)
    shifts = keypoint_shift(points, wanted, np.asarray(scores) > sure) / height
    counted = shifts[~np.isnan(shifts)]
    return float(counted.mean()) if counted.size else math.nan


def _pair(
    output: ArrayLike, expected: ArrayLike
) -> tuple[Shaped[np.ndarray, "..."], Shaped[np.ndarray, "..."]]:
    first, second = np.asarray(output, np.float64), np.asarray(expected, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"outputs of shapes {first.shape} and {second.shape} are compared")
    return first, second
