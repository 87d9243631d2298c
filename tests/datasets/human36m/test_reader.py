"""Pictures and joints from a tree with the layout of Human3.6M."""

import json
import os
from typing import Any
from unittest import mock

import numpy as np
import pytest

from deltajax.datasets import DatasetError
from deltajax.datasets.human36m import read_human36m, reader
from deltajax.datasets.human36m.report import Fault

from . import fake

CAMERA = fake.CAMERAS[0]


def read(tree, subjects: tuple[str, ...] = ("S1", "S5"), **options):
    options = {"size": (48, 40), "every": 5, **options}
    return read_human36m(tree, "train", subjects=subjects, **options)


def test_pictures(good_tree):
    told = []
    pictures, report = read(good_tree, progress=told.append)
    # Frames 0, 5 and 10 of two subjects and four cameras.
    assert len(pictures) == sum(told) == report.pictures == 24
    assert report.sequences == 8
    assert report.problems == report.notes == ()
    assert pictures.images.shape == (24, 48, 40, 3)
    assert pictures.source == "Human3.6M (train of protocol 1: S1, S5; 1 of 5 frames)"
    assert pictures.counts.all()


@pytest.mark.parametrize("size", [(48, 40), (24, 24), (96, 128)])
def test_points_are_where_the_dots_are(good_tree, size):
    pictures, _ = read(good_tree, ("S1",), size=size)
    for image, points in zip(pictures.images, pictures.points, strict=True):
        found = fake.middle_of_dot(image)
        np.testing.assert_allclose(found, points[fake.HEAD_TOP], atol=0.5)


def test_every_nth_frame(good_tree):
    pictures, _ = read(good_tree, ("S5",), every=4, margin=1.5)
    in_world = fake.positions("S5", "Directions")
    for number, camera in enumerate(fake.CAMERAS):
        points = pictures.points[3 * number : 3 * number + 3].astype(np.float64)
        expected = fake.points(in_world, "S5", camera)[::4]
        # The same joints but for a shift and a scale for each picture.
        for actual, frame in zip(points, expected, strict=True):
            scale = np.ptp(actual, axis=0) / np.ptp(frame, axis=0)
            moved = (frame - frame.mean(axis=0)) * scale + actual.mean(axis=0)
            np.testing.assert_allclose(actual, moved, atol=1e-3)
            np.testing.assert_allclose(scale[0], scale[1], rtol=0.06)
            share = np.ptp(actual, axis=0) * 1.5 / [40, 48]
            assert 0.9 < share.max() <= 1


def test_joints_beyond_the_picture_do_not_count(tree):
    # The picture ends at 64: the camera is turned so that half of the person is beyond it.
    for path in (tree / "S1" / "MyPoseFeatures" / "D3_Positions").iterdir():
        path.unlink()
    shifted = fake.points(fake.positions("S1", "Directions"), "S1", CAMERA)
    shifted[..., 0] += 63.5 - np.median(shifted[..., 0])
    folder = tree / "S1" / "MyPoseFeatures" / "D2_Positions"
    fake.write_cdf(folder / f"Directions.{CAMERA}.cdf", shifted)
    pictures, _ = read(tree, ("S1",))
    expected = shifted[::5, :, 0] < 63.5
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(pictures.counts[:3], expected)
    assert not pictures.images[0, :, -5:].any()


def test_a_tight_box_leaves_joints_out(good_tree):
    pictures, _ = read(good_tree, margin=0.5)
    inside = np.all((pictures.points >= -0.5) & (pictures.points < [39.5, 47.5]), axis=-1)
    assert 0 < inside.sum() < inside.size
    np.testing.assert_array_equal(pictures.counts, inside)


def test_protocols(tmp_path):
    everyone = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
    tree = fake.write_tree(tmp_path, everyone, ("Walking",), (CAMERA,))
    for protocol, count in ((1, 5), (2, 6)):
        parts: dict[Any, tuple[str, ...]] = {"train": everyone[:count], "test": everyone[count:]}
        for part, subjects in parts.items():
            pictures, report = read_human36m(tree, part, protocol=protocol, size=(32, 32))
            assert len(pictures) == report.sequences == len(subjects)
            assert f"{part} of protocol {protocol}: {', '.join(subjects)};" in pictures.source
    with pytest.raises(ValueError, match=r"subjects must be some of S9, S11 .* got S1"):
        read_human36m(tree, "test", subjects=("S1",))
    with pytest.raises(ValueError, match="got none"):
        read_human36m(tree, "test", subjects=())
    with pytest.raises(ValueError, match="protocol must be 1 or 2, got 3"):
        read_human36m(tree, "test", protocol=3)
    wrongs: tuple[dict[str, Any], ...] = ({"every": 0}, {"margin": 0.0}, {"size": (0, 3)})
    for wrong in wrongs:
        with pytest.raises(ValueError, match="size, every and margin must be positive"):
            read_human36m(tree, "test", **wrong)


