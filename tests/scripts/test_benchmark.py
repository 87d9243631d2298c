import contextlib
import dataclasses
import io
import itertools
import json
import math
from typing import Any

import benchmark
import jax
import numpy as np
import pytest
from _common import (
    NetworkOptions,
    command_line,
    cpu_device,
    draw_variables,
    make_network,
    make_variables,
    read_clip,
    settled,
)
from _measure import alternating

from deltajax.models import fold_batch_norm
from deltajax.video import OverlayWriter, ProceduralClip

SMALL = ["--model", "simple_cnn", "--size", "64x96", "--frames", "4", "--num-warmup", "1"]
KEYS = {
    "device", "jax", "model", "height", "width", "streams", "frames", "dtype", "implementation",
    "input_threshold", "threshold", "dense_ms", "first_ms", "steady_ms", "static_ms",
    "full_change_ms", "speedup", "static_speedup", "full_change_speedup", "relative_error",
    "active_fraction", "state_bytes", "dense_activation_bytes", "frames_per_call", "platform",
    "jaxlib", "triton", "temporary_bytes", "dense_temporary_bytes", "command",
}  # fmt: skip
LAYERS = {"sparsify", "conv1", "maxpool1", "conv2", "maxpool2"}


def report_of(folder, *arguments: str, status: int = 0) -> Any:
    path = folder / "new" / "report.json"
    assert benchmark.main([*SMALL, *arguments, "--json", str(path)]) == status
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def cut_clip(tmp_path_factory):
    """The first 12 frames of the procedural clip, as a file."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with OverlayWriter(path, fps=10.0) as writer:
        for frame in ProceduralClip(64, 96, noise=0.0).frames(12):
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def clip_options(cut_clip):
    """A part of the clip's frames, which is enlarged."""
    part = ["--roi", "8", "4", "80", "56"]
    return ["--clip", str(cut_clip), "--calibrate", "--size", "80x112", *part]


