"""Speed of single convolutions over the share of active pixels, drawn."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from _convolutions import by_layer


def plot_convolutions(results: list[dict[str, Any]], device: str, path: Path) -> None:
    """Draws the speedup over the share of active pixels as a PNG, a panel for each dtype.

    Args:
        results: of scripts/benchmark_convolutions.py.
        device: for the title.
        path: of the PNG.
    """
    dtypes = list(dict.fromkeys(result["dtype"] for result in results))
    figure, panels = plt.subplots(
        1, len(dtypes), figsize=(5.2 * len(dtypes), 4.2), layout="constrained", sharey=True
    )
    for axes, dtype in zip([panels] if len(dtypes) == 1 else panels, dtypes, strict=True):
        for own in by_layer([result for result in results if result["dtype"] == dtype]):
            rows, columns, channels, features = own[0]["kernel_shape"]
            height, width = own[0]["in_shape"][1:3]
            axes.plot(
                # Nothing active, which a logarithm has no place for, stands at the left.
                [max(100 * result["active"], 0.4) for result in own],
                [result["speedup"] for result in own],
                marker="o",
                markersize=4,
                label=f"{rows}×{columns}, {channels}→{features}, {height}×{width}",
            )
        axes.axhline(1, color="grey", linewidth=0.8, linestyle="--")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([0.4, 1, 3, 10, 30, 100], ["0", "1", "3", "10", "30", "100"])
        axes.set_xlabel("active pixels of the input, %")
        axes.set_title(f"{dtype}, {device}", fontsize="medium")
        axes.legend(fontsize="small")
    figure.axes[0].set_ylabel("times as fast as dense")
    figure.savefig(path, dpi=130)
    plt.close(figure)