def test_a_video_that_is_damaged_in_the_middle(tree):
    video = tree / "S1" / "Videos" / f"Directions.{CAMERA}.mp4"
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 7 // 8])
    pictures, report = read(tree, every=1)
    assert report.counts == {Fault.VIDEO: 1}
    problem = report.problems[0]
    kept = int(problem.what.split("; ")[1].split()[0])
    assert problem[:3] == ("S1", "Directions", CAMERA)
    assert problem.what.endswith(f"; {kept} pictures before that are kept")
    assert 4 <= kept <= 10
    assert len(pictures) == report.pictures == kept + 7 * fake.FRAMES
    # The next picture is the first of the next camera.
    for number in (kept - 1, kept):
        found = fake.middle_of_dot(pictures.images[number])
        np.testing.assert_allclose(found, pictures.points[number, fake.HEAD_TOP], atol=0.5)


def test_metadata(tree, tmp_path):
    (tree / "metadata.xml").rename(tmp_path / "other.xml")
    _, report = read(tree)
    assert report.notes == ("no metadata.xml: joints were not checked against the cameras",)
    _, report = read(tree, metadata=tmp_path / "other.xml")
    assert report.notes == ()
    with pytest.raises(DatasetError, match=r"nowhere.xml is not there"):
        read(tree, metadata=tmp_path / "nowhere.xml")
    (tree / "metadata.xml").write_text("<db/>")
    with pytest.raises(DatasetError, match="has no element w0"):
        read(tree)


def test_nothing_to_read(tmp_path, tree):
    message = r"in .*there must be S1/Videos, S1/MyPoseFeatures/D2_Positions and so on for S1, S5\n"
    with pytest.raises(DatasetError, match=message + r"0 pictures[^$]*S1: neither S1/Videos"):
        read(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / "nowhere", cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    for subject in ("S1", "S5"):
        for video in (tree / subject / "Videos").iterdir():
            video.unlink()
    with pytest.raises(DatasetError, match=message + r"[^$]*an annotation without video: 8\n"):
        read(tree)


@pytest.fixture
def reads():
    """Counts how often videos are read."""
    with mock.patch.object(reader, "_read", wraps=reader._read) as counted:
        yield counted


def check_same(actual, expected):
    for name in ("images", "points", "counts"):
        np.testing.assert_array_equal(getattr(actual[0], name), getattr(expected[0], name))
    assert actual[0].source == expected[0].source
    assert actual[1] == expected[1]


def test_cache(tree, tmp_path, reads):
    (tree / "S1" / "Videos" / f"Directions.{CAMERA}.mp4").unlink()
    cache = tmp_path / "deep" / "cache"
    expected = read(tree)
    for _ in range(2):
        found = read(tree, cache=cache)
        check_same(found, expected)
        assert isinstance(found[0].images, np.memmap)
    assert reads.call_count == 2
    (place,) = cache.iterdir()
    assert sorted(path.name for path in place.iterdir()) == [
        *("counts.npy", "images.npy", "pictures.json", "points.npy"),
    ]
    description = json.loads((place / "pictures.json").read_text())["description"]
    assert description["size"] == [48, 40]
    assert description["subjects"] == ["S1", "S5"]
    assert str(tmp_path) not in json.dumps(description)


def test_the_cache_is_not_taken_for_something_else(tree, tmp_path, reads):
    cache = tmp_path / "cache"
    read(tree, cache=cache)
    others: tuple[dict[str, Any], ...]
    others = ({"size": (40, 40)}, {"every": 6}, {"margin": 1.3}, {"subjects": ("S1",)})
    for count, other in enumerate(others, 2):
        expected = read(tree, **other)
        check_same(read(tree, cache=cache, **other), expected)
        assert len(list(cache.iterdir())) == count
    # Another protocol with the same subjects has the same pictures.
    before = reads.call_count
    found, _ = read(tree, cache=cache, protocol=2)
    assert "protocol 2" in found.source
    assert reads.call_count == before
    # A file of the dataset changes.
    os.utime(tree / "S1" / "Videos" / f"Directions.{CAMERA}.mp4", (1, 1))
    read(tree, cache=cache)
    assert reads.call_count == before + 1
    (tree / "metadata.xml").unlink()
    _, report = read(tree, cache=cache)
    assert report.notes
    # The whole dataset moves, which does not count.
    before = reads.call_count
    read(tree.rename(tmp_path / "moved"), cache=cache)
    assert reads.call_count == before


def test_a_cache_that_is_interrupted_or_damaged(good_tree, tmp_path, reads):
    def interrupt(count):
        raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        read(good_tree, cache=cache, progress=interrupt)
    assert list(cache.iterdir()) == []
    expected = read(good_tree, cache=cache)
    (place,) = cache.iterdir()
    for damaged in ("pictures.json", "images.npy", "points.npy"):
        before = reads.call_count
        (place / damaged).write_bytes((place / damaged).read_bytes()[:50])
        check_same(read(good_tree, cache=cache), expected)
        assert reads.call_count == before + 1
    assert list(cache.iterdir()) == [place]
