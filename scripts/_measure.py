"""Times of the dense and the incremental network, taken in turns in one process."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from _common import Variables
from _error import RelativeError

import deltajax as dj
from deltajax.models import VideoNetwork
from deltajax.statistics import Totals, UpdatePointStatistics, read_statistics, total

NUM_FIRST = 3
"""How often the first frame is timed, each time with a new state."""
NUM_REPEATS = 5
"""How many calls are timed in which nothing, or everything, changes."""
NUM_COUNTED = 2
"""Frames of these two kinds whose work is counted: the others have as much."""

Advance = Callable[[int], None]
"""Is told of frames that are done."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A sequence of frames through both networks.

    Attributes:
        dense_ms: of each call, divided by its frames.
        incremental_ms: of each call, divided by its frames.
        relative_error: ‖incremental − dense‖ / ‖dense‖ over the outputs of all frames.
        frozen_error: the same, had the output of the first frame been kept: what an error has to
            be compared with, as the outputs of random weights vary little from frame to frame.
    """

    dense_ms: np.ndarray
    incremental_ms: np.ndarray
    relative_error: float
    frozen_error: float


class Stopwatch:
    """Both networks, compiled, for frames of one shape, several of them in one call.

    Args:
        network: the network.
        variables: its variables, "thresholds" included: other values of these compile nothing.
        frame: uint8 [N, H, W, 3], for its shape.
        frames_per_call: frames F of a call: on a GPU, calls of one frame would time Python.
    """

    def __init__(
        self,
        network: VideoNetwork,
        variables: Variables,
        frame: np.ndarray,
        frames_per_call: int,
    ) -> None:
        def dense(variables: Variables, frames: jax.Array) -> jax.Array:
            return jax.lax.map(lambda frame: network.apply(variables, frame), frames)

        def incremental(variables: Variables, delta: Any, frames: jax.Array) -> tuple[Any, ...]:
            return dj.scan_frames(network, {**variables, "delta": delta}, frames)

        def recording(variables: Variables, delta: Any, frames: jax.Array) -> tuple[Any, ...]:
            return dj.scan_frames(
                network, {**variables, "delta": delta}, frames, collect=("statistics",)
            )

        self._network = network
        self.frames_per_call = frames_per_call
        self._delta = dj.init_delta(network, variables, frame)
        self.state_bytes = dj.state_bytes(self._delta)
        frames = jax.device_put(np.stack([frame] * frames_per_call))
        lowered = jax.jit(dense).lower(variables, frames)
        programs = (
            jax.jit(incremental, donate_argnums=1).lower(variables, self._delta, frames),
            jax.jit(recording, donate_argnums=1).lower(variables, self._delta, frames[:1]),
        )
        self._dense, self.dense_compile_seconds = compiled(lowered)
        # Side by side where compilation takes none of the cores that it competes for.
        with ThreadPoolExecutor(1 if jax.default_backend() == "cpu" else 2) as pool:
            (self._incremental, seconds), (self._recording, _) = pool.map(compiled, programs)
        self.incremental_compile_seconds = seconds
        self.dense_temporary_bytes = temporary_bytes(self._dense)
        self.temporary_bytes = temporary_bytes(self._incremental)
        # A program's first call may be slower than the others.
        jax.block_until_ready(self._dense(variables, frames))
        self._delta = jax.block_until_ready(self._incremental(variables, self._delta, frames))[1]

    def first_frame(self, variables: Variables, frame: np.ndarray) -> float:
        """Milliseconds of the streams' first frame, in a call of its own.

        The state is that after it.
        """
        self._delta = None  # frees the memory, in which a second state may not fit
        self._delta, on_device = jax.block_until_ready(
            (dj.init_delta(self._network, variables, frame), jax.device_put(frame[None]))
        )
        # The first frame is computed in full: its output is that of the dense network.
        program = self._incremental if self.frames_per_call == 1 else self._recording
        (self._frozen, self._delta, *_), milliseconds = timed(
            program, variables, self._delta, on_device
        )
        return milliseconds

    def warm_up(self, variables: Variables, frames: Iterable[np.ndarray], advance: Advance) -> None:
        """Goes on from the state with frames [N, H, W, 3] that are not timed."""
        for frame in frames:
            _, self._delta, _ = jax.block_until_ready(
                self._recording(variables, self._delta, frame[None])
            )
            advance(1)

    def chunks(self, frames: Sequence[np.ndarray]) -> Iterator[jax.Array]:
        """Frames [N, H, W, 3], a multiple of F of them, on the device, [F, N, H, W, 3]."""
        for some in itertools.batched(frames, self.frames_per_call):
            yield jax.block_until_ready(jax.device_put(np.stack(some)))

    def run(self, variables: Variables, chunks: Iterable[jax.Array], advance: Advance) -> Run:
        """Goes on from the state, through both networks in turns.

        Args:
            variables: those of the network.
            chunks: the frames of each call, [F, N, H, W, 3].
            advance: called after each call.
        """
        count = self.frames_per_call
        dense_ms, incremental_ms = [], []
        error, frozen_error = RelativeError(), RelativeError()
        for chunk in chunks:
            expected, milliseconds = timed(self._dense, variables, chunk)
            dense_ms.append(milliseconds / count)
            (outputs, self._delta), milliseconds = timed(
                self._incremental, variables, self._delta, chunk
            )
            incremental_ms.append(milliseconds / count)
            error.add(outputs, expected)
            frozen_error.add(self._frozen, expected)
            advance(count)
        return Run(np.array(dense_ms), np.array(incremental_ms), error.value, frozen_error.value)

    def statistics(
        self, variables: Variables, frames: Iterable[np.ndarray]
    ) -> tuple[UpdatePointStatistics, ...]:
        """The work of frames [N, H, W, 3], the first ones of their streams.

        In a run of its own, as timed ones record nothing.
        """
        self._delta, steps = None, []  # frees the memory, in which a second state may not fit
        for number, frame in enumerate(frames):
            if number == 0:
                self._delta = dj.init_delta(self._network, variables, frame)
            _, self._delta, recorded = self._recording(variables, self._delta, frame[None])
            steps.append(recorded["statistics"])
        # All at once: one by one, a frame's few hundred numbers would take longer than the frame.
        counts = jax.tree.map(lambda *counts: np.concatenate(counts), *jax.device_get(steps))
        return read_statistics(counts)


def compiled(program: jax.stages.Lowered) -> tuple[jax.stages.Compiled, float]:
    """The program, compiled, and the seconds that this took, tracing not included."""
    start = time.perf_counter()
    return program.compile(), time.perf_counter() - start


def temporary_bytes(program: jax.stages.Compiled) -> int | None:
    """Memory that a call takes besides its arguments and results; None where XLA does not tell."""
    analysis = program.memory_analysis()
    return analysis.temp_size_in_bytes if analysis else None


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


def alternating(frame: np.ndarray, count: int) -> list[np.ndarray]:
    """A frame and its opposite in turns, for calls of `count` frames.

    Args:
        frame: uint8 [N, H, W, 3], the one to go on from.
        count: frames of a call.

    Returns:
        The frames of one call, or of two where one would end with what it began with. They can be
        repeated, and each differs from the one before in every number.
    """
    # Half the range up or down at every pixel; the inverse leaves medium grey as it is.
    return [frame ^ np.uint8(128), frame] * (count if count % 2 else count // 2)


def measure(
    stopwatch: Stopwatch,
    variables: Variables,
    frames: np.ndarray,
    num_warmup: int,
    advance: Advance,
) -> Measurement:
    """Times every kind of frame.

    Args:
        stopwatch: of this network and shape.
        variables: of its network.
        frames: uint8 [1 + num_warmup + T, N, H, W, 3]: the first, some that are not counted, and
            the steady ones, T of them a multiple of the stopwatch's frames per call.
        num_warmup: how many are not counted.
        advance: called after each call.
    """
    clip = list(frames)
    first = np.median([stopwatch.first_frame(variables, clip[0]) for _ in range(NUM_FIRST)])
    stopwatch.warm_up(variables, clip[1 : 1 + num_warmup], advance)
    steady = stopwatch.run(variables, stopwatch.chunks(clip[1 + num_warmup :]), advance)

    def repeats(period: Sequence[np.ndarray]) -> Iterator[jax.Array]:
        """The same again and again: copying it to the device each time would take longest."""
        return itertools.islice(itertools.cycle(list(stopwatch.chunks(period))), NUM_REPEATS)

    count = stopwatch.frames_per_call
    static = stopwatch.run(variables, repeats([clip[-1]] * count), advance)
    changing = alternating(clip[-1], count)
    full_change = stopwatch.run(variables, repeats(changing), advance)

    counted = [*clip, *[clip[-1]] * NUM_COUNTED, *changing[:NUM_COUNTED]]
    points = stopwatch.statistics(variables, counted)
    end, steps = len(clip), len(counted)
    number = np.broadcast_to(np.arange(steps)[:, None], (steps, frames.shape[1]))
    return Measurement(
        first_ms=float(first),
        steady=steady,
        static=static,
        full_change=full_change,
        totals=total(points, (number > num_warmup) & (number < end)),
        static_totals=total(points, (number >= end) & (number < end + NUM_COUNTED)),
        full_change_totals=total(points, number >= end + NUM_COUNTED),
    )
