"""scripts/tune_thresholds.py: its files, what the other scripts do with them, its errors."""

import json
from types import SimpleNamespace

import benchmark
import numpy as np
import pytest
import run_video
import tune_thresholds
from matplotlib import image

import deltajax as dj

SMALL = ["--model", "simple_cnn", "--size", "32x48"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The folder with the files of a run."""
    folder = tmp_path_factory.mktemp("tuned")
    arguments = ["--frames", "12", "--budget", "0.05", "--passes", "1", "--dilations", "3"]
    files = ["--out", str(folder / "thresholds.json"), "--plot", str(folder / "plot.png")]
    assert tune_thresholds.main([*SMALL, *arguments, *files]) == 0
    return folder


def test_file_of_thresholds(tuned):
    thresholds = dj.Thresholds.load(tuned / "thresholds.json")
    assert thresholds.network == "simple_cnn"
    assert thresholds.dilations == {"sparsify": 3}
    found = thresholds.found
    assert (found["clip"], found["objective"], found["budget"]) == (
        "procedural", "relative_error", 0.05
    )  # fmt: skip
    assert 0 < found["tuned_on"]["error"] <= 0.05
    assert found["held_out"]["work"] <= found["one_threshold"]["trial"]["work"] <= 1
    assert "--budget 0.05" in found["command"]
    assert (tuned / "thresholds_trials.jsonl").exists()


def test_picture(tuned):
    picture = image.imread(tuned / "plot.png")
    assert min(picture.shape[:2]) > 200
    assert np.ptp(picture) > 0.5


def test_other_scripts_take_the_file(tuned, tmp_path):
    """run_video sees the work that the tuner saw, less with larger thresholds."""
    path = ["--thresholds", str(tuned / "thresholds.json")]
    saved = []
    for scale in ("0", "1", "4"):
        json_path = tmp_path / f"{scale}.json"
        files = ["--overlay", str(tmp_path / "o.mp4"), "--json", str(json_path), "--compare"]
        frames = ["--max-frames", "8", "--batch-frames", "8", "--threshold-scale", scale]
        assert run_video.main([*SMALL, *path, *frames, *files]) == 0
        report = json.loads(json_path.read_text())
        assert (report["input_dilation"], report["threshold_scale"]) == (3, float(scale))
        saved.append((report["multiplications_saved"], report["relative_error"]))
    assert saved[0][0] < saved[1][0] < saved[2][0]
    assert saved[0][1] < 1e-5 < saved[1][1] < saved[2][1]


def test_the_benchmark_takes_the_file(tuned, tmp_path):
    path = tmp_path / "benchmark.json"
    arguments = ["--thresholds", str(tuned / "thresholds.json"), "--json", str(path)]
    assert benchmark.main([*SMALL, *arguments, "--frames", "2", "--num-warmup", "1"]) == 0
    report = json.loads(path.read_text())
    assert report["thresholds"].endswith("thresholds.json")
    assert report["threshold"] is None
    assert 0 < report["relative_error"] < 0.2


def test_thresholds_of_another_network(tuned, capsys):
    path = ["--thresholds", str(tuned / "thresholds.json"), "--max-frames", "2"]
    assert run_video.main(["--model", "resnet18", "--size", "32x48", *path]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert "thresholds of simple_cnn do not fit this model: layer 'backbone" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--thresholds", "x.json"], "--thresholds and --threshold-scale are of what this"),
        (["--threshold", "0.1"], "--threshold is of what this script finds"),
        (["--objective", "prediction"], "--objective prediction needs trained --weights"),
        (["--budget", "0"], "budget is 0.0; it must be positive"),
        (["--frames", "0"], "--frames and --streams must be at least 1"),
        (["--frames", "4", "--held-out", "0.1"], "4 frames are too few"),
        (["--roi", "0", "0", "8", "8"], "--roi is a region of a video, and there is none"),
        (["nowhere.mp4"], "nowhere.mp4"),
    ],
)
def test_bad_input(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tune_thresholds.main([*SMALL, *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--thresholds", "nowhere.json"], "nowhere.json"),
        (["--thresholds", "x.json", "--threshold", "0.1"], "--thresholds and --threshold contrad"),
        (["--thresholds", "recommended"], "no thresholds of each layer are recommended for simple"),
        (["--threshold-scale", "-1"], "--threshold-scale must be zero or positive"),
    ],
)
def test_bad_thresholds_of_run_video(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_video.main([*SMALL, *arguments]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_objective_of_predictions():
    """1 − agreement for classes and masks, the shift itself for keypoints."""
    network = SimpleNamespace()
    objective = tune_thresholds.prediction_objective(network)  # pyright: ignore
    expected = np.eye(4, dtype=np.float32)[None].swapaxes(0, 1)
    outputs = expected.copy()
    outputs[0, 0] = (0, 1, 0, 0)
    assert objective(expected, expected) == 0
    assert objective(outputs, expected) == 0.25
