"""The tiles that the networks' convolutions are cut into, as the rule of configurations has it.

Networks are traced once, in float32 and of one stream. What other numbers of streams, dtypes and
GPUs make of a convolution follows from its shapes.
"""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
from flax import linen as nn

from .ahead_of_time import SHARED_LIMIT

MEASURED = "resnet50"
"""The network that tiles are taken from first: most of what is known of speed is known of it."""
SIZES = ((576, 768), (1088, 1920))
SQUARE = (256, 256)
"""Of the network that takes nothing else."""
STREAMS = (1, 8)
KINDS = (("float32", "tf32"), ("float32", "tf32x3"), ("bfloat16", "tf32"))
"""Dtypes and precisions; float16 has the tiles of bfloat16."""
MULTIPROCESSORS = {80: 108, 90: 132, 100: 148}
"""Of an A100, an H100 and a B200, by compute capability."""
MAPS = ("x", "value", "candidates", "mask", "other_mask")
"""Arguments of a convolution's call that have a leading axis of streams."""


class Tile(NamedTuple):
    """What the loop of a compiled convolution depends on."""

    dtype: str
    precision: str
    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int

    @classmethod
    def of(cls, dtype: str, precision: str, config: Any) -> "Tile":
        sizes = (config.block_m, config.block_n, config.block_k)
        return cls(dtype, precision, *sizes, config.num_warps, config.num_stages)

    def sides(self, every_step: bool) -> "Tile":
        """The tile, or what of it is left without the length and the stages of a step."""
        return self if every_step else self._replace(block_k=0, num_stages=0)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution of a network.

    Attributes:
        network: its name.
        streams: N.
        arguments: of `triton_kernels.convolution.convolve`, arrays by their shapes.
    """

    network: str
    streams: int
    arguments: Mapping[str, Any]

    @property
    def phased(self) -> bool:
        """Whether one call computes several phases."""
        return self.arguments["part"].phases.count > 1

    def shape(self, dtype: str, precision: str, capability: int) -> Any:
        """What a configuration is chosen by, on a GPU of this capability."""
        from deltajax.ops.update_triton import convolution_shape

        part = self.arguments["part"]
        kernel = jax.ShapeDtypeStruct(part.shape, dtype)
        out = (self.streams, *self.arguments["value"].shape[1:])
        shape = convolution_shape(kernel, part.groups, out, part.lattice.size, precision)
        return dataclasses.replace(
            shape,
            multiprocessors=MULTIPROCESSORS[capability] // part.phases.count,
            shared_bytes=SHARED_LIMIT[capability],
        )

    def arguments_as(self, dtype: str, precision: str, config: Any) -> dict[str, Any]:
        """The arguments of all streams, in a dtype."""
        from deltajax.triton_kernels.convolution import pack_weights

        part = dataclasses.replace(
            self.arguments["part"], dtype=jnp.dtype(dtype), precision=precision, config=config
        )
        kernels = [jax.ShapeDtypeStruct(part.shape, part.dtype)] * part.phases.count
        weights = jax.eval_shape(lambda kernels: pack_weights(kernels, part), kernels)
        given = {**self.arguments, "part": part, "weights": weights}
        for name in MAPS:
            if (array := given[name]) is not None:
                given[name] = self._as(array, dtype if array.ndim == 4 else array.dtype)
        if (other := given["epilogue"].other) is not None:
            given["epilogue"] = given["epilogue"]._replace(other=self._as(other, dtype))
        return given

    def _as(self, array: jax.ShapeDtypeStruct, dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.streams, *array.shape[1:]), dtype)


def convolutions(network: str, size: tuple[int, int], seen: set[Any]) -> list[Layer]:
    """The different convolutions of a network that the kernel computes.

    Args:
        network: its name.
        size: of a frame.
        seen: shapes of layers that need not be looked at again; those found are added.
    """
    from deltajax.layers.update_point import UpdatePoint
    from deltajax.models import create
    from deltajax.ops import update_triton
    from deltajax.ops.function import Function
    from deltajax.tensor import DeltaTensor
    from deltajax.triton_kernels.convolution import convolve

    found: list[Layer] = []
    signature = inspect.signature(convolve)

    def record(*arguments: Any) -> Any:
        given = signature.bind(*arguments).arguments
        found.append(Layer(network, 1, jax.tree.map(_shape_of, given)))
        value, mask = given["value"], given["mask"]
        mask = jnp.zeros(value.shape[:3], bool) if mask is None else mask
        return value, mask, given["counters"].array

    def compute(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        if not isinstance(context.module, UpdatePoint) or context.method_name != "compute":
            return call(*arguments, **keywords)
        neighbourhood, tail, inputs = arguments
        if not all(isinstance(x, DeltaTensor) for x in (*inputs, *tail.others)):
            return call(*arguments, **keywords)
        function = Function(neighbourhood, tail, tuple(inputs))
        value = jnp.zeros(function.output_shape, jnp.float32)
        kernel = getattr(neighbourhood, "kernel", None)
        if kernel is not None and not update_triton._is_depthwise(function):
            key = (function.shapes, value.shape, kernel.shape, len(tail.others))
            if key not in seen:
                seen.add(key)
                arrivals = update_triton.arrivals_of(function)
                update_triton.update_triton(function, value, 0.1, "max", arrivals)
        return DeltaTensor(value, jnp.ones(value.shape[:3], bool))

    model = create(network, implementation="triton")
    frame = jax.ShapeDtypeStruct((1, *size, 3), jnp.uint8)
    # A model that is initialised computes its update points as if for a first frame.
    with nn.intercept_methods(compute), mock.patch.object(update_triton, "convolve", record):
        jax.eval_shape(model.init, jax.random.key(0), frame)
    return found


def every_layer() -> Iterator[Layer]:
    """The different convolutions of all networks, at both sizes, of one stream and of eight."""
    from deltajax.models import NAMES

    seen: set[Any] = set()
    # The deeper ones have more of the blocks of ResNet-18 and ResNet-50.
    names = [name for name in NAMES if not name.endswith(("resnet34", "resnet101", "resnet152"))]
    for network in sorted(names, key=lambda name: name != MEASURED):
        for size in (SQUARE,) if network == "blazepose" else SIZES:
            for layer in convolutions(network, size, seen):
                yield from (dataclasses.replace(layer, streams=streams) for streams in STREAMS)


class Chosen(NamedTuple):
    """A tile, and a layer that is cut into it by a configuration."""

    tile: Tile
    layer: Layer
    config: Any
    measured: bool
    """Whether the layer is one of ResNet-50 with eight streams."""


def chosen_by_rule(capability: int, every_step: bool) -> list[Chosen]:
    """Each tile that the rule cuts a layer into; of several layers the one with most to multiply.

    Of ResNet-50 with eight streams a tile has a layer for each way in which programs share work,
    with a residual and without: what they tell each other and compare takes registers, too. So have
    phases of transposed convolutions.

    Args:
        capability: of the GPU.
        every_step: whether tiles that differ in the length and the stages of a step only are all
            there; else of those the one that takes most shared memory.
    """
    from deltajax.triton_kernels.configuration import rule

    most: dict[Any, tuple[Any, Chosen]] = {}
    for layer in every_layer():
        measured = layer.network == MEASURED and layer.streams == max(STREAMS)
        residual = layer.arguments["epilogue"].other is not None
        for dtype, precision in KINDS:
            shape = layer.shape(dtype, precision, capability)
            config = rule(shape)
            chosen = Chosen(Tile.of(dtype, precision, config), layer, config, measured)
            key: Any = chosen.tile.sides(every_step)
            if measured:
                key = (key, _told(config), residual)
            elif layer.phased:
                key = (key, _told(config), "phases")
            products = shape.pixels * shape.length * shape.group_features * shape.groups
            rank = (config.block_k * config.num_stages, products)
            if key not in most or rank > most[key][0]:
                most[key] = (rank, chosen)
    found = [chosen for _, chosen in most.values()]
    covered = {chosen.tile.sides(every_step) for chosen in found if chosen.measured}
    return [
        chosen
        for chosen in found
        if chosen.measured or chosen.layer.phased or chosen.tile.sides(every_step) not in covered
    ]


def _told(config: Any) -> str:
    """What programs that compute a tile together tell each other."""
    if config.team == 1:
        return "nothing"
    return "sums" if config.split else "norms"


def candidates_of_tables(capability: int) -> list[Chosen]:
    """Each tile that a table of measured configurations can have for the deepest layer."""
    from deltajax.triton_kernels.configuration import candidates

    found: dict[Tile, Chosen] = {}
    layers = convolutions(MEASURED, SIZES[0], set())
    deep = max(layers, key=lambda layer: layer.shape("float32", "tf32", capability).length)
    layer = dataclasses.replace(deep, streams=max(STREAMS))
    for dtype, precision in KINDS:
        for config in candidates(layer.shape(dtype, precision, capability)):
            tile = Tile.of(dtype, precision, config)
            found.setdefault(tile, Chosen(tile, layer, config, False))
    return list(found.values())


def _shape_of(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, jax.Array) else leaf
