"""The page of a training run, or of a study of several settings."""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

TEMPLATE = Path(__file__).with_name("_study.html.jinja")
CHANCE = 0.01
"""Accuracy of guessing one of a hundred classes."""
POINTS = 100


def write_page(report: dict[str, Any], charts: bytes, path: Path) -> None:
    """Writes the page.

    Args:
        report: as train_cifar100.py writes it to report.json.
        charts: curves over the epochs, SVG.
        path: of the page.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    runs = report["runs"]
    page = environment.from_string(TEMPLATE.read_text()).render(
        report=report,
        charts="data:image/svg+xml;base64," + base64.b64encode(charts).decode(),
        rows=[(each, _last(each), seen(each, runs)) for each in runs],
    )
    path.write_text(page)


def seen(run: dict[str, Any], runs: Sequence[dict[str, Any]]) -> str:
    """A sentence on what a run shows, beside the others.

    Args:
        run: as the report has it.
        runs: all of them, the run included.
    """
    if run["diverged"] is not None:
        return (
            f"The loss was not finite any more at step {run['diverged']}, where the run ended: "
            "its steps were too large."
        )
    last = _last(run)
    accuracy, training = last["test_accuracy"], last["train_accuracy"]
    others = [_last(each) for each in runs if each is not run and each["diverged"] is None]
    best = max((other["test_accuracy"] for other in others if other), default=None)
    parts = [f"Test accuracy is {accuracy:.1%}"]
    if best is not None:
        gap = round(POINTS * (best - accuracy), 1)
        if gap > 0:
            parts[0] += f", {gap} points below the best"
        else:
            parts[0] += f", the best by {-gap} points" if gap < 0 else ", with another the best"
    if accuracy < 2 * CHANCE:
        parts.append("about what guessing gives" + _cause(run))
    elif training - accuracy > 0.15:
        parts.append(
            f"training accuracy is {POINTS * (training - accuracy):.0f} points above it: the "
            "network learns pictures by heart"
        )
    elif (gain := _last_gain(run)) > 0.02:
        parts.append(
            f"it gained {POINTS * gain:.1f} points in the last epoch and was not done yet"
            + (_cause(run) if best is not None and accuracy < 0.8 * best else "")
        )
    elif best is not None and accuracy < 0.8 * best:
        parts.append("it has stopped learning" + _cause(run))
    if last["test_loss"] is None or last["test_loss"] > 1.5 * math.log(1 / CHANCE):
        parts.append(
            "the loss on test pictures is worse than that of guessing (4.6): the running "
            "statistics of its norms do not keep up, or it is sure of what is wrong"
        )
    return "; ".join(parts) + "."


def _cause(run: dict[str, Any]) -> str:
    """What in the setting explains that little was learnt."""
    if run["weight_decay"] >= 1e-2 and run["optimizer"] != "adamw":
        return (
            f" (a weight decay of {run['weight_decay']:g} in the gradient outweighs the loss: Adam "
            "divides both by the same size, and weights shrink instead of learning)"
        )
    if run["weight_decay"] >= 1e-2:
        return f" (a weight decay of {run['weight_decay']:g} shrinks weights faster than they grow)"
    if run["learning_rate"] >= 1e-2:
        return f" (steps of {run['learning_rate']:g} a weight jump over what there is to learn)"
    if run["learning_rate"] <= 1e-4:
        return f" (steps of {run['learning_rate']:g} a weight are too small for so few epochs)"
    return ""


def _last(run: dict[str, Any]) -> dict[str, Any]:
    return run["epochs"][-1] if run["epochs"] else {}


def _last_gain(run: dict[str, Any]) -> float:
    if len(run["epochs"]) < 2:
        return 0.0
    before, after = run["epochs"][-2:]
    return after["test_accuracy"] - before["test_accuracy"]
