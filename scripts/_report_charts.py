"""The charts of a report, as SVG, and pictures as PNG."""

import io
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import image
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from deltajax.inspecting import Inspection

LEAST_ERROR = 1e-6
"""Below it, as in a first frame, is rounding: shown, it would push all else to one side."""


def layer_chart(inspection: Inspection) -> bytes:
    """Multiplications of each layer, dense and done, and the share of its pixels computed."""
    points = inspection.points[::-1]
    names = [point.name for point in points]
    figure, (work, active) = plt.subplots(
        1, 2, figsize=(10, 1.2 + 0.17 * len(points)), sharey=True, layout="constrained"
    )
    dense = [point.dense_multiplications / 1e6 for point in points]
    work.barh(names, dense, color="lightgrey", label="dense")
    work.barh(names, [point.multiplications / 1e6 for point in points], height=0.5, label="done")
    work.set_xlabel("multiplications a frame, millions")
    active.barh(names, [point.active for point in points], color="tab:orange", label="computed")
    active.barh(names, [point.updated for point in points], height=0.5, label="updated")
    active.plot(
        [point.active_p95 for point in points], names, "|", color="black", label="95 % of frames"
    )
    active.set_xlabel("share of the map's pixels, mean")
    active.xaxis.set_major_formatter(PercentFormatter(1.0))
    for axes in (work, active):
        axes.tick_params(axis="y", labelsize=7)
        axes.margins(y=0.01)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize="small")
    return svg(figure)


def time_chart(inspection: Inspection, errors: list[float]) -> bytes:
    """Update rate, multiplications and error of each frame; the mean of the streams."""
    figure, (work, error) = plt.subplots(2, 1, figsize=(10, 4.6), sharex=True, layout="constrained")
    work.plot(inspection.multiplications_share.mean(axis=1), label="multiplications done")
    work.plot(inspection.update_rate.mean(axis=1), label="pixels updated")
    work.yaxis.set_major_formatter(PercentFormatter(1.0))
    work.set_ylim(0, 1.05)
    work.legend(loc="upper right", fontsize="small")
    work.set_ylabel("share of dense")
    seen = np.array(errors)
    error.plot(np.where(seen > LEAST_ERROR, seen, np.nan), color="tab:red")
    error.set_yscale("log")
    error.set_ylabel("relative error")
    error.set_xlabel("frame")
    for axes in (work, error):
        axes.grid(linewidth=0.3)
        axes.margins(x=0.01)
    return svg(figure)


def curve_chart(points: list[dict[str, Any]]) -> bytes:
    """Speedup and multiplications over the error, each point with the scale of its thresholds."""
    figure, (speed, work) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    errors = [max(point["relative_error"], LEAST_ERROR) for point in points]
    for axes, key in ((speed, "speedup"), (work, "multiplications_share")):
        values = [point[key] for point in points]
        axes.plot(errors, values, marker="o")
        for point, error, value in zip(points, errors, values, strict=True):
            axes.annotate(
                f"×{point['scale']:g}", (error, value), textcoords="offset points", xytext=(5, 5)
            )
        axes.set_xscale("log")
        axes.set_xlabel("relative error")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.12, y=0.12)
        axes.grid(linewidth=0.3)
    speed.axhline(1, color="grey", linewidth=0.8, linestyle="--")
    speed.set_ylabel("times as fast as dense")
    work.set_ylabel("multiplications done")
    work.yaxis.set_major_formatter(PercentFormatter(1.0))
    return svg(figure)


def svg(figure: Figure) -> bytes:
    """The figure as it stands on the page."""
    contents = io.BytesIO()
    # Without a date, so that the same numbers give the same page.
    figure.savefig(contents, format="svg", metadata={"Date": None})
    plt.close(figure)
    return contents.getvalue()


def png(picture: np.ndarray) -> bytes:
    """A picture, uint8 [H, W, 3]."""
    contents = io.BytesIO()
    image.imsave(contents, picture, format="png")
    return contents.getvalue()
