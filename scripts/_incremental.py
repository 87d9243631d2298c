"""A video through a network, batch by batch, with the state carried on."""

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from _common import Variables

import deltajax as dj
from deltajax.models import VideoNetwork
from deltajax.video import VideoBatch


class BatchResult(NamedTuple):
    """What became of a batch of T frames of N streams.

    Attributes:
        frames: uint8 [T, N, H, W, 3].
        present: bool [T, N].
        outputs: [T, N, …], or a tree of them.
        statistics: of the collection of this name, arrays with a leading T.
        masks: the same.
        seconds: that the batch took, compilation not included.
    """

    frames: np.ndarray
    present: np.ndarray
    outputs: Any
    statistics: Any
    masks: Any
    seconds: float


def run_batches(
    network: VideoNetwork, variables: Variables, batches: Iterable[VideoBatch], batch_frames: int
) -> Iterator[BatchResult]:
    """Runs batches of at most `batch_frames` frames; compiles once, before the first.

    A shorter batch is filled up with steps in which no stream has a new frame, which cost little:
    another number of steps would have to be compiled.
    """
    delta = None
    for batch in batches:
        frames, present = padded(batch, batch_frames)
        if delta is None:
            # No stream has a frame in this call: it compiles, and leaves the state as it is.
            absent = np.zeros_like(present)
            delta = jax.block_until_ready(scan(network, variables, None, frames, absent))[1]
        start = time.perf_counter()
        outputs, delta, recorded = jax.block_until_ready(
            scan(network, variables, delta, frames, present)
        )
        seconds = time.perf_counter() - start
        count = len(batch.frames)
        outputs, recorded = jax.tree.map(
            lambda array, count=count: np.asarray(array)[:count], (outputs, recorded)
        )
        yield BatchResult(
            batch.frames,
            batch.present,
            outputs,
            recorded["statistics"],
            recorded["masks"],
            seconds,
        )


def scan(
    network: VideoNetwork,
    variables: Variables,
    delta: Any,
    frames: np.ndarray,
    present: np.ndarray,
) -> tuple[Any, ...]:
    state = {} if delta is None else {"delta": delta}
    return dj.scan_frames(
        network,
        {**variables, **state},
        frames,
        present=present,
        collect=("statistics", "masks"),
        donate=True,
    )


def padded(batch: VideoBatch, batch_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """The frames and flags of a batch, filled up to `batch_frames` steps."""
    missing = batch_frames - len(batch.frames)
    frames = np.concatenate([batch.frames, np.repeat(batch.frames[-1:], missing, axis=0)])
    return frames, np.pad(batch.present, ((0, missing), (0, 0)))
