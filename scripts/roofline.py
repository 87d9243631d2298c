"""The least time that a network's frames can take on a GPU, from what its active pixels need.

The network runs over a clip, on any machine. For each update point the pixels that had to be
computed are counted, with the operations and the bytes that they need; of both times, at the GPU's
rates, the larger one is the floor. A point below the corner of its roofline is bound by memory,
and no faster multiplication helps it.

Several models, dtypes, sizes and numbers of streams are counted one after the other, each with
each. With the results of a benchmark the pixels are those of the frames that it timed.
"""

import dataclasses
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tyro
from _common import (
    CaseOptions,
    Dtype,
    command_line,
    network_options,
    read_clip,
    write_json,
)
from _floor import Case, run, timed_case
from rich.console import Console
from rich.table import Table

from deltajax.video import VideoError

H100_TFLOPS: dict[Dtype, float] = {"float32": 494.0, "bfloat16": 989.0, "float16": 989.0}
"""NVIDIA H100 SXM, data sheet, without sparsity; float32 as TF32."""


@dataclasses.dataclass(frozen=True)
class Options(CaseOptions):
    """The least time that a network's frames can take on a GPU, from what its active pixels need.

    Without a clip, a procedural one is used.

    Attributes:
        frames: over which the work is averaged.
        num_warmup: frames before them, not counted.
        tflops: of the GPU's matrix products, in 10¹² operations a second. If not given, an H100's
            without sparsity: 494 in float32 (as TF32), 989 in the others.
        bandwidth: of its memory, in 10⁹ bytes a second: the default is what a large copy reaches
            on an H100.
        launch_us: that a kernel takes at least, in a graph of kernels.
        benchmark: results of scripts/benchmark.py --json that have each of the cases: for the
            times, and for the pixels that were computed in the frames that it timed.
        json: file to write the results to; a list if there are several.
        plot: PNG file to draw them into.
    """

    frames: int = 5
    num_warmup: int = 3
    tflops: float | None = None
    bandwidth: float = 3000.0
    launch_us: float = 2.6
    benchmark: Path | None = None
    json: Path | None = None
    plot: Path | None = None

    @property
    def count(self) -> int:
        """Cases: models, dtypes, sizes and numbers of streams, each with each."""
        return len(self.model) * len(self.dtype) * len(self.size) * len(self.streams)


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts and reports; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    command = {"command": command_line("roofline.py", arguments)}
    console = Console()
    finished = []
    try:
        check(options)
        for report in reports(options, console):
            finished.append(report | command)
            show(report, console)
            if options.json:
                # After each, so that a run that is cut off keeps what it has.
                write_json(finished if options.count > 1 else finished[0], options.json)
    except (ValueError, OSError, VideoError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        return 1
    if options.json:
        console.print(f"results: {options.json}", highlight=False)
    if options.plot:
        from _roofline_plot import plot_roofline  # matplotlib, which nothing else needs

        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot_roofline(finished, options.plot)
        console.print(f"plot: {options.plot}", highlight=False)
    return 0


def check(options: Options) -> None:
    """Raises ValueError for numbers that make no sense, before anything is compiled."""
    if not options.count:
        raise ValueError("--model, --dtype, --size and --streams need at least one value each")
    if min(options.frames, *options.streams) < 1 or options.num_warmup < 0:
        raise ValueError("--frames and --streams must be at least 1, --num-warmup at least 0")
    rates = (options.bandwidth, *([] if options.tflops is None else [options.tflops]))
    if min(rates) <= 0 or options.launch_us < 0:
        raise ValueError("--tflops and --bandwidth must be positive, --launch-us at least 0")


def reports(options: Options, console: Console) -> Iterator[dict[str, Any]]:
    """Counts one case after the other."""
    num_frames = 1 + options.num_warmup + options.frames
    for size, streams in itertools.product(options.size, options.streams):
        frames = read_clip(options.clip, size, num_frames, streams, options.update.seed)
        for model, dtype in itertools.product(options.model, options.dtype):
            network = network_options(options.update, model, dtype)
            timed = None
            if options.benchmark:
                timed = timed_case(options.benchmark, network, frames.shape[2:4], streams)
            case = Case(
                network=network,
                clip=options.clip,
                num_warmup=options.num_warmup,
                tflops=options.tflops or H100_TFLOPS[dtype],
                bandwidth=options.bandwidth,
                launch_us=options.launch_us,
                timed=timed,
            )
            with console.status("running the network"):
                report = run(case, frames)
            yield report


def show(report: dict[str, Any], console: Console) -> None:
    """Prints a table of the update points, and the sums."""
    table = Table(
        title=f"{report['model']}, {report['clip']}, {report['height']}×{report['width']}, "
        f"{report['streams']} stream(s), {report['dtype']}: a frame of all streams"
    )
    for name in ("update point", "active", "GFLOP", "MB", "floor µs", "bound by"):
        table.add_column(name, justify="left" if name in ("update point", "bound by") else "right")
    for point in report["update_points"]:
        by_products = point["operations"] / report["tflops"] / 1e6 >= point["floor_us"] * 0.999
        table.add_row(
            point["name"],
            f"{point['active']:.1%}",
            f"{point['operations'] / 1e9:.2f}",
            f"{point['bytes'] / 1e6:.1f}",
            f"{point['floor_us']:.1f}",
            "products" if by_products else "memory",
        )
    console.print(table)
    least = report["floor_with_launches_ms"]
    console.print(
        f"{report['operations'] / 1e9:.1f} GFLOP, {report['bytes'] / 1e6:.0f} MB; "
        f"floor {report['floor_ms']:.3f} ms, {least:.3f} ms if a launch takes "
        f"{report['launch_us']} µs",
        highlight=False,
    )
    if measured := report["measured_ms"]:
        console.print(f"measured {measured:.3f} ms, {measured / least:.2f} times that")


if __name__ == "__main__":
    sys.exit(main())
