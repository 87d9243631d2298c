"""Runs a network over videos incrementally, and writes a video that shows the work it saved.

Left the prediction: the most probable classes, the pixels of people, or a skeleton. Right the
frame, coloured where the network was recomputed, by the share of its multiplications. Several
videos are run together, as independent streams of one batch.

Trained weights, with a region of interest in a fixed camera's picture:

  run_video.py clip.mp4 --model selfie_segmentation --weights published \\
      --roi 560 200 160 160 --size 256x256
"""

import contextlib
import dataclasses
import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from _common import (
    DEFAULT_NETWORK,
    NetworkOptions,
    Roi,
    SettledOptions,
    Size,
    command_line,
    device_name,
    make_network,
    make_variables,
    procedural_clip,
    settled,
    write_json,
)
from _overlay import overlay
from _predictions import prediction_of
from _summary import Dense, Summary
from _thresholds import with_thresholds
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from deltajax.batches import run_batches
from deltajax.statistics import multiplications_share, read_statistics, total, work_heat
from deltajax.video import OverlayWriter, VideoBatch, VideoError, VideoReader

METRICS = {"top1_agreement": ".2%", "intersection_over_union": ".4f", "keypoint_shift": ".3%"}
"""How the agreement of predictions is printed."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Runs a network over videos incrementally.

    Attributes:
        videos: files, cameras (/dev/video0) or stream URLs; none for a procedural clip.
        network: The network, and what makes it cheap.
        roi: region of interest, the only part of the picture that is looked at: its left and its
            upper border, its width and its height, in pixels of the video.
        size: to which frames, or regions, are scaled; "own" leaves them as they are.
        max_frames: stop after this many frames; a procedural clip has 100 otherwise.
        batch_frames: frames that are read and run together, which bounds the memory.
        compare: run the dense network on every frame too, and report the error, and how far the
            predictions agree: the share of equal classes, the intersection over union of masks, or
            the mean shift of keypoints as a share of the picture's height.
        overlay: MP4 to write; out/<name of the first video>.mp4 if not given.
        json: file to write the report to.
    """

    videos: tyro.conf.Positional[tuple[str, ...]] = ()
    network: Annotated[NetworkOptions, tyro.conf.OmitArgPrefixes] = DEFAULT_NETWORK
    roi: Roi = None
    size: Size = None
    max_frames: int | None = None
    batch_frames: int = 16
    compare: bool = False
    overlay: Path | None = None
    json: Path | None = None


