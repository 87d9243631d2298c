"""Runs a network over videos incrementally, and writes a video that shows the work it saved.

Left the prediction: the most probable classes, the pixels of people, or a skeleton. Right the
frame, coloured where the network was recomputed, by the share of its multiplications. Several
videos are run together, as independent streams of one batch.

Trained weights, with a region of interest in a fixed camera's picture:

  run_video.py clip.mp4 --model selfie_segmentation --weights published \\
      --roi 560 200 160 160 --size 256x256
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro
from _common import command_line, settled, write_json
from _process import ClipOptions, make_report, process
from _summary import Summary
from rich.console import Console
from rich.table import Table

from deltajax.video import VideoError

METRICS = {"top1_agreement": ".2%", "intersection_over_union": ".4f", "keypoint_shift": ".3%"}
"""How the agreement of predictions is printed."""


@dataclasses.dataclass(frozen=True)
class Options(ClipOptions):
    """Runs a network over videos incrementally.

    Attributes:
        compare: run the dense network on every frame too, and report the error, and how far the
            predictions agree: the share of equal classes, the intersection over union of masks, or
            the mean shift of keypoints as a share of the picture's height.
        overlay: MP4 to write; out/<name of the first video>.mp4 if not given.
        json: file to write the report to.
    """

    compare: bool = False
    overlay: Path | None = None
    json: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the videos; returns the exit status: 1 if one could not be read to its end."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    if options.network.weights == "random":
        console.print("random weights: the prediction means nothing, the work and the timing do")
    path = options.overlay or Path("out") / f"{options.name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    summary, problem = Summary(), None
    try:
        chosen = settled(options.network)
        for _ in process(options, chosen, path, summary, console, options.compare):
            pass
    except (VideoError, ValueError, OSError) as error:
        problem = str(error)
        errors.print(f"error: {problem}", style="red", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("stopped")
    if summary.totals is None:
        return 1
    report = make_report(options, settled(options.network), summary) | {
        "overlay": str(path),
        "error": problem,
        "command": command_line("run_video.py", arguments),
    }
    console.print(table(report))
    console.print(f"overlay: {path}", soft_wrap=True)
    if options.json:
        write_json(report, options.json)
        console.print(f"report: {options.json}", soft_wrap=True)
    return 1 if problem else 0


def table(report: dict[str, Any]) -> Table:
    """The report for a person to read."""
    rows = Table(title=f"{report['model']}: {', '.join(report['videos'])}", show_header=False)
    rows.add_row("frames", str(report["frames"]))
    rows.add_row("incremental, ms a frame", f"{report['incremental_ms']:.1f}")
    rows.add_row("dense, ms a frame", f"{report['dense_ms']:.1f}")
    rows.add_row("speedup", f"{report['speedup']:.2f}")
    rows.add_row("update rate", f"{report['update_rate']:.1%}")
    rows.add_row("multiplications saved", f"{report['multiplications_saved']:.1%}")
    if report["relative_error"] is not None:
        rows.add_row("relative error", f"{report['relative_error']:.2g}")
    for name, text in METRICS.items():
        if report.get(name) is not None:
            rows.add_row(name.replace("_", " "), format(report[name], text))
    return rows


if __name__ == "__main__":
    sys.exit(main())
