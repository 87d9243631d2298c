"""SimpleCNN: the toy that everyone starts with."""

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj

from .common import VideoNetwork


class SimpleCNN(VideoNetwork):
    """Two convolutions with ReLU and max-pooling, and a dense head.

    Attributes:
        num_classes: of the head.
        features: channels of the two convolutions.
    """

    num_classes: int = 10
    features: tuple[int, int] = (32, 64)

    @nn.compact
    def __call__(self, x, train: bool = False) -> jax.Array:
        """[N, H, W, 3] → logits [N, num_classes], float32."""
        conv = self.update_point(dj.Conv, activation="relu", dtype=self.dtype)
        pool = self.update_point(dj.MaxPool)
        x = self.sparsify()(x)
        for index, features in enumerate(self.features):
            x = conv(features, 3, name=f"conv{index + 1}")(x)
            x = pool(2, 2, name=f"maxpool{index + 1}")(x)
        x = dj.Densify()(x)
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="head")(x)
