"""Times single convolutions of a network, incremental and dense, over the share of active pixels.

Each is an update point with a bias and a ReLU. What is active are rectangles, as moving things
leave them; every active pixel is committed. Dense and incremental take turns; times are medians,
of one update in a compiled loop, everything in memory as far as it fits into the caches.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _common import Dtype, NetworkName, Size, command_line, device_name, write_json
from _convolutions import (
    Layer,
    arrays_of,
    blocks_mask,
    by_layer,
    dense,
    incremental,
    layers_of,
    microseconds,
)
from _report import versions
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deltajax.ops.update import Implementation

REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Options:
    """Times single convolutions of a network, incremental and dense.

    Attributes:
        model: network whose convolutions are timed.
        kernel_size: only those of so many rows, with stride one; 0 for all.
        dtype: of the maps.
        size: of the network's frames, HxW.
        streams: independent streams.
        active: shares of the input's pixels that have changed, in [0, 1].
        implementation: of the updates.
        json: file to write the results to.
        plot: PNG file to draw them into.
    """

    model: NetworkName = "resnet50"
    kernel_size: int = 3
    dtype: tuple[Dtype, ...] = ("float32", "bfloat16")
    size: Size = (576, 768)
    streams: int = 8
    active: tuple[float, ...] = (0.0, 0.01, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
    implementation: Implementation = "auto"
    json: Path | None = None
    plot: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    command = command_line("benchmark_convolutions.py", arguments)
    console = Console()
    layers = chosen(options)
    if not (layers and options.active and all(0 <= share <= 1 for share in options.active)):
        Console(stderr=True).print(
            "error: --dtype and --active need a value each, shares in [0, 1], and the network a "
            f"convolution of size {options.kernel_size}",
            style="red",
            highlight=False,
        )
        return 1
    results = []
    with Progress(console=console) as progress:
        task = progress.add_task("convolutions", total=len(layers))
        for layer in layers:
            results += measure(layer, options)
            progress.advance(task)
            if options.json:
                # After each, so that a run that is cut off keeps what it has.
                report = {"device": device_name(), **versions(), "command": command}
                write_json(report | {"results": results}, options.json)
    console.print(table(results))
    if options.plot:
        from _convolutions_plot import plot_convolutions  # matplotlib, which nothing else needs

        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot_convolutions(results, device_name(), options.plot)
        console.print(f"plot: {options.plot}", highlight=False)
    return 0


def chosen(options: Options) -> list[Layer]:
    """The convolutions that are asked for."""
    size = options.size or Options.size
    assert size is not None
    return [
        layer
        for dtype in options.dtype
        for layer in layers_of(options.model, dtype, size, options.streams)
        if not options.kernel_size
        or (layer.kernel[0] == options.kernel_size and layer.window[1] == (1, 1))
    ]


def measure(layer: Layer, options: Options) -> list[dict[str, Any]]:
    """A result for each share of active pixels."""
    arrays = arrays_of(layer)
    shapes = layer.x[:3], layer.out[:3]
    masks = [jnp.zeros(shape, bool) for shape in shapes]
    reference = jax.jit(dense(layer)).lower(arrays, *masks).compile()
    tested = jax.jit(incremental(layer, options.implementation)).lower(arrays, *masks).compile()
    results = []
    for share in options.active:
        # Masks of one shape are the same: the residual changes where the input does.
        masks = [jnp.asarray(blocks_mask(shape, share)) for shape in shapes]
        times = np.array(
            [
                (microseconds(reference, arrays, *masks), microseconds(tested, arrays, *masks))
                for _ in range(REPEATS + 1)
            ]
        )
        dense_us, incremental_us = np.median(times[1:], axis=0)
        results.append(
            {
                "layer": layer.name,
                "dtype": layer.dtype,
                "in_shape": layer.x,
                "kernel_shape": layer.kernel,
                "active": share,
                "computed": layer.computed(arrays, *masks),
                "dense_us": dense_us,
                "incremental_us": incremental_us,
                "speedup": dense_us / incremental_us,
            }
        )
    return results


def table(results: list[dict[str, Any]]) -> Table:
    """The results for a person to read: a row for each convolution."""
    shares = sorted({result["active"] for result in results})
    rows = Table(title=f"times as fast as dense, {device_name()}", caption="shares of active input")
    for name in ("input", "kernel", "dtype", "dense µs"):
        rows.add_column(name, justify="right")
    for share in shares:
        rows.add_column(f"{share:.0%}", justify="right")
    for own in by_layer(results):
        rows.add_row(
            "×".join(map(str, own[0]["in_shape"])),
            "×".join(map(str, own[0]["kernel_shape"])),
            own[0]["dtype"],
            f"{np.median([result['dense_us'] for result in own]):.0f}",
            *(f"{result['speedup']:.2f}" for result in own),
        )
    return rows


if __name__ == "__main__":
    sys.exit(main())
