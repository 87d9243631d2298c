"""Whether the joints of a sequence can be right."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32

from ..joints import BONES, JOINT_NAMES
from .cameras import Camera, project
from .report import Fault

FARTHEST = 3_000.0
"""Pixels from the corner of the picture, of 1000 × 1000, that a joint may be at most."""

BONE_TOLERANCE = 0.1
"""How much the length of a bone may vary in a sequence, a share of its median."""

PIXEL_TOLERANCE = 5.0
"""Median distance in pixels of joints in the picture from the projections of those in the world."""


class Wrong(Exception):
    """What is wrong with a sequence, and which kind of thing it is."""

    def __init__(self, fault: Fault, what: str) -> None:
        super().__init__(what)
        self.fault = fault


def check_numbers(points: Float32[np.ndarray, "T 17 D"], farthest: float = np.inf) -> None:
    """Raises Wrong unless all numbers are finite, and not larger than that."""
    good = np.isfinite(points).all(axis=(1, 2))
    if not good.all():
        raise Wrong(Fault.NUMBERS, f"numbers that are not finite, {_frames(~good)}")
    good = (np.abs(points) <= farthest).all(axis=(1, 2))
    if not good.all():
        raise Wrong(
            Fault.NUMBERS, f"joints farther than {farthest:g} pixels away, {_frames(~good)}"
        )


def check_bones(positions: Float32[np.ndarray, "T 17 3"]) -> None:
    """Raises Wrong if a bone is much longer in one frame than in another.

    The positions are those of a skeleton whose joints turn (Ionescu et al., "Human3.6M", PAMI
    2014), so the lengths of bones are those of the subject.
    """
    first, second = np.array(BONES).T
    lengths = np.linalg.norm(positions[:, first] - positions[:, second], axis=-1)
    spread = np.ptp(lengths, axis=0) / np.maximum(np.median(lengths, axis=0), 1.0)
    worst = int(spread.argmax())
    if spread[worst] > BONE_TOLERANCE:
        ends = " to ".join(JOINT_NAMES[joint] for joint in BONES[worst])
        least, most = lengths[:, worst].min(), lengths[:, worst].max()
        raise Wrong(Fault.BONES, f"{ends} is from {least:.0f} to {most:.0f} mm long")


def check_projection(
    points: Float32[np.ndarray, "T 17 2"],
    positions: Float32[np.ndarray, "T 17 3"],
    camera: str,
    cameras: Mapping[str, Camera],
) -> None:
    """Raises Wrong if joints in the picture are not where the camera sees those in the world.

    Then one of the files belongs to another action, camera or subject; if it is to another camera
    of the same subject, the message names it.

    Args:
        camera: its id.
        cameras: of the subject, by id.
    """
    distances = {key: _distance(points, project(positions, cameras[key])) for key in cameras}
    if distances[camera] <= PIXEL_TOLERANCE:
        return
    what = f"joints are {distances[camera]:.0f} pixels from where the camera sees them (median)"
    nearest = min(distances, key=lambda key: distances[key])
    if distances[nearest] <= PIXEL_TOLERANCE:
        what += f"; they are where camera {nearest} does"
    raise Wrong(Fault.PROJECTION, what)


def _distance(points: np.ndarray, expected: np.ndarray) -> float:
    distance = np.linalg.norm(points - expected, axis=-1)
    return float(np.median(np.where(np.isfinite(distance), distance, np.inf)))


def _frames(bad: np.ndarray) -> str:
    """How many frames are meant, and the first of them."""
    return f"in {bad.sum()} frames of {len(bad)}, first in {bad.argmax()}"
