"""MediaPipe's selfie segmentation: a small MobileNetV3 and a decoder with gated shortcuts.

Google, "Model card: MediaPipe selfie segmentation", 2021; Howard et al., "Searching for
MobileNetV3", ICCV 2019.
"""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj

from .common import Layer, VideoNetwork
from .inverted_residual import InvertedResidual, depthwise
from .squeeze_excite import SqueezeExcite

ENCODER = (
    (16, 16, 3, 2, "relu", 8),
    (72, 24, 3, 2, "relu", None),
    (88, 24, 3, 1, "relu", None),
    (96, 32, 5, 2, "hard_swish", 24),
    (128, 32, 5, 1, "hard_swish", 32),
    (128, 32, 5, 1, "hard_swish", 32),
    (96, 32, 5, 1, "hard_swish", 24),
    (96, 32, 5, 1, "hard_swish", 24),
)
"""Of each block: expanded channels, features, kernel size, strides, activation, the gate's reduced
channels."""

SKIPS = (2, 0)
"""The blocks after which the decoder takes a map over."""


class GatedShortcut(nn.Module):
    """A map from the encoder times a gate, plus the coarser one; then a small residual block.

    Attributes:
        conv: constructor of a convolution with bias and ReLU.
        point: constructor of any other update point, of its class.
        enter: constructor of a `deltajax.Gate`.
    """

    conv: Layer
    point: Layer
    enter: Layer

    @nn.compact
    def __call__(self, coarse, skip, train: bool = False):
        features = skip.shape[-1]
        coarse = self.point(dj.Upsample)(2, "bilinear", name="upsample")(coarse)
        coarse = self.conv(features, 1, activation=None, name="reduce")(coarse, train=train)
        mean = dj.GlobalAvgPool(keepdims=True)
        plain = functools.partial(self.conv, norm=None, use_bias=True)
        gate = plain(features, 1, name="gate_reduce")(mean(skip) + mean(coarse))
        gate = plain(features, 1, activation="sigmoid", name="gate_expand")(gate)
        gate = self.enter(name="gate")(gate, skip, coarse)
        x = self.point(dj.Elementwise)(_gated, name="gated")(skip, gate, coarse)
        x = self.conv(features, 1, name="mix")(x, train=train)
        y = depthwise(self.conv, x, 3, name="depthwise")(x, train=train)
        return self.point(dj.Add)(name="add")(x, y)


def _gated(skip: jax.Array, gate: jax.Array, coarse: jax.Array) -> jax.Array:
    return skip * gate + coarse


class SelfieSegmentation(VideoNetwork):
    """The probability that a pixel is part of a person close to the camera.

    Trained on 256 × 256 pixels in which people fill much of the picture; other sizes that are
    multiples of 16 work, too.

    Attributes:
        folded: the published weights have their norms folded.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    folded: bool = True

    @nn.compact
    def __call__(self, x, train: bool = False) -> jax.Array:
        """[N, H, W, 3] → probabilities [N, H, W, 1] (H, W multiples of 16), float32."""
        x = self.sparsify()(x)
        conv = self.normalised_convolution()
        x = conv(16, 3, 2, activation="hard_swish", name="stem")(x, train=train)
        skips = [x]
        for index, (expanded, features, size, strides, activation, reduced) in enumerate(ENCODER):
            x = InvertedResidual(
                expanded,
                features,
                size,
                strides,
                functools.partial(conv, activation=activation),
                gate=self._squeeze_excite(reduced) if reduced else None,
                name=f"block{index}",
            )(x, train=train)
            if index in SKIPS:
                skips.append(x)
        x = self._pooled(conv, x, train)
        for index, skip in enumerate(reversed(skips)):
            x = GatedShortcut(conv, self.update_point, self.gate(), name=f"decoder{index}")(
                x, skip, train=train
            )
        transposed = self.update_point(dj.ConvTranspose, dtype=self.dtype)
        x = transposed(1, 2, 2, "VALID", name="head")(x, train=train)
        return nn.sigmoid(dj.Densify()(x).astype(jnp.float32))

    def _squeeze_excite(self, reduced: int) -> Layer:
        return functools.partial(
            SqueezeExcite,
            reduced,
            self.update_point(dj.Conv, dtype=self.dtype),
            self.gate(),
            self.update_point(dj.Multiply),
        )

    def _pooled(self, conv: Layer, x, train: bool):
        """The encoder's last map, gated by its own mean."""
        gate = dj.GlobalAvgPool(keepdims=True)(x)
        gate = conv(128, 1, norm=None, use_bias=True, activation="sigmoid", name="pool_gate")(gate)
        gate = self.gate()(name="pool_enter")(gate, x)
        x = conv(128, 1, name="pool_mix")(x, train=train)
        return self.update_point(dj.Multiply)(name="pool_multiply")(x, gate)
