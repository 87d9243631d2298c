"""The floor of each update point, drawn."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np


def plot_roofline(report: dict[str, Any], path: Path) -> None:
    """Draws two pictures in one PNG: the roofline with a dot for each update point, and the times.

    Args:
        report: of scripts/roofline.py.
        path: of the PNG.
    """
    points = report["update_points"]
    operations = np.array([point["operations"] for point in points])
    size = np.array([point["bytes"] for point in points])
    products_us = operations / report["tflops"] / 1e6
    memory_us = size / report["bandwidth"] / 1e3
    figure, (roof, bars) = plt.subplots(
        1, 2, figsize=(11.0, 4.4), layout="constrained", width_ratios=(1, 1.7)
    )

    corner = report["tflops"] * 1e3 / report["bandwidth"]
    intensity = np.logspace(-1, np.log10(20 * corner), 200)
    attainable = np.minimum(report["tflops"], intensity * report["bandwidth"] / 1e3)
    roof.plot(intensity, attainable, color="black", linewidth=1.2)
    done = operations > 0
    at = operations[done] / size[done]
    reached = np.minimum(report["tflops"], at * report["bandwidth"] / 1e3)
    active = np.array([point["active"] for point in points])[done]
    dots = roof.scatter(at, reached, c=active, s=22, cmap="viridis", vmin=0, zorder=3)
    figure.colorbar(dots, ax=roof, label="active pixels")
    roof.set_xscale("log")
    roof.set_yscale("log")
    roof.set_xlabel("operations a byte")
    roof.set_ylabel("attainable TFLOP/s")
    roof.set_title("roofline", fontsize="medium")

    place = np.arange(len(points))
    bars.bar(place, memory_us, width=0.8, label="bytes / bandwidth", color="tab:blue")
    bars.bar(place, products_us, width=0.4, label="operations / rate", color="tab:orange")
    bars.axhline(report["launch_us"], color="grey", linewidth=0.8, linestyle="--", label="a launch")
    bars.set_yscale("log")
    bars.set_ylim(bottom=0.1)
    bars.set_xlabel("update point, in the order of computation")
    bars.set_ylabel("µs")
    bars.set_title(
        f"{report['model']}, {report['streams']} × {report['height']}×{report['width']}, "
        f"{report['dtype']}: at least {report['floor_with_launches_ms']:.2f} ms a frame",
        fontsize="medium",
    )
    bars.legend(fontsize="small")
    figure.savefig(path, dpi=130)
    plt.close(figure)
