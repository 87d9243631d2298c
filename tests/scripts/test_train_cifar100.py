"""scripts/train_cifar100.py: a run, the study, its page, and refusals."""

import json
from unittest import mock

import numpy as np
import pytest
import train_cifar100
from _study_page import seen

from deltajax.models import create, load_weights, read_weights, resnet

TINY = ["--data", "synthetic", "--size", "32", "--train-images", "16", "--test-images", "8"]
TINY += ["--batch-size", "8", "--epochs", "2"]


@pytest.fixture(scope="module", autouse=True)
def shallow():
    """A block in each stage of ResNet-18, not two."""
    with mock.patch.dict(resnet.BLOCKS, {18: (resnet.BasicBlock, (1, 1, 1, 1))}):
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    assert train_cifar100.main([*TINY, "--study", "--out", str(folder)]) == 0
    return folder


def test_study(study):
    report = json.loads((study / "report.json").read_text())
    settings = [(run["learning_rate"], run["weight_decay"]) for run in report["runs"]]
    assert settings == [(1e-3, 0), (1e-5, 0), (0.1, 0), (1e-3, 0.1), (1e-3, 1e-5), (1e-5, 1)]
    assert report["command"].startswith("scripts/train_cifar100.py --data synthetic")
    by_setting = dict(zip(settings, report["runs"], strict=True))
    for run in report["runs"]:
        assert [line["epoch"] for line in run["epochs"]] == [1, 2]
        assert run["diverged"] is None
    last = {setting: run["epochs"][-1]["train_loss"] for setting, run in by_setting.items()}
    # Even four steps show which are of a good size.
    assert last[1e-3, 0] < last[1e-5, 0]
    assert last[1e-3, 0] < last[0.1, 0]


def test_settings_begin_alike_and_differ(study):
    """The first step's loss is before any update; what follows is the setting's."""
    losses = []
    for folder in sorted(path for path in study.iterdir() if path.is_dir()):
        steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses.append([step["loss"] for step in steps if step.get("kind") == "train"])
    assert len(losses) == 6
    first, *_, last = np.array(losses).T
    np.testing.assert_array_equal(first, first[0])
    assert len(set(last)) == 6


def test_page(study):
    page = (study / "index.html").read_text()
    assert page.count("<tr>") == 7
    assert "data:image/svg+xml;base64," in page
    assert "resnet18 on synthetic (seed 0)" in page
    assert page.count("Test accuracy is") == 6


def test_weights_go_into_the_network(study):
    network = create("resnet18", num_classes=100, stem="3x3")
    weights = read_weights(study / "lr_0.001_wd_0" / "weights.safetensors")
    variables = load_weights(network, weights)
    assert variables["params"]["fc"]["kernel"].shape == (512, 100)
    assert variables.keys() == {"params", "batch_stats"}


def test_it_goes_on(study, capsys):
    """Nothing is left to do, and the page is written again."""
    before = (study / "report.json").read_text()
    (study / "index.html").unlink()
    assert train_cifar100.main([*TINY, "--study", "--out", str(study)]) == 0
    assert (study / "report.json").read_text() == before
    assert (study / "index.html").exists()
    other = [*TINY, "--study", "--seed", "1", "--out", str(study)]
    assert train_cifar100.main(other) == 1
    assert "is of another run: data was" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nothing"], "nothing is not there; download cifar-100-binary.tar.gz"),
        (["--size", "0"], "--size, --batch-size and --epochs must be at least 1"),
        (["--size", "32", "--weights", "a.pth"], "a 7 × 7 stem, which --size 32 has not"),
        (["--train-images", "0"], "--train-images and --test-images must be at least 1"),
    ],
)
def test_refusals(arguments, message, tmp_path, capsys):
    assert train_cifar100.main([*arguments, "--out", str(tmp_path)]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def run_of(accuracy: float, training: float, gain: float = 0.0, **setting) -> dict:
    epochs = [
        {"test_accuracy": accuracy - gain, "train_accuracy": training, "test_loss": 1.0},
        {"test_accuracy": accuracy, "train_accuracy": training, "test_loss": 1.0},
    ]
    usual = {"learning_rate": 1e-3, "weight_decay": 0.0, "optimizer": "adam", "diverged": None}
    return usual | setting | {"epochs": epochs}


def test_what_is_seen():
    best = run_of(0.6, 0.65)
    slow = run_of(0.2, 0.2, gain=0.05, learning_rate=1e-5)
    decayed = run_of(0.01, 0.01, weight_decay=1.0)
    by_heart = run_of(0.5, 0.9)
    ended = run_of(0.0, 0.0) | {"diverged": 7, "epochs": []}
    runs = [best, slow, decayed, by_heart, ended]
    assert "the best by 10.0 points" in seen(best, runs)
    assert "gained 5.0 points in the last epoch" in seen(slow, runs)
    assert "too small for so few epochs" in seen(slow, runs)
    assert "about what guessing gives (a weight decay of 1 in the gradient" in seen(decayed, runs)
    assert "40 points above it" in seen(by_heart, runs)
    assert "not finite any more at step 7" in seen(ended, runs)
    assert seen(best, [best]) == "Test accuracy is 60.0%."
