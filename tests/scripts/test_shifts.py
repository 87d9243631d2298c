"""scripts/_shifts.py: distances of keypoints and errors of outputs, counted by hand."""

import numpy as np
import pytest
from _predictions import prediction_of
from _shifts import Shifts

from deltajax.models import BlazePose, BodyPose, PoseResNet


def body(presence: float, shift: float = 0.0) -> BodyPose:
    """One picture; the first landmark is moved by `shift` pixels of the box of 256."""
    landmarks = np.zeros((1, 39, 5), np.float32)
    landmarks[0, 0, 0] = shift
    ones = np.ones((1, 2, 2, 1), np.float32)
    return BodyPose(landmarks, ones, np.array([presence], np.float32), ones * (1 + shift), ones)


def test_landmarks():
    """One of 33 moves by a tenth of the box; of a frame in which nobody is, nothing counts."""
    shifts, prediction = Shifts(), prediction_of(BlazePose(), trained=True)
    shifts.add(prediction, body(0.9, shift=25.6), body(0.9))
    shifts.add(prediction, body(0.9), body(0.9))
    shifts.add(prediction, body(0.9, shift=128), body(0.1))
    report = shifts.report()
    assert report["frames_with_keypoints"] == 2
    assert report["keypoint_shifts"] == pytest.approx(
        {
            "mean": 0.1 / 66,
            "percentile_95": 0,
            "largest": 0.1,
            "above_1_percent": 1 / 66,
            "frames_above_1_percent": 0,
        }
    )
    errors = report["relative_errors_of_frames_with_keypoints"]
    assert errors["heatmaps"] == errors["world_landmarks"] == 0
    assert errors["segmentation"] == pytest.approx(25.6 / np.sqrt(2))


def test_heatmaps():
    """Two of 17 are sure, and one of them moves by three of twelve pixels."""
    expected = np.zeros((2, 12, 8, 17), np.float32)
    expected[0, 4, 5, :2] = 0.9
    outputs = expected.copy()
    outputs[0, 4, 5, 1] = 0
    outputs[0, 7, 5, 1] = 0.9
    shifts = Shifts()
    shifts.add(prediction_of(PoseResNet(), trained=True), outputs, expected)
    report = shifts.report()
    assert report["frames_with_keypoints"] == 1
    assert report["keypoint_shifts"]["mean"] == pytest.approx(0.25 / 2)
    assert report["keypoint_shifts"]["frames_above_1_percent"] == 1
    assert report["relative_errors_of_frames_with_keypoints"] == {"output": pytest.approx(1)}


def test_nothing_to_count():
    shifts = Shifts()
    assert shifts.report() == {}
    shifts.add(prediction_of(BlazePose(), trained=True), body(0.1), body(0.1))
    assert shifts.report() == {}
