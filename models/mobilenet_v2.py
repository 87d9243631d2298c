"""MobileNetV2, torchvision's: Sandler et al., "MobileNetV2: inverted residuals and linear
bottlenecks", CVPR 2018."""

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj

from .common import VideoNetwork
from .inverted_residual import InvertedResidual

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of the paper: expansion, features, blocks, strides of the first."""


class MobileNetV2(VideoNetwork):
    """MobileNetV2 of width 1 for classification.

    Attributes:
        num_classes: of the head.
    """

    num_classes: int = 1000

    @nn.compact
    def __call__(self, x, train: bool = False) -> jax.Array:
        """[N, H, W, 3] → logits [N, num_classes], float32."""
        x = self.sparsify()(x)
        conv = self.normalised_convolution(activation="relu6")
        x = conv(32, 3, 2, 1, name="stem")(x, train=train)
        for stage, (expansion, features, blocks, strides) in enumerate(STAGES):
            for index in range(blocks):
                x = InvertedResidual(
                    expansion * x.shape[-1] if expansion > 1 else None,
                    features,
                    3,
                    strides if index == 0 else 1,
                    conv,
                    padding=1,
                    name=f"stage{stage + 1}_{index}",
                )(x, train=train)
        x = conv(1280, 1, name="head")(x, train=train)
        x = dj.GlobalAvgPool()(x)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="fc")(x)
