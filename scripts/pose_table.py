"""Speed and accuracy of pose networks on video, as a table: dense, and incremental.

The table of the DeltaCNN paper (Parger et al., CVPR 2022, table 1), on the device at hand: each
network dense, incremental with thresholds of zero, and incremental with a threshold for each layer;
frames per second of one stream and of several, and how well joints are found. The clips are of
people who are made, whose joints are known exactly.

  pose_table.py
  pose_table.py --networks pose_small pose_resnet50=out/pose/weights.safetensors --batches 1 16
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from _common import (
    RECOMMENDED,
    Dtype,
    SettledOptions,
    Size,
    UpdateOptions,
    Variables,
    command_line,
    device_name,
    frames_of_a_call,
    make_network,
    make_variables,
    network_options,
    size_text,
    write_json,
)
from _measure import Stopwatch
from _pose import pictures_of, points_of, scores_json, stills_of
from _report import versions
from _thresholds import with_thresholds
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

import deltajax as dj
from deltajax.datasets import PoseClips, figure_clips, pose_scores
from deltajax.metrics import SURE
from deltajax.models import VideoNetwork, decode_heatmaps, recommended_thresholds
from deltajax.statistics import read_statistics, total
from deltajax.video import VideoError, sample_clip

NAME = "pose_table.py"
"""Of this script."""
SCORED_SEED, TUNED_SEED = 1000, 500
"""Of the first clip that is scored on, and of the first one that thresholds are found on."""
WARMUP = 5
"""Frames after the first that are not timed."""
CHUNK = 25
"""Frames of all clips that are scored at once."""
TUNED_CLIPS, TUNED_FRAMES = 10, 42
"""Clips that thresholds are found on, and frames of each."""
DENSE = "dense"
BACKENDS = {DENSE: None, "thresholds 0": 0.0, "tuned": 1.0}
"""Factors of the thresholds."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Speed and accuracy of pose networks on video.

    Attributes:
        networks: names of pose networks, with published weights, or NAME=FILE for weights of one's
            own, as train_pose.py writes them; NAME=random is for timing only.
        thresholds: files with a threshold for each layer, one for each network; if not given those
            that come with the network are taken, or, where there are none, they are found on other
            clips, which takes long.
        budget: for finding them: the share of joints that may be found elsewhere than by the dense
            network, further away than PCK@0.2 forgives.
        batches: streams that are processed at once, to be timed.
        clips: that are scored on.
        frames: of each clip.
        size: of the clips, in pixels, multiples of 32.
        tall: the least and the largest height of a person, shares of the picture's.
        frames_per_call: frames that one compiled call processes; if not given one on a CPU, and ten
            on a GPU, where a call costs more than a frame.
        dtype: of the computation.
        json: file to write the table to.
    """

    networks: tuple[str, ...] = ("pose_small",)
    thresholds: tuple[Path, ...] = ()
    budget: float = 0.004
    batches: tuple[int, ...] = (1, 8)
    clips: int = 24
    frames: int = 75
    size: Size = (192, 256)
    tall: tuple[float, float] = (0.3, 0.5)
    frames_per_call: int | None = None
    dtype: Dtype = "float32"
    json: Path | None = Path("out/pose_table.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console, report = Console(highlight=False), None
    try:
        check(options)
        report = run(options, command_line(NAME, arguments), console)
    except (ValueError, OSError, VideoError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    console.print(table(report))
    if options.json:
        console.print(f"report: {options.json}", soft_wrap=True)
    return 0


def check(options: Options) -> None:
    """Raises ValueError for options that do not fit together, before anything is made."""
    if not options.networks:
        raise ValueError("--networks needs at least one")
    if options.thresholds and len(options.thresholds) != len(options.networks):
        raise ValueError(
            f"--thresholds are {len(options.thresholds)} files for {len(options.networks)} networks"
        )
    if options.size is None or any(side % 32 for side in options.size):
        raise ValueError(f"--size is {size_text(options.size)}; its sides must be multiples of 32")
    if min((options.clips, *options.batches), default=0) < 1 or not options.batches:
        raise ValueError("--clips and --batches must be at least 1")
    if max(options.batches) > options.clips:
        raise ValueError(
            f"--batches up to {max(options.batches)} need as many --clips, not {options.clips}"
        )
    least = 1 + WARMUP + frames_of_a_call(options.frames_per_call)
    if options.frames < least:
        raise ValueError(f"--frames is {options.frames}; at least {least} are needed")


def run(options: Options, command: str, console: Console) -> dict[str, Any]:
    """The table as a report, written after each network."""
    clips = make_clips(options, SCORED_SEED, options.clips, options.frames, console)
    report = {
        "command": command,
        "device": device_name(),
        **versions(),
        "clips": clips.source,
        "frames": options.frames,
        "size": size_text(options.size),
        "dtype": options.dtype,
        "frames_per_call": frames_of_a_call(options.frames_per_call),
        "networks": [],
    }
    for number, name in enumerate(options.networks):
        given = options.thresholds[number] if options.thresholds else None
        report["networks"].append(measure_network(options, name, given, clips, console))
        if options.json:
            write_json(report, options.json)
    return report


def make_clips(options: Options, seed: int, count: int, frames: int, console: Console) -> PoseClips:
    """Clips of people before parts of a real still background, or painted ones."""
    assert options.size is not None
    stills = stills_of([sample_clip()], options.size)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("painting people", total=count)
        return figure_clips(
            count,
            frames,
            options.size,
            seed=seed,
            backgrounds=stills,
            tall=options.tall,
            progress=lambda done: bar.advance(task, done),
        )


def measure_network(
    options: Options, name: str, given: Path | None, clips: PoseClips, console: Console
) -> dict[str, Any]:
    """The rows of a network."""
    model, _, weights = name.partition("=")
    weights = weights or "published"
    if given is not None:
        source = str(given)
    elif recommended_thresholds(model) is not None:
        source = RECOMMENDED
    else:
        source = str(find_thresholds(options, model, weights, console))
    update = UpdateOptions(weights=weights, thresholds=source)
    chosen = network_options(update, model, options.dtype)
    network, variables = make(chosen, clips)
    scaled = with_thresholds(chosen, network, variables, clips.frames[0])
    rows = [
        {"backend": backend, **accuracy(network, scaled, factor, clips, console)}
        for backend, factor in BACKENDS.items()
    ]
    for streams in options.batches:
        times = timings(options, network, scaled, clips.frames[:, :streams], console)
        for row in rows:
            row.setdefault("milliseconds", {})[str(streams)] = times[row["backend"]]
    return {
        "network": model,
        "weights": weights,
        "thresholds": source,
        "multiplications": rows[-1]["dense_multiplications"],
        "rows": rows,
    }


def make(chosen: SettledOptions, clips: PoseClips) -> tuple[VideoNetwork, Variables]:
    """A network and its weights."""
    network = make_network(chosen)
    return network, make_variables(chosen, network, clips.frames)


def find_thresholds(options: Options, model: str, weights: str, console: Console) -> Path:
    """A file with a threshold for each layer, found on clips that nothing is scored on."""
    nothing = UpdateOptions(
        weights=weights, input_threshold=0.0, input_dilation=1, threshold=0.0, gate_threshold=0.0
    )
    clips = make_clips(options, TUNED_SEED, TUNED_CLIPS, TUNED_FRAMES, console)
    network, variables = make(network_options(nothing, model, options.dtype), clips)
    with Progress(console=console) as bar:
        task = bar.add_task(f"{model}: finding thresholds", total=None)
        result = dj.tune_thresholds(
            network,
            variables,
            clips.frames,
            joints_lost,
            options.budget,
            network=model,
            progress=lambda now: bar.update(task, completed=now.done, total=now.total),
            record={"clip": clips.source, "weights": weights, "size": size_text(options.size)},
        )
    folder = options.json.parent if options.json else Path("out")
    path = folder / f"{model}_thresholds.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result.thresholds.save(path)
    console.print(f"thresholds of {model}: {path}", soft_wrap=True)
    return path


def joints_lost(heatmaps: Any, expected: Any) -> float:
    """The share of joints that PCK@0.2 would not count, if they were where the dense network is.

    Args:
        heatmaps: [T, N, h, w, K].
        expected: the same of the dense network, of which those joints count that it is sure of.
    """
    flat = (np.reshape(maps, (-1, *np.shape(maps)[2:])) for maps in (heatmaps, expected))
    # In pixels of the heatmaps: PCK is of shares of the torso.
    found, wanted = (jax.device_get(decode_heatmaps(maps, "taylor")) for maps in flat)
    return 1 - pose_scores(found.points, wanted.points, wanted.scores > SURE).mean_pck


def accuracy(
    network: VideoNetwork,
    scaled: Callable[[float], Variables],
    factor: float | None,
    clips: PoseClips,
    console: Console,
) -> dict[str, Any]:
    """How well joints are found in all frames of all clips, and the work that it takes.

    Args:
        network: the network.
        scaled: its variables with thresholds times a factor.
        factor: of the thresholds; None for the dense network.
        clips: the clips.
        console: for the progress.
    """
    found, statistics, variables = [], [], scaled(factor or 0.0)
    delta = dj.init_delta(network, variables, clips.frames[0])
    starts = range(0, len(clips.frames), CHUNK)
    for start in track(starts, "scoring", console=console, transient=True):
        frames = clips.frames[start : start + CHUNK]
        if factor is None:
            heatmaps = dense(network, variables, frames)
        else:
            heatmaps, delta, recorded = dj.scan_frames(
                network,
                {**variables, "delta": delta},
                frames,
                collect=("statistics",),
                donate=True,
            )
            statistics.append(jax.device_get(recorded["statistics"]))
        found.append(points_of(heatmaps.reshape(-1, *heatmaps.shape[2:])))
    pictures = pictures_of(clips)
    scores = pose_scores(np.concatenate(found), pictures.points, pictures.counts)
    row = {"multiplications_share": 1.0, **scores_json(scores)}
    if statistics:
        counts = read_statistics(jax.tree.map(lambda *each: np.concatenate(each), *statistics))
        # Steady frames: a stream's first is computed in full.
        later = np.broadcast_to(np.arange(len(clips.frames))[:, None] > 0, clips.frames.shape[:2])
        work = total(counts, later)
        row["multiplications_share"] = work.multiplications_share
        row["dense_multiplications"] = work.dense_multiplications
    return row


@functools.partial(jax.jit, static_argnums=0)
def dense(network: VideoNetwork, variables: Variables, frames: jax.Array) -> jax.Array:
    """Outputs [T, N, ...] of frames [T, N, H, W, 3]."""
    return jax.lax.map(lambda frame: network.apply(variables, frame), frames)


def timings(
    options: Options,
    network: VideoNetwork,
    scaled: Callable[[float], Variables],
    frames: np.ndarray,
    console: Console,
) -> dict[str, float]:
    """Milliseconds of a frame of all streams, by backend; each takes turns with the dense network.

    Args:
        options: for the frames of a call.
        network: the network.
        scaled: its variables with thresholds times a factor.
        frames: [T, N, H, W, 3].
        console: for the progress.
    """
    count = frames_of_a_call(options.frames_per_call)
    streams = frames.shape[1]
    with console.status(f"compiling for {streams} streams"):
        stopwatch = Stopwatch(network, scaled(1.0), frames[0], count)
    steady = list(frames[1 + WARMUP :])
    steady = steady[: len(steady) // count * count]
    times, dense_ms = {}, []
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"timing {streams} streams", total=2 * (WARMUP + len(steady)))
        advance = functools.partial(bar.advance, task)
        for backend, factor in BACKENDS.items():
            if factor is None:
                continue
            variables = scaled(factor)
            stopwatch.first_frame(variables, frames[0])
            stopwatch.warm_up(variables, frames[1 : 1 + WARMUP], advance)
            run = stopwatch.run(variables, stopwatch.chunks(steady), advance)
            times[backend] = float(np.median(run.incremental_ms))
            dense_ms.extend(run.dense_ms)
    return {DENSE: float(np.median(dense_ms)), **times}


def table(report: dict[str, Any]) -> Table:
    """As the paper has it: accuracy, work, and frames per second with the speedup."""
    batches = list(report["networks"][0]["rows"][0]["milliseconds"])
    rows = Table(
        title=f"{report['clips']}, {report['size']}, {report['dtype']}, {report['device']}"
    )
    for name in ("network", "backend"):
        rows.add_column(name)
    for name in ("PCK@0.2", "PCKh@0.5", "error", "multiplications"):
        rows.add_column(name, justify="right")
    for streams in batches:
        rows.add_column(f"b = {streams}\nframes/s", justify="right")
    for network in report["networks"]:
        first = network["rows"][0]["milliseconds"]
        for number, row in enumerate(network["rows"]):
            share = row["multiplications_share"]
            speeds = [
                f"{1000 * int(streams) / ms:.1f} ({first[streams] / ms:.1f} x)"
                for streams, ms in row["milliseconds"].items()
            ]
            rows.add_row(
                network["network"] if number == 0 else "",
                row["backend"],
                f"{row['pck_0.2']:.3f}",
                f"{row['pckh_0.5']:.3f}",
                f"{row['mean_error_pixels']:.2f} px",
                f"{share * network['multiplications'] / 1e6:.0f} M ({share:.0%})",
                *speeds,
                end_section=number == len(network["rows"]) - 1,
            )
    return rows


if __name__ == "__main__":
    sys.exit(main())
