"""The page of a report: one HTML file with its pictures and its video in it."""

import base64
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from _report_charts import curve_chart, layer_chart, png, time_chart

from deltajax.inspecting import COLUMNS, Inspection, readable
from deltajax.video import heat_overlay

TEMPLATE = Path(__file__).with_name("_report.html.jinja")
MOST_VIDEO_BYTES = 30 << 20
"""Of a video that is put into the page; larger ones lie beside it."""
METRICS = {
    "top1_agreement": ("frames with the same class", "{:.2%}"),
    "intersection_over_union": ("intersection over union with dense", "{:.4f}"),
    "keypoint_shift": ("mean shift of keypoints, of the height", "{:.3%}"),
}


def write_page(
    report: dict[str, Any], inspection: Inspection, frame: np.ndarray, video: Path, path: Path
) -> None:
    """Writes the page.

    Args:
        report: its numbers.
        inspection: of the layers.
        frame: uint8 [N, H, W, 3], that heatmaps are drawn on.
        video: that shows prediction and work.
        path: of the page.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text())
    shown = video.stat().st_size <= MOST_VIDEO_BYTES
    page = template.render(
        title=f"{report['model']} on {', '.join(Path(each).name for each in report['videos'])}",
        report=report,
        facts=facts(report),
        columns=COLUMNS,
        rows=[readable(point) for point in inspection.points],
        layers=data_uri(layer_chart(inspection), "image/svg+xml"),
        heatmaps=[
            {
                "name": name,
                "share": f"{heat.mean():.1%}",
                "picture": data_uri(png(heat_overlay(frame[0], heat)), "image/png"),
            }
            for name, heat in inspection.heatmaps.items()
        ],
        time=data_uri(time_chart(inspection, report["errors_of_frames"]), "image/svg+xml"),
        curve=data_uri(curve_chart(report["curve"]), "image/svg+xml") if report["curve"] else None,
        video=data_uri(video.read_bytes(), "video/mp4") if shown else None,
        video_name=video.name,
    )
    path.write_text(page)


def facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What stands at the top, as names and values."""
    found = [
        ("frames", str(report["frames"])),
        ("pixels updated", f"{report['update_rate']:.1%}"),
        ("multiplications saved", f"{report['multiplications_saved']:.1%}"),
        ("relative error", f"{report['relative_error']:.3g}"),
        ("incremental", f"{report['incremental_ms']:.1f} ms a frame"),
        ("dense", f"{report['dense_ms']:.1f} ms a frame"),
    ]
    for name, (text, form) in METRICS.items():
        if report.get(name) is not None and report["weights"] != "random":
            found.append((text, form.format(report[name])))
    return found


def data_uri(contents: bytes, kind: str) -> str:
    """The contents as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(contents).decode()}"
