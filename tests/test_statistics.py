import numpy as np
import pytest

import deltajax as dj
from deltajax.models import SimpleCNN
from deltajax.statistics import multiplications_share, read_statistics, total, work_heat
from tests.helpers import random_variables


def entry(active, updated, pixels: int, multiplications: float) -> dict[str, np.ndarray]:
    """What a scan records of one update point, for active and updated [T, N]."""
    steps = len(active)
    return {
        "active": np.array(active, np.int32),
        "updated": np.array(updated, np.int32),
        "pixels": np.full(steps, pixels, np.int32),
        "multiplications": np.full(steps, multiplications, np.float32),
    }


COLLECTION = {
    "sparsify": entry([[16, 16], [4, 0]], [[16, 16], [4, 0]], 16, 0.0),
    "stage": {"conv": entry([[4, 4], [2, 0]], [[4, 4], [1, 0]], 4, 10.0)},
    "head": entry([[1, 1], [1, 0]], [[1, 1], [0, 0]], 1, 60.0),
}


def test_shares_of_each_update_point():
    points = {point.name: point for point in read_statistics(COLLECTION)}
    assert set(points) == {"sparsify", "stage/conv", "head"}
    conv = points["stage/conv"]
    np.testing.assert_array_equal(conv.active, [[1, 1], [0.5, 0]])
    np.testing.assert_array_equal(conv.updated, [[1, 1], [0.25, 0]])
    np.testing.assert_array_equal(conv.multiplications, [[40, 40], [20, 0]])
    assert conv.dense_multiplications == 40


def test_share_of_multiplications_of_each_frame():
    share = multiplications_share(read_statistics(COLLECTION))
    np.testing.assert_allclose(share, [[1, 1], [0.8, 0]])


def test_totals_count_frames_that_are_there():
    points = read_statistics(COLLECTION)
    everything = total(points)
    assert everything.frames == 4
    assert everything.dense_multiplications == 100
    assert everything.multiplications_share == pytest.approx(280 / 400)
    assert everything.update_rate == pytest.approx((36 + 9 + 2) / (4 * 21))
    present = np.array([[True, True], [True, False]])
    counted = total(points, present)
    assert counted.frames == 3
    assert counted.active_fraction["stage/conv"] == pytest.approx(10 / 12)


def test_totals_of_parts_add_up():
    points = read_statistics(COLLECTION)
    first = np.array([[True, True], [False, False]])
    assert total(points, first) + total(points, ~first) == total(points)
    other = read_statistics({"conv": entry([[1]], [[1]], 4, 1.0)})
    with pytest.raises(ValueError, match="different models"):
        _ = total(points) + total(other)


def test_totals_of_nothing_are_zero():
    nothing = total(read_statistics(COLLECTION), np.zeros((2, 2), bool))
    assert nothing.update_rate == 0
    assert nothing.multiplications_share == 0
    assert set(nothing.active_fraction.values()) == {0.0}


def test_heat_is_the_share_of_work_at_each_pixel():
    points = read_statistics(COLLECTION)
    conv = np.array([[[True, False], [False, False]]])
    masks = {
        "sparsify": {"computed": np.ones((1, 4, 4), bool)},
        "stage": {"conv": {"computed": conv}},
        "head": {"computed": np.ones((1, 1, 1), bool)},
    }
    heat = work_heat(masks, points, 4, 4)
    expected = np.full((1, 4, 4), 0.6)
    expected[:, :2, :2] = 1.0
    np.testing.assert_allclose(heat, expected, rtol=1e-6)


def test_heat_of_a_network_without_multiplications_is_zero():
    points = read_statistics({"sparsify": COLLECTION["sparsify"]})
    heat = work_heat({"sparsify": {"computed": np.ones((2, 4, 4), bool)}}, points, 8, 8)
    assert heat.shape == (2, 8, 8)
    assert not heat.any()


def test_of_a_model(procedural_frames):
    model = SimpleCNN(input_threshold=0.3, threshold=0.2)
    frames = procedural_frames[:4]
    variables = random_variables(model, frames[0])
    collect = ("statistics", "masks")
    _, _, recorded = dj.scan_frames(model, variables, frames, collect=collect)
    points = read_statistics(recorded["statistics"])
    share = multiplications_share(points)
    heat = work_heat(recorded["masks"], points, *frames.shape[2:4])
    assert heat.shape == frames.shape[:4]
    assert heat.max() <= 1
    # Sizes of maps divide the input's here, so that nothing is lost by enlarging.
    np.testing.assert_allclose(heat.mean(axis=(2, 3)), share, rtol=1e-4)
    assert share[0, 0] == pytest.approx(1)
    assert 0 < share[1:].max() < 0.6
