"""Cameras from metadata.xml, and where they see points."""

import math

import numpy as np
import pytest

from deltajax.datasets import DatasetError
from deltajax.datasets.human36m import Camera, project, read_cameras

from . import fake

PLAIN = Camera(np.eye(3), np.zeros(3), np.full(2, 100.0), np.zeros(2), np.zeros(3), np.zeros(2))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "metadata.xml"
    path.write_text(fake.metadata())
    return path


def test_all_cameras(file):
    cameras = read_cameras(file)
    assert len(cameras) == 44
    for subject in ("S1", "S9", "S11"):
        for name in fake.CAMERAS:
            camera = cameras[subject, name]
            axes, position = fake.place(subject, name)
            np.testing.assert_allclose(camera.rotation, axes, atol=1e-9)
            np.testing.assert_allclose(camera.position, position)
            numbers = camera.focal, camera.centre, camera.radial, camera.tangential
            for actual, expected in zip(numbers, fake.OPTICS[name], strict=True):
                np.testing.assert_allclose(actual, expected)


def test_rotation_is_about_x_after_y_after_z(tmp_path):
    numbers = np.zeros(300)
    numbers[:3] = 0.3, math.pi / 2, 0
    numbers[6:9] = 0.3, 0, math.pi / 2
    (tmp_path / "metadata.xml").write_text(fake.metadata(numbers))
    cameras = read_cameras(tmp_path / "metadata.xml")
    sin, cos = math.sin(0.3), math.cos(0.3)
    # A quarter turn about y takes z to x; about z, x to y, which the turn about x then tilts.
    first, second = (cameras[subject, fake.CAMERAS[0]].rotation for subject in ("S1", "S2"))
    np.testing.assert_allclose(first @ [0, 0, 1], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(second @ [1, 0, 0], [0, cos, sin], atol=1e-9)


def test_projection_by_hand():
    points = np.array([[1.0, 2.0, 4.0], [0.0, 0.0, 9.0]])
    np.testing.assert_allclose(project(points, PLAIN), [[25, 50], [0, 0]])
    moved = PLAIN._replace(position=np.array([1.0, 0.0, 2.0]), centre=np.array([7.0, 8.0]))
    np.testing.assert_allclose(project(points[0], moved), [7, 108])
    # x, y = 0.25, 0.5: r² = 0.3125.
    r2 = 0.3125
    radial = PLAIN._replace(radial=np.array([0.1, 0.2, 0.3]))
    factor = 1 + 0.1 * r2 + 0.2 * r2**2 + 0.3 * r2**3
    np.testing.assert_allclose(project(points[0], radial), [25 * factor, 50 * factor])
    tangential = PLAIN._replace(tangential=np.array([0.01, 0.02]))
    factor = 1 + 0.01 * 0.5 + 0.02 * 0.25
    expected = [25 * factor + 100 * 0.02 * r2, 50 * factor + 100 * 0.01 * r2]
    np.testing.assert_allclose(project(points[0], tangential), expected)


def test_projection_of_the_fake_cameras(file):
    cameras = read_cameras(file)
    in_world = fake.positions("S6", "Walking", 3)
    for name in fake.CAMERAS:
        actual = project(in_world, cameras["S6", name])
        np.testing.assert_allclose(actual, fake.points(in_world, "S6", name), atol=1e-6)


def test_the_axis_goes_through_the_centre(file):
    for camera in read_cameras(file).values():
        along = camera.position + np.array([[100.0], [5000.0]]) * camera.rotation[2]
        np.testing.assert_allclose(project(along, camera), [camera.centre] * 2, atol=1e-6)


def test_points_behind_the_camera_are_not_seen():
    points = np.array([[1.0, 2.0, -4.0], [1.0, 2.0, 0.0], [1.0, 2.0, 4.0]])
    seen = np.isfinite(project(points, PLAIN)).all(axis=-1)
    assert seen.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<db><dbcameras/></db>", "is not Human3.6M's metadata.xml: it has no element w0"),
        ("<db><w0>[1 2 3", "is damaged or no XML"),
        ("", "is damaged or no XML"),
        ("<db><w0>[1 2 three]</w0></db>", "w0 holds something else than numbers"),
        (fake.metadata(np.ones(299)), "w0 has 299 finite numbers, and must have 300"),
        (fake.metadata([math.nan] * 300), "w0 has 0 finite numbers, and must have 300"),
        (fake.metadata().replace("55011271", "55"), "names the cameras 54138969, 55, 58860488"),
    ],
)
def test_damage(file, content, message):
    file.write_text(content)
    with pytest.raises(DatasetError, match=f"metadata.xml .*{message}"):
        read_cameras(file)


def test_cameras_without_names_are_in_order(file):
    expected = read_cameras(file)
    file.write_text(fake.metadata().replace("index2id", "other"))
    assert read_cameras(file).keys() == expected.keys()


def test_no_file(tmp_path):
    with pytest.raises(DatasetError, match=r"metadata.xml is not there; .* code release"):
        read_cameras(tmp_path / "metadata.xml")
