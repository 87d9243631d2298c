"""A person's body and clothes, and where its joints are at given angles.

Lengths are shares of the body's height, the usual proportions of anthropometry (Drillis and
Contini, 1966), each with a person's own deviation. Axes: x to the person's left, y up, z to the
front.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

LEFT, RIGHT = 1.0, -1.0

Point = Float[Array, "3"]


class Lengths(NamedTuple):
    """Of a body's parts, shares of its height."""

    thigh: Float[Array, ""]
    shank: Float[Array, ""]
    upper_arm: Float[Array, ""]
    forearm: Float[Array, ""]
    torso: Float[Array, ""]
    head: Float[Array, ""]
    hips: Float[Array, ""]
    shoulders: Float[Array, ""]


def usual_lengths() -> Lengths:
    """Those of an adult. No constant, as it would have JAX take a GPU when this is imported."""
    return Lengths(*map(jnp.float32, (0.245, 0.246, 0.186, 0.16, 0.29, 0.17, 0.075, 0.12)))


DEVIATION = 0.08
"""Of each length between people, as a share of it."""


class Clothes(NamedTuple):
    """Colours, RGB in [0, 1], and shapes.

    Attributes:
        skin, hair, shirt, stripe, trousers, shoes: colours [3].
        stripes: of the shirt, over the torso's length; 0 for none.
        long_sleeves, long_trousers: 1 for long, 0 for short.
        width: factor of all parts' thickness.
    """

    skin: Float[Array, "3"]
    hair: Float[Array, "3"]
    shirt: Float[Array, "3"]
    stripe: Float[Array, "3"]
    trousers: Float[Array, "3"]
    shoes: Float[Array, "3"]
    stripes: Float[Array, ""]
    long_sleeves: Float[Array, ""]
    long_trousers: Float[Array, ""]
    width: Float[Array, ""]


class Angles(NamedTuple):
    """Of a pose, in radians; pairs are of the left and the right side.

    Attributes:
        turn: of the body about the vertical; 0 faces the camera.
        lean: of the torso to the front, and to its left [2].
        nod: of the head to the front, and to its left [2].
        hip: thighs to the front [2].
        spread: thighs to the side [2].
        knee: shanks to the back [2].
        shoulder: upper arms to the front [2].
        lift: upper arms to the side [2].
        elbow: forearms to the front [2].
    """

    turn: Float[Array, ""]
    lean: Float[Array, "2"]
    nod: Float[Array, "2"]
    hip: Float[Array, "2"]
    spread: Float[Array, "2"]
    knee: Float[Array, "2"]
    shoulder: Float[Array, "2"]
    lift: Float[Array, "2"]
    elbow: Float[Array, "2"]


def sample_lengths(key: PRNGKeyArray) -> Lengths:
    """A body's."""
    factors = 1 + DEVIATION * jax.random.truncated_normal(key, -2, 2, (len(Lengths._fields),))
    return Lengths(*(jnp.stack(usual_lengths()) * factors))


def sample_clothes(key: PRNGKeyArray) -> Clothes:
    """A person's."""
    tone, hair, cloth, pattern, shapes = jax.random.split(key, 5)
    skin = jnp.array([0.93, 0.73, 0.6]) * jax.random.uniform(tone, minval=0.35, maxval=1.05)
    colours = jax.random.uniform(cloth, (4, 3), minval=0.05, maxval=0.95)
    stripes, sleeves, trousers, width = jax.random.uniform(shapes, (4,))
    return Clothes(
        skin=skin,
        hair=jnp.array([0.3, 0.22, 0.16]) * jax.random.uniform(hair, minval=0.2, maxval=2.6),
        shirt=colours[0],
        stripe=colours[1],
        trousers=0.8 * colours[2],
        shoes=0.6 * colours[3],
        stripes=jnp.where(stripes < 0.4, jax.random.randint(pattern, (), 2, 9), 0).astype(float),
        long_sleeves=(sleeves < 0.5).astype(jnp.float32),
        long_trousers=(trousers < 0.7).astype(jnp.float32),
        width=0.8 + 0.5 * width,
    )


def joints_of(lengths: Lengths, angles: Angles) -> Float[Array, "17 3"]:
    """The joints about the pelvis, shares of the body's height.

    In the order of `deltajax.datasets.JOINT_NAMES`; x to the right of the picture, y up, z towards
    the camera.
    """
    up = jnp.array([0.0, 1.0, 0.0])
    torso = _tilted(angles.lean)
    spine = torso @ (0.5 * lengths.torso * up)
    thorax = torso @ (lengths.torso * up)
    head = torso @ _tilted(angles.nod)
    nose = thorax + head @ (lengths.head * jnp.array([0.0, 0.5, 0.28]))
    top = thorax + head @ (lengths.head * jnp.array([0.0, 1.08, 0.04]))
    arms, legs = [], []
    for index, side in enumerate((LEFT, RIGHT)):
        shoulder = thorax + torso @ (lengths.shoulders * jnp.array([side, -0.12, 0.0]))
        upper = torso @ _limb(angles.shoulder[index], side * angles.lift[index])
        elbow = shoulder + upper @ (-lengths.upper_arm * up)
        wrist = elbow + upper @ _pitched(angles.elbow[index]) @ (-lengths.forearm * up)
        arms.append((shoulder, elbow, wrist))
        hip = lengths.hips * jnp.array([side, 0.0, 0.0])
        thigh = _limb(angles.hip[index], side * angles.spread[index])
        knee = hip + thigh @ (-lengths.thigh * up)
        ankle = knee + thigh @ _pitched(-angles.knee[index]) @ (-lengths.shank * up)
        legs.append((hip, knee, ankle))
    left, right = 0, 1
    joints = jnp.stack(
        [jnp.zeros(3), *legs[right], *legs[left], spine, thorax, nose, top, *arms[left],
         *arms[right]]
    )  # fmt: skip
    return joints @ _turned(angles.turn).T


def _pitched(angle: jax.Array) -> Float[Array, "3 3"]:
    """Turns what hangs down to the front."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[1.0, 0, 0], [0, c, s], [0, -s, c]])


def _rolled(angle: jax.Array) -> Float[Array, "3 3"]:
    """Turns what hangs down towards x."""
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _turned(angle: jax.Array) -> Float[Array, "3 3"]:
    c, s = jnp.cos(angle), jnp.sin(angle)
    return jnp.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])


def _limb(front: jax.Array, side: jax.Array) -> Float[Array, "3 3"]:
    return _rolled(side) @ _pitched(front)


def _tilted(angles: Float[Array, "2"]) -> Float[Array, "3 3"]:
    """What stands up, leant to the front and to the left."""
    return _rolled(-angles[1]) @ _pitched(-angles[0])
