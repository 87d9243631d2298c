import json
import math

import benchmark
import pytest
from _common import read_clip

from deltajax.video import OverlayWriter, ProceduralClip

SMALL = ["--model", "simple_cnn", "--size", "64x96", "--frames", "4", "--num-warmup", "1"]
KEYS = {
    "device", "jax", "model", "height", "width", "streams", "frames", "dtype", "implementation",
    "input_threshold", "threshold", "dense_ms", "first_ms", "steady_ms", "static_ms",
    "full_change_ms", "speedup", "static_speedup", "full_change_speedup", "relative_error",
    "active_fraction", "state_bytes", "dense_activation_bytes",
}  # fmt: skip
LAYERS = {"sparsify", "conv1", "maxpool1", "conv2", "maxpool2"}


def report_of(tmp_path, *arguments: str) -> dict:
    path = tmp_path / "new" / "report.json"
    assert benchmark.main([*SMALL, *arguments, "--json", str(path)]) == 0
    return json.loads(path.read_text())


@pytest.fixture
def cut_clip(tmp_path):
    """The first 12 frames of the procedural clip, as a file."""
    path = tmp_path / "clip.mp4"
    with OverlayWriter(path, fps=10.0) as writer:
        for frame in ProceduralClip(64, 96, noise=0.0).frames(12):
            writer.write(frame)
    return path


def test_report_at_thresholds_zero(tmp_path):
    zero = ["--input-threshold", "0", "--threshold", "0", "--streams", "2"]
    report = report_of(tmp_path, *zero)
    assert report.keys() >= KEYS
    shape = [report[key] for key in ("height", "width", "streams", "frames")]
    assert shape == [64, 96, 2, 4]
    for name in ("", "static_", "full_change_"):
        milliseconds = report[f"{name or 'steady_'}ms"]
        assert report[f"{name}speedup"] == pytest.approx(report["dense_ms"] / milliseconds)
    assert report["first_ms"] > 0
    assert report["relative_error"] <= 1e-5 < report["frozen_error"]
    assert report["active_fraction"].keys() == LAYERS
    # All maps of both streams: the input, 32 and 64 channels, before and after the pools.
    values = 64 * 96 * (3 + 32 + 32 / 4 + 64 / 4 + 64 / 16)
    assert report["dense_activation_bytes"] == 2 * 4 * values
    assert report["state_bytes"] <= 1.25 * report["dense_activation_bytes"]
    assert set(report["static_active_fraction"].values()) == {0.0}
    assert set(report["full_change_active_fraction"].values()) == {1.0}


def test_clip_curve_and_calibration(tmp_path, capsys, cut_clip):
    curve = tmp_path / "curve.png"
    options = ["--clip", str(cut_clip), "--calibrate", "--curve", str(curve), "--scales", "0", "2"]
    report = report_of(tmp_path, *options)
    assert report["clip"] == cut_clip.name
    assert [point["scale"] for point in report["curve"]] == [0, 2]
    exact, coarse = report["curve"]
    assert exact["relative_error"] <= 1e-5 < coarse["relative_error"]
    assert coarse["multiplications_share"] < exact["multiplications_share"]
    assert curve.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "simple_cnn" in printed
    assert "steady" in printed


def test_sixteen_bits_and_no_warmup(tmp_path):
    report = report_of(tmp_path, "--dtype", "bfloat16", "--num-warmup", "0")
    assert report["dtype"] == "bfloat16"
    assert math.isfinite(report["relative_error"])
    assert report["dense_activation_bytes"] == 2 * 64 * 96 * (3 + 32 + 32 / 4 + 64 / 4 + 64 / 16)


def test_a_clip_that_is_too_short(capsys, cut_clip):
    assert benchmark.main([*SMALL, "--clip", str(cut_clip), "--frames", "20"]) == 1
    assert "has 12 frames, but 22 are needed" in capsys.readouterr().err.replace("\n", " ")


def test_streams_start_at_different_frames(cut_clip):
    frames = read_clip(cut_clip, None, 2, 2, seed=0)
    assert frames.shape == (2, 2, 64, 96, 3)
    later = read_clip(cut_clip, None, 12, 1, seed=0)[10:, 0]
    assert (frames[:, 1] == later).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet19"], "resnet18"),
        (["--size", "64"], "288x384"),
        (["--dtype", "int8"], "bfloat16"),
    ],
)
def test_wrong_arguments_say_what_is_right(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        benchmark.main([*SMALL, *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "0"], "--frames"),
        (["--clip", "missing.mp4"], "missing.mp4"),
        (["--threshold", "-1"], "threshold is -1"),
        (["--input-dilation", "2"], "dilation is 2"),
    ],
)
def test_wrong_values_say_what_is_wrong(capsys, arguments, message):
    assert benchmark.main([*SMALL, *arguments]) == 1
    assert message in capsys.readouterr().err


def test_warns_where_not_everything_changes(tmp_path, capsys):
    assert report_of(tmp_path)["full_change_input"] == 1
    assert "warning" not in capsys.readouterr().out
    assert report_of(tmp_path, "--input-threshold", "9")["full_change_input"] == 0
    assert "warning" in capsys.readouterr().out


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        benchmark.main(["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "--input-threshold" in printed
    assert "--calibrate" in printed
