"""Times a network on a clip, dense and incremental, in one process and in turns.

Timed are: the dense network; the incremental one on its first frame, on the frames of the clip
(steady), on frames in which nothing changes, and on frames in which every pixel changes. Times are
medians, of compiled functions, with the frames on the device.
"""

import dataclasses
import importlib.metadata
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from _common import (
    DEFAULT_NETWORK,
    NetworkOptions,
    Size,
    Variables,
    device_name,
    make_network,
    make_variables,
    read_clip,
)
from _curve import plot_curve
from _measure import (
    NUM_REPEATS,
    Measurement,
    Stopwatch,
    measure,
    statistics,
)
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deltajax.inspection import update_points
from deltajax.layers import Sparsify
from deltajax.models import VideoNetwork
from deltajax.statistics import total
from deltajax.thresholds import uniform_thresholds
from deltajax.video import VideoError


@dataclasses.dataclass(frozen=True)
class Options:
    """Times a network on a clip, dense and incremental, in one process and in turns.

    Weights are random. Without a clip, a procedural one is used: walking figures before a fixed
    background, with sensor noise.

    Attributes:
        network: The network, and what makes it cheap.
        clip: video file.
        size: to which frames are scaled; "own" is the clip's own size.
        streams: independent streams. Stream n is the clip from frame 10 n on, or a procedural clip
            of its own.
        frames: steady frames to time.
        num_warmup: frames between the first and the steady ones, not counted.
        json: file to write the results to.
        curve: PNG file to draw speed against error into, over several scales of the thresholds.
        scales: by which the thresholds of the curve are multiplied.
    """

    network: Annotated[NetworkOptions, tyro.conf.OmitArgPrefixes] = DEFAULT_NETWORK
    clip: Path | None = None
    size: Size = None
    streams: int = 1
    frames: int = 30
    num_warmup: int = 3
    json: Path | None = None
    curve: Path | None = None
    scales: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console = Console()
    try:
        report = run(options, console)
    except (ValueError, VideoError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        return 1
    given = sys.argv[1:] if arguments is None else arguments
    report["command"] = shlex.join(["scripts/benchmark.py", *given])
    console.print(table(report))
    if report["full_change_input"] < 1:
        console.print("warning: --input-threshold hides some of the frames in which all changes")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"results: {options.json}", highlight=False)
    if options.curve:
        options.curve.parent.mkdir(parents=True, exist_ok=True)
        title = f"{report['model']}, {report['height']}×{report['width']}, {report['device']}"
        plot_curve(report["curve"], report["frozen_error"], title, options.curve)
        console.print(f"curve: {options.curve}", highlight=False)
    return 0


def run(options: Options, console: Console) -> dict[str, Any]:
    """The measurement as a report."""
    if min(options.frames, options.streams) < 1 or options.num_warmup < 0:
        raise ValueError("--frames and --streams must be at least 1, --num-warmup at least 0")
    chosen = options.network
    num_frames = 1 + options.num_warmup + options.frames
    frames = read_clip(options.clip, options.size, num_frames, options.streams, chosen.seed)
    network = make_network(chosen)
    with console.status("compiling"):
        variables = make_variables(chosen, network, frames)
        scaled = thresholds_of(options, network, variables, frames[0])
        stopwatch = Stopwatch(network, scaled(1.0), frames[0])
    scales = options.scales if options.curve else ()
    with Progress(console=console) as progress:
        steps = (1 + len(scales)) * (num_frames - 1) + 2 * NUM_REPEATS
        task = progress.add_task("frames", total=steps)

        def advance() -> None:
            progress.advance(task)

        measured = measure(stopwatch, network, scaled(1.0), frames, options.num_warmup, advance)
        curve = [
            curve_point(options, network, stopwatch, scaled, scale, frames, advance)
            for scale in scales
        ]
    report = describe(options, frames) | results(measured)
    points = update_points(network, variables, frames[0])
    report |= {
        "full_change_input": min(
            report["full_change_active_fraction"][point.name]
            for point in points
            if issubclass(point.layer, Sparsify)
        ),
        "state_bytes": stopwatch.state_bytes,
        "dense_activation_bytes": sum(point.bytes for point in points),
        "dense_compile_seconds": stopwatch.dense_compile_seconds,
        "incremental_compile_seconds": stopwatch.incremental_compile_seconds,
    }
    return report | ({"curve": curve} if curve else {})


def thresholds_of(
    options: Options, network: VideoNetwork, variables: Variables, frame: np.ndarray
) -> Callable[[float], Variables]:
    """The variables with the thresholds of the options, times a factor."""

    def scaled(scale: float) -> Variables:
        collection = uniform_thresholds(
            network,
            variables,
            frame,
            input_threshold=scale * options.network.input_threshold,
            threshold=scale * options.network.threshold,
        )
        return {**variables, "thresholds": collection}

    return scaled


