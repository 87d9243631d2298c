"""Convolution, norm, residual, activation and truncation as one update point."""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import lax
from jax.typing import DTypeLike

from ..ops.convolution import Convolution
from ..ops.neighbourhood import Neighbourhood
from ..ops.tail import Tail
from ..ops.transposed_convolution import TransposedConvolution
from ..ops.windows import Padding, Window, pair, resolve_padding
from ..tensor import DeltaTensor, value_of
from .batch_norm import BatchNorm, check_not_training
from .update_point import Activation, Input, UpdatePoint, resolve_activation

Initializer = Callable[..., jax.Array]


class _ConvolutionLayer(UpdatePoint):
    """What Conv and ConvTranspose share: everything but the neighbourhood operation."""

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    kernel_dilation: int | Sequence[int] = 1
    use_bias: bool = True
    norm: BatchNorm | None = None
    activation: Activation | None = None
    dtype: DTypeLike | None = None
    param_dtype: DTypeLike = jnp.float32
    precision: lax.PrecisionLike = None
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros

    def neighbourhood(self, kernel: jax.Array, height: int, width: int) -> Neighbourhood:
        """The operation with this kernel on maps of this size."""
        raise TypeError(f"{type(self).__name__} has no neighbourhood operation")

    def kernel_shape(self, channels: int) -> tuple[int, int, int, int]:
        """[KH, KW, C_in, C_out] of the kernel parameter."""
        return (*pair("kernel_size", self.kernel_size), channels, self.features)

    @nn.compact
    def __call__(self, x: Input, residual: Input | None = None, *, train: bool = False) -> Input:
        """activation(norm(conv(x) + bias) + residual).

        Args:
            x: [N, H, W, C].
            residual: [N, Ho, Wo, features], or None.
            train: whether the norm takes the batch's statistics; dense mode only.

        Raises:
            ValueError: for arguments that do not fit each other; the message names the layer.
        """
        check_not_training(self, x, train)
        kernel = self.param(
            "kernel", self.kernel_init, self.kernel_shape(x.shape[-1]), self.param_dtype
        )
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        activation = resolve_activation(self.label, self.activation)
        value, kernel = promote_dtype(value_of(x), kernel, dtype=self.dtype)
        if isinstance(x, DeltaTensor):
            x = x.replace(value=value).with_arrivals(x.arrivals)
        else:
            x = value
        operation = self.neighbourhood(kernel, *x.shape[1:3])

        tail = Tail(shift=bias, activation=activation)
        if self.norm is not None:
            batch = None
            if train and not isinstance(x, DeltaTensor):
                batch = operation.dense((value,))
                if bias is not None:
                    batch = batch + bias
            layer = self.norm.clone(parent=self, name="batch_norm")
            scale, shift = layer.scale_and_shift(self.features, batch)
            if bias is not None:
                shift = shift + bias * scale
            tail = Tail(scale, shift, activation=activation)
        if residual is not None:
            expected = operation.output_shape((x.shape,))
            if residual.shape != expected:
                raise ValueError(
                    f"{self.label}: the residual has shape {residual.shape}, but the output has "
                    f"{expected}"
                )
            tail = dataclasses.replace(tail, others=(residual,), combine=jnp.add)
        return self.compute(operation, tail, [x])


class Conv(_ConvolutionLayer):
    """Convolution, then optional bias, norm, residual and activation: one update point.

    Arguments as `flax.linen.Conv`. Parameters: "kernel" [KH, KW, C_in / groups, features], "bias"
    [features], and the norm's under "batch_norm".

    Attributes:
        features: channels of the output.
        kernel_size: of rows and columns.
        strides: between output pixels.
        padding: "SAME", "VALID", an integer, or (before, after) for rows and for columns.
        kernel_dilation: between the kernel's taps.
        feature_group_count: groups of channels that do not mix; C_in for a depthwise convolution.
        use_bias: whether to add a bias, before the norm.
        norm: a `BatchNorm`, or None.
        activation: a function of an array, or a name of `flax.linen`'s.
        dtype: of the computation; None promotes input and parameters.
        param_dtype: of the parameters.
        precision: of the products, as in lax.
        kernel_init, bias_init: initialisers.
    """

    feature_group_count: int = 1

    def kernel_shape(self, channels: int) -> tuple[int, int, int, int]:
        groups = self.feature_group_count
        if channels % groups or self.features % groups:
            raise ValueError(
                f"{self.label}: feature_group_count {groups} divides not both the input's "
                f"{channels} channels and the {self.features} features"
            )
        return (*pair("kernel_size", self.kernel_size), channels // groups, self.features)

    def neighbourhood(self, kernel: jax.Array, height: int, width: int) -> Convolution:
        size, strides = pair("kernel_size", self.kernel_size), pair("strides", self.strides)
        dilation = pair("kernel_dilation", self.kernel_dilation)
        padding = resolve_padding(self.padding, size, strides, dilation, height, width)
        window = Window(size, strides, padding, dilation)
        return Convolution(kernel, window, self.feature_group_count, self.precision)


class ConvTranspose(_ConvolutionLayer):
    """Transposed convolution, then optional bias, norm, residual and activation: one update point.

    Arguments as `flax.linen.ConvTranspose` and attributes as `Conv`. Explicit padding is that of
    the input spread out by the strides: PyTorch's `padding=p` is `kernel_size - 1 - p` here.
    Parameters: "kernel" [KH, KW, C_in, features], "bias", "batch_norm".
    """

    def neighbourhood(self, kernel: jax.Array, height: int, width: int) -> TransposedConvolution:
        size, strides = pair("kernel_size", self.kernel_size), pair("strides", self.strides)
        dilation = pair("kernel_dilation", self.kernel_dilation)
        padding = resolve_padding(self.padding, size, strides, dilation, height, width)
        if isinstance(self.padding, str):
            rows, columns = (
                _named_padding((size[axis] - 1) * dilation[axis] + 1, strides[axis], self.padding)
                for axis in (0, 1)
            )
            padding = (rows, columns)
        return TransposedConvolution(kernel, strides, padding, dilation, self.precision)


def _named_padding(extent: int, stride: int, name: str) -> tuple[int, int]:
    """`lax.conv_transpose`'s padding of one axis: SAME makes the output stride times the input."""
    if name.upper() == "VALID":
        return extent - 1, extent - 1 + max(stride - extent, 0)
    total = extent + stride - 2
    before = extent - 1 if stride > extent - 1 else -(-total // 2)
    return before, total - before
