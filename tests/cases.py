"""Named update points with real shapes, run through every implementation."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltajax.ops.convolution import Convolution
from deltajax.ops.identity import Concatenation, Identity
from deltajax.ops.neighbourhood import Neighbourhood
from deltajax.ops.pooling import AveragePooling, MaxPooling
from deltajax.ops.resizing import ResizeMethod, Resizing
from deltajax.ops.tail import Tail
from deltajax.ops.transposed_convolution import TransposedConvolution
from deltajax.ops.update import Function
from deltajax.ops.windows import Pair, Window
from deltajax.tensor import DeltaTensor

Shape = tuple[int, ...]
Arrays = Mapping[str, jax.Array]
Pads = tuple[Pair, Pair]


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """An update point, equal to itself only, so that it can be an argument of compiled functions.

    Attributes:
        inputs: shapes [N, H, W, C] of the neighbourhood operation's inputs.
        operation: of its parameters.
        others: shapes of the tail's further inputs.
        tail: of its parameters and the further inputs.
        parameters: shapes of the parameters.
    """

    name: str
    inputs: tuple[Shape, ...]
    operation: Callable[[Arrays], Neighbourhood]
    others: tuple[Shape, ...] = ()
    tail: Callable[[Arrays, tuple[DeltaTensor, ...]], Tail] = lambda _, others: Tail(others=others)
    parameters: Mapping[str, Shape] = dataclasses.field(default_factory=dict)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return self.inputs + self.others

    def make_parameters(self, rng: np.random.Generator, dtype: Any) -> dict[str, jax.Array]:
        """A kernel that keeps the variance, in the given dtype; scale and shift in float32."""
        made = {}
        for name, shape in self.parameters.items():
            if name == "kernel":
                kernel = rng.normal(0, float(np.prod(shape[:-1])) ** -0.5, shape)
                made[name] = jnp.asarray(kernel, dtype)
            elif name == "scale":
                made[name] = jnp.asarray(rng.uniform(0.5, 1.5, shape), jnp.float32)
            else:
                made[name] = jnp.asarray(rng.normal(0, 0.3, shape), jnp.float32)
        return made

    def function(self, parameters: Arrays, tensors: tuple[DeltaTensor, ...]) -> Function:
        inputs, others = tensors[: len(self.inputs)], tensors[len(self.inputs) :]
        return Function(self.operation(parameters), self.tail(parameters, others), inputs)


def norm_relu(parameters: Arrays, others: tuple[DeltaTensor, ...]) -> Tail:
    return Tail(
        parameters["scale"], parameters["shift"], others, jnp.add if others else None, jax.nn.relu
    )


def bias(parameters: Arrays, others: tuple[DeltaTensor, ...]) -> Tail:
    return Tail(shift=parameters["shift"])


def combined(fn: Callable[..., jax.Array], activation: Any = None) -> Callable[..., Tail]:
    return lambda _, others: Tail(others=others, combine=fn, activation=activation)


def convolution(
    name: str,
    shape: Shape,
    features: int,
    size: Pair,
    strides: Pair = (1, 1),
    padding: Pads | None = None,
    dilation: Pair = (1, 1),
    groups: int = 1,
    residual: bool = False,
    tail: Any = bias,
) -> Case:
    if padding is None:
        reach = [(k - 1) * d for k, d in zip(size, dilation, strict=True)]
        padding = ((reach[0] // 2, -(-reach[0] // 2)), (reach[1] // 2, -(-reach[1] // 2)))
    window = Window(size, strides, padding, dilation)
    out = (shape[0], *window.output_size(*shape[1:3]), features)
    return Case(
        name,
        (shape,),
        lambda p: Convolution(p["kernel"], window, groups),
        (out,) if residual else (),
        tail,
        {
            "kernel": (*size, shape[3] // groups, features),
            "scale": (features,),
            "shift": (features,),
        },
    )


def transposed(
    name: str,
    shape: Shape,
    features: int,
    size: Pair,
    strides: Pair,
    padding: Pads,
    dilation: Pair = (1, 1),
    other: Shape | None = None,
    tail: Any = bias,
) -> Case:
    return Case(
        name,
        (shape,),
        lambda p: TransposedConvolution(p["kernel"], strides, padding, dilation),
        (other,) if other else (),
        tail,
        parameters={
            "kernel": (*size, shape[3], features),
            "scale": (features,),
            "shift": (features,),
        },
    )


def pooling(name: str, kind: Any, shape: Shape, window: Window, **options: Any) -> Case:
    return Case(name, (shape,), lambda _: kind(window, **options))


def resizing(name: str, shape: Shape, scale: Pair, method: ResizeMethod) -> Case:
    size = (shape[1] * scale[0], shape[2] * scale[1])
    return Case(name, (shape,), lambda _: Resizing(size, method))


def pointwise(name: str, shapes: tuple[Shape, ...], tail: Callable[..., Tail]) -> Case:
    return Case(name, shapes[:1], lambda _: Identity(), shapes[1:], tail)


def weighted_sum(*values: jax.Array) -> jax.Array:
    weights = (0.7, -1.3, 2.0)
    return functools.reduce(operator.add, [w * x for w, x in zip(weights, values, strict=True)])


MAP = (1, 24, 32, 24)
DECONV: tuple[Pair, Pair, Pads] = (4, 4), (2, 2), ((2, 2), (2, 2))
"""Kernel, strides and padding of PoseResNet's transposed convolutions."""

