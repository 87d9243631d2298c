"""Writes a page that shows what each layer of a network does with a clip, and what that costs.

The page, index.html, holds everything: a table of the layers, the work of each, where in the
picture it was done, how update rate and error go over time, speed against error, and a video.
Beside it are inspection.csv and report.json, with the same numbers. docs/thresholds.md says how to
read them.

  report.py clip.mp4 --model selfie_segmentation --weights published \\
      --roi 560 200 160 160 --size 256x256 --out report
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _common import SettledOptions, Variables, command_line, settled, write_json
from _measure import Stopwatch
from _process import ClipOptions, make_report, process
from _report import Case, curve_point
from _report_page import write_page
from _summary import Summary
from _thresholds import with_thresholds
from rich.console import Console
from rich.progress import Progress

from deltajax.inspecting import Inspector
from deltajax.inspection import update_points
from deltajax.models import VideoNetwork
from deltajax.video import VideoError


@dataclasses.dataclass(frozen=True)
class Options(ClipOptions):
    """Writes a page that shows what each layer of a network does with a clip.

    Attributes:
        out: folder to write into.
        heatmaps: names of layers whose work is shown on a frame; if none are given, of the entry
            and of the layer with most work of each map size.
        skip: frames of each stream, its first ones, that the means leave out.
        scales: of the thresholds, for the curve of speed against error; none for no curve.
        curve_frames: frames of the clip on which that curve is measured.
    """

    out: Path = Path("report")
    heatmaps: tuple[str, ...] = ()
    skip: int = 1
    scales: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    curve_frames: int = 30


@dataclasses.dataclass
class Pass:
    """What is kept of a pass over the clip.

    Attributes:
        network: that ran.
        variables: of it, thresholds included.
        inspector: that the batches were added to.
        frames: the first ones, for the curve.
        last: the last frame, of all streams.
    """

    network: VideoNetwork
    variables: Variables
    inspector: Inspector
    frames: list[np.ndarray]
    last: np.ndarray


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the page; returns the exit status: 1 if a video could not be read to its end."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    video = options.out / "video.mp4"
    summary, problem, seen = Summary(), None, None
    try:
        check(options)
        chosen = settled(options.network)
        options.out.mkdir(parents=True, exist_ok=True)
        for step in process(options, chosen, video, summary, console, compare=True):
            if seen is None:
                seen = begin(options, step.network, step.variables, step.result.frames[0])
            seen.inspector.add(step.result)
            seen.frames += list(step.result.frames)[: options.curve_frames - len(seen.frames)]
            seen.last = step.result.frames[-1]
    except (VideoError, ValueError, OSError) as error:
        problem = str(error)
        errors.print(f"error: {problem}", style="red", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("stopped")
    if seen is None:
        return 1
    try:
        inspection = seen.inspector.result()
    except ValueError as error:
        errors.print(f"error: {error}", style="red", soft_wrap=True)
        return 1
    settled_options = settled(options.network)
    curve = measure_curve(options, settled_options, seen, console)
    report = make_report(options, settled_options, summary) | {
        "error": problem,
        "command": command_line("report.py", arguments),
        "errors_of_frames": summary.errors,
        "inspection": inspection.to_dict(),
        "curve": curve,
        "curve_frames": len(seen.frames),
    }
    write_json(report, options.out / "report.json")
    inspection.write_csv(options.out / "inspection.csv")
    write_page(report, inspection, seen.last, video, options.out / "index.html")
    console.print(
        f"{report['frames']} frames: {report['multiplications_saved']:.1%} of the multiplications "
        f"saved, relative error {report['relative_error']:.2g}, "
        f"{report['incremental_ms']:.1f} ms a frame, dense {report['dense_ms']:.1f} ms"
    )
    console.print(f"page: {options.out / 'index.html'}", soft_wrap=True)
    return 1 if problem else 0


def check(options: Options) -> None:
    """Raises ValueError for numbers that make no sense, before anything is computed."""
    if options.curve_frames < 4:
        raise ValueError("--curve-frames must be at least 4")
    if any(not scale >= 0 for scale in options.scales):
        raise ValueError("--scales must be zero or positive")


def begin(options: Options, network: VideoNetwork, variables: Variables, frame: np.ndarray) -> Pass:
    """The accumulators of a pass, of frames [N, H, W, 3] like this one."""
    heatmaps = options.heatmaps or usual_heatmaps(network, variables, frame)
    inspector = Inspector(network, variables, frame, heatmaps=heatmaps, skip=options.skip)
    return Pass(network, variables, inspector, [], frame)


def usual_heatmaps(
    network: VideoNetwork, variables: Variables, frame: np.ndarray
) -> tuple[str, ...]:
    """The entry, and the widest layer of each size of map."""
    points = update_points(network, variables, frame)
    widest: dict[tuple[int, ...], Any] = {}
    for point in points[1:]:
        known = widest.get(point.shape[1:3])
        if known is None or point.shape[3] > known.shape[3]:
            widest[point.shape[1:3]] = point
    # Gates have one pixel: where it is says nothing.
    return (points[0].name, *(each.name for size, each in widest.items() if max(size) > 1))


def measure_curve(
    options: Options, chosen: SettledOptions, seen: Pass, console: Console
) -> list[dict[str, float]]:
    """Speed and error over scales of the thresholds, dense and incremental in turns.

    Empty if it was not asked for, or the clip is too short.
    """
    frames = np.stack(seen.frames)
    if not options.scales or len(frames) < 4:
        return []
    case = Case(chosen, None, num_warmup=1, frames_per_call=1, scales=options.scales)
    with console.status("compiling for the curve"):
        scaled = with_thresholds(chosen, seen.network, seen.variables, frames[0])
        stopwatch = Stopwatch(seen.network, scaled(1.0), frames[0], frames_per_call=1)
    with Progress(console=console) as progress:
        task = progress.add_task("curve", total=len(options.scales) * (len(frames) - 1))

        def advance(count: int) -> None:
            progress.advance(task, count)

        return [
            curve_point(case, stopwatch, scaled, scale, frames, advance) for scale in options.scales
        ]


if __name__ == "__main__":
    sys.exit(main())
