"""The floors of each update point and of each case, and what was measured, drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Report = dict[str, Any]
COLORS = ("tab:red", "tab:purple", "tab:brown")
"""Of the dtypes."""


def plot_roofline(reports: Sequence[Report], path: Path) -> None:
    """Draws into a PNG the roofline and the times of the first case, and the sums of all.

    Args:
        reports: of scripts/roofline.py, at least one.
        path: of the PNG.
    """
    several = len(reports) > 1
    heights = [4.6, 1.2 + 0.3 * len(reports)] if several else [4.6]
    figure, axes = plt.subplot_mosaic(
        "rb;cc" if several else "rb",
        figsize=(11.0, sum(heights)),
        layout="constrained",
        width_ratios=(1, 1.5),
        height_ratios=heights,
    )
    draw_roof(figure, axes["r"], reports)
    draw_update_points(axes["b"], reports[0])
    if several:
        draw_cases(axes["c"], reports)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_roof(figure: Figure, axes: Axes, reports: Sequence[Report]) -> None:
    """A line for each dtype, a dot for each update point of the first case, a star for each case.

    A dot is what its point can attain, a star what the whole network was measured to do.
    """
    first = reports[0]
    points = [point for point in first["update_points"] if point["operations"]]
    at = np.array([point["operations"] / point["bytes"] for point in points])
    attainable = np.minimum(first["tflops"], at * first["bandwidth"] / 1e3)
    active = np.array([point["active"] for point in points])
    dots = axes.scatter(at, attainable, c=active, s=18, cmap="viridis", vmin=0, zorder=3)
    figure.colorbar(dots, ax=axes, label="active pixels")
    dtypes = list(dict.fromkeys(report["dtype"] for report in reports))
    for dtype, color in zip(dtypes, COLORS, strict=False):
        cases = [report for report in reports if report["dtype"] == dtype]
        corner = cases[0]["tflops"] * 1e3 / cases[0]["bandwidth"]
        intensity = np.logspace(0.5, np.log10(5 * corner), 200)
        roof = np.minimum(cases[0]["tflops"], intensity * cases[0]["bandwidth"] / 1e3)
        axes.plot(intensity, roof, color=color, linewidth=1.2, label=dtype)
        measured = [report for report in cases if report["measured_ms"]]
        if measured:
            axes.scatter(
                [report["operations"] / report["bytes"] for report in measured],
                [report["operations"] / report["measured_ms"] / 1e9 for report in measured],
                marker="*", s=60, color=color, zorder=4, label=f"measured, {dtype}",
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("TFLOP/s")
    axes.set_title("roofline", fontsize="medium")
    axes.legend(fontsize="small")


def draw_update_points(axes: Axes, report: Report) -> None:
    """The times that each update point takes at least."""
    points = report["update_points"]
    memory_us = [point["bytes"] / report["bandwidth"] / 1e3 for point in points]
    products_us = [point["operations"] / report["tflops"] / 1e6 for point in points]
    place = np.arange(len(points))
    axes.bar(place, memory_us, width=0.8, label="bytes / bandwidth", color="tab:blue")
    axes.bar(place, products_us, width=0.4, label="operations / rate", color="tab:orange")
    axes.axhline(report["launch_us"], color="grey", linewidth=0.8, linestyle="--", label="a launch")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.1)
    axes.set_xlabel("update point, in the order of computation")
    axes.set_ylabel("µs")
    axes.set_title(
        f"{name_of(report)}: at least {report['floor_with_launches_ms']:.2f} ms a frame",
        fontsize="medium",
    )
    axes.legend(fontsize="small")


def draw_cases(axes: Axes, reports: Sequence[Report]) -> None:
    """The least time of each case, and the measured one."""
    place = np.arange(len(reports))
    floors = [report["floor_with_launches_ms"] for report in reports]
    measured = [report["measured_ms"] or np.nan for report in reports]
    axes.barh(place, measured, height=0.8, color="lightgrey", label="measured")
    axes.barh(place, floors, height=0.4, color="tab:blue", label="at least")
    for row, (floor, time) in enumerate(zip(floors, measured, strict=True)):
        if np.isfinite(time):
            axes.text(time, row, f" {time:.2f} ms, {time / floor:.1f} ×", va="center", fontsize=8)
    same = len({report["model"] for report in reports}) == 1
    names = [name_of(report) for report in reports]
    names = [name.partition(", ")[2] for name in names] if same else names
    axes.set_yticks(place, names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("ms a frame of all streams")
    axes.legend(fontsize="small")


def name_of(report: Report) -> str:
    return (
        f"{report['model']}, {report['streams']} × {report['height']}×{report['width']}, "
        f"{report['dtype']}"
    )
