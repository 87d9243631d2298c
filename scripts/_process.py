"""A pass over videos: the network, incremental and dense, and a video of what it does."""

import contextlib
import dataclasses
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import tyro
from _common import (
    DEFAULT_NETWORK,
    NetworkOptions,
    Roi,
    SettledOptions,
    Size,
    Variables,
    device_name,
    make_network,
    make_variables,
    procedural_clip,
)
from _overlay import overlay
from _predictions import prediction_of
from _summary import Dense, Summary
from _thresholds import with_thresholds
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from deltajax.batches import BatchResult, run_batches
from deltajax.models import VideoNetwork
from deltajax.statistics import multiplications_share, read_statistics, total, work_heat
from deltajax.video import OverlayWriter, VideoBatch, VideoReader


@dataclasses.dataclass(frozen=True)
class ClipOptions:
    """Videos, and the network that is run over them.

    Attributes:
        videos: files, cameras (/dev/video0) or stream URLs; none for a procedural clip.
        network: The network, and what makes it cheap.
        roi: region of interest, the only part of the picture that is looked at: its left and its
            upper border, its width and its height, in pixels of the video.
        size: to which frames, or regions, are scaled; "own" leaves them as they are.
        max_frames: stop after this many frames; a procedural clip has 100 otherwise.
        batch_frames: frames that are read and run together, which bounds the memory.
    """

    videos: tyro.conf.Positional[tuple[str, ...]] = ()
    network: Annotated[NetworkOptions, tyro.conf.OmitArgPrefixes] = DEFAULT_NETWORK
    roi: Roi = None
    size: Size = None
    max_frames: int | None = None
    batch_frames: int = 16

    @property
    def name(self) -> str:
        """Of the first video, for files."""
        return Path(self.videos[0]).stem if self.videos else "procedural"


class Step(NamedTuple):
    """A batch that is done.

    Attributes:
        network: that ran.
        variables: of it, thresholds included.
        result: of the batch.
    """

    network: VideoNetwork
    variables: Variables
    result: BatchResult


@dataclasses.dataclass
class Clip:
    """The batches of a video, or of the procedural clip, and what is known of it beforehand."""

    batches: Iterator[VideoBatch]
    fps: float
    frame_count: int | None


@contextlib.contextmanager
def open_clip(options: ClipOptions) -> Iterator[Clip]:
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
    options: ClipOptions,
    chosen: SettledOptions,
    path: Path,
    summary: Summary,
    console: Console,
    compare: bool,
) -> Iterator[Step]:
    """Runs the whole clip; what is done before an error is in `summary` and in the overlay.

    Args:
        options: which clip.
        chosen: which network.
        path: of the overlay.
        summary: that the frames are added to.
        console: for the progress.
        compare: run the dense network on every frame, and not only on a few for its time.
    """
    with open_clip(options) as clip:
        yield from process_clip(options, chosen, clip, path, summary, console, compare)


def process_clip(
    options: ClipOptions,
    chosen: SettledOptions,
    clip: Clip,
    path: Path,
    summary: Summary,
    console: Console,
    compare: bool,
) -> Iterator[Step]:
    """The same of a clip that is open."""
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
            dense.compare(result, summary, every_frame=compare)
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
            yield Step(network, variables, result)


def preceded(first: VideoBatch, rest: Iterator[VideoBatch]) -> Iterator[VideoBatch]:
    yield first
    yield from rest


def show(progress: Progress, task: TaskID, summary: Summary) -> None:
    rate = f"{summary.steps / summary.seconds:.1f} frames/s (incremental, without pictures)"
    progress.update(task, description="frames", completed=summary.steps, rate=rate)


def make_report(options: ClipOptions, chosen: SettledOptions, summary: Summary) -> dict[str, Any]:
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
        **summary.shifts.report(),
        "active_fraction": summary.totals.active_fraction,
    }
