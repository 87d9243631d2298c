"""How far each keypoint is from that of the dense network, and how far each kind of output."""

from typing import Any

import jax
import numpy as np
from _error import RelativeError
from _predictions import Prediction

FAR = 0.01
"""As a share of the picture's height."""


class Shifts:
    """The distances of all keypoints that count, and the errors of the frames that have one."""

    def __init__(self) -> None:
        self._distances: list[np.ndarray] = []
        self._errors: dict[str, RelativeError] = {}

    def add(self, prediction: Prediction, output: Any, expected: Any) -> None:
        """Counts outputs [N, ...] of a network that finds keypoints."""
        (points, _), (wanted, sure) = prediction.kept(output), prediction.kept(expected)
        # Of each keypoint, or the probability of a person for all of them.
        counts = np.asarray(sure) > 0.5
        counts = np.broadcast_to(counts.reshape(len(counts), -1), points.shape[:2])
        distances = np.where(counts, np.linalg.norm(points - wanted, axis=-1), np.nan)
        self._distances += list(distances[counts.any(axis=1)])
        pairs = zip(named(output).items(), named(expected).values(), strict=True)
        for (name, actual), dense in pairs:
            of_output = self._errors.setdefault(name, RelativeError())
            of_output.add(actual[counts.any(axis=1)], dense[counts.any(axis=1)])

    def report(self) -> dict[str, Any]:
        """For a JSON file; distances are shares of the picture's height."""
        if not self._distances:
            return {}
        frames = np.stack(self._distances)
        each = frames[~np.isnan(frames)]
        return {
            "frames_with_keypoints": len(frames),
            "keypoint_shifts": {
                "mean": float(each.mean()),
                "percentile_95": float(np.percentile(each, 95)),
                "largest": float(each.max()),
                "above_1_percent": float(np.mean(each > FAR)),
                "frames_above_1_percent": float(np.mean(np.nanmean(frames, axis=1) > FAR)),
            },
            "relative_errors_of_frames_with_keypoints": {
                name: error.value for name, error in self._errors.items()
            },
        }


def named(output: Any) -> dict[str, np.ndarray]:
    """The arrays of an output by their names, "output" if it is one."""
    leaves = jax.tree_util.tree_leaves_with_path(output)
    return {jax.tree_util.keystr(path).strip(".") or "output": leaf for path, leaf in leaves}
