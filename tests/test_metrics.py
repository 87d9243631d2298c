"""Metrics, on numbers that can be counted by hand."""

import numpy as np
import pytest

from deltajax.metrics import (
    heatmap_shift,
    intersection_over_union,
    keypoint_shift,
    top1_agreement,
)


def test_top1_agreement():
    logits = np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.0], [0.0, 5.0, 1.0], [1.0, 0.0, 0.0]])
    other = logits.copy()
    other[1] = (0.0, 0.5, 0.4)
    assert top1_agreement(logits, logits) == 1
    assert top1_agreement(other, logits) == 0.75


def test_intersection_over_union():
    expected = np.array([[0.9, 0.8, 0.2, 0.1], [0.6, 0.4, 0.0, 0.0]])
    found = np.array([[0.9, 0.3, 0.7, 0.1], [0.6, 0.4, 0.0, 0.0]])
    assert intersection_over_union(found, expected) == 2 / 4
    assert intersection_over_union(found, expected, threshold=0.65) == 1 / 3
    assert intersection_over_union(np.zeros(3), np.zeros(3)) == 1
    assert intersection_over_union(np.zeros(3), np.ones(3)) == 0


def test_keypoint_shift():
    expected = np.zeros((2, 3, 2))
    points = np.array([[[3.0, 4.0], [0, 1], [0, 0]], [[0, 0], [0, 0], [9, 0]]])
    np.testing.assert_allclose(keypoint_shift(points, expected), [2, 3])
    valid = np.array([[True, True, False], [False, False, False]])
    np.testing.assert_allclose(keypoint_shift(points, expected, valid), [3, np.nan])


def heatmaps(*peaks: tuple[int, int, int, int, float]) -> np.ndarray:
    """[2, 1, 8, 6, 2], zero but for pixels (frame, row, column, joint) of a value."""
    maps = np.zeros((2, 1, 8, 6, 2))
    for frame, row, column, joint, value in peaks:
        maps[frame, 0, row, column, joint] = value
    return maps


def test_heatmap_shift():
    # Of the second frame only the first joint is sure: the other is below 0.2.
    expected = heatmaps((0, 2, 2, 0, 1), (0, 5, 3, 1, 1), (1, 3, 3, 0, 0.9), (1, 1, 1, 1, 0.1))
    assert heatmap_shift(expected, expected) == 0
    # 3 pixels of 8 and none; 3 pixels, and the unsure one, wherever it is.
    found = heatmaps((0, 5, 2, 0, 1), (0, 5, 3, 1, 1), (1, 6, 3, 0, 0.9), (1, 6, 4, 1, 0.1))
    assert heatmap_shift(found, expected) == pytest.approx(((3 + 0) / 2 + 3) / 2 / 8)
    # A neighbour moves the point by a quarter of a pixel towards it.
    found = expected + heatmaps((0, 2, 3, 0, 0.5))
    assert heatmap_shift(found, expected) == pytest.approx((0.25 / 2 + 0) / 2 / 8)
    assert heatmap_shift(found, expected, sure=0.95) == pytest.approx(0.25 / 2 / 8)
    assert np.isnan(heatmap_shift(found, expected, sure=2.0))


def test_bad_input():
    with pytest.raises(ValueError, match=r"heatmaps have shape \(8, 6, 2\); it must be"):
        heatmap_shift(np.zeros((8, 6, 2)), np.zeros((8, 6, 2)))
    with pytest.raises(ValueError, match=r"outputs of shapes \(2,\) and \(3,\) are compared"):
        top1_agreement(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match=r"valid has shape \(2,\), but there are \(3,\) points"):
        keypoint_shift(np.zeros((3, 2)), np.zeros((3, 2)), np.ones(2))
