"""Clips of a person before a fixed camera."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from deltajax.video import VideoBatch

from ..pose_pictures import PoseClips
from .scene import TALL, Joints, Scene, joints_at, picture_at, sample_scene

CHUNK = 8
"""Frames that are painted at once: another number would have to be compiled."""


class FigureClip:
    """A fixed camera, a still background, and a person who moves.

    Every frame is a function of the arguments and its own number alone.

    Args:
        height: H, in pixels.
        width: W, in pixels.
        seed: of everything.
        fps: frames per second.
        backgrounds: still pictures in [0, 1], see `sample_scene`.
        tall: the least and the largest height of the person, shares of the picture's.
        noise: standard deviation of the sensor's noise, of values in [0, 1]; of the clip's own
            camera if not given.

    Raises:
        ValueError: for a size or a rate that is not positive, or a negative seed or noise.
    """

    def __init__(
        self,
        height: int,
        width: int,
        *,
        seed: int = 0,
        fps: float = 25.0,
        backgrounds: Float[np.ndarray, "B BH BW 3"] | None = None,
        tall: tuple[float, float] = TALL,
        noise: float | None = None,
    ) -> None:
        if min(height, width) < 1 or not fps > 0:
            raise ValueError(
                f"height, width and fps must be positive, got {height}, {width} and {fps}"
            )
        if seed < 0 or (noise is not None and not 0 <= noise <= 1):
            raise ValueError(f"seed must be at least 0 and noise in [0, 1], got {seed} and {noise}")
        self.height, self.width, self.seed, self.fps = height, width, seed, fps
        key, self._noise = jax.random.split(jax.random.key(seed))
        still = None if backgrounds is None else jnp.asarray(backgrounds)
        self.scene: Scene = _scene(key, (height, width), still, tall)
        if noise is not None:
            self.scene = self.scene._replace(noise=jnp.float32(noise))

    def frames(self, num_frames: int, start: int = 0) -> UInt8[np.ndarray, "T H W 3"]:
        """Consecutive frames, RGB."""
        frames = np.empty((num_frames, self.height, self.width, 3), np.uint8)
        for place, numbers in _chunks(num_frames, start):
            painted = _frames(self.scene, self._noise, numbers, jnp.float32(self.fps))
            frames[place : place + CHUNK] = painted[: num_frames - place]
        return frames

    def joints(self, num_frames: int, start: int = 0) -> Joints:
        """Of consecutive frames: points [T, 17, 2] and visible [T, 17]."""
        found = [
            jax.device_get(_joints(self.scene, numbers, jnp.float32(self.fps)))
            for _, numbers in _chunks(num_frames, start)
        ]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:num_frames], *found)

    def batches(self, num_frames: int, batch_frames: int = 16) -> Iterator[VideoBatch]:
        """Batches as `VideoReader` has them, of one stream."""
        for start in range(0, num_frames, batch_frames):
            count = min(batch_frames, num_frames - start)
            frames = self.frames(count, start)[:, None]
            yield VideoBatch(frames, np.ones((count, 1), np.bool_))


def _chunks(num_frames: int, start: int) -> Iterator[tuple[int, Int[np.ndarray, " T"]]]:
    """Places and numbers of frames, `CHUNK` at a time; those beyond the last one are not wanted."""
    if num_frames < 1 or start < 0:
        raise ValueError(
            f"frames are numbered from 0, and there must be one, got {num_frames} from {start} on"
        )
    for place in range(0, num_frames, CHUNK):
        yield place, np.arange(start + place, start + place + CHUNK)


def figure_clips(
    count: int,
    num_frames: int,
    size: tuple[int, int],
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda count: None,
    **settings: Any,
) -> PoseClips:
    """Clips of as many people, from their beginning on.

    Args:
        count: how many; clip n is the `FigureClip` of seed `seed` + n.
        num_frames: of each.
        size: (H, W), in pixels.
        seed: of the first.
        progress: called with the number of clips that have been painted since the last call.
        **settings: of `FigureClip`.
    """
    frames, joints = [], []
    for number in range(count):
        clip = FigureClip(*size, seed=seed + number, **settings)
        frames.append(clip.frames(num_frames))
        joints.append(clip.joints(num_frames))
        progress(1)
    return PoseClips(
        np.stack(frames, axis=1),
        np.stack([found.points for found in joints], axis=1),
        np.stack([found.visible for found in joints], axis=1),
        f"figures (seeds {seed} to {seed + count - 1})",
    )


_scene = jax.jit(sample_scene, static_argnames="size")


@jax.jit
def _frames(
    scene: Scene,
    key: PRNGKeyArray,
    numbers: Int[Array, " T"],
    fps: Float[Array, ""],
) -> UInt8[Array, "T H W 3"]:
    def frame(number: jax.Array) -> jax.Array:
        return picture_at(scene, number / fps, jax.random.fold_in(key, number))[0]

    return jax.lax.map(frame, numbers)


@jax.jit
def _joints(scene: Scene, numbers: Int[Array, " T"], fps: Float[Array, ""]) -> Joints:
    return jax.vmap(lambda number: joints_at(scene, number / fps))(numbers)
