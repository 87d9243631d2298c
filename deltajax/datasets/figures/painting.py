"""Backgrounds, things and people, painted with signed distances in pixels."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .body import Clothes, Lengths

Canvas = Float[Array, "H W 3"]

SHADE = 0.35
"""How much darker a limb's edge is than its middle."""


class Box(NamedTuple):
    """Upright rectangles, B of them.

    Attributes:
        middle: [B, 2], x and y in pixels.
        half: [B, 2], half the width and the height.
        colour: [B, 3].
    """

    middle: Float[Array, "B 2"]
    half: Float[Array, "B 2"]
    colour: Float[Array, "B 3"]


class Cone(NamedTuple):
    """A round cone between two points, and how it looks.

    Attributes:
        start, end: x, y and z in pixels [3].
        radii: at both [2].
        colour: RGB [3].
        stripe: RGB of its stripes [3].
        stripes: over its length; 0 for none.
        nearer: added to its depth, for what lies on top of something.
    """

    start: Float[Array, "... 3"]
    end: Float[Array, "... 3"]
    radii: Float[Array, "... 2"]
    colour: Float[Array, "... 3"]
    stripe: Float[Array, "... 3"]
    stripes: Float[Array, "..."]
    nearer: Float[Array, "..."]


def sample_boxes(
    key: PRNGKeyArray, count: int, size: tuple[int, int], least: float, most: float
) -> Box:
    """Boxes anywhere, their sides shares of the picture's."""
    place, extent, paint = jax.random.split(key, 3)
    sides = jnp.array([size[1], size[0]], jnp.float32)
    shares = jax.random.uniform(extent, (count, 2), minval=least, maxval=most)
    return Box(
        middle=sides * jax.random.uniform(place, (count, 2)),
        half=0.5 * sides * shares,
        colour=jax.random.uniform(paint, (count, 3)),
    )


def paint_boxes(canvas: Canvas, boxes: Box) -> Canvas:
    """One after the other, with smooth edges; those without size leave nothing."""
    x, y = _grid(canvas)

    def paint(canvas: Canvas, box: Box) -> tuple[Canvas, None]:
        distance = jnp.maximum(
            jnp.abs(x - box.middle[0]) - box.half[0], jnp.abs(y - box.middle[1]) - box.half[1]
        )
        alpha = jnp.clip(0.5 - distance, 0, 1) * jnp.all(box.half > 0)
        return canvas + alpha[..., None] * (box.colour - canvas), None

    return jax.lax.scan(paint, canvas, boxes)[0]


def sample_background(
    key: PRNGKeyArray, size: tuple[int, int], backgrounds: Float[Array, "B BH BW 3"] | None
) -> Canvas:
    """A painted one, or a part of a still picture."""
    kind, texture, furniture, chosen, light = jax.random.split(key, 5)
    height, width = size
    canvas = jnp.zeros((height, width, 3))
    for number, (cells, strength) in enumerate(((2, 0.5), (5, 0.25), (12, 0.15), (48, 0.1))):
        grid = jax.random.uniform(jax.random.fold_in(texture, number), (cells, cells + 1, 3))
        canvas = canvas + strength * jax.image.resize(grid, canvas.shape, "linear")
    canvas = paint_boxes(canvas, sample_boxes(furniture, 6, size, least=0.05, most=0.5))
    if backgrounds is not None:
        canvas = jnp.where(jax.random.bernoulli(kind), _part(chosen, size, backgrounds), canvas)
    return canvas * jax.random.uniform(light, (3,), minval=0.6, maxval=1.05)


def _part(
    key: PRNGKeyArray, size: tuple[int, int], backgrounds: Float[Array, "B BH BW 3"]
) -> Canvas:
    number, place, mirror = jax.random.split(key, 3)
    count, *sides, _ = backgrounds.shape
    chosen = jax.random.randint(number, (), 0, count)
    room = jnp.array([side - own + 1 for side, own in zip(sides, size, strict=True)])
    top, left = jnp.floor(jax.random.uniform(place, (2,)) * room).astype(int)
    part = jax.lax.dynamic_slice(backgrounds, (chosen, top, left, 0), (1, *size, 3))[0]
    return jnp.where(jax.random.bernoulli(mirror), part[:, ::-1], part)


