"""Times of the dense and the incremental network, taken in turns in one process."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from _common import Variables, apply_dense

import deltajax as dj
from deltajax.models import VideoNetwork
from deltajax.statistics import Totals, UpdatePointStatistics, read_statistics, total

NUM_FIRST = 3
"""How often the first frame is timed, each time with a new state."""
NUM_REPEATS = 5
"""How many frames are timed in which nothing, or everything, changes."""

Advance = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Run:
    """A sequence of frames through both networks.

    Attributes:
        dense_ms: of each frame.
        incremental_ms: of each frame.
        relative_error: ‖incremental − dense‖ / ‖dense‖ over the outputs of all frames.
        frozen_error: the same, had the output of the first frame been kept: what an error has to
            be compared with, as the outputs of random weights vary little from frame to frame.
    """

    dense_ms: np.ndarray
    incremental_ms: np.ndarray
    relative_error: float
    frozen_error: float


class Stopwatch:
    """Both networks, compiled, for frames of one shape.

    Args:
        network: the network.
        variables: its variables, "thresholds" included: other values of these compile nothing.
        frame: uint8 [N, H, W, 3], for its shape.
    """

    def __init__(self, network: VideoNetwork, variables: Variables, frame: np.ndarray) -> None:
        on_device = jax.device_put(frame)
        self._network = network
        self._dense = apply_dense(network)
        self._step = jax.jit(
            lambda variables, delta, frame: network.apply(
                {**variables, "delta": delta}, frame, mutable=["delta"]
            ),
            donate_argnums=1,
        )
        self._delta = dj.init_delta(network, variables, frame)
        self.state_bytes = dj.state_bytes(self._delta)
        self.dense_compile_seconds = timed(self._dense, variables, on_device)[1] / 1000
        self.incremental_compile_seconds = (
            timed(self._step, variables, self._delta, on_device)[1] / 1000
        )

    def first_frame(self, variables: Variables, frame: np.ndarray) -> float:
        """Milliseconds of the streams' first frame; the state is that after it."""
        on_device, self._delta = jax.block_until_ready(
            (jax.device_put(frame), dj.init_delta(self._network, variables, frame))
        )
        (_, changed), milliseconds = timed(self._step, variables, self._delta, on_device)
        self._delta = changed["delta"]
        self._frozen = np.asarray(self._dense(variables, on_device), np.float64)
        return milliseconds

    def run(self, variables: Variables, frames: np.ndarray, advance: Advance) -> Run:
        """Goes on from the state with frames [T, N, H, W, 3], each through both networks."""
        dense_ms, incremental_ms = [], []
        error = frozen_error = norm = 0.0
        for frame in frames:
            frame = jax.block_until_ready(jax.device_put(frame))
            expected, milliseconds = timed(self._dense, variables, frame)
            dense_ms.append(milliseconds)
            (output, changed), milliseconds = timed(self._step, variables, self._delta, frame)
            incremental_ms.append(milliseconds)
            self._delta = changed["delta"]
            expected = np.asarray(expected, np.float64)
            error += np.sum(np.square(np.asarray(output, np.float64) - expected))
            frozen_error += np.sum(np.square(self._frozen - expected))
            norm += np.sum(np.square(expected))
            advance()
        return Run(
            np.array(dense_ms),
            np.array(incremental_ms),
            float(np.sqrt(error / norm)),
            float(np.sqrt(frozen_error / norm)),
        )


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What the benchmark measures.

    Attributes:
        first_ms: of a stream's first frame, the median of a few.
        steady, static, full_change: the frames of the clip; frames in which nothing changes; and
            frames in which every pixel does.
        totals, static_totals, full_change_totals: the work of these.
    """

    first_ms: float
    steady: Run
    static: Run
    full_change: Run
    totals: Totals
    static_totals: Totals
    full_change_totals: Totals


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """The result, ready, and the milliseconds that it took."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, (time.perf_counter() - start) * 1000


def measure(
    stopwatch: Stopwatch,
    network: VideoNetwork,
    variables: Variables,
    frames: np.ndarray,
    num_warmup: int,
    advance: Advance,
) -> Measurement:
    """Times every kind of frame.

    Args:
        stopwatch: of this network and shape.
        network: the network.
        variables: its variables.
        frames: uint8 [1 + num_warmup + T, N, H, W, 3]: the first, some that are not counted, and
            the steady ones.
        num_warmup: how many are not counted.
        advance: called after each frame.
    """
    first = np.median([stopwatch.first_frame(variables, frames[0]) for _ in range(NUM_FIRST)])
    stopwatch.run(variables, frames[1 : 1 + num_warmup], advance) if num_warmup else None
    steady = stopwatch.run(variables, frames[1 + num_warmup :], advance)
    still = np.repeat(frames[-1:], NUM_REPEATS, axis=0)
    static = stopwatch.run(variables, still, advance)
    # Half the range up or down at every pixel; the inverse leaves medium grey as it is.
    flips = (np.arange(NUM_REPEATS, dtype=np.uint8) % 2 == 0)[:, None, None, None, None]
    changing = still ^ np.where(flips, np.uint8(128), np.uint8(0))
    full_change = stopwatch.run(variables, changing, advance)

    points = statistics(network, variables, np.concatenate([frames, still, changing]))
    steps = len(frames) + 2 * NUM_REPEATS
    number = np.broadcast_to(np.arange(steps)[:, None], (steps, frames.shape[1]))
    end = len(frames)
    return Measurement(
        first_ms=float(first),
        steady=steady,
        static=static,
        full_change=full_change,
        totals=total(points, (number > num_warmup) & (number < end)),
        static_totals=total(points, (number >= end) & (number < end + NUM_REPEATS)),
        full_change_totals=total(points, number >= end + NUM_REPEATS),
    )


def statistics(
    network: VideoNetwork, variables: Variables, frames: np.ndarray
) -> tuple[UpdatePointStatistics, ...]:
    """The work of frames [T, N, H, W, 3]; in a run of its own, as timed ones record nothing."""
    recorded = dj.scan_frames(network, variables, frames, collect=("statistics",))[2]
    return read_statistics(recorded["statistics"])
