"""scripts/train_pose.py: a run, what it writes, that it goes on, and refusals."""

import json
from unittest import mock

import _pose
import numpy as np
import pytest
import train_pose
from safetensors import safe_open

from deltajax.datasets import JOINT_NAMES
from deltajax.models import create, load_weights, read_weights, resnet
from deltajax.video import VideoReader

TINY = ["--size", "64x64", "--train-pictures", "16", "--test-pictures", "6", "--batch-size", "8"]
TINY += ["--epochs", "2"]


@pytest.fixture(scope="module", autouse=True)
def small():
    """A block in each stage of ResNet-18, not two; few clips, and short ones."""
    shallow = {18: (resnet.BasicBlock, (1, 1, 1, 1))}
    with (
        mock.patch.dict(resnet.BLOCKS, shallow),
        mock.patch.multiple(_pose, CLIPS=2, CLIP_FRAMES=3, EXAMPLES=(1, 3), CHUNK=6),
    ):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pose")
    assert train_pose.main([*TINY, "--out", str(folder)]) == 0
    return folder


def test_report(trained):
    report = json.loads((trained / "report.json").read_text())
    assert report["command"].startswith("scripts/train_pose.py --size 64x64")
    assert (report["data"], report["size"]) == ("figures (seed 0)", "64x64")
    assert (report["train_pictures"], report["test_pictures"]) == (16, 6)
    assert report["diverged"] is None
    assert [epoch["epoch"] for epoch in report["epochs_done"]] == [1, 2]
    # Four steps from random weights: errors at joints become smaller, and that is all.
    first, last = report["epochs_done"]
    assert last["train_loss"] < first["train_loss"]
    assert report["scores"].keys() == {"pictures", "clips"}
    for scores in report["scores"].values():
        assert 0 <= scores["pck_0.2"] <= 1
        assert scores["mean_error_pixels"] > 0
        assert scores["pck_0.2_of_each"].keys() == set(JOINT_NAMES)


def test_weights_are_half_as_large_and_go_into_the_network(trained):
    path = trained / "weights.safetensors"
    with safe_open(path, "numpy") as file:
        assert file.metadata()["trained_on"] == "figures (seed 0)"
        assert all(file.get_tensor(key).dtype == np.float16 for key in file.keys())  # noqa: SIM118
    variables = load_weights(create("pose_small"), read_weights(path))
    assert variables["params"]["head"]["kernel"].shape == (1, 1, 64, 17)


def test_pictures(trained):
    with VideoReader(trained / "examples.png") as reader:
        assert (reader.height, reader.width) == (2 * 64, 3 * 2 * 64)
    assert b"<svg" in (trained / "curves.svg").read_bytes()


def test_it_goes_on(trained):
    """Nothing is left to do, and the scores are those of the same weights."""
    before = json.loads((trained / "report.json").read_text())
    assert train_pose.main([*TINY, "--out", str(trained)]) == 0
    assert json.loads((trained / "report.json").read_text())["scores"] == before["scores"]


def test_weights_to_start_from(trained):
    weights = trained / "weights.safetensors"
    _, start = train_pose.prepare(train_pose.Options(weights=weights))
    assert start is not None
    before = read_weights(weights)
    kernel = start["params"]["backbone"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, before["params/backbone/conv1/kernel"])
    head = start["params"]["head"]["kernel"]
    assert not np.allclose(head, before["params/head/kernel"], atol=1e-3)


def test_what_a_run_is_of(trained):
    """All that changes the weights, and nothing else."""
    usual = train_pose.Options()
    data = mock.MagicMock()
    data.train.__len__.return_value = data.test.__len__.return_value = 7

    def differs(**changed):
        other = train_pose.Options(**changed)
        return train_pose.subject(other, data) != train_pose.subject(usual, data)

    assert differs(sigma=1.0)
    assert differs(foreground=0.0)
    assert differs(epochs=3)
    assert not differs(out=trained, cache=trained, checkpoint_steps=5, save_dtype="float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "100x128"], "--size is 100x128; its sides must be multiples of 32"),
        (["--epochs", "0"], "--batch-size, --epochs and --every must be at least 1"),
        (["--train-pictures", "0"], "--train-pictures and --test-pictures must be at least 1"),
        (["--backgrounds", "nothing.mp4"], "nothing.mp4"),
        (["--data", "nothing"], "nothing"),
        (["--learning-rate", "-1", *TINY], "learning_rate is -1.0"),
    ],
)
def test_refusals(arguments, message, tmp_path, capsys):
    assert train_pose.main([*arguments, "--out", str(tmp_path)]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
