"""Scores of poses, by hand."""

import numpy as np
import pytest

from deltajax.datasets import pose_scores


def poses(number: int = 2) -> np.ndarray:
    """With a torso of 50 pixels and a head of 20."""
    points = np.zeros((number, 17, 2))
    points[:, 14] = (0, 100)
    points[:, 4] = (30, 60)
    points[:, 8] = (200, 100)
    points[:, 10] = (200, 80)
    return points


COUNTS = np.ones((2, 17), bool)


def test_exact():
    scores = pose_scores(poses(), poses(), COUNTS)
    assert (scores.mean_pck, scores.mean_pckh, scores.mean_error) == (1, 1, 0)
    assert scores.count == 34


def test_by_hand():
    found = poses()
    found[0, 3] += (9.9, 0)
    found[1, 3] += (0, 10.1)
    scores = pose_scores(found, poses(), COUNTS)
    # Within 0.2 · 50 of the torso, and 0.5 · 20 of the head.
    assert scores.pck[3] == scores.pckh[3] == 0.5
    assert scores.error[3] == pytest.approx(10.0)
    assert scores.mean_error == pytest.approx(20 / 34)
    assert scores.mean_pck == pytest.approx(33 / 34)


def test_what_does_not_count():
    found = poses()
    found[:, 5] += 1000
    counts = COUNTS.copy()
    counts[:, 5] = False
    scores = pose_scores(found, poses(), counts)
    assert scores.mean_pck == 1
    assert np.isnan(scores.pck[5])
    assert scores.count == 32
    with pytest.raises(ValueError, match="no joint is scored"):
        pose_scores(found, poses(), ~COUNTS)


def test_nan_is_never_right():
    found = poses()
    found[0, 0] = np.nan
    scores = pose_scores(found, poses(), COUNTS)
    assert scores.pck[0] == 0.5
    assert scores.mean_error == np.inf
