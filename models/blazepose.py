"""BlazePose's landmark network, "full": Bazarevsky et al., "BlazePose: on-device real-time body
pose tracking", CV4ARVR workshop at CVPR 2020; the published network is a later version."""

import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj

from .common import Layer, VideoNetwork
from .inverted_residual import InvertedResidual, depthwise

SIDE = 256
"""Pixels of the side of the square that the network takes."""

ENCODER = (
    ((64, 24, 3, 2), (144, 24, 3, 1)),
    ((144, 32, 5, 2), (192, 32, 5, 1)),
    (
        (192, 64, 3, 2),
        (384, 64, 3, 1),
        (384, 64, 3, 1),
        (384, 88, 5, 1),
        (528, 88, 5, 1),
        (528, 88, 5, 1),
    ),
    ((528, 144, 5, 2), (864, 144, 5, 1), (864, 144, 5, 1), (864, 144, 5, 1)),
)
"""Of each block: expanded channels, features, kernel size, strides."""

LANDMARK_BLOCKS = (4, 5)
"""Residual blocks at 4 × 4 and at 2 × 2 pixels."""


class BodyPose(flax.struct.PyTreeNode):
    """What the network says of the person in the middle of each picture; arrays.

    Attributes:
        landmarks: [N, 39, 5], x, y and z in pixels of the picture (z: depth relative to the hips),
            and logits of visibility and of presence; the first 33 are the body's, the others say
            where it is.
        world_landmarks: [N, 39, 3], metres from the middle of the hips.
        presence: [N], the probability that there is a person.
        segmentation: [N, 256, 256, 1], logits: which pixels are the person's.
        heatmaps: [N, 64, 64, 39], logits: where the landmarks are.
    """

    landmarks: Any
    world_landmarks: Any
    presence: Any
    segmentation: Any
    heatmaps: Any


class BlazePose(VideoNetwork):
    """Landmarks of one person in a square picture of 256 × 256 pixels.

    Attributes:
        folded: the published weights have their norms folded.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    folded: bool = True

    @nn.compact
    def __call__(self, x, train: bool = False) -> BodyPose:
        """[N, 256, 256, 3] → a `BodyPose`, float32.

        Raises:
            ValueError: for frames of another size.
        """
        if x.shape[1:3] != (SIDE, SIDE):
            raise ValueError(
                f"BlazePose takes pictures of {SIDE} x {SIDE} pixels, not {x.shape[1]} x "
                f"{x.shape[2]} (height x width); crop and scale them to a square with the person"
            )
        conv = functools.partial(self.normalised_convolution(), activation="relu6")
        separable = functools.partial(Separable, conv)
        x = conv(24, 3, 2, 1, name="stem")(self.sparsify()(x), train=train)
        x = Separable(conv, 16, activation=None, name="separable")(x, train=train)

        laterals = [Separable(conv, 8, name="lateral0")(x, train=train)]
        for stage, blocks in enumerate(ENCODER):
            for index, (expanded, features, kernel_size, strides) in enumerate(blocks):
                x = InvertedResidual(
                    expanded,
                    features,
                    kernel_size,
                    strides,
                    conv,
                    padding=kernel_size // 2,
                    name=f"stage{stage + 1}_{index}",
                )(x, train=train)
            if stage < 3:
                laterals.append(separable(48, name=f"lateral{stage + 1}")(x, train=train))
        x = conv(864, 1, name="expand")(x, train=train)
        x = depthwise(conv, x, 3, name="depthwise")(x, train=train)

        maps = separable(48, name="lateral4")(x, train=train)
        for stage in (3, 2, 1):
            maps = self._enlarged(maps, laterals[stage], f"decoder{stage}")
        plain = self.update_point(dj.Conv, dtype=self.dtype)
        heatmaps = plain(39, 1, name="heatmaps")(maps)
        maps = separable(8, name="mask_reduce")(maps, train=train)
        maps = self._enlarged(maps, laterals[0], "decoder0")
        for index in range(2):
            maps = Residual(conv, name=f"mask_residual{index}")(maps, train=train)
        maps = self.update_point(dj.Upsample)(2, "bilinear", name="mask_upsample")(maps)
        for index in (2, 3):
            maps = Residual(conv, name=f"mask_residual{index}")(maps, train=train)
        segmentation = plain(1, 3, name="mask")(maps)

        x = separable(288, name="landmark_reduce")(x, train=train)
        # From 8 × 8 pixels on, one that changes reaches all others.
        x = self._landmark_features(conv, dj.Densify()(x), train)
        heads = {
            name: plain(features, 2, padding="VALID", name=name)(x).astype(jnp.float32)[:, 0, 0]
            for name, features in (("landmarks", 195), ("world_landmarks", 117), ("presence", 1))
        }
        return BodyPose(
            landmarks=heads["landmarks"].reshape(-1, 39, 5),
            world_landmarks=heads["world_landmarks"].reshape(-1, 39, 3),
            presence=nn.sigmoid(heads["presence"][:, 0]),
            segmentation=dj.Densify()(segmentation).astype(jnp.float32),
            heatmaps=dj.Densify()(heatmaps).astype(jnp.float32),
        )

    def _enlarged(self, x, lateral, name: str):
        x = self.update_point(dj.Upsample)(2, "bilinear", name=f"{name}_upsample")(x)
        return self.update_point(dj.Add)(name=f"{name}_add")(x, lateral)

    def _landmark_features(self, conv: Layer, x: jax.Array, train: bool) -> jax.Array:
        pool = self.update_point(dj.MaxPool)
        for level, blocks in enumerate(LANDMARK_BLOCKS):
            small = pool(2, 2, name=f"landmark{level}_pool")(x)
            x = Residual(conv, 2, name=f"landmark{level}_0")(x, small, train=train)
            for index in range(blocks):
                x = Residual(conv, name=f"landmark{level}_{index + 1}")(x, train=train)
        return x


class Separable(nn.Module):
    """A depthwise 3 × 3 convolution, then a 1 × 1.

    Attributes:
        conv: constructor of the convolutions.
        features: channels of the output.
        activation: of the 1 × 1.
    """

    conv: Layer
    features: int
    activation: str | None = "relu6"

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = depthwise(self.conv, x, 3, name="depthwise")(x, train=train)
        pointwise = self.conv(self.features, 1, activation=self.activation, name="pointwise")
        return pointwise(x, train=train)


class Residual(nn.Module):
    """The shortcut plus a depthwise 3 × 3 and a 1 × 1 convolution of x, with ReLU6.

    Attributes:
        conv: constructor of the convolutions.
        strides: of the depthwise convolution.
    """

    conv: Layer
    strides: int = 1

    @nn.compact
    def __call__(self, x, shortcut=None, train: bool = False):
        shortcut = x if shortcut is None else shortcut
        y = depthwise(self.conv, x, 3, self.strides, name="depthwise")(x, train=train)
        return self.conv(x.shape[-1], 1, name="pointwise")(y, shortcut, train=train)