@dataclasses.dataclass
class Clip:
    """The batches of a video, or of the procedural clip, and what is known of it beforehand."""

    batches: Iterator[VideoBatch]
    fps: float
    frame_count: int | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the videos; returns the exit status: 1 if one could not be read to its end."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    if options.network.weights == "random":
        console.print("random weights: the prediction means nothing, the work and the timing do")
    path = options.overlay or Path("out") / f"{name_of(options)}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    summary, problem = Summary(), None
    try:
        chosen = settled(options.network)
        with open_clip(options) as clip:
            process(options, chosen, clip, path, summary, console)
    except (VideoError, ValueError, OSError) as error:
        problem = str(error)
        errors.print(f"error: {problem}", style="red", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("stopped")
    if summary.totals is None:
        return 1
    report = make_report(options, settled(options.network), summary) | {
        "overlay": str(path),
        "error": problem,
        "command": command_line("run_video.py", arguments),
    }
    console.print(table(report))
    console.print(f"overlay: {path}", soft_wrap=True)
    if options.json:
        write_json(report, options.json)
        console.print(f"report: {options.json}", soft_wrap=True)
    return 1 if problem else 0


def name_of(options: Options) -> str:
    return Path(options.videos[0]).stem if options.videos else "procedural"


@contextlib.contextmanager
def open_clip(options: Options) -> Iterator[Clip]:
    """The videos of the options, or the procedural clip."""
    for name in ("max_frames", "batch_frames"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1")
    if options.videos:
        with VideoReader(
            options.videos,
            size=options.size,
            roi=options.roi,
            batch_frames=options.batch_frames,
            max_frames=options.max_frames,
        ) as reader:
            yield Clip(reader, reader.fps or 10.0, reader.frame_count)
    else:
        if options.roi is not None:
            raise ValueError("--roi is a region of videos, and there are none")
        clip = procedural_clip(options.size, options.network.seed)
        count = 100 if options.max_frames is None else options.max_frames
        yield Clip(clip.batches(count, options.batch_frames), clip.fps, count)


def process(
    options: Options,
    chosen: SettledOptions,
    clip: Clip,
    path: Path,
    summary: Summary,
    console: Console,
) -> None:
    """Runs the whole clip; what is done before an error is in `summary` and in the overlay."""
    network = make_network(chosen)
    prediction = summary.prediction = prediction_of(network, chosen.trained)
    first = next(clip.batches)
    with console.status("making the weights"):
        variables = make_variables(chosen, network, first.frames)
        variables = with_thresholds(chosen, network, variables, first.frames[0])(1.0)
    dense = Dense(network, variables, first.frames[0])
    batches = preceded(first, clip.batches)
    with (
        OverlayWriter(path, fps=clip.fps) as writer,
        Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
        ) as progress,
    ):
        task = progress.add_task("compiling", total=clip.frame_count, rate="")
        for result in run_batches(network, variables, batches, options.batch_frames):
            points = read_statistics(result.statistics)
            summary.add(result, total(points, result.present))
            dense.compare(result, summary, every_frame=options.compare)
            heat = work_heat(result.masks, points, *result.frames.shape[2:4])
            work = multiplications_share(points)
            start = summary.steps - len(result.frames)
            for step in range(len(result.frames)):
                writer.write(
                    overlay(
                        prediction,
                        result.frames[step],
                        jax.tree.map(lambda array, step=step: array[step], result.outputs),
                        heat[step],
                        work[step],
                        result.present[step],
                        start + step,
                    )
                )
            show(progress, task, summary)


def preceded(first: VideoBatch, rest: Iterator[VideoBatch]) -> Iterator[VideoBatch]:
    yield first
    yield from rest


def show(progress: Progress, task: TaskID, summary: Summary) -> None:
    rate = f"{summary.steps / summary.seconds:.1f} frames/s (incremental, without pictures)"
    progress.update(task, description="frames", completed=summary.steps, rate=rate)


def make_report(options: Options, chosen: SettledOptions, summary: Summary) -> dict[str, Any]:
    """Times are milliseconds a step, of all streams together, the first frame included."""
    assert summary.totals is not None
    assert summary.prediction is not None
    incremental_ms = 1000 * summary.seconds / summary.steps
    dense_ms = float(np.median(summary.dense_ms))
    return {
        "videos": list(options.videos) or ["procedural"],
        "device": device_name(),
        "jax": jax.__version__,
        "deltajax": importlib.metadata.version("deltajax"),
        **dataclasses.asdict(chosen),
        "roi": options.roi,
        "size": options.size,
        "frames": summary.steps,
        "stream_frames": summary.totals.frames,
        "incremental_ms": incremental_ms,
        "dense_ms": dense_ms,
        "speedup": dense_ms / incremental_ms,
        "update_rate": summary.totals.update_rate,
        "dense_multiplications": summary.totals.dense_multiplications,
        "multiplications_saved": 1 - summary.totals.multiplications_share,
        "relative_error": summary.relative_error,
        summary.prediction.metric: summary.prediction.agreement(),
        "active_fraction": summary.totals.active_fraction,
    }


def table(report: dict[str, Any]) -> Table:
    """The report for a person to read."""
    rows = Table(title=f"{report['model']}: {', '.join(report['videos'])}", show_header=False)
    rows.add_row("frames", str(report["frames"]))
    rows.add_row("incremental, ms a frame", f"{report['incremental_ms']:.1f}")
    rows.add_row("dense, ms a frame", f"{report['dense_ms']:.1f}")
    rows.add_row("speedup", f"{report['speedup']:.2f}")
    rows.add_row("update rate", f"{report['update_rate']:.1%}")
    rows.add_row("multiplications saved", f"{report['multiplications_saved']:.1%}")
    if report["relative_error"] is not None:
        rows.add_row("relative error", f"{report['relative_error']:.2g}")
    for name, text in METRICS.items():
        if report.get(name) is not None:
            rows.add_row(name.replace("_", " "), format(report[name], text))
    return rows


if __name__ == "__main__":
    sys.exit(main())
