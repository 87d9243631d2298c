"""Pooling layers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from ..ops.pooling import AveragePooling, MaxPooling
from ..ops.tail import Tail
from ..ops.windows import Padding, Window, pair, resolve_padding
from ..tensor import value_of
from .update_point import Input, UpdatePoint


class _Pool(UpdatePoint):
    window_shape: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = "VALID"

    def window(self, height: int, width: int) -> Window:
        size, strides = pair("window_shape", self.window_shape), pair("strides", self.strides)
        padding = resolve_padding(self.padding, size, strides, (1, 1), height, width)
        for (before, after), extent in zip(padding, size, strict=True):
            if not (0 <= before < extent and 0 <= after < extent):
                raise ValueError(
                    f"{self.label}: padding {padding} must be smaller than the window {size}"
                )
        return Window(size, strides, padding)


class MaxPool(_Pool):
    """The largest value of each channel in a window; arguments as `flax.linen.max_pool`."""

    def __call__(self, x: Input) -> Input:
        """[N, H, W, C] → [N, Ho, Wo, C]."""
        return self.compute(MaxPooling(self.window(*x.shape[1:3])), Tail(), [x])


class AvgPool(_Pool):
    """The mean of each channel over a window; arguments as `flax.linen.avg_pool`.

    Attributes:
        count_include_pad: divide by the whole window's pixels, not by those inside the map.
    """

    count_include_pad: bool = True

    def __call__(self, x: Input) -> Input:
        """[N, H, W, C] → [N, Ho, Wo, C]."""
        window = self.window(*x.shape[1:3])
        return self.compute(AveragePooling(window, self.count_include_pad), Tail(), [x])


class GlobalAvgPool(nn.Module):
    """The mean of each channel over the whole map, as a plain array."""

    keepdims: bool = False

    def __call__(self, x: Input) -> jax.Array:
        """[N, H, W, C] → [N, C], or [N, 1, 1, C] with `keepdims`."""
        value = value_of(x)
        mean = jnp.mean(value.astype(jnp.float32), axis=(1, 2), keepdims=self.keepdims)
        return mean.astype(value.dtype)
