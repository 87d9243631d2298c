"""scripts/roofline.py: what is counted, the floors, and its errors."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import roofline
from _work import Work, needs_of, work_of
from flax import linen as nn
from matplotlib import image

import deltajax as dj
from deltajax.layers import Conv, Sparsify
from deltajax.statistics import read_statistics, total
from tests.helpers import random_variables

SMALL = ["--model", "simple_cnn", "--size", "32x48", "--frames", "2", "--num-warmup", "1",
         "--threshold", "0.3"]  # fmt: skip


def test_needs_of_each_update_point():
    frame = np.zeros((2, 8, 12, 3), np.uint8)

    class Network(nn.Module):
        @nn.compact
        def __call__(self, frame):
            x = Sparsify(mean=(0.5,), std=(0.2,), dtype=jnp.float32, name="entry")(frame)
            x = Conv(8, (3, 3), name="first")(x)
            residual = Conv(16, (1, 1), (2, 2), name="short")(x)
            return Conv(16, (3, 3), (2, 2), name="long")(x, residual)

    network = Network()
    variables = random_variables(network, frame)
    entry, first, short, long = needs_of(network, variables, frame)
    pixels, quarter = 2 * 8 * 12, 2 * 4 * 6
    assert entry.bytes == pixels * (3 + 12 + 1)
    assert (entry.bytes_per_computed_pixel, entry.bytes_per_updated_pixel) == (0, 12)
    assert first.bytes == 2 * pixels + 9 * 3 * 8 * 4
    assert first.bytes_per_computed_pixel == 4 * (3 + 8)
    assert short.bytes_per_computed_pixel == 4 * (8 + 16)  # a 1 × 1 sees one pixel of four
    assert long.bytes_per_computed_pixel == 4 * (4 * 8 + 16 + 16)
    assert long.bytes == pixels + quarter + 9 * 8 * 16 * 4
    assert long.bytes_per_updated_pixel == 64


def test_work_of_a_changed_pixel():
    """One pixel of a map changes: nine are computed."""

    class Network(nn.Module):
        @nn.compact
        def __call__(self, frame):
            return dj.Densify()(Conv(4, (3, 3), name="conv")(Sparsify(name="entry")(frame)))

    network = Network()
    frames = np.zeros((2, 1, 8, 12, 3), np.float32)
    frames[1, 0, 4, 5] = 1
    variables = random_variables(network, frames[0])
    recorded = dj.scan_frames(network, variables, frames, collect=("statistics",))[2]
    points = read_statistics(recorded["statistics"])
    needs = needs_of(network, variables, frames[0])
    work = work_of(needs, total(points), streams=1)
    # The first frame is computed in full, the second at nine pixels of 96.
    assert work[1].active == pytest.approx((1 + 9 / 96) / 2)
    assert work[1].operations == pytest.approx(2 * (96 + 9) / 2 * 9 * 3 * 4)


def test_the_floor_is_the_larger_time():
    work = Work("a layer", active=0.1, operations=4e9, bytes=3e6)
    assert work.floor_us(tflops=400, bandwidth=3000) == pytest.approx(10)
    assert work.floor_us(tflops=4000, bandwidth=300) == pytest.approx(10)
    assert work.floor_us(tflops=8000, bandwidth=300) == pytest.approx(10)


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
