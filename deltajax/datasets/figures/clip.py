"""Clips of a person before a fixed camera."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from deltajax.video import VideoBatch

from .scene import Joints, Scene, joints_at, picture_at, sample_scene


class FigureClip:
    """A fixed camera, a still background, and a person who moves.

    Every frame is a function of the arguments and its own number alone.

    Args:
        height: H, in pixels.
        width: W, in pixels.
        seed: of everything.
        fps: frames per second.
        backgrounds: still pictures in [0, 1], see `sample_scene`.
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
        self.scene: Scene = _scene(key, (height, width), still)
        if noise is not None:
            self.scene = self.scene._replace(noise=jnp.float32(noise))

    def frames(self, num_frames: int, start: int = 0) -> UInt8[np.ndarray, "T H W 3"]:
        """Consecutive frames, RGB."""
        numbers = self._numbers(num_frames, start)
        return np.asarray(_frames(self.scene, self._noise, numbers, jnp.float32(self.fps)))

    def joints(self, num_frames: int, start: int = 0) -> Joints:
        """Of consecutive frames: points [T, 17, 2] and visible [T, 17]."""
        found = _joints(self.scene, self._numbers(num_frames, start), jnp.float32(self.fps))
        return jax.tree.map(np.asarray, found)

    def batches(self, num_frames: int, batch_frames: int = 16) -> Iterator[VideoBatch]:
        """Batches as `VideoReader` has them, of one stream."""
        for start in range(0, num_frames, batch_frames):
            count = min(batch_frames, num_frames - start)
            frames = self.frames(count, start)[:, None]
            yield VideoBatch(frames, np.ones((count, 1), np.bool_))

    def _numbers(self, num_frames: int, start: int) -> jax.Array:
        if num_frames < 0 or start < 0:
            raise ValueError(f"frames are numbered from 0, got {num_frames} from {start} on")
        return jnp.arange(start, start + num_frames)


_scene = jax.jit(sample_scene, static_argnames="size")


@jax.jit
def _frames(
    scene: Scene, key: PRNGKeyArray, numbers: Int[Array, " T"], fps: Float[Array, ""]
) -> UInt8[Array, "T H W 3"]:
    def frame(number: jax.Array) -> jax.Array:
        return picture_at(scene, number / fps, jax.random.fold_in(key, number))[0]

    return jax.lax.map(frame, numbers)


@jax.jit
def _joints(scene: Scene, numbers: Int[Array, " T"], fps: Float[Array, ""]) -> Joints:
    return jax.vmap(lambda number: joints_at(scene, number / fps))(numbers)
