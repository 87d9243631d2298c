"""What follows the neighbourhood operation at each pixel: scale, shift, sums, activation."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from ..tensor import DeltaTensor

Combine = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Norm:
    """(z − mean) / √(variance + ε) · scale + bias, all of them [C].

    It is two numbers a channel, but folded only where it is used: XLA would compute them in every
    frame, layer by layer, where a kernel gets them for nothing.
    """

    mean: jax.Array
    variance: jax.Array
    scale: jax.Array
    bias: jax.Array
    epsilon: float

    def scale_and_shift(self) -> tuple[jax.Array, jax.Array]:
        """The same as z · scale + shift."""
        factor = self.scale * jax.lax.rsqrt(self.variance + self.epsilon)
        return factor, self.bias - self.mean * factor


@dataclasses.dataclass(frozen=True)
class Tail:
    """out = activation(combine(z · scale + shift, *others)), in float32, cast to `dtype`.

    Attributes:
        scale, shift: [C] or None.
        norm: in place of scale and shift, or None.
        others: further inputs, maps of the output's height and width (or 1 × 1, or one channel:
            broadcast), a residual or a gate.
        combine: of z and the others, pointwise; None if there are none.
        activation: pointwise, or None.
        dtype: of the result; None is that of z.
    """

    scale: jax.Array | None = None
    shift: jax.Array | None = None
    others: tuple[DeltaTensor | jax.Array, ...] = ()
    combine: Combine | None = None
    activation: Callable[[jax.Array], jax.Array] | None = None
    dtype: jnp.dtype | None = None
    norm: Norm | None = None

    def folded(self) -> "Tail":
        """The same with the norm as a scale and a shift, for those who use it many times."""
        if self.norm is None:
            return self
        scale, shift = self.norm.scale_and_shift()
        return dataclasses.replace(self, scale=scale, shift=shift, norm=None)

    def __call__(self, z: jax.Array, others: Sequence[jax.Array]) -> jax.Array:
        """The tail of z, [..., C], with the others at the same pixels."""
        dtype = self.dtype or z.dtype
        z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
        tail = self.folded()
        if tail.scale is not None:
            z = z * tail.scale
        if tail.shift is not None:
            z = z + tail.shift
        if self.combine is not None:
            z = self.combine(z, *others)
        if self.activation is not None:
            z = self.activation(z)
        return z.astype(dtype)
