"""What all networks take: how frames come in, and what makes them cheap."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

import deltajax as dj
from deltajax.norms import ThresholdNorm
from deltajax.ops.update import Implementation

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

KAIMING_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
"""torchvision's initialisation of ResNet's convolutions (He et al., ICCV 2015)."""

Layer = Callable[..., Any]


class VideoNetwork(nn.Module, kw_only=True):
    """Base of the networks: frames [N, H, W, 3], uint8 or floating in [0, 1].

    Attributes:
        input_threshold: of the difference between frames, in normalised units.
        input_dilation: side of the square by which changed input pixels are dilated, odd.
        threshold: of every other update point, in the units of its output.
        gate_threshold: of every gate, which are in [0, 1]; see `deltajax.Gate`.
        threshold_norm: "max", "l2" or "rms".
        mean, std: normalisation constants for values in [0, 1].
        dtype: of the computation.
        implementation: "auto", "dense", "xla" or "triton".
        folded: whether convolutions have a bias in place of their batch norm; `fold_batch_norm`
            makes the weights.
    """

    input_threshold: float = 0.0
    input_dilation: int = 1
    threshold: float = 0.0
    gate_threshold: float = 0.0
    threshold_norm: ThresholdNorm = "max"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    dtype: DTypeLike = jnp.float32
    implementation: Implementation = "auto"
    folded: bool = False

    batch_norm_epsilon: ClassVar[float] = dj.BatchNorm.epsilon

    def update_point(self, layer: Layer, **arguments: Any) -> Layer:
        """A constructor of a layer with this network's threshold and implementation."""
        return functools.partial(
            layer,
            threshold=self.threshold,
            threshold_norm=self.threshold_norm,
            implementation=self.implementation,
            **arguments,
        )

    def normalised_convolution(self, layer: Layer = dj.Conv, **arguments: Any) -> Layer:
        """A constructor of a convolution without bias, with batch norm and ReLU."""
        defaults = {
            "use_bias": self.folded,
            "norm": None
            if self.folded
            else dj.BatchNorm(epsilon=self.batch_norm_epsilon, parent=None),
            "activation": "relu",
            "kernel_init": KAIMING_FAN_OUT,
        }
        return self.update_point(layer, dtype=self.dtype, **(defaults | arguments))

    def gate(self) -> Layer:
        """A constructor of a gate's entry."""
        return functools.partial(
            dj.Gate, threshold=self.gate_threshold, threshold_norm=self.threshold_norm
        )

    def sparsify(self) -> dj.Sparsify:
        """The entry of frames."""
        return dj.Sparsify(
            threshold=self.input_threshold,
            threshold_norm=self.threshold_norm,
            dilation=self.input_dilation,
            mean=self.mean,
            std=self.std,
            dtype=self.dtype,
            implementation=self.implementation,
            name="sparsify",
        )
