"""scripts/roofline.py: what is counted, the floors, and its errors."""

import json
from typing import Any

import pytest
import roofline
from matplotlib import image

SMALL = ["--model", "simple_cnn", "--size", "32x48", "--frames", "2", "--num-warmup", "1",
         "--threshold", "0.3"]  # fmt: skip
ACTIVE = {"sparsify": 0.5, "conv1": 1.0, "maxpool1": 1.0, "conv2": 1.0, "maxpool2": 0.25}


def timed(**changes: Any) -> dict[str, Any]:
    """A case of a benchmark's results."""
    return {
        "model": "simple_cnn", "dtype": "float32", "height": 32, "width": 48, "streams": 1,
        "input_threshold": 0.15, "threshold": 0.3, "steady_ms": 1.5, "active_fraction": ACTIVE,
    } | changes  # fmt: skip


def report_of(tmp_path, *arguments: str) -> Any:
    results = tmp_path / "results.json"
    assert roofline.main([*SMALL, *arguments, "--json", str(results)]) == 0
    return json.loads(results.read_text())


def test_report_and_picture(tmp_path, capsys):
    picture = tmp_path / "roofline.png"
    report = report_of(tmp_path, "--plot", str(picture))
    assert report["measured_ms"] is None
    assert report["computed_pixels_of"] == "frames"
    assert report["floor_ms"] == pytest.approx(
        sum(point["floor_us"] for point in report["update_points"]) / 1e3
    )
    assert report["floor_with_launches_ms"] >= len(report["update_points"]) * 2.6e-3
    assert "measured" not in capsys.readouterr().out
    assert image.imread(picture).shape[2] in (3, 4)


def test_pixels_and_times_of_a_benchmark(tmp_path, capsys):
    benchmark = tmp_path / "benchmark.json"
    benchmark.write_text(json.dumps([timed(streams=2), timed()]))
    report = report_of(tmp_path, "--benchmark", str(benchmark), "--tflops", "100")
    assert report["tflops"] == 100
    assert report["measured_ms"] == 1.5
    assert "measured 1.5" in capsys.readouterr().out
    assert report["computed_pixels_of"] == "benchmark"
    points = {point["name"]: point for point in report["update_points"]}
    assert {name: point["active"] for name, point in points.items()} == ACTIVE
    # Every pixel of a 3 × 3 of 3 to 32 channels: multiplications and additions.
    assert points["conv1"]["operations"] == 2 * 32 * 48 * 9 * 3 * 32


def test_several_cases(tmp_path):
    """Half precision is floored at its own rate, and two streams are more work than one."""
    picture = tmp_path / "roofline.png"
    several = ["--dtype", "float32", "bfloat16", "--plot", str(picture)]
    one, half = report_of(tmp_path, *several)
    assert picture.exists()
    assert [(each["dtype"], each["tflops"]) for each in (one, half)] == [
        ("float32", 494), ("bfloat16", 989)
    ]  # fmt: skip
    assert half["bytes"] < one["bytes"]
    two = report_of(tmp_path, "--streams", "2")
    assert two["operations"] > one["operations"]
    assert {point["name"] for point in two["update_points"]} == set(ACTIVE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "0"], "--frames and --streams must be at least 1"),
        (["--streams", "1", "0"], "--frames and --streams must be at least 1"),
        (["--streams"], "need at least one value each"),
        (["--bandwidth", "0"], "--tflops and --bandwidth must be positive"),
        (["--tflops", "0"], "--tflops and --bandwidth must be positive"),
        (["--benchmark", "nowhere.json"], "nowhere.json has no results"),
    ],
)
def test_bad_input(arguments, message, capsys):
    assert roofline.main([*SMALL, *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"model": "resnet50"}, "has no case of"),
        (timed(active_fraction={"conv1": 1.0}), "of other update points"),
    ],
)
def test_a_benchmark_of_something_else(case, message, tmp_path, capsys):
    benchmark = tmp_path / "benchmark.json"
    benchmark.write_text(json.dumps(case))
    assert roofline.main([*SMALL, "--benchmark", str(benchmark)]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
