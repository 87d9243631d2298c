"""A hundred classes of small pictures that are made, not found, for where CIFAR-100 is not.

A picture shows one of ten shapes with one of ten textures, a class each, anywhere, at any angle, in
any two colours, over a background with a gradient and with pieces of other shapes, under noise. Its
colours say nothing of its class.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from .cifar100 import NUM_CLASSES, Cifar100, Split

SIZE, SAMPLES = 32, 2
"""Of a picture, and samples of each pixel along each axis."""
CHUNK = 500
"""Pictures that are made at once."""
NOISE = 0.06
"""Standard deviation of the noise, of values in [0, 1]."""

Plane = Float[Array, "H W"]
Pattern = Callable[[Plane, Plane], Plane]


def _polygon(corners: int, depth: float) -> Pattern:
    """Negative inside of a regular polygon, or of a star for a depth above zero."""

    def distance(u: Plane, v: Plane) -> Plane:
        angle = jnp.arctan2(v, u) % (2 * jnp.pi / corners) - jnp.pi / corners
        radius = jnp.hypot(u, v)
        edge = jnp.cos(jnp.pi / corners) / jnp.maximum(jnp.cos(angle), 1e-3)
        return radius - edge * (1 - depth * (1 - jnp.abs(angle) * corners / jnp.pi))

    return distance


def _box(width: float, height: float) -> Pattern:
    return lambda u, v: jnp.maximum(jnp.abs(u) - width, jnp.abs(v) - height)


def _disc(radius: float, x: float = 0.0) -> Pattern:
    return lambda u, v: jnp.hypot(u - x, v) - radius


SHAPES: dict[str, Pattern] = {
    "disc": _disc(0.8),
    "ring": lambda u, v: jnp.abs(jnp.hypot(u, v) - 0.65) - 0.28,
    "triangle": _polygon(3, 0.0),
    "square": _box(0.72, 0.72),
    "star": _polygon(5, 0.55),
    "bar": _box(1.0, 0.42),
    "cross": lambda u, v: jnp.minimum(_box(1.0, 0.33)(u, v), _box(0.33, 1.0)(u, v)),
    "crescent": lambda u, v: jnp.maximum(_disc(0.9)(u, v), -_disc(0.75, 0.5)(u, v)),
    "half": lambda u, v: jnp.maximum(_disc(0.95)(u, v + 0.35), -v - 0.35),
    "corner": lambda u, v: jnp.maximum(_box(0.8, 0.8)(u, v), -_box(0.8, 0.8)(u - 0.6, v - 0.6)),
}
"""Negative inside, in coordinates in which a shape is about a unit large."""


def _wave(values: Plane, cycles: float) -> Plane:
    return 0.5 + 0.5 * jnp.sign(jnp.sin(2 * jnp.pi * cycles * values))


TEXTURES: dict[str, Pattern] = {
    "plain": lambda u, v: jnp.ones_like(u),
    "striped": lambda u, v: _wave(u, 1.6),
    "barred": lambda u, v: _wave(v, 1.6),
    "diagonal": lambda u, v: _wave(u + v, 1.2),
    "chequered": lambda u, v: jnp.abs(_wave(u, 1.1) - _wave(v, 1.1)),
    "ringed": lambda u, v: _wave(jnp.hypot(u, v), 1.8),
    "spoked": lambda u, v: 0.5 + 0.5 * jnp.sign(jnp.sin(6 * jnp.arctan2(v, u))),
    "shaded": lambda u, v: jnp.clip(0.5 + 0.6 * u, 0, 1),
    "dotted": lambda u, v: (jnp.sin(7.5 * u) * jnp.sin(7.5 * v) > 0.3).astype(u.dtype),
    "split": lambda u, v: (u > 0).astype(u.dtype),
}
"""The share of the second colour, in [0, 1], in the same coordinates."""

NAMES = tuple(f"{texture} {shape}" for shape in SHAPES for texture in TEXTURES)


def synthetic_cifar100(
    train: int = 50_000,
    test: int = 10_000,
    seed: int = 0,
    progress: Callable[[int], None] = lambda count: None,
) -> Cifar100:
    """A dataset of the same format; classes are equally frequent.

    Args:
        train, test: pictures of each part.
        seed: of all of it.
        progress: called with the number of pictures that have been made since the last call.
    """
    key = jax.random.key(seed)
    pictures, others = (
        _split(jax.random.fold_in(key, part), count, progress)
        for part, count in enumerate((train, test))
    )
    return Cifar100(pictures, others, NAMES, f"synthetic (seed {seed})")


def _split(key: PRNGKeyArray, count: int, progress: Callable[[int], None]) -> Split:
    labels = np.arange(count, dtype=np.int32) % NUM_CLASSES
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for start in range(0, count, CHUNK):
        numbers = np.arange(start, start + CHUNK)
        made = np.asarray(_pictures(key, numbers, labels[np.minimum(numbers, count - 1)]))
        images[start : start + CHUNK] = made[: count - start]
        progress(min(CHUNK, count - start))
    return Split(images, labels)


@jax.jit
def _pictures(key: PRNGKeyArray, numbers: jax.Array, labels: jax.Array) -> UInt8[Array, "N H W 3"]:
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(numbers)
    return jax.vmap(_picture)(keys, labels)


def _picture(key: PRNGKeyArray, label: jax.Array) -> UInt8[Array, "H W 3"]:
    background, clutter, shape, noise, light = jax.random.split(key, 5)
    axis = (jnp.arange(SIZE * SAMPLES) + 0.5) / (SIZE * SAMPLES) * 2 - 1
    y, x = jnp.meshgrid(axis, axis, indexing="ij")
    canvas = _gradient(background, x, y)
    # Pieces of other shapes, smaller than the one that counts, and behind it.
    for number in range(3):
        place, kind = jax.random.split(jax.random.fold_in(clutter, number))
        other = jax.random.randint(kind, (), 0, NUM_CLASSES)
        canvas = _painted(canvas, place, other, x, y, (0.12, 0.25), 1.0)
    canvas = _painted(canvas, shape, label, x, y, (0.5, 0.8), 0.3)
    picture = canvas.reshape(SIZE, SAMPLES, SIZE, SAMPLES, 3).mean((1, 3))
    picture = picture * jax.random.uniform(light, (), minval=0.6, maxval=1.1)
    picture = picture + NOISE * jax.random.normal(noise, picture.shape)
    return jnp.round(255 * jnp.clip(picture, 0, 1)).astype(jnp.uint8)


def _gradient(key: PRNGKeyArray, x: Plane, y: Plane) -> Float[Array, "H W 3"]:
    colours, direction = jax.random.split(key)
    first, second = jax.random.uniform(colours, (2, 3))
    angle = jax.random.uniform(direction, maxval=2 * jnp.pi)
    share = 0.5 + 0.35 * (jnp.cos(angle) * x + jnp.sin(angle) * y)
    return first + share[..., None] * (second - first)


def _painted(
    canvas: Float[Array, "H W 3"],
    key: PRNGKeyArray,
    label: jax.Array,
    x: Plane,
    y: Plane,
    scales: tuple[float, float],
    reach: float,
) -> Float[Array, "H W 3"]:
    """The canvas with a shape on it, as large as `scales` say, at most `reach` off."""
    place, turn, size, paint, contrast = jax.random.split(key, 5)
    middle = jax.random.uniform(place, (2,), minval=-reach, maxval=reach)
    angle = jax.random.uniform(turn, maxval=2 * jnp.pi)
    scale = jax.random.uniform(size, minval=scales[0], maxval=scales[1])
    dx, dy = (x - middle[0]) / scale, (y - middle[1]) / scale
    u = jnp.cos(angle) * dx + jnp.sin(angle) * dy
    v = jnp.cos(angle) * dy - jnp.sin(angle) * dx
    outside = jax.lax.switch(label // len(TEXTURES), list(SHAPES.values()), u, v)
    texture = jax.lax.switch(label % len(TEXTURES), list(TEXTURES.values()), u, v)
    first = jax.random.uniform(paint, (3,))
    # Far enough from the first to be seen.
    away = jax.random.uniform(contrast, (3,), minval=0.35, maxval=0.65)
    second = (first + away) % 1.0
    colour = first + texture[..., None] * (second - first)
    return jnp.where(outside[..., None] < 0, colour, canvas)
