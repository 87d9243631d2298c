"""What kernels do with numbers bit by bit: rounding to TF32, and the norms of changes."""

import numpy as np
import pytest

from deltajax.triton_kernels.device import nearest_tf32
from deltajax.triton_kernels.interpreter import interpret
from tests.triton_kernels import toy

NAN_OF_A_GPU = np.uint32(0x7FFFFFFF).view(np.float32)
LARGEST = np.finfo(np.float32).max


def rounded(x: np.ndarray) -> np.ndarray:
    x, positive = x.copy(), np.zeros(len(x), bool)
    arrays = {"x": x, "mask": np.ones(len(x), bool), "positive": positive}
    parameters = {"size": len(x), "BLOCK": 64, "FUNCTION": nearest_tf32}
    interpret(toy.masked_map, (-(-len(x) // 64),), arrays, parameters)
    return x


def test_nearest_tf32():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=4096) * 2.0 ** rng.integers(-120, 120, 4096)).astype(np.float32)
    found = rounded(x)
    assert not (found.view(np.uint32) & 0x1FFF).any()
    # Ten bits of the mantissa are kept: half of the last one is the most that is lost.
    step = 2.0 ** (np.floor(np.log2(np.abs(x.astype(np.float64)))) - 10)
    assert (np.abs(found.astype(np.float64) - x) <= step / 2).all()
    np.testing.assert_array_equal(rounded(found), found)


def test_nearest_tf32_of_special_numbers():
    tie = np.float32(1 + 2**-11)
    x = np.array([tie, -tie, 0.0, -0.0, np.inf, -np.inf, LARGEST, -LARGEST], np.float32)
    up = np.float32(1 + 2**-10)
    expected = np.array([up, -up, 0.0, -0.0, np.inf, -np.inf, np.inf, -np.inf], np.float32)
    found = rounded(x)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))
    nans = np.array([np.nan, -np.nan, NAN_OF_A_GPU, -NAN_OF_A_GPU], np.float32)
    assert np.isnan(rounded(nans)).all()


@pytest.mark.parametrize("norm", ["max", "l2", "rms"])
@pytest.mark.parametrize("threshold", [0.0, -0.0, 0.25, np.inf])
@pytest.mark.parametrize("channels", [8, 6])
def test_norms_of_changes(norm, threshold, channels):
    """In parts, with channels beyond the last; NaN counts as changed, whatever the threshold."""
    difference = np.random.default_rng(1).normal(0, 0.1, (16, channels)).astype(np.float32)
    difference[0] = 0.0
    difference[1], difference[1, 2] = -0.0, 0.25
    difference[2], difference[2, -1] = 0.0, -0.75
    difference[3], difference[3, 0] = 0.0, np.nan
    difference[4], difference[4, 1] = 0.0, -NAN_OF_A_GPU
    difference[5], difference[5, -2] = 0.0, -np.inf
    difference[6] = 0.25
    passed = np.zeros(16, bool)
    arrays = {"difference": difference, "passed": passed}
    arrays["threshold"] = np.full(1, threshold, np.float32)
    parameters = {"ROWS": 16, "COLUMNS": channels, "NORM": norm}
    interpret(toy.changes, (1,), arrays, parameters)
    size = {
        "max": lambda x: np.abs(x).max(1),
        "l2": lambda x: np.sqrt((x * x).sum(1)),
        "rms": lambda x: np.sqrt((x * x).mean(1)),
    }[norm](difference)
    np.testing.assert_array_equal(passed, ~(size <= np.float32(threshold)))
    assert passed[3]
    assert passed[4]
    assert not passed[0]
