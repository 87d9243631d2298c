"""Convolution, grouped and depthwise included."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from .neighbourhood import Masks, Neighbourhood, Pixels, Values
from .windows import Window

DIMENSION_NUMBERS = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Convolution(Neighbourhood):
    """f(x)[n, h, w, o] = Σ over i, j, c of x[n, hs + id − p, ws + jd − p, c] k[i, j, c, o].

    Attributes:
        kernel: [KH, KW, C_in / groups, C_out].
        window: size, strides, padding and dilation.
        groups: `feature_group_count` of lax.
        precision: of the products, as in lax; None is XLA's default.
    """

    kernel: jax.Array
    window: Window
    groups: int = 1
    precision: lax.PrecisionLike = None

    @property
    def taps(self) -> int:
        return self.window.taps

    def output_shape(self, shapes):
        streams, height, width, _ = shapes[0]
        return (streams, *self.window.output_size(height, width), self.kernel.shape[-1])

    def window_reach(self, masks: Masks) -> jax.Array:
        return self.window.reach(masks[0])

    def covered(self, shapes):
        return self.window.covered(*shapes[0][1:3])

    def dense(self, values: Values) -> jax.Array:
        return lax.conv_general_dilated(
            values[0],
            self.kernel,
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