def curve_point(
    options: Options,
    network: VideoNetwork,
    stopwatch: Stopwatch,
    scaled: Callable[[float], Variables],
    scale: float,
    frames: np.ndarray,
    advance: Callable[[], None],
) -> dict[str, float]:
    """Speed and error of the steady frames, with the thresholds times `scale`."""
    variables = scaled(scale)
    stopwatch.first_frame(variables, frames[0])
    steady = 1 + options.num_warmup
    stopwatch.run(variables, frames[1:steady], advance)
    run = stopwatch.run(variables, frames[steady:], advance)
    number = np.arange(len(frames))[:, None] + np.zeros(options.streams, int)
    work = total(statistics(network, variables, frames), number >= steady)
    dense_ms, steady_ms = float(np.median(run.dense_ms)), float(np.median(run.incremental_ms))
    return {
        "scale": scale,
        "input_threshold": scale * options.network.input_threshold,
        "threshold": scale * options.network.threshold,
        "dense_ms": dense_ms,
        "steady_ms": steady_ms,
        "speedup": dense_ms / steady_ms,
        "relative_error": run.relative_error,
        "update_rate": work.update_rate,
        "multiplications_share": work.multiplications_share,
    }


def describe(options: Options, frames: np.ndarray) -> dict[str, Any]:
    """What was measured, and where."""
    chosen = options.network
    return {
        "device": device_name(),
        "cores": os.cpu_count(),
        "jax": jax.__version__,
        "deltajax": importlib.metadata.version("deltajax"),
        "model": chosen.model,
        "clip": options.clip.name if options.clip else "procedural",
        "height": frames.shape[2],
        "width": frames.shape[3],
        "streams": options.streams,
        "frames": options.frames,
        "num_warmup": options.num_warmup,
        "dtype": chosen.dtype,
        "implementation": chosen.implementation,
        "input_threshold": chosen.input_threshold,
        "input_dilation": chosen.input_dilation,
        "threshold": chosen.threshold,
        "threshold_norm": chosen.threshold_norm,
        "seed": chosen.seed,
        "calibrate": chosen.calibrate,
    }


def results(measured: Measurement) -> dict[str, Any]:
    """Times in milliseconds, for all streams together, and what follows from them."""
    dense_ms = float(np.median(measured.steady.dense_ms))
    steady_ms = float(np.median(measured.steady.incremental_ms))
    static_ms = float(np.median(measured.static.incremental_ms))
    full_change_ms = float(np.median(measured.full_change.incremental_ms))
    return {
        "dense_ms": dense_ms,
        "first_ms": measured.first_ms,
        "steady_ms": steady_ms,
        "static_ms": static_ms,
        "full_change_ms": full_change_ms,
        "dense_ms_p10_p90": percentiles(measured.steady.dense_ms),
        "steady_ms_p10_p90": percentiles(measured.steady.incremental_ms),
        "speedup": dense_ms / steady_ms,
        "static_speedup": dense_ms / static_ms,
        "full_change_speedup": dense_ms / full_change_ms,
        "relative_error": measured.steady.relative_error,
        "frozen_error": measured.steady.frozen_error,
        "update_rate": measured.totals.update_rate,
        "multiplications_share": measured.totals.multiplications_share,
        "active_fraction": measured.totals.active_fraction,
        "static_active_fraction": measured.static_totals.active_fraction,
        "full_change_active_fraction": measured.full_change_totals.active_fraction,
    }


def percentiles(milliseconds: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(milliseconds, (10, 90))]


def table(report: dict[str, Any]) -> Table:
    """The results for a person to read."""
    title = (
        f"{report['model']}, {report['clip']}, {report['height']}×{report['width']}, "
        f"{report['streams']} stream(s), {report['dtype']}, {report['device']}"
    )
    rows = Table(title=title, caption=caption(report))
    rows.add_column("frames")
    rows.add_column("ms", justify="right")
    rows.add_column("times as fast as dense", justify="right")
    rows.add_row("dense", f"{report['dense_ms']:.2f}", "1.00")
    for name, key, speedup in (
        ("first", "first_ms", report["dense_ms"] / report["first_ms"]),
        ("steady", "steady_ms", report["speedup"]),
        ("nothing changes", "static_ms", report["static_speedup"]),
        ("everything changes", "full_change_ms", report["full_change_speedup"]),
    ):
        rows.add_row(name, f"{report[key]:.2f}", f"{speedup:.2f}")
    return rows


def caption(report: dict[str, Any]) -> str:
    ratio = report["state_bytes"] / report["dense_activation_bytes"]
    return (
        f"relative error {report['relative_error']:.2g} "
        f"({report['frozen_error']:.2g} if the first frame's output were kept), "
        f"multiplications done {report['multiplications_share']:.1%}, "
        f"state {report['state_bytes'] / 2**20:.1f} MiB ({ratio:.2f} × the dense maps)"
    )


if __name__ == "__main__":
    sys.exit(main())
