"""scripts/tune_thresholds.py: its files, what the other scripts do with them, its errors."""

import io
import json
from types import SimpleNamespace
from typing import Any
from unittest import mock

import benchmark
import numpy as np
import pytest
import run_video
import tune_thresholds
from _common import NetworkOptions, make_network, make_variables, read_clip
from matplotlib import image
from rich.console import Console
from rich.progress import Progress

import deltajax as dj
from deltajax.metrics import heatmap_shift
from deltajax.models import BlazePose, BodyPose, PoseResNet, SelfieSegmentation

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


def test_objective_of_classes():
    """The share of frames with another one."""
    network: Any = SimpleNamespace()
    objective = tune_thresholds.prediction_objective(network)
    expected = np.eye(4, dtype=np.float32)[:, None]
    outputs = expected.copy()
    outputs[0, 0] = (0, 1, 0, 0)
    assert objective(expected, expected) == 0
    assert objective(outputs, expected) == 0.25


def test_objective_of_masks():
    """1 − intersection over union of both frames together."""
    objective = tune_thresholds.prediction_objective(SelfieSegmentation())
    expected = np.zeros((2, 1, 4, 4, 1), np.float32)
    expected[:, 0, 0, :3] = 0.9
    outputs = expected.copy()
    outputs[0, 0, 0, 0] = 0.4
    outputs[1, 0, 3, 3] = 0.6
    assert objective(expected, expected) == 0
    assert objective(outputs, expected) == pytest.approx(1 - 5 / 7)


def test_objective_of_heatmaps():
    """As the library's "keypoints": one of 17 joints moves by 3 of 12 pixels in one frame of 2."""
    objective = tune_thresholds.prediction_objective(PoseResNet())
    expected = np.zeros((2, 1, 12, 8, 17), np.float32)
    expected[:, 0, 4, 5] = 1
    outputs = expected.copy()
    outputs[0, 0, 4, 5, 2] = 0
    outputs[0, 0, 7, 5, 2] = 1
    assert objective(expected, expected) == 0
    assert objective(outputs, expected) == pytest.approx(3 / 12 / 17 / 2)
    assert heatmap_shift(outputs, expected) == pytest.approx(3 / 12 / 17 / 2)
    with pytest.raises(ValueError, match="finds nothing in these frames to compare with"):
        objective(outputs, 0 * expected)


def test_objective_of_landmarks():
    """All 33 move by a tenth of the box in one of two frames with a person, in one without one."""
    objective = tune_thresholds.prediction_objective(BlazePose())
    expected = BodyPose(
        landmarks=np.zeros((3, 1, 39, 5), np.float32),
        presence=np.array([[0.9], [0.8], [0.1]], np.float32),
        segmentation=np.zeros((3, 1, 2, 2, 1), np.float32),
        world_landmarks=np.zeros((3, 1, 39, 3), np.float32),
        heatmaps=np.zeros((3, 1, 2, 2, 39), np.float32),
    )
    landmarks = expected.landmarks.copy()
    landmarks[1:, 0, :33, 1] = 25.6
    outputs = expected.replace(landmarks=landmarks)
    assert objective(expected, expected) == 0
    assert objective(outputs, expected) == pytest.approx(0.1 / 2)


def test_the_bar_advances(tuned, tmp_path):
    """A bar on a terminal: what is being done, how far it is, and the least work so far."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, highlight=False)
    options = tune_thresholds.Options(
        network=NetworkOptions(model="simple_cnn"), size=(32, 48), frames=8, passes=1,
        dilations=(1,), budget=0.05,
    )  # fmt: skip
    chosen = tune_thresholds.check(options)
    frames = read_clip(None, options.size, options.frames, 1, 0)
    network = make_network(chosen)
    variables = make_variables(chosen, network, frames)
    trials = tmp_path / "trials.jsonl"
    seen = []
    update = Progress.update

    def watched(bar, task, **fields):
        update(bar, task, **fields)
        seen.append((bar.tasks[0].completed, bar.tasks[0].total, fields["description"]))

    with mock.patch.object(Progress, "update", watched):
        tune_thresholds.tune(options, chosen, network, variables, frames, trials, {}, console)
    done = [completed for completed, _, _ in seen]
    assert done == sorted(done)
    assert 0 < done[0] < done[-1] <= seen[-1][1]
    assert seen[0][2] == "one factor for all"
    assert any(stage.startswith("pass 1 of 1: conv1") for _, _, stage in seen)
    assert seen[-1][2] == "frames held out"
    assert "multiplications" in text.getvalue()
