"""Pictures of many people, each in a scene of its own."""

import functools
from collections.abc import Callable

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
    key = jax.random.key(seed)
    stills = None if backgrounds is None else jnp.asarray(backgrounds)
    images = np.empty((count, *size, 3), np.uint8)
    joints: list[Joints] = []
    for start in range(0, count, CHUNK):
        numbers = np.arange(start, start + CHUNK)
        painted, found = sample_pictures(key, numbers, size, stills, tall)
        images[start : start + CHUNK] = painted[: count - start]
        joints.append(jax.device_get(found))
        progress(min(CHUNK, count - start))
    points = np.concatenate([found.points for found in joints])[:count]
    visible = np.concatenate([found.visible for found in joints])[:count]
    return PosePictures(images, points, visible, f"figures (seed {seed})")


@functools.partial(jax.jit, static_argnames="size")
def sample_pictures(
    key: PRNGKeyArray,
    numbers: Int[Array, " N"] | Int[np.ndarray, " N"],
    size: tuple[int, int],
    backgrounds: Float[Array, "B BH BW 3"] | None = None,
    tall: tuple[Number, Number] = TALL,
) -> tuple[UInt8[Array, "N H W 3"], Joints]:
    """The pictures of these numbers, and their joints: points [N, 17, 2] and visible [N, 17]."""

    def sample(number: jax.Array) -> tuple[jax.Array, Joints]:
        scene, time, noise = jax.random.split(jax.random.fold_in(key, number), 3)
        seconds = jax.random.uniform(time, maxval=SECONDS)
        return picture_at(sample_scene(scene, size, backgrounds, tall), seconds, noise)

    return jax.vmap(sample)(jnp.asarray(numbers))
