"""Norms over the channels of one pixel, which decide whether the pixel has changed.

The three of DeltaCNN (Parger et al., CVPR 2022, section 3.3).
"""

from collections.abc import Callable
from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

ThresholdNorm = Literal["max", "l2", "rms"]

# Written so that a NaN exceeds: comparisons with NaN are false, and the largest of several numbers
# (XLA's max drops NaN on a CPU) is never asked for.
_EXCEEDS: dict[str, Callable[[Array, Array | float], Array]] = {
    "max": lambda d, threshold: jnp.any(~(jnp.abs(d) <= threshold), axis=-1),
    "l2": lambda d, threshold: ~(jnp.sqrt(jnp.sum(jnp.square(d), axis=-1)) <= threshold),
    "rms": lambda d, threshold: ~(jnp.sqrt(jnp.mean(jnp.square(d), axis=-1)) <= threshold),
}


def exceeds(
    new: Float[Array, "*pixels C"],
    old: Float[Array, "*pixels C"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
) -> Bool[Array, "*pixels"]:
    """Whether ‖new − old‖ > threshold, over the channels of each pixel, in float32.

    A NaN on either side counts as changed, so that it can neither hide nor stay.

    Args:
        new: [..., C], the values just computed.
        old: [..., C], the values kept from earlier frames.
        threshold: in the units of the map.
        norm: "max" (the largest |difference|), "l2" or "rms".
    """
    difference = new.astype(jnp.float32) - old.astype(jnp.float32)
    return _EXCEEDS[norm](difference, threshold)


def check_threshold_norm(name: str, norm: str) -> None:
    """Raises ValueError unless `norm` is one of the three; `name` says whose it is."""
    if norm not in get_args(ThresholdNorm):
        raise ValueError(
            f"{name}: threshold_norm is {norm!r}; it must be one of {get_args(ThresholdNorm)}"
        )
