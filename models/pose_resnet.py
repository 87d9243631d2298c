"""PoseResNet: Xiao et al., "Simple baselines for human pose estimation and tracking", ECCV 2018."""

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj

from .common import VideoNetwork
from .resnet import ResNetBackbone
from .skeletons import Joints

# With stride 2 an output pixel sees a quarter of the kernel's taps, so He's variance, 2 / fan_in,
# is four times that of the whole kernel.
HE_OF_ONE_PHASE = nn.initializers.variance_scaling(8.0, "fan_in", "normal")


class PoseResNet(VideoNetwork):
    """A ResNet, three transposed convolutions and a 1 × 1 head: one heatmap per joint.

    Attributes:
        depth: of the ResNet: 18, 34, 50, 101 or 152.
        num_joints: heatmaps.
        deconv_features: channels of the transposed convolutions.
        width: channels of the ResNet's first stage, doubled from stage to stage.
        joints: which ones they are: "coco", or "human36m", as those that are trained here have.
    """

    depth: int = 50
    num_joints: int = 17
    deconv_features: int = 256
    width: int = 64
    joints: Joints = "coco"

    @nn.compact
    def __call__(self, x, train: bool = False) -> jax.Array:
        """[N, H, W, 3] → heatmaps [N, H / 4, W / 4, num_joints] (H, W multiples of 32), float32."""
        x = self.sparsify()(x)
        x = ResNetBackbone(
            self.depth,
            self.normalised_convolution(),
            self.update_point(dj.MaxPool),
            width=self.width,
            name="backbone",
        )(x, train=train)
        deconv = self.normalised_convolution(dj.ConvTranspose, kernel_init=HE_OF_ONE_PHASE)
        for index in range(3):
            # 4 × 4 and padding 2 of the spread-out input are PyTorch's padding 1.
            x = deconv(self.deconv_features, 4, 2, 2, name=f"deconv{index + 1}")(x, train=train)
        conv = self.update_point(dj.Conv, dtype=self.dtype)
        x = conv(self.num_joints, 1, name="head")(x, train=train)
        return dj.Densify()(x).astype(jnp.float32)
