"""Times networks on a clip, dense and incremental, in one process and in turns.

Timed are: the dense network; the incremental one on its first frame, on the frames of the clip
(steady), on frames in which nothing changes, and on frames in which every pixel changes. Times are
medians over calls of compiled functions, for one frame of all streams, with the frames on the
device.

Several models, dtypes, sizes and numbers of streams are timed one after the other, each with each.
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
    RegionOptions,
    command_line,
    frames_of_a_call,
    network_options,
    read_clip,
    write_json,
)
from _report import Case, run
from rich.console import Console
from rich.table import Table

from deltajax.video import VideoError


@dataclasses.dataclass(frozen=True)
class Options(RegionOptions, CaseOptions):
    """Times networks on a clip, dense and incremental, in one process and in turns.

    Weights are random if none are given. Without a clip, a procedural one is used: walking figures
    before a fixed background, with sensor noise.

    Attributes:
        frames: steady frames to time.
        num_warmup: frames between the first and the steady ones, not counted.
        frames_per_call: frames that one compiled call processes, of which --frames must be a
            multiple. A call of one frame measures Python's dispatch where the network takes less
            than a few milliseconds. If not given, 1 on a CPU and 10 on a GPU.
        json: file to write the results to; a list if there are several.
        curve: PNG file to draw speed against error into, over several scales of the thresholds.
        scales: by which the thresholds of the curve are multiplied.
    """

    frames: int = 30
    num_warmup: int = 3
    frames_per_call: int | None = None
    json: Path | None = None
    curve: Path | None = None
    scales: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)

    @property
    def count(self) -> int:
        """Cases: models, dtypes, sizes and numbers of streams, each with each."""
        return len(self.model) * len(self.dtype) * len(self.size) * len(self.streams)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    command = {"command": command_line("benchmark.py", arguments), "roi": options.roi}
    console = Console()
    finished = []
    try:
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
    if options.curve:
        draw(finished[0], options.curve)
        console.print(f"curve: {options.curve}", highlight=False)
    return 0


def reports(options: Options, console: Console) -> Iterator[dict[str, Any]]:
    """Measures one case after the other."""
    frames_per_call = frames_of_a_call(options.frames_per_call)
    check(options, frames_per_call)
    num_frames = 1 + options.num_warmup + options.frames
    for size, streams in itertools.product(options.size, options.streams):
        seed = options.update.seed
        frames = read_clip(options.clip, size, num_frames, streams, seed, options.roi)
        for model, dtype in itertools.product(options.model, options.dtype):
            case = Case(
                network=network_options(options.update, model, dtype),
                clip=options.clip,
                num_warmup=options.num_warmup,
                frames_per_call=frames_per_call,
                scales=options.scales if options.curve else (),
            )
            yield run(case, frames, console)


def check(options: Options, frames_per_call: int) -> None:
    """Raises ValueError for options that do not fit together, before anything is compiled."""
    if min(options.frames, frames_per_call, *options.streams) < 1 or options.num_warmup < 0:
        raise ValueError(
            "--frames, --frames-per-call and --streams must be at least 1, --num-warmup at least 0"
        )
    if options.frames % frames_per_call:
        raise ValueError(
            f"--frames is {options.frames}, but must be a multiple of the {frames_per_call} frames "
            "of a call (--frames-per-call)"
        )
    if not options.count:
        raise ValueError("--model, --dtype, --size and --streams need at least one value each")
    if options.curve and (options.count > 1 or not options.scales):
        raise ValueError(
            "--curve needs --scales, and just one of --model, --dtype, --size and --streams"
        )


def draw(report: dict[str, Any], path: Path) -> None:
    from _curve import plot_curve  # matplotlib, which nothing else needs

    path.parent.mkdir(parents=True, exist_ok=True)
    title = f"{report['model']}, {report['height']}×{report['width']}, {report['device']}"
    plot_curve(report["curve"], report["frozen_error"], title, path)


def show(report: dict[str, Any], console: Console) -> None:
    console.print(table(report))
    if report["full_change_input"] < 1:
        console.print("warning: --input-threshold hides some of the frames in which all changes")


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
        f"state {report['state_bytes'] / 2**20:.1f} MiB ({ratio:.2f} × the dense maps), "
        f"{report['frames_per_call']} frame(s) per call"
    )


if __name__ == "__main__":
    sys.exit(main())
