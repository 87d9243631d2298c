"""The block of MobileNets: Sandler et al., "MobileNetV2: inverted residuals and linear
bottlenecks", CVPR 2018, and with a gate Howard et al., "Searching for MobileNetV3", ICCV 2019."""

from flax import linen as nn

from deltajax.ops.windows import Padding

from .common import Layer


class InvertedResidual(nn.Module):
    """1 × 1 expansion, depthwise convolution, gate, and a 1 × 1 projection without activation.

    The input is added where the output has its shape.

    Attributes:
        expanded: channels of the depthwise convolution; None for the input's, without expansion.
        features: channels of the output.
        kernel_size: of the depthwise convolution.
        strides: of the depthwise convolution.
        conv: constructor of the convolutions.
        padding: of the depthwise convolution.
        gate: constructor of a gate between it and the projection, or None.
    """

    expanded: int | None
    features: int
    kernel_size: int
    strides: int
    conv: Layer
    padding: Padding = "SAME"
    gate: Layer | None = None

    @nn.compact
    def __call__(self, x, train: bool = False):
        same = self.strides == 1 and x.shape[-1] == self.features
        residual = x if same else None
        if self.expanded is not None:
            x = self.conv(self.expanded, 1, name="expand")(x, train=train)
        x = depthwise(self.conv, x, self.kernel_size, self.strides, self.padding, "depthwise")(
            x, train=train
        )
        if self.gate is not None:
            x = self.gate(name="gate")(x)
        return self.conv(self.features, 1, activation=None, name="project")(
            x, residual, train=train
        )


def depthwise(
    conv: Layer, x, kernel_size: int, strides: int = 1, padding: Padding = "SAME", name: str = ""
):
    """A convolution in which each channel of x stands for itself."""
    channels = x.shape[-1]
    return conv(
        channels, kernel_size, strides, padding, feature_group_count=channels, name=name or None
    )