@pytest.fixture(scope="module")
def of_clip(tmp_path_factory, clip_options):
    """A report with a curve, the file of the curve, and what was printed."""
    folder = tmp_path_factory.mktemp("report")
    curve = ["--curve", str(folder / "curve.png"), "--scales", "0", "2"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        report = report_of(folder, *clip_options, *curve)
    return report, folder / "curve.png", printed.getvalue()


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
    assert report["frames_per_call"] == 1  # on a CPU
    assert min(report["temporary_bytes"], report["dense_temporary_bytes"]) > 0
    assert report["relative_error"] <= 1e-5 < report["frozen_error"]
    assert report["active_fraction"].keys() == LAYERS
    # All maps of both streams: the input, 32 and 64 channels, before and after the pools.
    values = 64 * 96 * (3 + 32 + 32 / 4 + 64 / 4 + 64 / 16)
    assert report["dense_activation_bytes"] == 2 * 4 * values
    assert report["state_bytes"] <= 1.25 * report["dense_activation_bytes"]
    assert set(report["static_active_fraction"].values()) == {0.0}
    assert set(report["full_change_active_fraction"].values()) == {1.0}


def test_frames_per_call_change_nothing(tmp_path, clip_options, of_clip):
    one, *_ = of_clip
    # Streams that need more frames than the clip has: what was finished before is kept.
    several = [*clip_options, "--streams", "1", "2", "--frames-per-call", "2"]
    (two,) = report_of(tmp_path, *several, status=1)
    assert (one["frames_per_call"], two["frames_per_call"]) == (1, 2)
    assert one["relative_error"] > 1e-5
    for name in ("relative_error", "frozen_error"):
        assert two[name] == pytest.approx(one[name], rel=1e-4)
    for name in ("multiplications_share", "static_active_fraction", "full_change_active_fraction"):
        assert two[name] == one[name]
    assert set(two["static_active_fraction"].values()) == {0.0}


def test_clip_curve_and_calibration(cut_clip, of_clip):
    report, curve, printed = of_clip
    assert (report["clip"], report["height"], report["width"]) == (cut_clip.name, 80, 112)
    assert report["roi"] == [8, 4, 80, 56]
    assert [point["scale"] for point in report["curve"]] == [0, 2]
    exact, coarse = report["curve"]
    assert exact["relative_error"] <= 1e-5 < coarse["relative_error"]
    assert coarse["multiplications_share"] < exact["multiplications_share"]
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert "simple_cnn" in printed
    assert "steady" in printed
    assert "warning" not in printed


def test_several_dtypes_no_warmup_and_a_warning(tmp_path, capsys):
    options = ["--dtype", "float32", "bfloat16", "--num-warmup", "0"]
    # Where not everything changes.
    reports = report_of(tmp_path, *options, "--input-threshold", "9")
    assert [report["dtype"] for report in reports] == ["float32", "bfloat16"]
    exact, report = reports
    assert math.isfinite(report["relative_error"])
    assert report["dense_activation_bytes"] == 2 * 64 * 96 * (3 + 32 + 32 / 4 + 64 / 4 + 64 / 16)
    assert exact["dense_activation_bytes"] == 2 * report["dense_activation_bytes"]
    assert exact["full_change_input"] == report["full_change_input"] == 0
    assert "warning" in capsys.readouterr().out


@pytest.mark.parametrize("count", [1, 2, 3])
def test_everything_changes_in_each_frame(count):
    """Also from call to call, and in medium grey."""
    frame = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    frames = alternating(frame, count)
    assert len(frames) % count == 0
    for before, after in itertools.pairwise([frame, *frames, *frames]):
        assert (before != after).all()


def test_a_clip_that_is_too_short(capsys, cut_clip):
    assert benchmark.main([*SMALL, "--clip", str(cut_clip), "--frames", "20"]) == 1
    assert "has 12 frames, but 22 are needed" in " ".join(capsys.readouterr().err.split())


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
        (["--frames-per-call", "0"], "--frames-per-call"),
        (["--frames-per-call", "3"], "--frames is 4, but must be a multiple of the 3"),
        (["--streams", "1", "0"], "--streams"),
        (["--streams"], "at least one value"),
        (["--streams", "1", "2", "--curve", "curve.png"], "--curve needs"),
        (["--clip", "missing.mp4"], "missing.mp4"),
        (["--threshold", "-1"], "threshold is -1"),
        (["--input-dilation", "2"], "dilation is 2"),
    ],
)
def test_wrong_values_say_what_is_wrong(capsys, arguments, message):
    assert benchmark.main([*SMALL, *arguments]) == 1
    assert message in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        benchmark.main(["--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "--input-threshold" in printed
    assert "--calibrate" in printed


def test_random_weights():
    """They are those of `init`, and go with arrays of any device."""
    frames = np.zeros((1, 1, 64, 96, 3), np.uint8)
    network = make_network(settled(NetworkOptions(model="simple_cnn", implementation="xla")))
    expected = dict(network.init(jax.random.key(3), frames[0]))
    del expected["delta"]
    found = draw_variables(network, 3, frames[0])
    assert not any(array.committed for array in jax.tree.leaves(found))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)


def test_no_cpu_for_random_weights(monkeypatch):
    def refuse(backend: str) -> list[Any]:
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "local_devices", refuse)
    assert cpu_device() is None  # so that `jax.default_device` changes nothing


def test_fold_batch_norm():
    """The weights are those of the network with norms, folded."""
    frames = np.zeros((1, 1, 32, 32, 3), np.uint8)
    plain = settled(NetworkOptions(model="resnet18"))
    network = make_network(plain)
    _, expected = fold_batch_norm(network, make_variables(plain, network, frames))
    options = dataclasses.replace(plain, fold_batch_norm=True)
    folded = make_variables(options, make_network(options), frames)
    assert "batch_stats" not in folded
    jax.tree.map(np.testing.assert_array_equal, folded, expected)


def test_a_command_has_the_options_of_xla(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_b=2")
    command = command_line("benchmark.py", ["--size", "64x96"])
    assert command == "XLA_FLAGS='--xla_a=1 --xla_b=2' scripts/benchmark.py --size 64x96"
    monkeypatch.delenv("XLA_FLAGS")
    command = command_line("benchmark.py", ["--size", "64x96"])
    assert command == "scripts/benchmark.py --size 64x96"
