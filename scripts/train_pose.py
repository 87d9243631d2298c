"""Trains a network that finds the joints of a person, on people who are made or on Human3.6M.

Made people ("figures") are painted at the start, over backgrounds that are painted, too, or that
are the still parts of videos; their joints are known exactly. At the end the network is scored on
pictures and on clips that it has not seen. A run that was interrupted goes on where it was when it
is started again.

  train_pose.py --out out/pose
  train_pose.py --data /data/human36m --model pose_resnet50 --size 256x256 --weights resnet50.pth
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _common import Size, command_line, device_name, size_text, write_json
from _pose import (
    FIGURES,
    PoseData,
    Scores,
    examples_picture,
    read_pose_data,
    score_pictures,
    scores_json,
    scores_table,
)
from _report import versions
from _training import TrainingDtype, curves_chart, progress_bar
from rich.console import Console

from deltajax.datasets import MIRRORED, DatasetError
from deltajax.models import VideoNetwork, create, load_weights, read_weights, save_weights
from deltajax.training import (
    CheckpointError,
    FitResult,
    Optimizer,
    PoseEstimation,
    Schedule,
    Trainer,
    fit,
    make_optimizer,
    make_schedule,
)
from deltajax.video import VideoError, sample_clip

PoseNetwork = Literal[
    "pose_small", "pose_resnet18", "pose_resnet34", "pose_resnet50", "pose_resnet101",
    "pose_resnet152", "pose_hrnet_w32", "pose_hrnet_w48",
]  # fmt: skip

NAME = "train_pose.py"


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a network that finds the joints of a person.

    Attributes:
        data: "figures", people who are made, or the folder of Human3.6M (see docs/training.md).
        out: folder for checkpoints, metrics, plots and weights; a run in it goes on.
        model: the network.
        size: of the pictures that are learnt from, in pixels, multiples of 32.
        weights: file to start from; its head is replaced. Random weights if not given.
        epochs: how often all pictures are seen.
        batch_size: pictures of a step.
        optimizer: "adam" adds weight decay to the gradient (L2), "adamw" takes it off the weights.
        learning_rate: of the optimizer, at the start.
        schedule: how it goes on: "constant"; "steps", a tenth after 9/14 and a hundredth after
            12/14 of the run, as PoseResNet was trained; "cosine", down to nothing.
        weight_decay: of the optimizer.
        sigma: of the Gaussians on the heatmaps, in their pixels.
        foreground: by which errors count for more at joints: squares are multiplied by 1 + this ·
            target. 0 is the published loss; from random weights a network takes very long to learn
            anything by it but that most of a heatmap is empty.
        flip: whether to mirror half of the pictures.
        scale: pictures are scaled by factors within 1 ± this.
        dtype: of the computation; parameters are float32 in either.
        save_dtype: of the weights that are written.
        seed: of everything.
        train_pictures: to learn from: as many figures are painted, the first ones of Human3.6M are
            taken; if not given 20000, or all.
        test_pictures: to test on; if not given 500, or all.
        paint_anew: paint each figure when it is needed, not all at the start: for millions of them
            on a GPU, where it costs little.
        backgrounds: videos of a fixed camera, or pictures, before which half of the figures stand;
            if not given the clip that comes with the project.
        protocol: of Human3.6M: which subjects are for training.
        every: which frames of Human3.6M are taken.
        cache: folder in which the pictures of Human3.6M are kept.
        checkpoint_steps: steps after which a checkpoint is written, besides that of each epoch.
    """

    data: str = FIGURES
    out: Path = Path("out/pose")
    model: PoseNetwork = "pose_small"
    size: Size = (128, 128)
    weights: Path | None = None
    epochs: int = 20
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    learning_rate: float = 2e-3
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0
    sigma: float = 2.0
    foreground: float = 10.0
    flip: bool = True
    scale: float = 0.25
    dtype: TrainingDtype = "float32"
    save_dtype: Literal["float32", "float16"] = "float16"
    seed: int = 0
    train_pictures: int | None = None
    test_pictures: int | None = None
    paint_anew: bool = False
    backgrounds: tuple[Path, ...] = ()
    protocol: Literal[1, 2] = 1
    every: int = 64
    cache: Path | None = None
    checkpoint_steps: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console = Console(highlight=False)
    try:
        report, scores = run(options, command_line(NAME, arguments), console)
    except (DatasetError, CheckpointError, VideoError, ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        return 1
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; the same command goes on", style="yellow")
        return 130
    if report["diverged"] is not None:
        console.print(f"the loss was not finite any more at step {report['diverged']}")
        return 1
    console.print(scores_table(scores, f"{options.model}: joints found"))
    for name in ("weights.safetensors", "curves.svg", "examples.png", "report.json"):
        console.print(f"{options.out / name}")
    return 0


def run(options: Options, command: str, console: Console) -> tuple[dict[str, Any], Scores]:
    """Trains and scores; returns what is written to report.json, and the scores by their names."""
    size = check(options)
    data = read_data(options, size, console)
    network, start = prepare(options)
    task = PoseEstimation(
        MIRRORED,
        sigma=options.sigma,
        foreground=options.foreground,
        flip=options.flip,
        scale=options.scale,
    )
    steps = options.epochs * (len(data.train) // options.batch_size)
    optimizer = make_optimizer(
        options.optimizer,
        make_schedule(options.schedule, options.learning_rate, steps),
        options.weight_decay,
    )
    with progress_bar(console, options.model) as advance:
        result = fit(
            Trainer(network, task, optimizer, seed=options.seed),
            data.train,
            data.test,
            epochs=options.epochs,
            batch_size=options.batch_size,
            folder=options.out,
            subject=subject(options, data),
            start=start,
            checkpoint_steps=options.checkpoint_steps,
            progress=advance,
        )
    report = describe(options, data, command) | {
        "diverged": result.diverged,
        "epochs_done": result.epochs,
    }
    chart = curves_chart({options.model: result.epochs}, {"accuracy": "accuracy", "loss": "loss"})
    (options.out / "curves.svg").write_bytes(chart)
    scores: Scores = {}
    if result.diverged is None:
        scores = score(options, network, result, data, console)
        report |= {"scores": {name: scores_json(own) for name, own in scores.items()}}
    write_json(report, options.out / "report.json")
    return report, scores


def score(
    options: Options, network: VideoNetwork, result: FitResult, data: PoseData, console: Console
) -> Scores:
    """Writes the weights, and says how good they are, as they are written, on what was not seen."""
    path = options.out / "weights.safetensors"
    about = {"trained_on": data.train.source, "deltajax": str(versions()["deltajax"])}
    save_weights(result.state.variables, path, np.dtype(options.save_dtype), about)
    variables = load_weights(network, read_weights(path))
    with console.status("scoring"):
        found = {name: score_pictures(network, variables, part) for name, part in data.scored()}
        picture = examples_picture(network, variables, data.test)
    (options.out / "examples.png").write_bytes(picture)
    return found


def check(options: Options) -> tuple[int, int]:
    """The size. Raises ValueError for options that do not fit together, before data are read."""
    if options.size is None or any(side % 32 for side in options.size):
        raise ValueError(f"--size is {size_text(options.size)}; its sides must be multiples of 32")
    if min(options.batch_size, options.epochs, options.every) < 1:
        raise ValueError("--batch-size, --epochs and --every must be at least 1")
    for count in (options.train_pictures, options.test_pictures):
        if count is not None and count < 1:
            raise ValueError("--train-pictures and --test-pictures must be at least 1")
    return options.size


def read_data(options: Options, size: tuple[int, int], console: Console) -> PoseData:
    """What is learnt from, and scored on."""
    return read_pose_data(
        options.data,
        size,
        counts=(options.train_pictures, options.test_pictures),
        seed=options.seed,
        anew=options.paint_anew,
        backgrounds=options.backgrounds or (sample_clip(),),
        protocol=options.protocol,
        every=options.every,
        cache=options.cache,
        console=console,
    )


def prepare(options: Options) -> tuple[VideoNetwork, dict[str, Any] | None]:
    """The network, and variables to start from."""
    network = create(options.model, dtype=jnp.dtype(options.dtype))
    if options.weights is None:
        return network, None
    key = jax.random.key(options.seed)
    return network, load_weights(network, read_weights(options.weights), new_head=key)


def subject(options: Options, data: PoseData) -> dict[str, Any]:
    """What a run is of: with other values it is another, and does not go on."""
    # Of these a run may have others when it goes on.
    left_out = ("out", "cache", "checkpoint_steps", "save_dtype", "paint_anew")
    values = {n: v for n, v in dataclasses.asdict(options).items() if n not in left_out}
    return values | {
        "data": data.train.source,
        "size": size_text(options.size),
        "weights": options.weights.name if options.weights else None,
        "backgrounds": [path.name for path in options.backgrounds],
        "train_pictures": len(data.train),
        "test_pictures": len(data.test),
    }


def describe(options: Options, data: PoseData, command: str) -> dict[str, Any]:
    """What was trained, and where."""
    return {
        "command": command,
        "device": device_name(),
        "devices": jax.device_count(),
        **versions(),
        **subject(options, data),
    }


if __name__ == "__main__":
    sys.exit(main())
