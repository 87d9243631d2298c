"""Each output pixel depends on the same pixel of the inputs: identity and concatenation."""

import functools
import operator

import jax
import jax.numpy as jnp
from flax import struct

from .neighbourhood import Masks, Neighbourhood, Pixels, Values, gather


@struct.dataclass
class Identity(Neighbourhood):
    """f(x) = x."""

    def output_shape(self, shapes):
        return shapes[0]

    def window_reach(self, masks: Masks) -> jax.Array:
        return masks[0]

    def dense(self, values: Values) -> jax.Array:
        return values[0]

    def at(self, values: Values, pixels: Pixels, phase: tuple[int, int] = (0, 0)) -> jax.Array:
        return gather(values[0], pixels)

    def multiplications(self, shapes) -> float:
        return 0.0


@struct.dataclass
class Concatenation(Neighbourhood):
    """f(x₁, x₂, …) = the channels of x₁, then those of x₂, …"""

    def output_shape(self, shapes):
        return (*shapes[0][:3], sum(shape[3] for shape in shapes))

    def window_reach(self, masks: Masks) -> jax.Array:
        return functools.reduce(operator.or_, masks)

    def dense(self, values: Values) -> jax.Array:
        return jnp.concatenate(values, axis=-1)

    def at(self, values: Values, pixels: Pixels, phase: tuple[int, int] = (0, 0)) -> jax.Array:
        return jnp.concatenate([gather(value, pixels) for value in values], axis=-1)

    def multiplications(self, shapes) -> float:
        return 0.0
