"""How far found joints are from the true ones, in the terms of pose papers."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

TORSO = (14, 4)
"""The right shoulder and the left hip of Human3.6M's joints."""
HEAD = (8, 10)
"""The thorax and the top of the head."""


class PoseScores(NamedTuple):
    """How well joints were found, each by itself and all together.

    Joints that do not count in any picture have NaN.

    Attributes:
        pck: the share of joints that are within 0.2 of the torso's length (Yang and Ramanan, PAMI
            2013) [K].
        pckh: within 0.5 of the head segment (Andriluka et al., CVPR 2014) [K].
        error: the mean distance in pixels [K].
        mean_pck, mean_pckh, mean_error: over all joints that count.
        count: joints that count.
    """

    pck: Float[np.ndarray, " K"]
    pckh: Float[np.ndarray, " K"]
    error: Float[np.ndarray, " K"]
    mean_pck: float
    mean_pckh: float
    mean_error: float
    count: int


def pose_scores(
    points: Float[np.ndarray, "N K 2"],
    expected: Float[np.ndarray, "N K 2"],
    counts: Bool[np.ndarray, "N K"],
    *,
    torso: tuple[int, int] = TORSO,
    head: tuple[int, int] = HEAD,
    share: float = 0.2,
) -> PoseScores:
    """Scores of found joints. A point that is not finite is never right, and makes errors infinite.

    Args:
        points: found, in pixels.
        expected: the true ones, in pixels.
        counts: the joints that are scored: those that can be seen, say.
        torso, head: numbers of the joints at the ends of these segments, whose true lengths in the
            picture are the units of PCK and PCKh.
        share: of the torso, for PCK.

    Raises:
        ValueError: if nothing is scored.
    """
    if not counts.any():
        raise ValueError("no joint is scored: counts is False everywhere")
    expected = expected.astype(np.float64)
    distance = np.linalg.norm(points.astype(np.float64) - expected, axis=-1)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    lengths = [
        np.linalg.norm(expected[:, first] - expected[:, second], axis=-1)[:, None]
        for first, second in (torso, head)
    ]
    # Seen along its length a torso is short in the picture; no less than a head is asked for.
    near = distance <= share * np.maximum(lengths[0], lengths[1])
    near_head = distance <= 0.5 * lengths[1]

    def of_each(values: np.ndarray) -> np.ndarray:
        number = counts.sum(axis=0)
        total = np.where(counts, values, 0).sum(axis=0)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)

    def of_all(values: np.ndarray) -> float:
        return float(values[counts].mean())

    return PoseScores(
        pck=of_each(near),
        pckh=of_each(near_head),
        error=of_each(distance),
        mean_pck=of_all(near),
        mean_pckh=of_all(near_head),
        mean_error=of_all(distance),
        count=int(counts.sum()),
    )
