"""ResNet, torchvision's architecture (v1.5: the stride of a bottleneck is in its 3 × 3).

He et al., "Deep residual learning for image recognition", CVPR 2016.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj

from .common import Layer, VideoNetwork

Stem = Literal["7x7", "3x3"]


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions around an identity (ResNet 18 and 34)."""

    features: int
    strides: int
    conv: Layer
    expansion = 1

    @nn.compact
    def __call__(self, x, train: bool = False):
        residual = x
        if self.strides != 1 or x.shape[-1] != self.features:
            residual = self.conv(
                self.features, 1, self.strides, 0, activation=None, name="downsample"
            )(x, train=train)
        y = self.conv(self.features, 3, self.strides, 1, name="conv1")(x, train=train)
        return self.conv(self.features, 3, 1, 1, name="conv2")(y, residual, train=train)


class Bottleneck(nn.Module):
    """1 × 1, 3 × 3 and 1 × 1 convolutions around an identity (ResNet 50, 101 and 152)."""

    features: int
    strides: int
    conv: Layer
    expansion = 4

    @nn.compact
    def __call__(self, x, train: bool = False):
        residual = x
        wide = self.features * self.expansion
        if self.strides != 1 or x.shape[-1] != wide:
            residual = self.conv(wide, 1, self.strides, 0, activation=None, name="downsample")(
                x, train=train
            )
        y = self.conv(self.features, 1, 1, 0, name="conv1")(x, train=train)
        y = self.conv(self.features, 3, self.strides, 1, name="conv2")(y, train=train)
        return self.conv(wide, 1, 1, 0, name="conv3")(y, residual, train=train)


BLOCKS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNetBackbone(nn.Module):
    """Stem and four stages: a map at 1/32 of the input's size.

    It has 8 · width channels, with bottlenecks 32 · width.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        conv: constructor of the convolutions.
        pool: constructor of the max-pooling.
        stem: "7x7", of stride two, and a max-pooling; or "3x3", of stride one, without pooling.
        width: channels of the stem and of the first stage, doubled from stage to stage.
    """

    depth: int
    conv: Layer
    pool: Layer
    stem: Stem = "7x7"
    width: int = 64

    @nn.compact
    def __call__(self, x, train: bool = False):
        """[N, H, W, 3], normalised → [N, H / 32, W / 32, C], rounded up; H / 8 with stem "3x3"."""
        if self.stem not in get_args(Stem):
            raise ValueError(f'stem is {self.stem!r}; it must be "7x7" or "3x3"')
        if self.depth not in BLOCKS:
            raise ValueError(f"depth is {self.depth}; it must be one of {tuple(BLOCKS)}")
        block, stages = BLOCKS[self.depth]
        if self.stem == "7x7":
            x = self.conv(self.width, 7, 2, 3, name="conv1")(x, train=train)
            x = self.pool(3, 2, 1, name="maxpool")(x)
        else:
            x = self.conv(self.width, 3, 1, 1, name="conv1")(x, train=train)
        for stage, blocks in enumerate(stages):
            for index in range(blocks):
                x = block(
                    self.width << stage,
                    2 if stage > 0 and index == 0 else 1,
                    self.conv,
                    name=f"layer{stage + 1}_{index}",
                )(x, train=train)
        return x


class ResNet(VideoNetwork):
    """ResNet for classification.

    Attributes:
        depth: 18, 34, 50, 101 or 152.
        num_classes: of the head.
        stem: "7x7" of stride two with max-pooling; "3x3" of stride one for pictures of some 32
            pixels, as they are (He et al., section 4.2).
    """

    depth: int = 50
    num_classes: int = 1000
    stem: Stem = "7x7"

    @nn.compact
    def __call__(self, x, train: bool = False) -> jax.Array:
        """[N, H, W, 3] → logits [N, num_classes], float32."""
        x = self.sparsify()(x)
        backbone = ResNetBackbone(
            self.depth,
            self.normalised_convolution(),
            self.update_point(dj.MaxPool),
            self.stem,
            name="backbone",
        )
        x = dj.GlobalAvgPool()(backbone(x, train=train))
        return nn.Dense(self.num_classes, dtype=jnp.float32, name="fc")(x)
