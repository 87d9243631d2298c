"""Measures configurations of the convolution kernels on this GPU, and writes a table of the best.

For each convolution of a network every configuration in question is timed twice: with few pixels
active, in blocks as things that move leave them, and with all. Kernels are compiled in several
processes; one at a time has the GPU to measure. The library reads the table that the environment
variable DELTAJAX_KERNEL_TABLE names, and goes by a rule for shapes that it does not hold.
"""

import dataclasses
import functools
import itertools
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _common import NetworkName, Sizes, device_name
from rich.console import Console
from rich.progress import Progress

from deltajax.models import create
from deltajax.ops import update_triton
from deltajax.ops.convolution import Convolution
from deltajax.ops.function import Function
from deltajax.ops.tail import Norm, Tail
from deltajax.ops.windows import Window
from deltajax.tensor import DeltaTensor
from deltajax.triton_kernels.configuration import (
    ConvolutionConfig,
    ConvolutionShape,
    candidates,
    rule,
)

STEPS, CHAIN = 10, 4
"""A measurement is a loop of so many turns of so many updates of one map."""
REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures configurations of the convolution kernels on this GPU.

    Attributes:
        model: networks whose convolutions are measured.
        dtype: of the maps.
        size: of the frames, HxW.
        streams: independent streams.
        active: share of the pixels that are active at a quarter of the frame's size, in [0, 1]. It
            grows with depth, by 2.3 with each halving of the map, as fields of view do.
        full_weight: what a full map counts against a sparse one, when configurations are compared.
        workers: processes that compile; 0 for as many as there are processors.
        out: table to write; entries that it has for other shapes stay.
        log: file for all measurements, JSON.
    """

    model: tuple[NetworkName, ...] = ("resnet50",)
    dtype: tuple[Literal["float32", "bfloat16", "float16"], ...] = ("float32", "bfloat16")
    size: Sizes = ((576, 768),)
    streams: tuple[int, ...] = (8,)
    active: float = 0.03
    full_weight: float = 0.3
    workers: int = 0
    out: Path = Path("out/kernels.json")
    log: Path | None = None


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

    def shape(self) -> ConvolutionShape:
        kernel = jax.ShapeDtypeStruct(self.kernel, self.dtype)
        return update_triton.convolution_shape(kernel, self.groups, self.out, self.out[1:3])


def layers_of(model: str, dtype: str, size: tuple[int, int], streams: int) -> list[Layer]:
    """The convolutions of a network, each shape once."""
    network = create(model, dtype=jnp.dtype(dtype), implementation="dense")
    frame = jax.ShapeDtypeStruct((streams, *size, 3), jnp.uint8)
    found: dict[str, Layer] = {}
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
        found.setdefault(layer.shape().key, layer)
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
        row, column = rng.integers(max(height - tall, 1)), rng.integers(max(width - wide, 1))
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
        "channel": jnp.ones(features),
    }
    if layer.residual:
        arrays["residual"] = jax.random.normal(keys[3], layer.out, layer.dtype)
    return arrays


def tail_of(arrays: dict[str, Any], out_mask: jax.Array | None) -> Tail:
    """A norm, a ReLU, and the residual if there is one, with this mask."""
    ones = arrays["channel"]
    tail = Tail(activation=jax.nn.relu, norm=Norm(ones, ones, ones, ones, 1e-5))
    if "residual" not in arrays:
        return tail
    other = arrays["residual"]
    other = other if out_mask is None else DeltaTensor(other, out_mask)
    return dataclasses.replace(tail, others=(other,), combine=jnp.add)


def incremental(layer: Layer) -> Callable[..., jax.Array]:
    """(arrays, mask of the input, mask of the output) → the map after STEPS · CHAIN updates."""

    def run(arrays: dict[str, Any], mask: jax.Array, out_mask: jax.Array) -> jax.Array:
        x = DeltaTensor(arrays["x"], mask)
        operation = layer.operation(arrays["kernel"])
        function = Function(operation, tail_of(arrays, out_mask), (x,))

        def turn(value: jax.Array, _: Any) -> tuple[jax.Array, None]:
            arrivals = update_triton.arrivals_of(function)
            for _ in range(CHAIN):
                # A threshold below zero commits every pixel, as if each had changed.
                updated = update_triton.update_triton(function, value, -1.0, "max", arrivals)
                assert updated.arrivals is not None
                value, arrivals = updated.value, updated.arrivals
            return value, None

        return jax.lax.scan(turn, arrays["value"], None, length=STEPS)[0]

    return run


def dense(layer: Layer) -> Callable[..., jax.Array]:
    """The same by XLA's convolution."""

    def run(arrays: dict[str, Any], mask: jax.Array, out_mask: jax.Array) -> jax.Array:
        tail = tail_of(arrays, None)

        def turn(carry: tuple[jax.Array, ...], _: Any) -> tuple[Any, None]:
            _, kernel, other = carry
            value = Function(layer.operation(kernel), tail, (arrays["x"],)).dense()
            # Two kernels in turns, or XLA would compute the convolution once, before the loop.
            return (value, other, kernel), None

        kernels = arrays["kernel"], arrays["kernel"] * 2
        return jax.lax.scan(turn, (arrays["value"], *kernels), None, length=STEPS * CHAIN)[0][0]

    return run


