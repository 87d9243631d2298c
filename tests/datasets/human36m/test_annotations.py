"""Joints from CDF files, and from files that are something else."""

import sys
from unittest import mock

import numpy as np
import pytest

from deltajax.datasets import DatasetError
from deltajax.datasets.human36m.annotations import read_points, read_positions

from . import fake


@pytest.fixture
def file(tmp_path):
    return tmp_path / "Directions 1.54138969.cdf"


def test_the_joints_are_those_of_the_names(file):
    pose = np.arange(2 * 32 * 2, dtype=np.float32).reshape(1, 2, 64)
    fake.write_pose(file, pose)
    points = read_points(file)
    assert points.shape == (2, 17, 2)
    # Of the second frame: the left shoulder is joint 17, the right wrist joint 27.
    np.testing.assert_array_equal(points[1, 11], [64 + 34, 64 + 35])
    np.testing.assert_array_equal(points[1, 16], [64 + 54, 64 + 55])


def test_positions(file):
    expected = fake.positions("S1", "Directions")
    fake.write_cdf(file, expected)
    np.testing.assert_allclose(read_positions(file), expected, rtol=1e-6)


def test_something_else(file):
    fake.write_cdf(file, np.zeros((4, 17, 3)))
    with pytest.raises(DatasetError, match=r"54138969.cdf is something else.*\(1, 4, 96\).*T, 64"):
        read_points(file)
    fake.write_pose(file, np.zeros((2, 4, 64)))
    with pytest.raises(DatasetError, match=r"is something else: .* shape \(2, 4, 64\)"):
        read_points(file)
    fake.write_cdf(file, np.zeros((4, 17, 2)), variable="Angles")
    with pytest.raises(DatasetError, match=r"no CDF file with a variable Pose: .*not found"):
        read_points(file)
    file.write_text("no CDF")
    with pytest.raises(DatasetError, match=r"54138969.cdf is damaged or no CDF file"):
        read_points(file)
    with pytest.raises(DatasetError, match="not found"):
        read_points(file.with_name("other.cdf"))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_file_that_is_cut_off(file, share):
    fake.write_cdf(file, fake.positions("S1", "Directions"))
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match=r"54138969.cdf is damaged"):
        read_positions(file)


def test_without_cdflib(file):
    with (
        mock.patch.dict(sys.modules, {"cdflib": None}),
        pytest.raises(ImportError, match=r"pip install deltajax\[human36m\]"),
    ):
        read_points(file)
