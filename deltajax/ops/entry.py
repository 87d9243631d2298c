"""The entry's update: a frame is normalised, and the pixels that changed are committed."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from ..norms import ThresholdNorm, exceeds
from .update import Implementation, resolve
from .windows import Window


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """y = (x − mean) / std for x in [0, 1], or (x / 255 − mean) / std for uint8; or y = x.

    Attributes:
        mean, std: per channel, or one for all; None for y = x.
        dtype: of the output; None is the input's, or float32 for uint8.
    """

    mean: Sequence[float] | None
    std: Sequence[float] | None
    dtype: jnp.dtype | None

    def dtype_of(self, frame: jax.Array) -> jnp.dtype:
        """The output's."""
        if self.dtype is not None:
            return jnp.dtype(self.dtype)
        return jnp.dtype(jnp.float32) if frame.dtype == jnp.uint8 else frame.dtype

    def factor_and_offset(
        self, frame: jax.Array
    ) -> tuple[Float[Array, " C"], Float[Array, " C"]] | None:
        """y = x · factor − offset; None for y = x."""
        if self.mean is None or self.std is None:
            return None
        unit = 1 / 255 if frame.dtype == jnp.uint8 else 1.0
        std = jnp.asarray(self.std, jnp.float32)
        mean = jnp.asarray(self.mean, jnp.float32)
        channels = (frame.shape[-1],)
        return jnp.broadcast_to(unit / std, channels), jnp.broadcast_to(mean / std, channels)

    def __call__(self, frame: jax.Array) -> jax.Array:
        """[..., C] → the same shape."""
        dtype = self.dtype_of(frame)
        constants = self.factor_and_offset(frame)
        if constants is None:
            return frame.astype(dtype)
        factor, offset = constants
        return (frame.astype(jnp.float32) * factor - offset).astype(dtype)


def enter(
    frame: Shaped[Array, "N H W C"],
    normalisation: Normalisation,
    cached: Shaped[Array, "N H W C"],
    candidates: Bool[Array, "N H W"] | None,
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
    dilation: int,
    implementation: Implementation,
) -> tuple[Shaped[Array, "N H W C"], Bool[Array, "N H W"]]:
    """The entry's map and mask after a frame.

    Args:
        frame: uint8 or floating.
        normalisation: of the frame.
        cached: the map.
        candidates: the pixels that can have changed; None for all.
        threshold: τ, in the units of the map.
        norm: of the difference over the channels of a pixel.
        dilation: side of the square by which changes are dilated, odd.
        implementation: as in `deltajax.ops.update.update`.
    """

    def in_xla() -> tuple[jax.Array, jax.Array]:
        new = normalisation(frame)
        mask = exceeds(new, cached, threshold, norm)
        if candidates is not None:
            mask &= candidates
        if dilation > 1:
            reach = dilation // 2
            border = ((reach, reach), (reach, reach))
            window = Window((dilation, dilation), (1, 1), border)
            # A pixel near a changed one that did not change at all has nothing to send.
            mask = window.reach(mask) & exceeds(new, cached, 0.0, "max")
            if candidates is not None:
                mask &= candidates
        return jnp.where(mask[..., None], new, cached), mask

    implementation = resolve(implementation)
    if implementation in ("dense", "xla"):
        return in_xla()
    from .update_triton import enter_triton, knows

    def in_triton() -> tuple[jax.Array, jax.Array]:
        constants = normalisation.factor_and_offset(frame)
        return enter_triton(frame, constants, cached, candidates, threshold, norm, dilation)

    if not knows(cached):
        return in_xla()
    if implementation == "triton":
        return in_triton()
    return lax.platform_dependent(cuda=in_triton, default=in_xla)
