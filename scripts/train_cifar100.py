"""Trains a ResNet on CIFAR-100, or runs the study of six settings of Adam on it.

The data are the published archive, from a path or downloaded, or pictures that are made here
("synthetic"): a hundred classes in the same format. A run that was interrupted goes on where it was
when it is started again.

  train_cifar100.py --data cifar-100-binary.tar.gz --learning-rate 1e-3
  train_cifar100.py --data synthetic --study --out out/study
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro
from _common import command_line, device_name, write_json
from _report import versions
from _study_page import write_page
from _training import TrainingDtype, counting_bar, curves_chart, progress_bar
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn
from rich.table import Table

from deltajax.datasets import (
    Cifar100,
    DatasetError,
    download_cifar100,
    read_cifar100,
    synthetic_cifar100,
)
from deltajax.models import VideoNetwork, create, load_weights, read_weights, save_weights
from deltajax.models.weights import cache_folder
from deltajax.training import (
    CheckpointError,
    Classification,
    FitResult,
    Optimizer,
    Trainer,
    TrainState,
    fit,
    make_optimizer,
    with_hyperparameters,
)

SMALL = 64
"""Pixels: pictures of no more have the 3 × 3 stem."""

STUDY = ((1e-3, 0.0), (1e-5, 0.0), (0.1, 0.0), (1e-3, 0.1), (1e-3, 1e-5), (1e-5, 1.0))
"""Learning rates and weight decays."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Trains a ResNet on CIFAR-100, or runs the study of six settings of Adam on it.

    Attributes:
        data: cifar-100-binary.tar.gz or cifar-100-python.tar.gz, a folder that one of them holds,
            or "synthetic"; downloaded (161 MB, kept in ~/.cache/deltajax) if not given.
        out: folder for checkpoints, metrics, plots and weights; a run in it goes on.
        study: train six times, with learning rates and weight decays of 1e-3 and 0, 1e-5 and 0, 0.1
            and 0, 1e-3 and 0.1, 1e-3 and 1e-5, 1e-5 and 1, and write one page about it.
        model: the network.
        size: to which pictures are scaled, in pixels; up to 64 the network has a 3 × 3 stem of
            stride one and no max-pooling.
        weights: file to start from, such as torchvision's .pth of ImageNet; its head is replaced.
            Random weights if not given.
        epochs: how often all pictures are seen.
        batch_size: pictures of a step.
        optimizer: "adam" adds weight decay to the gradient (L2, as PyTorch's Adam does), "adamw"
            takes it off the weights beside Adam's step.
        learning_rate: of the optimizer; the study has its own.
        weight_decay: of the optimizer; the study has its own.
        dtype: of the computation; parameters are float32 in either.
        seed: of initialisation, order and augmentation, and of synthetic pictures.
        train_images: to learn from, the first ones; all if not given.
        test_images: to test on, the first ones; all if not given.
        checkpoint_steps: steps after which a checkpoint is written, besides that of each epoch.
    """

    data: str | None = None
    out: Path = Path("out/cifar100")
    study: bool = False
    model: Literal["resnet18", "resnet34", "resnet50"] = "resnet18"
    size: int = 224
    weights: Path | None = None
    epochs: int = 10
    batch_size: int = 128
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    dtype: TrainingDtype = "float32"
    seed: int = 0
    train_images: int | None = None
    test_images: int | None = None
    checkpoint_steps: int | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console = Console()
    command = command_line("train_cifar100.py", arguments)
    try:
        results = run(options, command, console)
    except (DatasetError, CheckpointError, ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        return 1
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; the same command goes on", style="yellow")
        return 130
    console.print(table(results))
    console.print(f"page: {options.out / 'index.html'}", highlight=False)
    return 0


def run(options: Options, command: str, console: Console) -> dict[str, Any]:
    """Trains once, or once for each setting; returns what is written to report.json."""
    check(options)
    data = read_data(options, console)
    trainer, start = prepare(options)
    settings = STUDY if options.study else ((options.learning_rate, options.weight_decay),)
    runs = []
    for learning_rate, weight_decay in settings:
        own = dataclasses.replace(
            options, learning_rate=learning_rate, weight_decay=weight_decay, study=False
        )
        name = setting_name(own)
        folder = options.out / name.replace(" ", "_") if options.study else options.out
        with progress_bar(console, name) as advance:
            result = fit(
                trainer,
                data.train,
                data.test,
                epochs=own.epochs,
                batch_size=own.batch_size,
                folder=folder,
                subject=subject(own, data),
                start=start,
                prepare_state=with_setting(own),
                checkpoint_steps=own.checkpoint_steps,
                progress=advance,
            )
        runs.append(summary(own, name, result))
        if result.diverged is None:
            save_weights(result.state.variables, folder / "weights.safetensors")
        # After each, so that a study that is cut off has a page.
        report = describe(options, data, command) | {"runs": runs}
        write_json(report, options.out / "report.json")
        charts = curves_chart(
            {each["name"]: each["epochs"] for each in runs},
            {"accuracy": "accuracy", "loss": "cross-entropy"},
        )
        write_page(report, charts, options.out / "index.html")
    return report


def check(options: Options) -> None:
    """Raises ValueError for options that do not fit together, before anything is read."""
    if min(options.size, options.batch_size, options.epochs) < 1:
        raise ValueError("--size, --batch-size and --epochs must be at least 1")
    if options.weights and options.size <= SMALL:
        raise ValueError(
            f"--weights are of networks with a 7 × 7 stem, which --size {options.size} has not; "
            f"give a --size above {SMALL}"
        )
    for count in (options.train_images, options.test_images):
        if count is not None and count < 1:
            raise ValueError("--train-images and --test-images must be at least 1")


def read_data(options: Options, console: Console) -> Cifar100:
    """The dataset that the options name."""
    if options.data == "synthetic":
        counts = options.train_images or 50_000, options.test_images or 10_000
        with counting_bar(console, "drawing pictures", sum(counts)) as advance:
            return synthetic_cifar100(*counts, seed=options.seed, progress=advance)
    if options.data is None:
        with Progress(
            *Progress.get_default_columns(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=console,
            transient=True,
        ) as bars:
            task = bars.add_task("downloading CIFAR-100", total=None)
            path = download_cifar100(
                cache_folder(), lambda done, total: bars.update(task, completed=done, total=total)
            )
    else:
        path = Path(options.data)
    data = read_cifar100(path)
    return data._replace(
        train=data.train.first(options.train_images), test=data.test.first(options.test_images)
    )


def prepare(options: Options) -> tuple[Trainer, dict[str, Any] | None]:
    """The trainer, and variables to start from."""
    half = (0.5, 0.5, 0.5)
    stem = "3x3" if options.size <= SMALL else "7x7"
    network: VideoNetwork = create(
        options.model,
        num_classes=100,
        stem=stem,
        mean=half,
        std=half,
        dtype=jnp.dtype(options.dtype),
    )
    start = None
    if options.weights:
        key = jax.random.key(options.seed)
        start = load_weights(network, read_weights(options.weights), new_head=key)
    # The setting is in the state, so that a study compiles once.
    optimizer = make_optimizer(options.optimizer, 0.0, 0.0)
    task = Classification((options.size, options.size))
    return Trainer(network, task, optimizer, seed=options.seed), start


def with_setting(options: Options) -> Any:
    """A function that puts the setting into a state."""

    def change(state: TrainState) -> TrainState:
        opt_state = with_hyperparameters(
            state.opt_state,
            learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
        )
        return state.replace(opt_state=opt_state)

    return change


def setting_name(options: Options) -> str:
    """For plots and folders."""
    return f"lr {options.learning_rate:g} wd {options.weight_decay:g}"


def subject(options: Options, data: Cifar100) -> dict[str, Any]:
    """What a run is of: with other values it is another, and does not go on."""
    left_out = ("data", "out", "study", "checkpoint_steps", "train_images", "test_images")
    values = {n: v for n, v in dataclasses.asdict(options).items() if n not in left_out}
    values["weights"] = options.weights.name if options.weights else None
    counts = {"train_images": len(data.train), "test_images": len(data.test)}
    return values | {"data": data.source} | counts


def summary(options: Options, name: str, result: FitResult) -> dict[str, Any]:
    """A run, for the report."""
    return {
        "name": name,
        "optimizer": options.optimizer,
        "learning_rate": options.learning_rate,
        "weight_decay": options.weight_decay,
        "diverged": result.diverged,
        "epochs": result.epochs,
    }


def describe(options: Options, data: Cifar100, command: str) -> dict[str, Any]:
    """What was trained, and where."""
    return {
        "command": command,
        "device": device_name(),
        "devices": jax.device_count(),
        **versions(),
        **subject(options, data),
        "study": options.study,
    }


def table(report: dict[str, Any]) -> Table:
    """The last epoch of each run."""
    shown = Table(title=f"{report['model']} on {report['data']}")
    for name in ("setting", "epochs", "train loss", "train accuracy", "test loss", "test accuracy"):
        shown.add_column(name, justify="left" if name == "setting" else "right")
    for each in report["runs"]:
        last = each["epochs"][-1] if each["epochs"] else {}
        values = [last.get(f"{part}_{metric}") for part in ("train", "test") for metric in METRICS]
        cells = ["not finite" if value is None else f"{value:.4f}" for value in values]
        ended = f"diverged at step {each['diverged']}" if each["diverged"] else ""
        shown.add_row(each["name"], f"{len(each['epochs'])} {ended}".strip(), *cells)
    return shown


METRICS = ("loss", "accuracy")

if __name__ == "__main__":
    sys.exit(main())
