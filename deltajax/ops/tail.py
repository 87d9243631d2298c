"""What follows the neighbourhood operation at each pixel: scale, shift, sums, activation."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import struct

from ..tensor import DeltaTensor

Combine = Callable[..., jax.Array]


def folded_norm(
    mean: jax.Array, variance: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array]:
    """(z − mean) / √(variance + ε) · scale + bias, all of them [C], as z · scale + shift."""
    factor = scale * jax.lax.rsqrt(variance + epsilon)
    return factor, bias - mean * factor


@struct.dataclass
class Tail:
    """out = activation(combine(z · scale + shift, *others)), in float32, cast to `dtype`.

    Attributes:
        scale, shift: [C] or None.
        others: further inputs, maps of the output's height and width (or 1 × 1, or one channel:
            broadcast), a residual or a gate.
        combine: of z and the others, pointwise; None if there are none.
        activation: pointwise, or None.
        dtype: of the result; None is that of z.
    """

    scale: jax.Array | None = None
    shift: jax.Array | None = None
    others: tuple[DeltaTensor | jax.Array, ...] = ()
    combine: Combine | None = struct.field(pytree_node=False, default=None)
    activation: Callable[[jax.Array], jax.Array] | None = struct.field(
        pytree_node=False, default=None
    )
    dtype: jnp.dtype | None = struct.field(pytree_node=False, default=None)

    def __call__(self, z: jax.Array, others: Sequence[jax.Array]) -> jax.Array:
        """The tail of z, [..., C], with the others at the same pixels."""
        dtype = self.dtype or z.dtype
        z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
        if self.scale is not None:
            z = z * self.scale
        if self.shift is not None:
            z = z + self.shift
        if self.combine is not None:
            z = self.combine(z, *others)
        if self.activation is not None:
            z = self.activation(z)
        return z.astype(dtype)
