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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _common import NetworkName, Sizes, device_name, write_json
from _convolutions import Layer, arrays_of, blocks_mask, dense, incremental, layers_of, microseconds
from rich.console import Console
from rich.progress import Progress

from deltajax.ops import update_triton
from deltajax.triton_kernels.configuration import (
    ConvolutionConfig,
    ConvolutionShape,
    candidates,
    rule,
)

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


def shape_of(layer: Layer) -> ConvolutionShape:
    """What its configuration depends on."""
    kernel = jax.ShapeDtypeStruct(layer.kernel, layer.dtype)
    return update_triton.convolution_shape(kernel, layer.groups, layer.out, layer.out[1:3])


_GPU: Any = None


def _start_worker(gpu: Any) -> None:
    global _GPU
    _GPU = gpu


def measure(job: tuple[Layer, ConvolutionConfig | None, float]) -> dict[str, Any]:
    """Times a configuration, or with None XLA's dense convolution, sparse and full."""
    layer, config, active = job
    result: dict[str, Any] = {"layer": layer.name, "key": shape_of(layer).key, "dtype": layer.dtype}
    result["config"] = dataclasses.asdict(config) if config else None
    mask = jax.ShapeDtypeStruct(layer.x[:3], jnp.bool_)
    out_mask = jax.ShapeDtypeStruct(layer.out[:3], jnp.bool_)
    try:
        shapes = jax.eval_shape(functools.partial(arrays_of, layer))
        with update_triton.configured(config):
            run = incremental(layer, "triton") if config else dense(layer)
            lowered = jax.jit(run).lower(shapes, mask, out_mask)
        if config:
            program = lowered.compile()
        arrays = jax.block_until_ready(jax.jit(functools.partial(arrays_of, layer))())
        with _GPU:
            # XLA tries algorithms of dense convolutions when it compiles them.
            program = program if config else lowered.compile()
            for name, share in (("sparse_us", active), ("full_us", 1.0)):
                masks = [jnp.asarray(blocks_mask(m.shape, share)) for m in (mask, out_mask)]
                times = [microseconds(program, arrays, *masks) for _ in range(REPEATS + 1)]
                result[name] = float(np.median(times[1:]))
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
            layers.setdefault(shape_of(layer).key, layer)
    jobs: list[tuple[Layer, ConvolutionConfig | None, float]] = []
    for layer in layers.values():
        configs = dict.fromkeys([rule(shape_of(layer)), *candidates(shape_of(layer))])
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
                write_json(report, options.log)
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
    write_json({"device": device_name(), "convolutions": entries}, options.out)
    console.print(f"table: {options.out}")
    return 0


def cost(timed: list[dict[str, Any]], full_weight: float, result: dict[str, Any]) -> float:
    """How far a configuration is from the fastest, sparse and full."""
    sparse = min(r["sparse_us"] for r in timed)
    full = min(r["full_us"] for r in timed)
    return result["sparse_us"] / sparse + full_weight * result["full_us"] / full


if __name__ == "__main__":
    sys.exit(main())
