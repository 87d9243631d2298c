"""Max and average pooling."""

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from .neighbourhood import Masks, Neighbourhood, Pixels, Values
from .windows import Window


@struct.dataclass
class _Pooling(Neighbourhood):
    window: Window = struct.field(pytree_node=False)

    @property
    def taps(self) -> int:
        return self.window.taps

    def output_shape(self, shapes):
        streams, height, width, channels = shapes[0]
        return (streams, *self.window.output_size(height, width), channels)

    def window_reach(self, masks: Masks) -> jax.Array:
        return self.window.reach(masks[0])

    def covered(self, shapes):
        return self.window.covered(*shapes[0][1:3])

    def multiplications(self, shapes) -> float:
        return 0.0

    def _reduce(self, value: jax.Array, initial, reducer) -> jax.Array:
        rows, columns = self.window.padding
        return lax.reduce_window(
            value,
            initial,
            reducer,
            (1, *self.window.size, 1),
            (1, *self.window.strides, 1),
            ((0, 0), rows, columns, (0, 0)),
        )


@struct.dataclass
class MaxPooling(_Pooling):
    """f(x) = the largest value of each channel in the window."""

    def dense(self, values: Values) -> jax.Array:
        return self._reduce(values[0], -jnp.inf, lax.max)

    def at(self, values: Values, pixels: Pixels, phase: tuple[int, int] = (0, 0)) -> jax.Array:
        return jnp.max(self.window.gather(values[0], pixels, -jnp.inf), axis=1)


@struct.dataclass
class AveragePooling(_Pooling):
    """f(x) = the mean of each channel over the window.

    Attributes:
        count_include_pad: divide by the whole window's pixels, not by those inside the map.
    """

    count_include_pad: bool = struct.field(pytree_node=False, default=True)

    def dense(self, values: Values) -> jax.Array:
        value = values[0]
        total = self._reduce(value.astype(jnp.float32), 0.0, lax.add)
        if self.count_include_pad:
            return (total / self.window.taps).astype(value.dtype)
        ones = jnp.ones((1, *value.shape[1:3], 1), jnp.float32)
        count = jnp.maximum(self._reduce(ones, 0.0, lax.add), 1)
        return (total / count).astype(value.dtype)

    def at(self, values: Values, pixels: Pixels, phase: tuple[int, int] = (0, 0)) -> jax.Array:
        value = values[0]
        total = jnp.sum(self.window.gather(value, pixels).astype(jnp.float32), axis=1)
        if self.count_include_pad:
            return (total / self.window.taps).astype(value.dtype)
        _, _, inside = self.window.rows_and_columns(pixels, *value.shape[1:3])
        count = jnp.maximum(jnp.sum(inside, axis=1, keepdims=True), 1)
        return (total / count).astype(value.dtype)
