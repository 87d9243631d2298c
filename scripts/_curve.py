"""Speed against error, as the thresholds grow."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt


def plot_curve(points: list[dict[str, Any]], frozen_error: float, title: str, path: Path) -> None:
    """Draws speedup over relative error as a PNG, each point with the scale of its thresholds.

    Args:
        points: with the keys "scale", "relative_error" and "speedup".
        frozen_error: of the first frame's output, had it been kept for all others.
        title: of the picture.
        path: of the PNG.
    """
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    # Without thresholds the error is rounding: at its place it would push all else to one side.
    errors = [max(point["relative_error"], 1e-4) for point in points]
    speedups = [point["speedup"] for point in points]
    axes.plot(errors, speedups, marker="o")
    for point, error, speedup in zip(points, errors, speedups, strict=True):
        axes.annotate(
            f"×{point['scale']:g}" + (" (error < 1e-4)" if error == 1e-4 else ""),
            (error, speedup),
            textcoords="offset points",
            xytext=(6, 4),
        )
    axes.axhline(1, color="grey", linewidth=0.8, linestyle="--", label="dense")
    axes.axvline(
        frozen_error, color="tab:red", linewidth=0.8, linestyle=":", label="first output kept"
    )
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("relative error, ‖incremental − dense‖ / ‖dense‖")
    axes.set_ylabel("speedup (dense ms / incremental ms)")
    axes.set_title(title, fontsize="medium")
    axes.legend(loc="best")
    figure.savefig(path, dpi=150)
    plt.close(figure)
