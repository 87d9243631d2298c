"""Squeeze and excitation: Hu et al., "Squeeze-and-excitation networks", CVPR 2018."""

from flax import linen as nn

import deltajax as dj
from deltajax.layers.update_point import Input

from .common import Layer


class SqueezeExcite(nn.Module):
    """x · sigmoid(W₂ relu(W₁ mean(x))), the mean over all pixels, the gate the same for all.

    Attributes:
        reduced: channels between the two products.
        conv: constructor of a convolution without activation.
        enter: constructor of a `deltajax.Gate`.
        multiply: constructor of a `deltajax.Multiply`.
    """

    reduced: int
    conv: Layer
    enter: Layer
    multiply: Layer

    @nn.compact
    def __call__(self, x: Input) -> Input:
        """[N, H, W, C] → the same shape."""
        gate = dj.GlobalAvgPool(keepdims=True)(x)
        gate = self.conv(self.reduced, 1, activation="relu", name="reduce")(gate)
        gate = self.conv(x.shape[-1], 1, activation="sigmoid", name="expand")(gate)
        return self.multiply(name="multiply")(x, self.enter(name="enter")(gate, x))
