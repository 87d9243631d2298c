"""scripts/pose_table.py: the rows, their numbers, thresholds that are found, and refusals."""

import functools
import json
from unittest import mock

import pose_table
import pytest

import deltajax as dj
from deltajax.models import resnet
from deltajax.tuning import tune_thresholds

SMALL = ["--size", "64x64", "--clips", "2", "--frames", "8", "--batches", "1", "2"]


@pytest.fixture(scope="module", autouse=True)
def small():
    """A block in each stage of ResNet-18, not two."""
    with mock.patch.dict(resnet.BLOCKS, {18: (resnet.BasicBlock, (1, 1, 1, 1))}):
        yield


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of a network with random weights, and thresholds that are found, on few clips."""
    path = tmp_path_factory.mktemp("table") / "table.json"
    quick = functools.partial(tune_thresholds, passes=0, dilations=(1,), held_out=0.5)
    networks = ["--networks", "pose_resnet18=random", "--json", str(path)]
    with (
        mock.patch.object(dj, "tune_thresholds", quick),
        mock.patch.multiple(pose_table, TUNED_CLIPS=1, TUNED_FRAMES=4),
    ):
        assert pose_table.main([*SMALL, *networks]) == 0
    return path


def test_rows(report):
    found = json.loads(report.read_text())
    assert found["command"].startswith("scripts/pose_table.py --size 64x64")
    assert found["clips"] == "figures (seeds 1000 to 1001)"
    (network,) = found["networks"]
    dense, zero, tuned = network["rows"]
    assert [row["backend"] for row in network["rows"]] == ["dense", "thresholds 0", "tuned"]
    # Random weights find nothing; but without thresholds they find the same as the dense network.
    assert zero["mean_error_pixels"] == pytest.approx(dense["mean_error_pixels"], rel=1e-3)
    assert dense["multiplications_share"] == 1
    # The sensor's noise changes every pixel: without thresholds nothing is saved.
    assert 0 < tuned["multiplications_share"] <= zero["multiplications_share"] <= 1
    assert network["multiplications"] > 1e7
    for row in network["rows"]:
        assert row["milliseconds"].keys() == {"1", "2"}
        assert all(ms > 0 for ms in row["milliseconds"].values())


def test_thresholds_that_were_found_are_kept(report):
    path = report.with_name("pose_resnet18_thresholds.json")
    found = json.loads(report.read_text())
    assert found["networks"][0]["thresholds"] == str(path)
    kept = dj.Thresholds.load(path)
    assert kept.network == "pose_resnet18"
    assert kept.found["clip"] == "figures (seeds 500 to 500)"
    # They are taken as they are when they are given.
    again = report.with_name("again.json")
    arguments = [*SMALL[:-3], "--batches", "1", "--networks", "pose_resnet18=random"]
    arguments += ["--thresholds", str(path), "--json", str(again)]
    with mock.patch.object(dj, "tune_thresholds", side_effect=AssertionError):
        assert pose_table.main(arguments) == 0
    (network,) = json.loads(again.read_text())["networks"]
    expected = found["networks"][0]["rows"][2]["multiplications_share"]
    assert network["rows"][2]["multiplications_share"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks"], "--networks needs at least one"),
        (["--thresholds", "a", "b"], "--thresholds are 2 files for 1 networks"),
        (["--size", "100x128"], "--size is 100x128; its sides must be multiples of 32"),
        (["--batches", "0"], "--clips and --batches must be at least 1"),
        (["--batches", "25"], "--batches up to 25 need as many --clips, not 24"),
        (["--frames", "3"], "--frames is 3; at least 7 are needed"),
        ([*SMALL, "--thresholds", "nothing.json"], "No such file or directory: 'nothing.json'"),
        ([*SMALL, "--networks", "resnet9"], "resnet9"),
    ],
)
def test_refusals(arguments, message, capsys):
    assert pose_table.main([*arguments, "--json", "None"]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
