"""HRNet for pose: Sun et al., "Deep high-resolution representation learning for human pose
estimation", CVPR 2019."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj

from .common import Layer, VideoNetwork
from .resnet import BasicBlock, Bottleneck
from .skeletons import Joints


class Exchange(nn.Module):
    """Every resolution becomes the sum of all, brought to its size, with ReLU.

    Smaller maps are enlarged (1 × 1 convolution, then nearest neighbours); larger ones are halved
    by 3 × 3 convolutions.

    Attributes:
        conv: constructor of the convolutions.
        upsample: constructor of an enlargement.
        add: constructor of a sum.
        outputs: resolutions to make, the largest first.
    """

    conv: Layer
    upsample: Layer
    add: Layer
    outputs: int

    @nn.compact
    def __call__(self, maps: list[Any], train: bool = False) -> list[Any]:
        return [
            self.add(activation="relu", name=f"add{to}")(
                *(self._brought(x, at, to, maps, train) for at, x in enumerate(maps))
            )
            for to in range(self.outputs)
        ]

    def _brought(self, x, at: int, to: int, maps: list[Any], train: bool):
        features = maps[to].shape[-1]
        if at > to:
            x = self.conv(features, 1, activation=None, name=f"fuse{to}_{at}")(x, train=train)
            return self.upsample(2 ** (at - to), name=f"upsample{to}_{at}")(x)
        for step in range(to - at):
            last = step == to - at - 1
            x = self.conv(
                features if last else x.shape[-1],
                3,
                2,
                1,
                activation=None if last else "relu",
                name=f"fuse{to}_{at}_{step}",
            )(x, train=train)
        return x


class PoseHRNet(VideoNetwork):
    """HRNet with a 1 × 1 head on its largest resolution: one heatmap per joint.

    Attributes:
        width: channels of the largest resolution, 32 or 48; each smaller one has twice as many.
        num_joints: heatmaps.
        joints: which ones they are: "coco", or "human36m", as those that are trained here have.
        modules: exchanges of stages 2, 3 and 4, which have as many resolutions.
        blocks: residual blocks of a branch between two exchanges.
    """

    width: int = 32
    num_joints: int = 17
    joints: Joints = "coco"
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4

    @nn.compact
    def __call__(self, x, train: bool = False) -> jax.Array:
        """[N, H, W, 3] → heatmaps [N, H / 4, W / 4, num_joints] (H, W multiples of 32), float32."""
        x = self.sparsify()(x)
        conv = self.normalised_convolution()
        x = conv(64, 3, 2, 1, name="conv1")(x, train=train)
        x = conv(64, 3, 2, 1, name="conv2")(x, train=train)
        for index in range(4):
            x = Bottleneck(64, 1, conv, name=f"layer1_{index}")(x, train=train)
        maps = [
            conv(self.width, 3, 1, 1, name="transition1_0")(x, train=train),
            conv(2 * self.width, 3, 2, 1, name="transition1_1_0")(x, train=train),
        ]
        for number, modules in enumerate(self.modules):
            stage = number + 2
            if stage > 2:
                new = conv(
                    self.width << number + 1, 3, 2, 1, name=f"transition{stage - 1}_{stage - 1}_0"
                )
                maps.append(new(maps[-1], train=train))
            for module in range(modules):
                name = f"stage{stage}_{module}"
                maps = [self._branch(x, f"{name}_branch{at}", train) for at, x in enumerate(maps)]
                last = stage == 4 and module == modules - 1
                maps = Exchange(
                    conv,
                    self.update_point(dj.Upsample),
                    self.update_point(dj.Add),
                    outputs=1 if last else len(maps),
                    name=name,
                )(maps, train=train)
        head = self.update_point(dj.Conv, dtype=self.dtype)
        x = head(self.num_joints, 1, name="head")(maps[0], train=train)
        return dj.Densify()(x).astype(jnp.float32)

    def _branch(self, x, name: str, train: bool):
        for index in range(self.blocks):
            conv = self.normalised_convolution()
            x = BasicBlock(x.shape[-1], 1, conv, name=f"{name}_{index}")(x, train=train)
        return x
