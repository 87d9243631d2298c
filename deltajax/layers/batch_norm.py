"""Batch normalisation, alone or folded into the layer before it."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from ..ops.identity import Identity
from ..ops.tail import Tail, folded_norm
from ..tensor import DeltaTensor
from .update_point import Input, UpdatePoint


class BatchNorm(UpdatePoint):
    """y = (x − mean) / √(var + ε) · scale + bias, per channel (Ioffe and Szegedy, 2015).

    With `train=True` the mean and the variance are those of the batch, and the running ones (the
    collection "batch_stats") move towards them; otherwise the running ones are used. As the
    `norm` of a convolution it is part of that layer's update point and keeps no map of its own.

    Attributes:
        momentum: of the running statistics: how much of the old ones remains.
        epsilon: added to the variance.
        use_bias, use_scale: whether to learn a bias and a scale.
        dtype: of the output; None is the input's.
        param_dtype: of the parameters.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_bias: bool = True
    use_scale: bool = True
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32

    @nn.compact
    def scale_and_shift(
        self, features: int, x: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The norm of C channels as z · scale + shift, both [C], as an update point's tail has it.

        Args:
            features: C.
            x: [..., C], a batch to take the statistics from and to learn them from (training);
                None to use the running ones.
        """
        mean = self.variable("batch_stats", "mean", jnp.zeros, (features,), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (features,), jnp.float32)
        scale = jnp.ones((features,))
        if self.use_scale:
            scale = self.param("scale", nn.initializers.ones, (features,), self.param_dtype)
        bias = jnp.zeros((features,))
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (features,), self.param_dtype)
        batch_mean, batch_var = mean.value, var.value
        if x is not None:
            axes = tuple(range(x.ndim - 1))
            x = x.astype(jnp.float32)
            batch_mean = jnp.mean(x, axes)
            batch_var = jnp.var(x, axes)
            if not self.is_initializing():
                keep = self.momentum
                mean.value = keep * mean.value + (1 - keep) * batch_mean
                var.value = keep * var.value + (1 - keep) * batch_var
        return folded_norm(batch_mean, batch_var, scale, bias, self.epsilon)

    def __call__(self, x: Input, *, train: bool = False) -> Input:
        """[N, H, W, C] → [N, H, W, C].

        Raises:
            ValueError: for `train=True` on a DeltaTensor.
        """
        check_not_training(self, x, train)
        batch = x if train and not isinstance(x, DeltaTensor) else None
        scale, shift = self.scale_and_shift(x.shape[-1], batch)
        dtype = jnp.dtype(self.dtype) if self.dtype is not None else None
        return self.compute(Identity(), Tail(scale, shift, dtype=dtype), [x])


def check_not_training(layer: UpdatePoint, x: Input, train: bool) -> None:
    """Raises ValueError if a layer is to train on a frame's changes."""
    if train and isinstance(x, DeltaTensor) and not layer.is_initializing():
        raise ValueError(
            f"{layer.label}: train=True needs all pixels, but the input is incremental; train "
            "with the collection 'delta' left out of `mutable`"
        )
