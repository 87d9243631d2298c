"""Pictures of many people, each in a scene of its own."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from ..pose_pictures import PosePictures
from .scene import TALL, Joints, Number, picture_at, sample_scene

CHUNK = 100
"""Pictures that are painted at once."""
SECONDS = 60.0
"""Scenes are looked at once, up to this time after their beginning."""


def figure_pictures(
    count: int,
    size: tuple[int, int],
    *,
    seed: int = 0,
    backgrounds: Float[np.ndarray, "B BH BW 3"] | None = None,
    tall: tuple[float, float] = TALL,
    progress: Callable[[int], None] = lambda count: None,
) -> PosePictures:
    """Pictures of people; picture n follows from the other arguments and n alone.

    Args:
        count: how many.
        size: (H, W), in pixels.
        seed: of everything.
        backgrounds: still pictures in [0, 1], see `sample_scene`.
        tall: the least and the largest height of a person, shares of the picture's.
        progress: called with the number of pictures that have been painted since the last call.
    """
    painter = FigurePictures(count, size, seed=seed, backgrounds=backgrounds, tall=tall)
    images = np.empty((count, *size, 3), np.uint8)
    points, counts = np.empty((count, 17, 2), np.float32), np.empty((count, 17), np.bool_)
    for start in range(0, count, CHUNK):
        batch = painter.batch(np.arange(start, start + CHUNK))
        for whole, name in ((images, "image"), (points, "points"), (counts, "counts")):
            whole[start : start + CHUNK] = batch[name][: count - start]
        progress(min(CHUNK, count - start))
    return PosePictures(images, points, counts, painter.source)


class FigurePictures:
    """The same pictures, each painted when it is asked for: as many as there is time for.

    `deltajax.training.fit` takes it. On a GPU painting costs next to nothing, and pictures stay on
    it; on a CPU it costs about as much as a step of a small network.

    Args:
        count: how many there are.
        size: (H, W), in pixels.
        seed: of everything.
        backgrounds: still pictures in [0, 1], see `sample_scene`.
        tall: the least and the largest height of a person, shares of the picture's.

    Attributes:
        source: for reports.
    """

    def __init__(
        self,
        count: int,
        size: tuple[int, int],
        *,
        seed: int = 0,
        backgrounds: Float[np.ndarray, "B BH BW 3"] | None = None,
        tall: tuple[float, float] = TALL,
    ) -> None:
        self._count, self._size, self._tall = count, size, tall
        self._key = jax.random.key(seed)
        self._stills = None if backgrounds is None else jnp.asarray(backgrounds)
        self.source = f"figures (seed {seed})"

    def __len__(self) -> int:
        return self._count

    def batch(self, numbers: np.ndarray) -> Mapping[str, Any]:
        """The pictures and joints of these numbers, as `PosePictures` names them."""
        images, joints = sample_pictures(
            self._key, jnp.asarray(numbers), self._size, self._stills, self._tall
        )
        return {"image": images, "points": joints.points, "counts": joints.visible}


@functools.partial(jax.jit, static_argnames="size")
def sample_pictures(
    key: PRNGKeyArray,
    numbers: Int[Array, " N"],
    size: tuple[int, int],
    backgrounds: Float[Array, "B BH BW 3"] | None = None,
    tall: tuple[Number, Number] = TALL,
) -> tuple[UInt8[Array, "N H W 3"], Joints]:
    """The pictures of these numbers, and their joints: points [N, 17, 2] and visible [N, 17]."""

    def sample(number: jax.Array) -> tuple[jax.Array, Joints]:
        scene, time, noise = jax.random.split(jax.random.fold_in(key, number), 3)
        seconds = jax.random.uniform(time, maxval=SECONDS)
        return picture_at(sample_scene(scene, size, backgrounds, tall), seconds, noise)

    return jax.vmap(sample)(numbers)
