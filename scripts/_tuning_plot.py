"""The thresholds of a tuning, and what they save."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from deltajax.tuning import TuningResult


def plot_tuning(result: TuningResult, title: str, path: Path) -> None:
    """Draws, as a PNG, the work with and without tuning, and the threshold of each layer."""
    values = result.thresholds.values
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, max(3.2, 0.16 * len(values))), width_ratios=(1, 2), layout="constrained"
    )
    trials = {
        "one\nfor all": result.one.trial,
        "input\nand rest": result.two.trial,
        "one for\neach layer": result.held_out,
    }
    bars = left.bar(list(trials), [trial.work for trial in trials.values()], width=0.6)
    bars[-1].set_color("tab:orange")
    for bar, trial in zip(bars, trials.values(), strict=True):
        label = f"{trial.work:.1%}\nerror {trial.error:.2g}"
        left.annotate(
            label,
            (bar.get_x() + bar.get_width() / 2, trial.work),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize="small",
        )
    left.set_ylim(0, 1.25 * max(trial.work for trial in trials.values()))
    left.set_ylabel("multiplications on frames held out, share of dense")
    left.set_title(title, fontsize="medium")
    names = [name for name in values if values[name] > 0][::-1]
    right.plot([values[name] for name in names], names, marker="o", linestyle="none")
    right.axvline(
        result.one.threshold, color="tab:blue", linewidth=0.8, linestyle="--", label="one for all"
    )
    right.set_xscale("log")
    right.tick_params(axis="y", labelsize=6)
    right.set_xlabel("threshold, in the units of each layer's output")
    right.grid(axis="x", linewidth=0.3)
    right.legend(loc="best", fontsize="small")
    figure.savefig(path, dpi=130)
    plt.close(figure)
