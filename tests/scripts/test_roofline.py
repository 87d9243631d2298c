"""scripts/roofline.py: what is counted, the floors, and its errors."""

import json

import pytest
import roofline
from matplotlib import image

SMALL = ["--model", "simple_cnn", "--size", "32x48", "--frames", "2", "--num-warmup", "1",
         "--threshold", "0.3"]  # fmt: skip


def test_report_and_picture(tmp_path, capsys):
    results, picture = tmp_path / "results.json", tmp_path / "roofline.png"
    benchmark = tmp_path / "benchmark.json"
    case = {
        "model": "simple_cnn", "dtype": "float32", "height": 32, "width": 48, "streams": 1,
        "input_threshold": 0.15, "threshold": 0.3, "steady_ms": 1.5,
    }  # fmt: skip
    benchmark.write_text(json.dumps([case]))
    arguments = ["--json", str(results), "--plot", str(picture), "--benchmark", str(benchmark)]
    assert roofline.main([*SMALL, *arguments]) == 0
    report = json.loads(results.read_text())
    assert report["measured_ms"] == 1.5
    assert report["floor_ms"] == pytest.approx(
        sum(point["floor_us"] for point in report["update_points"]) / 1e3
    )
    assert report["floor_with_launches_ms"] >= len(report["update_points"]) * 2.6e-3
    assert "measured 1.5" in capsys.readouterr().out
    assert image.imread(picture).shape[2] in (3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "0"], "--frames and --streams must be at least 1"),
        (["--bandwidth", "0"], "--tflops and --bandwidth must be positive"),
        (["--benchmark", "nowhere.json"], "nowhere.json has no results"),
    ],
)
def test_bad_input(arguments, message, capsys):
    assert roofline.main([*SMALL, *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_benchmark_of_something_else(tmp_path, capsys):
    benchmark = tmp_path / "benchmark.json"
    benchmark.write_text('{"model": "resnet50"}')
    assert roofline.main([*SMALL, "--benchmark", str(benchmark)]) == 1
    assert "has no case of" in " ".join(capsys.readouterr().err.split())
