"""A video through a network, batch by batch, with the state carried on."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Bool, Shaped

from .frames import pack_weights, scan_frames
from .layers.update_point import DELTA

Batch = tuple[Shaped[np.ndarray, "T N H W C"], Bool[np.ndarray, "T N"]]
"""Frames, and which streams have one in which step; what `VideoReader` hands out, for example."""


class BatchResult(NamedTuple):
    """What became of a batch of T frames of N streams.

    Attributes:
        frames: [T, N, H, W, C].
        present: [T, N], the streams that have a frame.
        outputs: [T, N, ...], or a tree of them.
        statistics: the collection of this name, arrays with a leading T.
        masks: the same.
        seconds: that the batch took, compilation not included.
    """

    frames: Shaped[np.ndarray, "T N H W C"]
    present: Bool[np.ndarray, "T N"]
    outputs: Any
    statistics: Any
    masks: Any
    seconds: float


def run_batches(
    model: nn.Module,
    variables: Mapping[str, Any],
    batches: Iterable[Batch],
    batch_frames: int,
    **kwargs: Any,
) -> Iterator[BatchResult]:
    """Runs batches of at most `batch_frames` frames; compiles once, before the first.

    A shorter batch is filled up with steps in which no stream has a new frame, which cost little:
    another number of steps would have to be compiled.

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables; without a "delta" among them, no stream has been seen yet.
        batches: of one shape, but for the number of frames.
        batch_frames: the most frames of a batch.
        **kwargs: passed to the model; hashable.
    """
    rest = {name: value for name, value in variables.items() if name != DELTA}
    # Donated: a copy, as the caller keeps what it gave.
    delta = jax.tree.map(jnp.copy, variables.get(DELTA))

    def scan(frames: np.ndarray, present: np.ndarray) -> tuple[Any, ...]:
        state = {} if delta is None else {DELTA: delta}
        return jax.block_until_ready(
            scan_frames(
                model,
                {**rest, **state},
                frames,
                present=present,
                collect=("statistics", "masks"),
                donate=True,
                **kwargs,
            )
        )

    compiled = False
    for frames, present in batches:
        padded = _padded(frames, present, batch_frames)
        if not compiled:
            rest = pack_weights(model, rest, frames[0], **kwargs)
            # No stream has a frame in this call: it compiles, and leaves the state as it is.
            delta = scan(padded[0], np.zeros_like(padded[1]))[1]
            compiled = True
        start = time.perf_counter()
        outputs, delta, recorded = scan(*padded)
        seconds = time.perf_counter() - start
        count = len(frames)
        outputs, recorded = jax.tree.map(
            lambda array, count=count: np.asarray(array)[:count], (outputs, recorded)
        )
        yield BatchResult(
            frames, present, outputs, recorded["statistics"], recorded["masks"], seconds
        )


def split(
    frames: Shaped[np.ndarray, "T N H W C"], present: Bool[np.ndarray, "T N"], batch_frames: int
) -> Iterator[Batch]:
    """Batches of at most `batch_frames` frames."""
    for start in range(0, len(frames), batch_frames):
        yield frames[start : start + batch_frames], present[start : start + batch_frames]


def _padded(frames: np.ndarray, present: np.ndarray, batch_frames: int) -> Batch:
    missing = batch_frames - len(frames)
    frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    return frames, np.pad(present, ((0, missing), (0, 0)))