CASES = (
    convolution(
        "resnet_stem_7x7_stride2", (1, 48, 64, 3), 64, (7, 7), (2, 2), ((3, 3), (3, 3)),
        tail=norm_relu,
    ),
    convolution("resnet_stage1_3x3", (1, 24, 32, 64), 64, (3, 3), tail=norm_relu),
    convolution(
        "bottleneck_1x1_residual", (1, 24, 32, 64), 256, (1, 1), residual=True, tail=norm_relu
    ),
    convolution("resnet_stage4_3x3", (1, 6, 8, 512), 512, (3, 3), tail=norm_relu),
    convolution("downsample_strided_1x1", (1, 17, 24, 64), 128, (1, 1), (2, 2)),
    convolution("depthwise_5x5", (1, 20, 28, 48), 48, (5, 5), groups=48),
    convolution("depthwise_3x3_multiplier2", (1, 20, 28, 24), 48, (3, 3), (2, 2), groups=24),
    convolution("grouped_3x3", (1, 20, 28, 32), 64, (3, 3), groups=4),
    convolution("dilated_3x3", (1, 24, 32, 16), 24, (3, 3), dilation=(2, 3)),
    convolution("valid_5x3", (1, 20, 28, 16), 24, (5, 3), padding=((0, 0), (0, 0))),
    convolution("one_sided_padding", (1, 20, 28, 16), 24, (3, 3), padding=((2, 0), (0, 2))),
    convolution("negative_padding", (1, 20, 28, 16), 24, (3, 3), padding=((-2, 1), (3, -4))),
    convolution("odd_sizes_2x3_stride_3x2", (1, 19, 23, 5), 7, (2, 3), (3, 2)),
    convolution("kernel_smaller_than_stride", (1, 20, 28, 8), 8, (2, 2), (3, 3)),
    convolution("one_pixel_map", (1, 1, 1, 16), 24, (3, 3)),
    convolution("one_row", (1, 1, 40, 8), 8, (3, 3)),
    convolution("one_channel", (1, 24, 32, 1), 1, (3, 3)),
    convolution(
        "three_streams_3x3_residual", (3, 16, 20, 24), 32, (3, 3), residual=True, tail=norm_relu
    ),
    convolution(
        "windows_wholly_in_padding", (2, 8, 10, 8), 16, (1, 1), padding=((3, 2), (0, 4))
    ),
    transposed(
        "pose_resnet_deconv_4x4_stride2", (1, 12, 16, 64), 64, *DECONV, tail=norm_relu
    ),
    transposed("transposed_3x3_same", (1, 12, 17, 16), 24, (3, 3), (2, 2), ((2, 1), (2, 1))),
    transposed("transposed_2x2", (3, 10, 12, 16), 24, (2, 2), (2, 2), ((1, 1), (1, 1))),
    transposed(
        "transposed_kernel_smaller_than_stride", (1, 8, 10, 16), 24, (2, 1), (3, 3),
        ((1, 2), (0, 2)),
    ),
    transposed("transposed_5x5_stride3", (1, 8, 10, 16), 24, (5, 5), (3, 3), ((4, 2), (3, 3))),
    transposed(
        "transposed_dilated", (1, 10, 12, 16), 24, (3, 4), (2, 3), ((4, 4), (4, 4)), (3, 2)
    ),
    transposed("transposed_4x4_odd", (3, 7, 9, 16), 24, *DECONV),
    transposed(
        "transposed_narrower_than_strides", (1, 2, 1, 16), 24, (4, 4), (4, 4), ((1, 5), (1, 3))
    ),
    transposed("transposed_4x6", (1, 6, 8, 16), 24, (4, 6), (2, 3), ((2, 2), (5, 2))),
    transposed("transposed_stride1", (1, 12, 16, 16), 24, (3, 3), (1, 1), ((1, 1), (1, 1))),
    pooling(
        "resnet_max_pool_3x3_stride2", MaxPooling, (1, 24, 32, 64),
        Window((3, 3), (2, 2), ((1, 1), (1, 1))),
    ),
    pooling("max_pool_2x2", MaxPooling, (3, 17, 21, 16), Window((2, 2), (2, 2), ((0, 0), (0, 0)))),
    pooling(
        "avg_pool_3x3_same", AveragePooling, MAP, Window((3, 3), (1, 1), ((1, 1), (1, 1)))
    ),
    pooling(
        "avg_pool_3x3_without_padding", AveragePooling, MAP,
        Window((3, 3), (2, 2), ((1, 1), (1, 1))), count_include_pad=False,
    ),
    resizing("nearest_x2", (1, 12, 16, 24), (2, 2), "nearest"),
    resizing("nearest_2x3", (3, 7, 9, 8), (2, 3), "nearest"),
    resizing("bilinear_x2", (1, 12, 16, 24), (2, 2), "bilinear"),
    resizing("bilinear_x3", (3, 7, 9, 8), (3, 3), "bilinear"),
    Case("concat", ((1, 24, 32, 8), (1, 24, 32, 20), (1, 24, 32, 3)), lambda _: Concatenation()),
    pointwise("add", (MAP, MAP), combined(jnp.add, jax.nn.relu)),
    pointwise("add_weighted", ((3, 16, 20, 8),) * 3, combined(weighted_sum)),
    pointwise("gate_of_channels", ((3, 16, 20, 24), (3, 1, 1, 24)), combined(jnp.multiply)),
    pointwise("gate_of_pixels", ((3, 16, 20, 24), (3, 16, 20, 1)), combined(jnp.multiply)),
    pointwise(
        "elementwise", (MAP, MAP),
        combined(lambda x, y: x * jnp.tanh(y) + jnp.max(x, axis=-1, keepdims=True)),
    ),
    Case(
        "batch_norm", (MAP,), lambda _: Identity(),
        tail=lambda p, _: Tail(p["scale"], p["shift"]),
        parameters={"scale": MAP[3:], "shift": MAP[3:]},
    ),
    pointwise("activation", (MAP,), lambda *_: Tail(activation=jax.nn.silu)),
)  # fmt: skip

