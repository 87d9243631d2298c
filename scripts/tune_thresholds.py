"""Finds a threshold for each layer of a network on a clip, within a budget of accuracy.

The first frames are tuned on, the last ones are held out; on these the result is compared with the
best single threshold. An interrupted run goes on where it was when started again.

  tune_thresholds.py clip.mp4 --model efficientnet_lite0 --weights published \\
      --roi 384 264 224 224 --budget 0.1 --out thresholds.json
  run_video.py clip.mp4 --model efficientnet_lite0 --weights published \\
      --roi 384 264 224 224 --thresholds thresholds.json --compare
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

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
    read_clip,
    settled,
    size_text,
)
from _predictions import prediction_objective
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import deltajax as dj
from deltajax.models import VideoNetwork
from deltajax.tuning import Objective, TuningResult
from deltajax.tuning import Progress as Tuning
from deltajax.video import VideoError


@dataclasses.dataclass(frozen=True)
class Options:
    """Finds a threshold for each layer of a network on a clip.

    Attributes:
        clip: video file; a procedural clip if there is none.
        network: The network, and what makes it cheap.
        objective: what must not suffer: "output" is ‖incremental − dense‖ / ‖dense‖ of all outputs;
            "prediction" what the network is for: the share of frames with another class, 1 − the
            intersection over union of masks, or the mean shift of keypoints as a share of the
            picture's height.
        budget: the largest value of the objective.
        roi: region of interest, the only part of the picture that is looked at: its left and its
            upper border, its width and its height, in pixels of the video.
        size: to which frames, or regions, are scaled; "own" leaves them as they are.
        frames: of the clip, from its first on, those held out included.
        streams: independent streams. Stream n is the clip from frame 10 n on.
        held_out: share of the frames, the last ones, that nothing is found on.
        dilations: of the input, to be tried.
        passes: over the layers, front to back; steps of a further one are finer.
        out: JSON file to write the thresholds to; out/<network>_thresholds.json if not given.
        checkpoint: file in which every trial is kept; next to `out` if not given.
        plot: PNG file to draw the result into.
    """

    clip: tyro.conf.Positional[Path | None] = None
    network: Annotated[NetworkOptions, tyro.conf.OmitArgPrefixes] = DEFAULT_NETWORK
    objective: Literal["output", "prediction"] = "output"
    budget: float = 0.02
    roi: Roi = None
    size: Size = None
    frames: int = 60
    streams: int = 1
    held_out: float = 1 / 3
    dilations: tuple[int, ...] = (1, 3)
    passes: int = 2
    out: Path | None = None
    checkpoint: Path | None = None
    plot: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Tunes and reports; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console = Console(highlight=False)
    out = options.out or Path("out") / f"{options.network.model}_thresholds.json"
    checkpoint = options.checkpoint or out.with_name(f"{out.stem}_trials.jsonl")
    try:
        chosen = check(options)
        frames = read_clip(
            options.clip, options.size, options.frames, options.streams, chosen.seed, options.roi
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        network = make_network(chosen)
        with console.status("making the weights"):
            variables = make_variables(chosen, network, frames)
        record = record_of(options, chosen) | {"command": command_line(NAME, arguments)}
        result = tune(options, chosen, network, variables, frames, checkpoint, record, console)
        result.thresholds.save(out)
    except (ValueError, OSError, VideoError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(f"stopped; the same command goes on from {checkpoint}", soft_wrap=True)
        return 1
    console.print(table(result, options))
    console.print(f"thresholds: {out}", soft_wrap=True)
    if options.plot:
        from _tuning_plot import plot_tuning  # matplotlib, which nothing else needs

        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot_tuning(result, f"{chosen.model}, {clip_name(options)}", options.plot)
        console.print(f"plot: {options.plot}", soft_wrap=True)
    return 0


NAME = "tune_thresholds.py"


def check(options: Options) -> SettledOptions:
    """The network's options. Raises ValueError for those that contradict each other."""
    given = options.network
    if given.thresholds is not None or given.threshold_scale != 1:
        raise ValueError("--thresholds and --threshold-scale are of what this script finds")
    if options.objective == "prediction" and given.weights == "random":
        raise ValueError("--objective prediction needs trained --weights: random ones predict none")
    if min(options.frames, options.streams) < 1:
        raise ValueError("--frames and --streams must be at least 1")
    # All thresholds, the dilation among them, are found here.
    nothing = {"input_threshold": 0.0, "threshold": 0.0, "gate_threshold": 0.0}
    for name in (*nothing, "input_dilation"):
        if getattr(given, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is of what this script finds")
    return settled(dataclasses.replace(given, input_dilation=options.dilations[0], **nothing))


def tune(
    options: Options,
    chosen: SettledOptions,
    network: VideoNetwork,
    variables: dict[str, Any],
    frames: np.ndarray,
    checkpoint: Path,
    record: dict[str, Any],
    console: Console,
) -> TuningResult:
    """Runs the tuner with a progress bar."""
    objective: str | Objective = "relative_error"
    if options.objective == "prediction":
        objective = prediction_objective(network)
    with Progress(
        TextColumn("{task.description}", justify="left"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[work]}"),
        console=console,
    ) as bar:
        task = bar.add_task("compiling", total=None, work="")

        def show(progress: Tuning) -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.done,
                total=progress.total,
                work=f"multiplications {progress.work:.1%}",
            )

        return dj.tune_thresholds(
            network,
            variables,
            frames,
            objective,
            options.budget,
            held_out=options.held_out,
            dilations=options.dilations,
            passes=options.passes,
            checkpoint=checkpoint,
            progress=show,
            network=chosen.model,
            record=record,
        )


def record_of(options: Options, chosen: SettledOptions) -> dict[str, Any]:
    """What the thresholds were found on."""
    return {
        "clip": clip_name(options),
        "roi": options.roi,
        "size": size_text(options.size),
        "weights": chosen.weights,
        "dtype": chosen.dtype,
        "calibrate": chosen.calibrate,
        "device": device_name(),
        "jax": jax.__version__,
    }


def clip_name(options: Options) -> str:
    return options.clip.name if options.clip else "procedural"


def table(result: TuningResult, options: Options) -> Table:
    """The result for a person to read."""
    rows = Table(title=f"{options.network.model}, {clip_name(options)}: frames held out")
    rows.add_column("thresholds")
    rows.add_column("multiplications", justify="right")
    rows.add_column(options.objective + " error", justify="right")
    one, two = result.one, result.two
    for name, trial in (
        ("one for each layer", result.held_out),
        (f"one for all, {one.threshold:.3g}", one.trial),
        (f"{two.input_threshold:.3g} for the input, {two.threshold:.3g} for the rest", two.trial),
    ):
        rows.add_row(name, f"{trial.work:.1%}", f"{trial.error:.3g}")
    rows.caption = (
        f"tuned on: multiplications {result.tuned_on.work:.1%}, error {result.tuned_on.error:.3g} "
        f"of a budget of {options.budget:g}"
    )
    return rows


if __name__ == "__main__":
    sys.exit(main())
