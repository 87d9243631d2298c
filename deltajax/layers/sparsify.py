"""The border between plain arrays and maps with update masks."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from ..ops.entry import Normalisation, enter
from ..tensor import DeltaTensor, value_of
from .update_point import DELTA, UNSEEN, Input, UpdatePoint


class Sparsify(UpdatePoint):
    """Where frames enter: finds the pixels that changed since they were last sent.

    A pixel is updated where the difference, dilated, exceeds the threshold; in a stream's first
    frame, or its first after a reset, everywhere. Frames may be uint8 if `mean` and `std` are
    given; then y = (x / 255 − mean) / std. Floating frames are normalised as (x − mean) / std if
    they are given, and else taken as they are. In dense mode this is all that the layer does.

    Called with a `DeltaTensor`, only pixels in its mask can change, and a stream whose mask is
    all off has no new frame: it keeps its state.

    Attributes:
        dilation: side of the square by which the changed pixels are dilated, odd; 1 for none.
        mean, std: per channel, for values in [0, 1].
        dtype: of the output; None is the input's, or float32 for uint8.
    """

    dilation: int = 1
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    dtype: DTypeLike | None = None

    def __call__(self, x: Input | np.ndarray) -> Input:
        """[N, H, W, C], uint8 or floating → the same shape, normalised.

        Raises:
            ValueError: for another layout or dtype, or a frame that the state is not made for.
        """
        frame = x.value if isinstance(x, DeltaTensor) else jnp.asarray(x)
        self._check_frame(frame)
        if not self.is_mutable_collection(DELTA):
            return self._normalisation(frame)
        self.check_called_once()
        old = self.state(frame.shape, self._normalisation.dtype_of(frame))
        if self.is_initializing():
            self.put_variable(DELTA, "value", old)
            return DeltaTensor(self._normalisation(frame), jnp.ones(frame.shape[:3], bool))
        value, mask = enter(
            frame,
            self._normalisation,
            old,
            self._candidates(old, x.mask) if isinstance(x, DeltaTensor) else None,
            self.resolved_threshold(),
            self.threshold_norm,
            self.dilation,
            self.implementation,
        )
        self.put_variable(DELTA, "value", value)
        self.record(mask, mask, 0.0)
        return DeltaTensor(value, mask)

    @property
    def _normalisation(self) -> Normalisation:
        dtype = None if self.dtype is None else jnp.dtype(self.dtype)
        return Normalisation(self.mean, self.std, dtype)

    def _candidates(self, old: jax.Array, candidates: jax.Array) -> jax.Array:
        """The pixels that can change: a stream's first frame is taken whole.

        Its maps would have holes otherwise.
        """
        unseen = jnp.all(old == UNSEEN, axis=(1, 2, 3))
        first = unseen & candidates.any(axis=(1, 2))
        return candidates | first[:, None, None]

    def _check_frame(self, frame: jax.Array) -> None:
        layout = "frames are [N, H, W, C]: streams, height, width, channels"
        if frame.ndim != 4:
            hint = "; add the axis of streams with frame[None]" if frame.ndim == 3 else ""
            raise ValueError(f"{self.label}: got a frame of shape {frame.shape}; {layout}{hint}")
        if frame.shape[1] in (1, 3, 4) and frame.shape[3] > 4:
            raise ValueError(
                f"{self.label}: got a frame of shape {frame.shape}, which looks like [N, C, H, W]; "
                f"{layout}; use jnp.moveaxis(frame, 1, -1)"
            )
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"{self.label}: mean and std are given together or not at all")
        for name, constants in (("mean", self.mean), ("std", self.std)):
            if constants is not None and len(constants) not in (1, frame.shape[3]):
                raise ValueError(
                    f"{self.label}: {name} has {len(constants)} entries, but the frame "
                    f"{frame.shape} has {frame.shape[3]} channels"
                )
        if self.dilation < 1 or self.dilation % 2 == 0:
            raise ValueError(
                f"{self.label}: dilation is {self.dilation}; it must be odd, 1 for none"
            )
        if frame.dtype == jnp.uint8 and self.mean is not None:
            return
        if not jnp.issubdtype(frame.dtype, jnp.floating):
            raise ValueError(
                f"{self.label}: got a frame of dtype {frame.dtype}; [N, H, W, C] must be floating, "
                "or uint8 with the normalisation constants mean and std"
            )


class Densify(nn.Module):
    """Takes the complete map out of a `DeltaTensor`, for code of one's own."""

    def __call__(self, x: Input) -> jax.Array:
        """[N, H, W, C]; a plain array is returned as it is."""
        return value_of(x)
