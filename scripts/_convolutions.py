"""Single convolutions of a network, incremental and dense, in loops that can be timed."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deltajax.models import create
from deltajax.ops.convolution import Convolution
from deltajax.ops.function import Function
from deltajax.ops.tail import Tail
from deltajax.ops.update import Implementation, update
from deltajax.ops.windows import Window
from deltajax.tensor import DeltaTensor

STEPS, CHAIN = 10, 4
"""A measurement is a loop of so many turns of so many updates of one map."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution to measure.

    Attributes:
        name: of its layer, for the log.
        x: [N, H, W, C_in] of its input.
        kernel: [KH, KW, C_in / groups, C_out].
        window: over the input.
        groups: of channels.
        scale: of the frame's height to that of its output.
        residual: whether another map is added.
        dtype: of the maps.
    """

    name: str
    x: tuple[int, ...]
    kernel: tuple[int, ...]
    window: tuple[Any, ...]
    groups: int
    scale: float
    residual: bool
    dtype: str

    def operation(self, kernel: jax.Array) -> Convolution:
        return Convolution(kernel, Window(*self.window), self.groups)

    @property
    def out(self) -> tuple[int, ...]:
        """[N, H, W, C] of its output."""
        return self.operation(jnp.zeros(self.kernel)).output_shape((self.x,))

    def computed(self, arrays: dict[str, Any], mask: jax.Array, out_mask: jax.Array) -> float:
        """The share of the output's pixels that these masks make an update compute."""
        x = DeltaTensor(arrays["x"], mask)
        function = Function(self.operation(arrays["kernel"]), tail_of(arrays, out_mask), (x,))
        return float(function.reach().mean())


def layers_of(model: str, dtype: str, size: tuple[int, int], streams: int) -> list[Layer]:
    """The convolutions of a network, each shape once."""
    network = create(model, dtype=jnp.dtype(dtype), implementation="dense")
    frame = jax.ShapeDtypeStruct((streams, *size, 3), jnp.uint8)
    found: dict[Layer, Layer] = {}
    original = Convolution.dense

    def recorded(self: Convolution, values: tuple[jax.Array, ...]) -> jax.Array:
        window = self.window
        layer = Layer(
            name=f"{model} {'x'.join(map(str, values[0].shape))} {self.kernel.shape}",
            x=values[0].shape,
            kernel=self.kernel.shape,
            window=(window.size, window.strides, window.padding, window.dilation),
            groups=self.groups,
            scale=size[0] / self.output_shape((values[0].shape,))[1],
            residual=window.taps == 1 and self.kernel.shape[3] >= 256,
            dtype=dtype,
        )
        found.setdefault(dataclasses.replace(layer, name=""), layer)
        return original(self, values)

    Convolution.dense = recorded
    try:
        jax.eval_shape(network.init, jax.random.key(0), frame)
    finally:
        Convolution.dense = original
    return list(found.values())


def blocks_mask(shape: tuple[int, ...], active: float, seed: int = 0) -> np.ndarray:
    """[N, H, W], rectangles over about a share `active` of the pixels; all of them for 1."""
    rng = np.random.default_rng(seed)
    mask = np.full(shape, active >= 1)
    streams, height, width = shape
    while mask.mean() < active:
        stream = rng.integers(streams)
        tall, wide = 1 + rng.integers(max(height // 6, 1)), 1 + rng.integers(max(width // 8, 1))
        row, column = rng.integers(height - tall + 1), rng.integers(width - wide + 1)
        mask[stream, row : row + tall, column : column + wide] = True
    return mask


def arrays_of(layer: Layer) -> dict[str, Any]:
    """Random inputs."""
    keys = jax.random.split(jax.random.key(0), 4)
    features = layer.kernel[3]
    arrays = {
        "x": jax.random.normal(keys[0], layer.x, layer.dtype),
        "kernel": jax.random.normal(keys[1], layer.kernel, layer.dtype) * 0.02,
        "value": jax.random.normal(keys[2], layer.out, layer.dtype),
        "bias": jnp.ones(features),
    }
    if layer.residual:
        arrays["residual"] = jax.random.normal(keys[3], layer.out, layer.dtype)
    return arrays


def tail_of(arrays: dict[str, Any], out_mask: jax.Array | None) -> Tail:
    """A bias, a ReLU, and the residual if there is one, with this mask."""
    tail = Tail(activation=jax.nn.relu, shift=arrays["bias"])
    if "residual" not in arrays:
        return tail
    other = arrays["residual"]
    other = other if out_mask is None else DeltaTensor(other, out_mask)
    return dataclasses.replace(tail, others=(other,), combine=jnp.add)


def incremental(layer: Layer, implementation: Implementation) -> Callable[..., jax.Array]:
    """(arrays, mask of the input, mask of the output) → the map after STEPS · CHAIN updates."""

    def run(arrays: dict[str, Any], mask: jax.Array, out_mask: jax.Array) -> jax.Array:
        operation, tail = layer.operation(arrays["kernel"]), tail_of(arrays, out_mask)

        def turn(value: jax.Array, _: Any) -> tuple[jax.Array, None]:
            x = DeltaTensor(arrays["x"], mask)
            for _ in range(CHAIN):
                # A threshold below zero commits every pixel, as if each had changed.
                function = Function(operation, tail, (x,))
                updated = update(function, value, -1.0, "max", implementation)
                value, x = updated.value, x.with_arrivals(updated.arrivals)
            return value, None

        return jax.lax.scan(turn, arrays["value"], None, length=STEPS)[0]

    return run


def dense(layer: Layer) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """The same by XLA's convolution: the map, and what need not be looked at."""

    def run(arrays: dict[str, Any], mask: jax.Array, out_mask: jax.Array) -> Any:
        operation, tail = layer.operation(arrays["kernel"]), tail_of(arrays, None)

        def turn(carry: tuple[jax.Array, jax.Array], _: Any) -> tuple[Any, None]:
            # Without a tie to the last turn XLA would compute the convolution once, before all.
            # What is tied to it is returned, or there would be no tie either.
            x, tie = jax.lax.optimization_barrier((arrays["x"], carry[0][:1, :1, :1, :1]))
            return (Function(operation, tail, (x,)).dense(), tie), None

        start = arrays["value"], arrays["value"][:1, :1, :1, :1]
        return jax.lax.scan(turn, start, None, length=STEPS * CHAIN)[0]

    return run


def microseconds(program: Callable[..., Any], *arguments: Any) -> float:
    """Of one update, in one call of a compiled loop."""
    start = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    return (time.perf_counter() - start) * 1e6 / (STEPS * CHAIN)


def by_layer(results: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Results with the keys "layer", "dtype" and "active", of each layer those of rising shares."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for result in sorted(results, key=lambda result: result["active"]):
        found.setdefault((result["layer"], result["dtype"]), []).append(result)
    return list(found.values())
