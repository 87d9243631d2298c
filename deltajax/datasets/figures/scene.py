"""A clip of one person before a fixed camera, as a function of the time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt8

from .body import (
    Angles,
    Clothes,
    Lengths,
    joints_of,
    sample_clothes,
    sample_lengths,
)
from .motion import Motion, angles_at, sample_motion
from .painting import Box, paint_boxes, paint_figure, sample_background, sample_boxes

OCCLUDERS = 2
Number = float | Float[Array, ""]
TALL = (0.45, 0.8)
"""The least and the largest height of a person, shares of the picture's."""


class Scene(NamedTuple):
    """Everything but the time.

    Attributes:
        background: [H, W, 3], in [0, 1].
        lengths, clothes, motion: the person's.
        tall: the body's height in pixels.
        start: of the pelvis in pixels from the middle of the first one, x and y [2].
        speed: of the way to and fro, pixels a second.
        occluders: things before the person; those without size are not there.
        noise: standard deviation of the sensor's, of values in [0, 1].
    """

    background: Float[Array, "H W 3"]
    lengths: Lengths
    clothes: Clothes
    motion: Motion
    tall: Float[Array, ""]
    start: Float[Array, "2"]
    speed: Float[Array, ""]
    occluders: Box
    noise: Float[Array, ""]


class Joints(NamedTuple):
    """Of a person in a picture.

    Attributes:
        points: [17, 2], x and y in pixels from the middle of the first one.
        visible: [17], in the picture and not behind a thing. What the person's own body hides is
            visible.
    """

    points: Float[Array, "17 2"]
    visible: Bool[Array, "17"]


def sample_scene(
    key: PRNGKeyArray,
    size: tuple[int, int],
    backgrounds: Float[Array, "B BH BW 3"] | None = None,
    tall: tuple[Number, Number] = TALL,
) -> Scene:
    """A scene.

    Args:
        key: from which all of it follows.
        size: (H, W) of the picture.
        backgrounds: still pictures in [0, 1], at least as large, of which a part is taken half of
            the time; else the background is painted.
        tall: the least and the largest height of the person, shares of the picture's.
    """
    height, width = size
    keys = iter(jax.random.split(key, 12))
    body = height * jax.random.uniform(next(keys), minval=tall[0], maxval=tall[1])
    room = jax.random.uniform(next(keys), (2,))
    # The feet are in the picture, or nearly.
    x = width * (0.2 + 0.6 * room[0])
    y = jnp.minimum(height * (0.35 + 0.3 * room[1]), 0.98 * height - 0.5 * body)
    moves = jax.random.bernoulli(next(keys), 0.5)
    speed = body * jax.random.uniform(next(keys), minval=-0.5, maxval=0.5)
    place, there = next(keys), jax.random.bernoulli(next(keys), 0.3, (OCCLUDERS,))
    occluders = sample_boxes(place, OCCLUDERS, size, least=0.08, most=0.3)
    occluders = occluders._replace(half=occluders.half * there[:, None])
    return Scene(
        background=sample_background(next(keys), size, backgrounds),
        lengths=sample_lengths(next(keys)),
        clothes=sample_clothes(next(keys)),
        motion=sample_motion(next(keys)),
        tall=body,
        start=jnp.stack([x, y]),
        speed=jnp.where(moves, speed, 0.0),
        occluders=occluders,
        noise=jax.random.uniform(next(keys), minval=0.0, maxval=0.02),
    )


def pose_at(scene: Scene, time: Float[Array, ""]) -> tuple[Angles, Float[Array, "17 3"]]:
    """The angles, and the joints in pixels: x to the right, y down, z towards the camera."""
    width = scene.background.shape[1]
    angles = angles_at(scene.motion, time)
    joints = joints_of(scene.lengths, angles)
    # Who walks faces the way, and turns where it ends: a triangular wave between the borders.
    left, right = 0.15 * width, 0.85 * width
    way = (scene.start[0] - left + scene.speed * time) % (2 * (right - left))
    x = left + jnp.where(way > right - left, 2 * (right - left) - way, way)
    lift = jnp.abs(jnp.sin(2 * jnp.pi * scene.motion.rate.hip[0] * time)) * scene.motion.bounce
    # The lower foot stays on the ground.
    ground = scene.start[1] + 0.5 * scene.tall
    lowest = jnp.min(joints[jnp.array([3, 6]), 1])
    y = jnp.where(
        scene.motion.bounce > 0,
        scene.start[1] - lift * scene.tall,
        ground + lowest * scene.tall,
    )
    points = jnp.stack(
        [x + scene.tall * joints[:, 0], y - scene.tall * joints[:, 1], scene.tall * joints[:, 2]],
        axis=-1,
    )
    return angles, points


def joints_at(scene: Scene, time: Float[Array, ""]) -> Joints:
    """Where the joints are."""
    height, width = scene.background.shape[:2]
    _, points = pose_at(scene, time)
    x, y = points[:, 0], points[:, 1]
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    away = jnp.abs(points[:, None, :2] - scene.occluders.middle) - scene.occluders.half
    hidden = jnp.any(jnp.all(away < 0, axis=-1), axis=-1)
    return Joints(points[:, :2], inside & ~hidden)


def picture_at(
    scene: Scene, time: Float[Array, ""], key: PRNGKeyArray
) -> tuple[UInt8[Array, "H W 3"], Joints]:
    """A frame and its joints.

    Args:
        scene: the scene.
        time: in seconds.
        key: of the sensor's noise, another one for each frame.
    """
    _, points = pose_at(scene, time)
    canvas = paint_figure(scene.background, points, scene.lengths, scene.clothes, scene.tall)
    canvas = paint_boxes(canvas, scene.occluders)
    canvas = canvas + scene.noise * jax.random.normal(key, canvas.shape)
    frame = jnp.round(255 * jnp.clip(canvas, 0, 1)).astype(jnp.uint8)
    return frame, joints_at(scene, time)
