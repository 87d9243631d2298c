"""The least time that a network's frames can take on a GPU, from what its active pixels need.

The network runs over a clip, on any machine. For each update point the pixels that had to be
computed are counted, with the operations and the bytes that they need; of both times, at the GPU's
rates, the larger one is the floor. A point below the corner of its roofline is bound by memory,
and no faster multiplication helps it.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from _common import (
    Dtype,
    NetworkName,
    SettledOptions,
    Size,
    UpdateOptions,
    command_line,
    make_network,
    make_variables,
    network_options,
    read_clip,
    write_json,
)
from _thresholds import with_thresholds
from rich.console import Console
from rich.table import Table

import deltajax as dj
from deltajax.statistics import read_statistics, total
from deltajax.video import VideoError
from deltajax.work import Work, needs_of, work_of

DEFAULT_UPDATE = UpdateOptions()


@dataclasses.dataclass(frozen=True)
class Options:
    """The least time that a network's frames can take on a GPU, from what its active pixels need.

    Without a clip, a procedural one is used.

    Attributes:
        model: network to run.
        dtype: of the computation.
        update: What makes a network cheap, and its weights.
        clip: video file.
        size: to which frames are scaled; "own" is the clip's own size.
        streams: independent streams. Stream n is the clip from frame 10 n on, or a procedural clip
            of its own.
        frames: over which the work is averaged.
        num_warmup: frames before them, not counted.
        tflops: of the GPU's matrix products, in 10¹² operations a second. The default is an H100's
            in TF32 without sparsity; bfloat16 has twice that.
        bandwidth: of its memory, in 10⁹ bytes a second: the default is what a large copy reaches
            on an H100.
        launch_us: that a kernel takes at least, in a graph of kernels.
        benchmark: results of scripts/benchmark.py --json, to compare with: the case of this
            network, dtype, size and number of streams.
        json: file to write the results to.
        plot: PNG file to draw them into.
    """

    model: NetworkName = "resnet50"
    dtype: Dtype = "float32"
    update: Annotated[UpdateOptions, tyro.conf.OmitArgPrefixes] = DEFAULT_UPDATE
    clip: Path | None = None
    size: Size = None
    streams: int = 1
    frames: int = 5
    num_warmup: int = 3
    tflops: float = 494.0
    bandwidth: float = 3000.0
    launch_us: float = 2.6
    benchmark: Path | None = None
    json: Path | None = None
    plot: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts and reports; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console = Console()
    try:
        check(options)
        chosen = network_options(options.update, options.model, options.dtype)
        frames = read_clip(
            options.clip,
            options.size,
            1 + options.num_warmup + options.frames,
            options.streams,
            options.update.seed,
        )
        measured = measured_ms(options, chosen, frames.shape[2:4]) if options.benchmark else None
        with console.status("running the network"):
            work = count(options, chosen, frames)
    except (ValueError, OSError, VideoError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        return 1
    report = describe(options, chosen, frames, work, measured)
    show(report, console)
    if options.json:
        command = {"command": command_line("roofline.py", arguments)}
        write_json(report | command, options.json)
        console.print(f"results: {options.json}", highlight=False)
    if options.plot:
        from _roofline_plot import plot_roofline  # matplotlib, which nothing else needs

        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot_roofline(report, options.plot)
        console.print(f"plot: {options.plot}", highlight=False)
    return 0


def check(options: Options) -> None:
    """Raises ValueError for numbers that make no sense, before anything is compiled."""
    if min(options.frames, options.streams) < 1 or options.num_warmup < 0:
        raise ValueError("--frames and --streams must be at least 1, --num-warmup at least 0")
    if min(options.tflops, options.bandwidth) <= 0 or options.launch_us < 0:
        raise ValueError("--tflops and --bandwidth must be positive, --launch-us at least 0")


def measured_ms(options: Options, chosen: SettledOptions, size: tuple[int, ...]) -> float:
    """Of a steady frame, from the benchmark's results. Raises ValueError if it is not there."""
    assert options.benchmark
    try:
        cases = json.loads(options.benchmark.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{options.benchmark} has no results: {error}") from error
    wanted = {
        "model": options.model,
        "dtype": options.dtype,
        "height": size[0],
        "width": size[1],
        "streams": options.streams,
        "input_threshold": chosen.input_threshold,
        "threshold": chosen.threshold,
    }
    for case in cases if isinstance(cases, list) else [cases]:
        if all(case.get(name) == value for name, value in wanted.items()):
            return float(case["steady_ms"])
    raise ValueError(f"{options.benchmark} has no case of {wanted}")


def count(options: Options, chosen: SettledOptions, frames: np.ndarray) -> list[Work]:
    """The mean work of the frames after the warm-up."""
    network = make_network(chosen)
    variables = make_variables(chosen, network, frames)
    variables = with_thresholds(chosen, network, variables, frames[0])(1.0)
    recorded = dj.scan_frames(network, variables, frames, collect=("statistics",))[2]
    points = read_statistics(recorded["statistics"])
    number = np.broadcast_to(np.arange(len(frames))[:, None], frames.shape[:2])
    totals = total(points, number > options.num_warmup)
    return work_of(needs_of(network, variables, frames[0]), totals, options.streams)


def describe(
    options: Options,
    chosen: SettledOptions,
    frames: np.ndarray,
    work: list[Work],
    measured: float | None,
) -> dict[str, Any]:
    """Everything that was counted, and the floors."""
    floors = [each.floor_us(options.tflops, options.bandwidth) for each in work]
    return {
        "model": options.model,
        "dtype": options.dtype,
        "clip": options.clip.name if options.clip else "procedural",
        "streams": frames.shape[1],
        "height": frames.shape[2],
        "width": frames.shape[3],
        "input_threshold": chosen.input_threshold,
        "threshold": chosen.threshold,
        "tflops": options.tflops,
        "bandwidth": options.bandwidth,
        "launch_us": options.launch_us,
        "update_points": [
            dataclasses.asdict(each) | {"floor_us": floor}
            for each, floor in zip(work, floors, strict=True)
        ],
        "operations": sum(each.operations for each in work),
        "bytes": sum(each.bytes for each in work),
        "floor_ms": sum(floors) / 1e3,
        "floor_with_launches_ms": sum(max(f, options.launch_us) for f in floors) / 1e3,
        "measured_ms": measured,
    }


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
