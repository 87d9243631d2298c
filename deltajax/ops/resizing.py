"""Enlarging a map, nearest or bilinear."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from .neighbourhood import Masks, Neighbourhood, Pixels, Values
from .windows import Pair

ResizeMethod = Literal["nearest", "bilinear"]


@struct.dataclass
class Resizing(Neighbourhood):
    """f(x) = x sampled at the centres of a finer grid, pixels being squares of side one.

    Output pixel o of O lies at (o + ½) I / O − ½ of the I input pixels (`jax.image.resize`,
    PyTorch's `align_corners=False`). "nearest" takes the pixel in which that point lies, "bilinear"
    the two nearest of each axis, weighted by distance, with the border repeated outside.

    Attributes:
        size: (height, width) of the output, at least the input's.
        method: "nearest" or "bilinear".
    """

    size: Pair = struct.field(pytree_node=False)
    method: ResizeMethod = struct.field(pytree_node=False)

    @property
    def taps(self) -> int:
        return 1 if self.method == "nearest" else 4

    def output_shape(self, shapes):
        return (shapes[0][0], *self.size, shapes[0][3])

    def window_reach(self, masks: Masks) -> jax.Array:
        mask = masks[0]
        for axis in (0, 1):
            samples, _ = self._samples(axis, mask.shape[axis + 1])
            parts = [jnp.take(mask, index, axis=axis + 1) for index in samples]
            mask = parts[0] if len(parts) == 1 else parts[0] | parts[1]
        return mask

    def dense(self, values: Values) -> jax.Array:
        value = values[0]
        for axis in (0, 1):
            samples, fraction = self._samples(axis, value.shape[axis + 1])
            parts = [jnp.take(value, index, axis=axis + 1) for index in samples]
            weight = fraction.reshape(-1, *[1] * (2 - axis))
            value = _blend(parts, weight)
        return value

    def at(self, values: Values, pixels: Pixels, phase: tuple[int, int] = (0, 0)) -> jax.Array:
        value = values[0]
        _, height, width, channels = value.shape
        rows, row_fraction = self._samples(0, height)
        columns, column_fraction = self._samples(1, width)
        flat = value.reshape(-1, channels)

        def along_columns(column: np.ndarray) -> jax.Array:
            parts = [
                flat.at[
                    (pixels.stream * height + jnp.asarray(row)[pixels.row]) * width
                    + jnp.asarray(column)[pixels.column]
                ].get(mode="promise_in_bounds")
                for row in rows
            ]
            return _blend(parts, jnp.asarray(row_fraction)[pixels.row][:, None])

        parts = [along_columns(column) for column in columns]
        return _blend(parts, jnp.asarray(column_fraction)[pixels.column][:, None])

    def multiplications(self, shapes) -> float:
        return 0.0

    def _samples(self, axis: int, size: int) -> tuple[list[np.ndarray], np.ndarray]:
        """The input pixels that each output pixel samples, and the weight of the second one."""
        out = self.size[axis]
        centre = (np.arange(out) + 0.5) * size / out - 0.5
        if self.method == "nearest":
            return [np.floor(centre + 0.5).astype(np.int32)], np.zeros(out, np.float32)
        lower = np.floor(centre).astype(np.int32)
        samples = [np.clip(lower, 0, size - 1), np.clip(lower + 1, 0, size - 1)]
        return samples, (centre - lower).astype(np.float32)


def _blend(parts: list[jax.Array], weight: jax.Array | np.ndarray) -> jax.Array:
    if len(parts) == 1:
        return parts[0]
    first, second = (part.astype(jnp.float32) for part in parts)
    return (first + (second - first) * weight).astype(parts[0].dtype)
