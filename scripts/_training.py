"""What the training scripts share: their options, progress bars, and charts."""

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from deltajax.training import Progress

MOST_LOSS = 10.0
"""That is drawn; that of guessing one of a hundred classes is 4.6."""

TrainingDtype = Literal["float32", "bfloat16"]
"""Of the computation; parameters are float32."""


@contextlib.contextmanager
def progress_bar(console: Console, name: str) -> Iterator[Callable[[Progress], None]]:
    """A bar over the steps of a run, with the latest metrics and the time that is left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[shown]}"),
    )
    with Bars(*columns, console=console) as bars:
        task = bars.add_task(name, total=None, shown="")

        def advance(progress: Progress) -> None:
            metrics = " ".join(f"{name} {value:.4g}" for name, value in progress.metrics.items())
            shown = f"epoch {progress.epoch}/{progress.epochs} {metrics}"
            bars.update(task, completed=progress.step, total=progress.steps, shown=shown)

        yield advance


@contextlib.contextmanager
def counting_bar(console: Console, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar over things of which some more are done in each call."""
    with Bars(console=console, transient=True) as bars:
        task = bars.add_task(name, total=total)
        yield lambda count: bars.advance(task, count)


def curves_chart(runs: dict[str, list[dict[str, Any]]], metrics: dict[str, str]) -> bytes:
    """Curves over the epochs as SVG: each run in a colour, on test data and, dashed, in training.

    Args:
        runs: names and epochs of `deltajax.training.FitResult`.
        metrics: of the task, and what to write at their axes; a panel each.
    """
    figure, panels = plt.subplots(
        1, len(metrics), figsize=(5.5 * len(metrics), 4), layout="constrained", squeeze=False
    )
    for axes, (metric, label) in zip(panels[0], metrics.items(), strict=True):
        for number, (name, epochs) in enumerate(runs.items()):
            colour = f"C{number}"
            numbers = [line["epoch"] for line in epochs]
            for part, style in (("test", "-"), ("train", "--")):
                values = [line[f"{part}_{metric}"] for line in epochs]
                values = [math.nan if value is None else value for value in values]
                label_of = name if part == "test" else None
                axes.plot(numbers, values, style, color=colour, label=label_of, marker=".")
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"{label} (dashed: in training)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if metric == "loss":
            # A run that goes wrong would press the others to the ground.
            axes.set_ylim(0, min(axes.get_ylim()[1], MOST_LOSS))
        axes.grid(alpha=0.3)
    panels[0][0].legend(fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    plt.close(figure)
    return buffer.getvalue()
