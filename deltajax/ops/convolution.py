"""Convolution, grouped and depthwise included."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from .neighbourhood import Masks, Neighbourhood, Pixels, Values
from .windows import Window

DIMENSION_NUMBERS = ("NHWC", "HWIO", "NHWC")
MAX_TAPS = 121
"""Of a depthwise convolution that is a sum of moved maps on a CPU."""


@struct.dataclass
class Convolution(Neighbourhood):
    """f(x)[n, h, w, o] = Σ over i, j, c of x[n, hs + id − p, ws + jd − p, c] k[i, j, c, o].

    Attributes:
        kernel: [KH, KW, C_in / groups, C_out].
        window: size, strides, padding and dilation.
        groups: `feature_group_count` of lax.
        precision: of the products, as in lax; None is XLA's default.
    """

    kernel: jax.Array
    window: Window = struct.field(pytree_node=False)
    groups: int = struct.field(pytree_node=False, default=1)
    precision: lax.PrecisionLike = struct.field(pytree_node=False, default=None)

    @property
    def taps(self) -> int:
        return self.window.taps

    def output_shape(self, shapes):
        streams, height, width, _ = shapes[0]
        return (streams, *self.window.output_size(height, width), self.features)

    def window_reach(self, masks: Masks) -> jax.Array:
        return self.window.reach(masks[0])

    def covered(self, shapes):
        return self.window.covered(*shapes[0][1:3])

    def dense(self, values: Values) -> jax.Array:
        if self._depthwise:
            # XLA's own takes 10 to 50 times as long on a CPU.
            return lax.platform_dependent(
                values[0], self.kernel, cpu=self._sum_over_taps, default=self._convolved
            )
        return self._convolved(values[0], self.kernel)

    @property
    def _depthwise(self) -> bool:
        """With a window that is written out tap by tap without making a long program."""
        single = self.kernel.shape[2] == 1 and self.groups == self.features
        return single and 1 < self.window.taps <= MAX_TAPS

    @property
    def features(self) -> int:
        """Channels of the output."""
        return self.kernel.shape[-1]

    def _sum_over_taps(self, value: jax.Array, kernel: jax.Array) -> jax.Array:
        """The formula as it stands: for each tap the map, moved, times its weights."""
        streams, height, width, channels = value.shape
        rows, columns = self.window.output_size(height, width)
        (row_stride, column_stride), dilation = self.window.strides, self.window.dilation
        padding = [(0, 0, 0), *((*pair, 0) for pair in self.window.padding), (0, 0, 0)]
        wide = jnp.promote_types(value.dtype, jnp.float32)
        value = lax.pad(value, jnp.zeros((), value.dtype), padding).astype(wide)
        total = jnp.zeros((streams, rows, columns, channels), wide)
        for i in range(self.window.size[0]):
            for j in range(self.window.size[1]):
                top, left = i * dilation[0], j * dilation[1]
                seen = lax.slice(
                    value,
                    (0, top, left, 0),
                    (
                        streams,
                        top + (rows - 1) * row_stride + 1,
                        left + (columns - 1) * column_stride + 1,
                        channels,
                    ),
                    (1, row_stride, column_stride, 1),
                )
                total = total + seen * kernel[i, j, 0].astype(wide)
        return total.astype(kernel.dtype)

    def _convolved(self, value: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            value,
            kernel,
            self.window.strides,
            self.window.padding,
            rhs_dilation=self.window.dilation,
            dimension_numbers=DIMENSION_NUMBERS,
            feature_group_count=self.groups,
            precision=self.precision,
        )

    @property
    def tileable(self) -> bool:
        return self.groups == 1 and self.window.taps > 1

    def at_tiles(self, values: Values, corners: Pixels, tile: tuple[int, int]) -> jax.Array:
        covered, window = self.window.gather_tiles(values[0], corners, tile)
        return dataclasses.replace(self, window=window).dense((covered,))

    def at(self, values: Values, pixels: Pixels, phase: tuple[int, int] = (0, 0)) -> jax.Array:
        windows = self.window.gather(values[0], pixels)
        return multiply(windows, self.kernel, self.groups, self.precision)

    def multiplications(self, shapes) -> float:
        return float(self.window.taps * self.kernel.shape[2] * self.kernel.shape[3])


def multiply(
    windows: jax.Array, kernel: jax.Array, groups: int, precision: lax.PrecisionLike
) -> jax.Array:
    """Windows [P, taps, C_in] times a kernel [KH, KW, C_in / groups, C_out]: [P, C_out]."""
    pixels, taps, channels = windows.shape
    features = kernel.shape[-1]
    if groups == 1:
        product = jnp.matmul(
            windows.reshape(pixels, taps * channels),
            kernel.reshape(taps * channels, features),
            precision=precision,
            preferred_element_type=jnp.promote_types(windows.dtype, jnp.float32),
        )
    elif groups == channels == features:
        weights = kernel.reshape(taps, features).astype(jnp.float32)
        product = jnp.sum(windows.astype(jnp.float32) * weights, axis=1)
    else:
        product = jnp.einsum(
            "ptgc,tcgo->pgo",
            windows.reshape(pixels, taps, groups, channels // groups),
            kernel.reshape(taps, channels // groups, groups, features // groups),
            precision=precision,
            preferred_element_type=jnp.promote_types(windows.dtype, jnp.float32),
        ).reshape(pixels, features)
    return product.astype(windows.dtype)