def microseconds(program: Callable[..., jax.Array], *arguments: Any) -> float:
    """Of one update, the median of a few measurements."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:])) * 1e6 / (STEPS * CHAIN)


_GPU: Any = None


def _start_worker(gpu: Any) -> None:
    global _GPU
    _GPU = gpu


def measure(job: tuple[Layer, ConvolutionConfig | None, float]) -> dict[str, Any]:
    """Times a configuration, or with None XLA's dense convolution, sparse and full."""
    layer, config, active = job
    result: dict[str, Any] = {"layer": layer.name, "key": layer.shape().key, "dtype": layer.dtype}
    result["config"] = dataclasses.asdict(config) if config else None
    mask = jax.ShapeDtypeStruct(layer.x[:3], jnp.bool_)
    out_mask = jax.ShapeDtypeStruct(layer.out[:3], jnp.bool_)
    try:
        shapes = jax.eval_shape(functools.partial(arrays_of, layer))
        with update_triton.configured(config):
            run = incremental(layer) if config else dense(layer)
            lowered = jax.jit(run).lower(shapes, mask, out_mask)
        if config:
            program = lowered.compile()
        arrays = jax.block_until_ready(jax.jit(functools.partial(arrays_of, layer))())
        with _GPU:
            # XLA tries algorithms of dense convolutions when it compiles them.
            program = program if config else lowered.compile()
            for name, share in (("sparse_us", active), ("full_us", 1.0)):
                masks = [jnp.asarray(blocks_mask(m.shape, share)) for m in (mask, out_mask)]
                result[name] = microseconds(program, arrays, *masks)
                if not config:
                    result["full_us"] = result["sparse_us"]
                    break
    except Exception as error:  # a configuration that does not fit is one result among others
        result["error"] = f"{type(error).__name__}: {str(error)[:200]}"
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Tunes; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console = Console()
    if jax.default_backend() != "gpu":
        Console(stderr=True).print("error: there is no GPU to measure on", style="red")
        return 1
    layers: dict[str, Layer] = {}
    for model, dtype, size, streams in itertools.product(
        options.model, options.dtype, options.size, options.streams
    ):
        for layer in layers_of(model, dtype, size or (576, 768), streams):
            layers.setdefault(layer.shape().key, layer)
    jobs: list[tuple[Layer, ConvolutionConfig | None, float]] = []
    for layer in layers.values():
        configs = dict.fromkeys([rule(layer.shape()), *candidates(layer.shape())])
        active = min(options.active * 2.3 ** math.log2(layer.scale / 4), 1.0)
        jobs += [(layer, config, active) for config in (None, *configs)]
    context = multiprocessing.get_context("spawn")
    results = []
    workers = options.workers or os.cpu_count() or 1
    with (
        context.Pool(workers, _start_worker, (context.Lock(),)) as pool,
        Progress(console=console) as progress,
    ):
        task = progress.add_task("configurations", total=len(jobs))
        for result in pool.imap_unordered(measure, jobs):
            results.append(result)
            progress.advance(task)
            if options.log:
                report = {"device": device_name(), "active": options.active, "results": results}
                options.log.write_text(json.dumps(report, indent=1) + "\n")
    entries = json.loads(options.out.read_text())["convolutions"] if options.out.exists() else {}
    for key, layer in layers.items():
        timed = [r for r in results if r["key"] == key and r["config"] and "error" not in r]
        if not timed:
            console.print(f"{layer.name}: no configuration ran")
            continue
        best = min(timed, key=functools.partial(cost, timed, options.full_weight))
        entries[key] = best["config"]
        reference = next(r for r in results if r["key"] == key and not r["config"])
        console.print(
            f"{layer.name} {layer.dtype}: dense {reference.get('full_us', 0):.1f} µs, "
            f"sparse {best['sparse_us']:.1f}, full {best['full_us']:.1f}"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps({"device": device_name(), "convolutions": entries}, indent=1) + "\n"
    )
    console.print(f"table: {options.out}")
    return 0


def cost(timed: list[dict[str, Any]], full_weight: float, result: dict[str, Any]) -> float:
    """How far a configuration is from the fastest, sparse and full."""
    sparse = min(r["sparse_us"] for r in timed)
    full = min(r["full_us"] for r in timed)
    return result["sparse_us"] / sparse + full_weight * result["full_us"] / full


if __name__ == "__main__":
    sys.exit(main())
