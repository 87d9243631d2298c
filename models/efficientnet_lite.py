"""EfficientNet-Lite0: Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural
networks", ICML 2019, without gates and with ReLU6, as its authors published it for phones."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj

from .common import VideoNetwork
from .inverted_residual import InvertedResidual

STAGES = (
    (1, 16, 3, 1, 1),
    (6, 24, 3, 2, 2),
    (6, 40, 5, 2, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 5, 3, 1),
    (6, 192, 5, 4, 2),
    (6, 320, 3, 1, 1),
)
"""Table 1 of the paper: expansion, features, kernel size, blocks, strides of the first."""


class EfficientNetLite0(VideoNetwork):
    """EfficientNet-Lite0 for classification. Paddings are TensorFlow's SAME.

    Attributes:
        num_classes: of the head.
    """

    mean: tuple[float, ...] = (127 / 255,) * 3
    std: tuple[float, ...] = (128 / 255,) * 3
    num_classes: int = 1000

    batch_norm_epsilon: ClassVar[float] = 1e-3

    @nn.compact
    def __call__(self, x, train: bool = False) -> jax.Array:
        """[N, H, W, 3] → logits [N, num_classes], float32."""
        x = self.sparsify()(x)
        conv = self.normalised_convolution(activation="relu6")
        x = conv(32, 3, 2, name="stem")(x, train=train)
        for stage, (expansion, features, kernel_size, blocks, strides) in enumerate(STAGES):
            for index in range(blocks):
                x = InvertedResidual(
                    expansion * x.shape[-1] if expansion > 1 else None,
                    features,
                    kernel_size,
                    strides if index == 0 else 1,
                    conv,
                    name=f"stage{stage + 1}_{index}",
                )(x, train=train)
        x = conv(1280, 1, name="head")(x, train=train)
        x = dj.GlobalAvgPool()(x)
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="fc")(x)