def paint_figure(
    canvas: Canvas,
    joints: Float[Array, "17 3"],
    lengths: Lengths,
    clothes: Clothes,
    tall: Float[Array, ""],
) -> Canvas:
    """A person on the canvas, the farthest part first.

    Args:
        canvas: what is behind.
        joints: in pixels, z towards the camera.
        lengths, clothes: the person's.
        tall: the body's height in pixels.
    """
    x, y = _grid(canvas)
    cones = _cones(joints, clothes, tall)
    order = jnp.argsort(0.5 * (cones.start[:, 2] + cones.end[:, 2]) + cones.nearer)

    def paint(canvas: Canvas, cone: Cone) -> tuple[Canvas, None]:
        way = cone.end[:2] - cone.start[:2]
        dx, dy = x - cone.start[0], y - cone.start[1]
        along = jnp.clip((dx * way[0] + dy * way[1]) / jnp.maximum(way @ way, 1e-3), 0, 1)
        radius = cone.radii[0] + along * (cone.radii[1] - cone.radii[0])
        away = jnp.hypot(dx - along * way[0], dy - along * way[1])
        striped = (jnp.sin(2 * jnp.pi * cone.stripes * along) > 0) & (cone.stripes > 0)
        colour = jnp.where(striped[..., None], cone.stripe, cone.colour)
        shade = 1 - SHADE * jnp.clip(away / jnp.maximum(radius, 0.5), 0, 1) ** 2
        alpha = jnp.clip(0.5 + radius - away, 0, 1)[..., None]
        return canvas + alpha * (shade[..., None] * colour - canvas), None

    return jax.lax.scan(paint, canvas, jax.tree.map(lambda part: part[order], cones))[0]


def _cones(joints: Float[Array, "17 3"], clothes: Clothes, tall: Float[Array, ""]) -> Cone:
    """The body's parts, in no order."""
    sleeve = jnp.where(clothes.long_sleeves > 0, clothes.shirt, clothes.skin)
    trouser = jnp.where(clothes.long_trousers > 0, clothes.trousers, clothes.skin)
    down = jnp.array([0.0, 1.0, 0.0])
    # Feet point to where the nose is.
    front = (joints[9] - joints[8]) * jnp.array([1.0, 0.0, 1.0])
    front = front / jnp.maximum(jnp.linalg.norm(front), 1e-3)
    parts: list[Cone] = []

    def add(
        start: jax.Array,
        end: jax.Array,
        first: float,
        second: float,
        colour: jax.Array,
        stripe: jax.Array | None = None,
        stripes: Any = 0.0,
        nearer: float = 0.0,
    ) -> None:
        parts.append(
            Cone(
                start,
                end,
                tall * clothes.width * jnp.array([first, second]),
                colour,
                colour if stripe is None else stripe,
                jnp.asarray(stripes, jnp.float32),
                tall * jnp.float32(nearer),
            )
        )

    pelvis, spine, thorax, nose, top = (joints[number] for number in (0, 7, 8, 9, 10))
    for hip, knee, ankle in ((1, 2, 3), (4, 5, 6)):
        add(joints[hip], joints[knee], 0.052, 0.038, clothes.trousers)
        add(joints[knee], joints[ankle], 0.036, 0.024, trouser)
        heel = joints[ankle] + 0.025 * tall * down
        add(heel, heel + 0.1 * tall * front, 0.022, 0.018, clothes.shoes)
    for shoulder, elbow, wrist in ((11, 12, 13), (14, 15, 16)):
        add(joints[shoulder], joints[elbow], 0.034, 0.026, clothes.shirt)
        add(joints[elbow], joints[wrist], 0.026, 0.019, sleeve)
        hand = joints[wrist] + 0.25 * (joints[wrist] - joints[elbow])
        add(joints[wrist], hand, 0.02, 0.022, clothes.skin)
    stripes = clothes.stripes
    add(joints[1], joints[4], 0.05, 0.05, clothes.trousers, nearer=0.01)
    add(pelvis, spine, 0.072, 0.07, clothes.shirt, clothes.stripe, stripes, 0.012)
    add(spine, thorax, 0.074, 0.066, clothes.shirt, clothes.stripe, stripes, 0.012)
    add(joints[11], joints[14], 0.036, 0.036, clothes.shirt, nearer=0.011)
    middle = 0.45 * thorax + 0.55 * top
    add(thorax, middle, 0.026, 0.028, clothes.skin, nearer=0.01)
    # The hair is behind the face where the face is seen, and before it where the back is.
    skull = 0.28 * thorax + 0.72 * top
    add(skull, skull + 0.1 * (top - thorax), 0.054, 0.05, clothes.hair)
    face = 0.5 * skull + 0.5 * nose
    add(face, face + 0.06 * (thorax - top), 0.043, 0.036, clothes.skin)
    return jax.tree.map(lambda *values: jnp.stack(values), *parts)


def _grid(canvas: Canvas) -> tuple[jax.Array, jax.Array]:
    height, width, _ = canvas.shape
    y, x = jnp.indices((height, width), jnp.float32)
    return x, y