BY_NAME = {case.name: case for case in CASES}
assert len(BY_NAME) == len(CASES)

# Few pixels, as Triton's interpreter takes a while for each tile. Where all change, tiles of 16
# pixels do not divide evenly between teams, so that what is left over is shared.
_TEAM_CASES = (
    convolution("team_3x3", (1, 14, 16, 32), 64, (3, 3), tail=norm_relu),
    convolution("team_grouped_3x3", (1, 12, 12, 32), 64, (3, 3), groups=4),
    convolution("team_valid_5x3", (1, 14, 16, 16), 24, (5, 3), padding=((0, 0), (0, 0))),
    convolution("team_1x1_residual", (1, 13, 16, 32), 128, (1, 1), residual=True, tail=norm_relu),
    transposed("team_transposed_4x4", (1, 6, 8, 16), 24, *DECONV),
    transposed(
        "team_transposed_residual",
        (1, 6, 7, 16),
        24,
        *DECONV,
        other=(1, 12, 14, 24),
        tail=norm_relu,
    ),
    transposed(
        "team_transposed_rows",
        (2, 6, 8, 16),
        24,
        *DECONV,
        other=(2, 12, 1, 24),
        tail=norm_relu,
    ),
    transposed("team_transposed_2x2", (3, 9, 4, 16), 24, (2, 2), (2, 2), ((1, 1), (1, 1))),
    BY_NAME["one_row"],
)

TEAM_CASES = {case.name: case for case in _TEAM_CASES}
