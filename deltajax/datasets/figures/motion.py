"""How a person moves: every angle of the body is a wave of its own over time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .body import Angles


class Motion(NamedTuple):
    """Angles over time: base + wave · sin(2π · rate · t + phase), of each.

    Attributes:
        base: in the middle.
        wave: to both sides of it.
        rate: in hertz.
        phase: at the beginning, in radians.
        bounce: of the pelvis, a share of the body's height; twice for each wave of the hips.
    """

    base: Angles
    wave: Angles
    rate: Angles
    phase: Angles
    bounce: Float[Array, ""]


def angles_at(motion: Motion, time: Float[Array, ""]) -> Angles:
    """The pose at a time in seconds."""
    return jax.tree.map(
        lambda base, wave, rate, phase: base + wave * jnp.sin(2 * jnp.pi * rate * time + phase),
        motion.base,
        motion.wave,
        motion.rate,
        motion.phase,
    )


def sample_motion(key: PRNGKeyArray) -> Motion:
    """Somebody who walks, gestures while standing, or bends the knees, each as often."""
    kind, own = jax.random.split(key)
    motions = (_walking(own), _gesturing(own), _squatting(own))
    chosen = jax.random.randint(kind, (), 0, len(motions))
    return jax.tree.map(lambda *values: jnp.stack(values)[chosen], *motions)


def _uniform(key: PRNGKeyArray, low: float, high: float, shape: tuple[int, ...] = ()) -> jax.Array:
    return jax.random.uniform(key, shape, minval=low, maxval=high)


def _still(key: PRNGKeyArray) -> Motion:
    """A stance, with the slow sway that nobody is without."""
    keys = iter(jax.random.split(key, 24))
    base = Angles(
        turn=_uniform(next(keys), -jnp.pi, jnp.pi),
        lean=_uniform(next(keys), -0.12, 0.12, (2,)),
        nod=_uniform(next(keys), -0.25, 0.25, (2,)),
        hip=_uniform(next(keys), -0.08, 0.12, (2,)),
        spread=_uniform(next(keys), 0.0, 0.2, (2,)),
        knee=_uniform(next(keys), 0.0, 0.12, (2,)),
        shoulder=_uniform(next(keys), -0.2, 0.2, (2,)),
        lift=_uniform(next(keys), 0.05, 0.3, (2,)),
        elbow=_uniform(next(keys), 0.05, 0.5, (2,)),
    )
    return Motion(
        base=base,
        wave=jax.tree.map(lambda value: jnp.full_like(value, 0.015), base),
        rate=jax.tree.map(lambda value: _uniform(next(keys), 0.15, 0.5, value.shape), base),
        phase=jax.tree.map(jnp.zeros_like, base),
        bounce=jnp.zeros(()),
    )


def _walking(key: PRNGKeyArray) -> Motion:
    still, rate, swing, arms, phase, bounce = jax.random.split(key, 6)
    motion = _still(still)
    hertz = _uniform(rate, 0.7, 1.1)
    legs = _uniform(swing, 0.3, 0.55)
    shift = _uniform(phase, 0.0, 2 * jnp.pi)
    opposite = jnp.array([0.0, jnp.pi]) + shift
    both = jnp.full((2,), hertz)
    swung = jnp.full((2,), legs * _uniform(arms, 0.5, 1.3))
    return motion._replace(
        base=motion.base._replace(knee=jnp.full((2,), 0.4), hip=jnp.full((2,), 0.08)),
        wave=motion.wave._replace(
            hip=jnp.full((2,), legs), knee=jnp.full((2,), 0.38), shoulder=swung
        ),
        rate=motion.rate._replace(hip=both, knee=both, shoulder=both),
        phase=motion.phase._replace(
            # A knee is bent most while its thigh swings forward.
            hip=opposite, knee=opposite + 0.6 * jnp.pi, shoulder=opposite + jnp.pi
        ),
        bounce=_uniform(bounce, 0.005, 0.02),
    )  # fmt: skip


def _gesturing(key: PRNGKeyArray) -> Motion:
    still, base, wave, rate, phase, turn = jax.random.split(key, 6)
    motion = _still(still)
    bases = jax.random.uniform(base, (3, 2))
    waves = jax.random.uniform(wave, (3, 2))
    rates = _uniform(rate, 0.15, 0.8, (3, 2))
    phases = _uniform(phase, 0.0, 2 * jnp.pi, (3, 2))
    return motion._replace(
        base=motion.base._replace(
            # Towards the camera more often: gestures are for somebody.
            turn=_uniform(turn, -1.4, 1.4),
            shoulder=-0.3 + 1.6 * bases[0],
            lift=0.1 + 1.3 * bases[1],
            elbow=0.3 + 1.2 * bases[2],
        ),
        wave=motion.wave._replace(
            shoulder=0.9 * waves[0], lift=0.8 * waves[1], elbow=0.2 + 0.8 * waves[2]
        ),
        rate=motion.rate._replace(shoulder=rates[0], lift=rates[1], elbow=rates[2]),
        phase=motion.phase._replace(shoulder=phases[0], lift=phases[1], elbow=phases[2]),
    )


def _squatting(key: PRNGKeyArray) -> Motion:
    still, deep, rate, arms = jax.random.split(key, 4)
    motion = _still(still)
    depth = _uniform(deep, 0.25, 0.6)
    hertz = _uniform(rate, 0.2, 0.5)
    both, pair = jnp.full((2,), hertz), jnp.full((2,), depth)
    raised = _uniform(arms, 0.2, 1.5)
    return motion._replace(
        base=motion.base._replace(
            hip=pair + 0.05,
            knee=1.8 * pair + 0.1,
            shoulder=jnp.full((2,), raised),
            lean=motion.base.lean.at[0].add(0.5 * depth),
        ),
        wave=motion.wave._replace(
            hip=pair,
            knee=1.8 * pair,
            shoulder=jnp.full((2,), 0.4 * raised),
            lean=motion.wave.lean.at[0].set(0.4 * depth),
        ),
        rate=motion.rate._replace(
            hip=both, knee=both, shoulder=both, lean=motion.rate.lean.at[0].set(hertz)
        ),
    )
