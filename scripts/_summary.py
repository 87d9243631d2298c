"""What running a video cost and saved: added up over its batches, and beside the dense network."""

from typing import Any

import jax
import numpy as np
from _common import Variables
from _error import RelativeError
from _measure import timed
from _predictions import Prediction
from _shifts import Shifts

from deltajax.batches import BatchResult
from deltajax.models import VideoNetwork
from deltajax.statistics import Totals

DENSE_FRAMES = 5
"""Frames on which the dense network is timed, unless it is compared on all."""


class Summary:
    """What is known of the batches so far.

    Attributes:
        prediction: of the network; None until there is one.
        errors: relative errors of the frames that were compared, all streams together.
        shifts: of keypoints, if the network finds any.
    """

    def __init__(self) -> None:
        self.prediction: Prediction | None = None
        self.steps = 0
        self.seconds = 0.0
        self.dense_ms: list[float] = []
        self.errors: list[float] = []
        self.totals: Totals | None = None
        self.shifts = Shifts()
        self._error: RelativeError | None = None

    def add(self, result: BatchResult, totals: Totals) -> None:
        """Counts a batch."""
        self.steps += len(result.frames)
        self.seconds += result.seconds
        self.totals = totals if self.totals is None else self.totals + totals

    def compare(self, output: Any, expected: Any) -> None:
        """Counts the streams' outputs of one frame against those of the dense network."""
        self._error = self._error or RelativeError()
        self._error.add(output, expected)
        of_frame = RelativeError()
        of_frame.add(output, expected)
        self.errors.append(of_frame.value)
        if self.prediction is not None:
            self.prediction.add(output, expected)
            if self.prediction.metric == "keypoint_shift":
                self.shifts.add(self.prediction, output, expected)

    @property
    def relative_error(self) -> float | None:
        """‖incremental − dense‖ / ‖dense‖ over all outputs compared; None if there are none."""
        return self._error.value if self._error else None


class Dense:
    """The dense network beside the incremental one: for its time, and to compare with."""

    def __init__(self, network: VideoNetwork, variables: Variables, frame: np.ndarray) -> None:
        self._apply = jax.jit(lambda variables, frame: network.apply(variables, frame))
        self._variables = variables
        jax.block_until_ready(self._apply(variables, jax.device_put(frame)))

    def compare(self, result: BatchResult, summary: Summary, every_frame: bool) -> None:
        """Times the dense network on frames of the batch: on all, or on the clip's first few."""
        for step, (frame, present) in enumerate(zip(result.frames, result.present, strict=True)):
            if not every_frame and len(summary.dense_ms) >= DENSE_FRAMES:
                return
            frame = jax.block_until_ready(jax.device_put(frame))
            expected, milliseconds = timed(self._apply, self._variables, frame)
            summary.dense_ms.append(milliseconds)
            if every_frame:
                output = jax.tree.map(lambda array, step=step: array[step], result.outputs)
                summary.compare(*_of_streams((output, expected), present))


def _of_streams(outputs: Any, present: np.ndarray) -> Any:
    return jax.tree.map(lambda array: np.asarray(array)[present], outputs)
