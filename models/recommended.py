"""Thresholds with which trained networks keep their predictions."""

from pathlib import Path
from typing import NamedTuple

from .registry import check_name

FILES = Path(__file__).parent / "thresholds"


class Recommended(NamedTuple):
    """What was found on real clips; see docs/networks.md for what it costs and saves.

    Attributes:
        input_threshold: of the difference between frames, in the network's normalised units.
        input_dilation: side of the square by which changed input pixels are dilated, odd.
        threshold: of every other update point, in the units of its output.
        gate_threshold: of every gate.
    """

    input_threshold: float
    input_dilation: int
    threshold: float
    gate_threshold: float = 0.0


DEFAULT = Recommended(input_threshold=0.15, input_dilation=1, threshold=0.1)
"""Of networks with random weights: for timing."""

RECOMMENDED = {
    "efficientnet_lite0": Recommended(0.0, 1, 0.15),
    "blazepose": Recommended(0.01, 3, 0.02),
    "selfie_segmentation": Recommended(0.02, 3, 0.05, 0.05),
}


def recommended(name: str) -> Recommended:
    """For a network of this name.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    check_name(name)
    return RECOMMENDED.get(name, DEFAULT)


def recommended_thresholds(name: str) -> Path | None:
    """File with a threshold for each layer of a network with published weights.

    Found by `deltajax.tune_thresholds` on vtest.avi, or on clips of made people, and scaled down;
    see docs/networks.md and docs/training.md. None if there is none of this network.
    `deltajax.Thresholds.load` reads it.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    check_name(name)
    path = FILES / f"{name}.json"
    return path if path.exists() else None
