"""What is wrong with a dataset is found, said and counted, and the rest is read."""

import shutil

import numpy as np
import pytest

from deltajax.datasets.human36m import read_cameras
from deltajax.datasets.human36m.index import FEW_FRAMES, find_sequences
from deltajax.datasets.human36m.report import Fault, Problem, Report

from . import fake

FIRST, SECOND = fake.CAMERAS[:2]


def find(tree, subjects=("S1", "S5")):
    return find_sequences(tree, subjects, read_cameras(tree / "metadata.xml"))


def only_problem(tree, rest: int = 7) -> Problem:
    index = find(tree)
    assert len(index.problems) == 1, index.problems
    assert len(index.sequences) == rest
    problem = index.problems[0]
    names = {sequence[:3] for sequence in index.sequences}
    assert problem[:3] not in names
    return problem


def d2(tree, camera=FIRST, action="Directions", subject="S1"):
    return tree / subject / "MyPoseFeatures" / "D2_Positions" / f"{action}.{camera}.cdf"


def d3(tree, action="Directions", subject="S1"):
    return tree / subject / "MyPoseFeatures" / "D3_Positions" / f"{action}.cdf"


def video(tree, camera=FIRST, action="Directions", subject="S1"):
    return tree / subject / "Videos" / f"{action}.{camera}.mp4"


def points(camera=FIRST, frames=fake.FRAMES):
    return fake.points(fake.positions("S1", "Directions", frames), "S1", camera)


def test_a_good_tree(good_tree):
    index = find(good_tree)
    assert index.problems == ()
    assert index.notes == ()
    assert [sequence[:3] for sequence in index.sequences] == [
        (subject, "Directions", camera) for subject in ("S1", "S5") for camera in fake.CAMERAS
    ]
    first = index.sequences[0]
    assert first.video == video(good_tree)
    assert first.annotation == d2(good_tree)
    assert first.frames == fake.FRAMES


def test_a_video_without_annotation(tree):
    d2(tree).unlink()
    problem = only_problem(tree)
    assert problem == ("S1", "Directions", FIRST, Fault.NO_ANNOTATION, problem.what)


def test_an_annotation_without_video(tree):
    video(tree).unlink()
    problem = only_problem(tree)
    assert problem == ("S1", "Directions", FIRST, Fault.NO_VIDEO, problem.what)


def test_a_few_frames_more_or_less(tree):
    in_world = fake.positions("S1", "Directions", fake.FRAMES + FEW_FRAMES)
    fake.write_cdf(d2(tree, FIRST), points(FIRST, fake.FRAMES + FEW_FRAMES))
    fake.write_cdf(d2(tree, SECOND), points(SECOND, fake.FRAMES - 5))
    fake.write_cdf(d3(tree), in_world)
    index = find(tree)
    assert index.problems[1:] == ()
    frames = {sequence[:3]: sequence.frames for sequence in index.sequences}
    assert frames["S1", "Directions", FIRST] == fake.FRAMES
    # Its D3_Positions have 22 frames: more than a few more than 7.
    assert index.problems[0][:4] == ("S1", "Directions", SECOND, Fault.LENGTH)
    fake.write_cdf(d3(tree), in_world[: fake.FRAMES])
    index = find(tree)
    assert index.problems == ()
    frames = {sequence[:3]: sequence.frames for sequence in index.sequences}
    assert frames["S1", "Directions", SECOND] == fake.FRAMES - 5


@pytest.mark.parametrize("frames", [1, fake.FRAMES + FEW_FRAMES + 1])
def test_many_frames_more_or_less(tree, frames):
    d3(tree).unlink()
    fake.write_cdf(d2(tree), points(frames=frames))
    problem = only_problem(tree)
    assert problem[:4] == ("S1", "Directions", FIRST, Fault.LENGTH)
    assert problem.what == f"D2_Positions has joints of {frames} frames, its video has 12"


def test_numbers_that_are_not_finite(tree):
    wrong = points()
    wrong[3:5, 2, 1] = np.nan
    wrong[7, 0, 0] = np.inf
    fake.write_cdf(d2(tree), wrong)
    problem = only_problem(tree)
    assert problem.fault == Fault.NUMBERS
    assert problem.what == "numbers that are not finite, in 3 frames of 12, first in 3"


def test_joints_that_are_far_away(tree):
    wrong = points()
    wrong[5, 2] = -1e9
    fake.write_cdf(d2(tree), wrong)
    problem = only_problem(tree)
    assert problem.fault == Fault.NUMBERS
    assert problem.what == "joints farther than 3000 pixels away, in 1 frames of 12, first in 5"


def test_positions_that_are_not_finite(tree):
    wrong = fake.positions("S1", "Directions")
    wrong[0, 0, 0] = np.nan
    fake.write_cdf(d3(tree), wrong)
    index = find(tree)
    assert [problem.fault for problem in index.problems] == [Fault.NUMBERS] * 4
    assert {sequence.subject for sequence in index.sequences} == {"S5"}


def test_bones_that_change_their_lengths(tree):
    wrong = fake.positions("S1", "Directions")
    wrong[6, 13] += 0.2 * (wrong[6, 13] - wrong[6, 12])  # the left forearm
    fake.write_cdf(d3(tree), wrong)
    index = find(tree)
    assert [problem.fault for problem in index.problems] == [Fault.BONES] * 4
    assert index.problems[0].what.startswith("left elbow to left wrist is from ")
    wrong[6] = fake.positions("S1", "Directions")[6]
    wrong[6, 13] += 0.05 * (wrong[6, 13] - wrong[6, 12])
    fake.write_cdf(d3(tree), wrong)
    assert find(tree).problems == ()


def test_the_annotation_of_another_camera(tree):
    shutil.copy(d2(tree, SECOND), d2(tree, FIRST))
    problem = only_problem(tree)
    assert problem[:4] == ("S1", "Directions", FIRST, Fault.PROJECTION)
    assert f"they are where camera {SECOND} does" in problem.what


def test_the_annotation_of_another_action(tree):
    other = fake.points(fake.positions("S1", "Walking"), "S1", FIRST)
    fake.write_cdf(d2(tree), other)
    problem = only_problem(tree)
    assert problem[:4] == ("S1", "Directions", FIRST, Fault.PROJECTION)
    assert "camera" not in problem.what.split("sees them")[1]


def test_a_damaged_annotation(tree):
    d2(tree).write_bytes(d2(tree).read_bytes()[:400])
    problem = only_problem(tree)
    assert problem[:4] == ("S1", "Directions", FIRST, Fault.ANNOTATION)
    assert f"Directions.{FIRST}.cdf is damaged" in problem.what


def test_damaged_positions_leave_their_checks_out(tree):
    d3(tree).write_bytes(b"")
    shutil.copy(d2(tree, SECOND), d2(tree, FIRST))
    problem = only_problem(tree, rest=8)
    assert problem[:4] == ("S1", "Directions", "", Fault.ANNOTATION)
    assert "Directions.cdf is damaged" in problem.what
    assert problem.what.endswith("; not checked by it")


def test_a_damaged_video(tree):
    video(tree).write_bytes(video(tree).read_bytes()[:200])
    problem = only_problem(tree)
    assert problem[:4] == ("S1", "Directions", FIRST, Fault.VIDEO)
    assert f"Directions.{FIRST}.mp4, frame 0: " in problem.what


def test_a_name_without_a_camera(tree):
    shutil.copy(video(tree), video(tree, "12345678"))
    problem = only_problem(tree, rest=8)
    assert problem[:4] == ("S1", "Directions", "12345678", Fault.NAME)


def test_sequences_that_are_known_to_be_bad(tmp_path):
    tree = fake.write_tree(tmp_path, ("S11",), cameras=(FIRST, SECOND))
    actions = ("Greeting", "Greeting 1", "SittingDown 1", "Waiting 1", "Waiting")
    fake.write_tree(tmp_path, ("S9",), actions, cameras=(FIRST,))
    video(tree, subject="S11").unlink()
    index = find(tree, ("S9", "S11"))
    assert [sequence[:3] for sequence in index.sequences] == [
        ("S9", "Greeting 1", FIRST),
        ("S9", "Waiting", FIRST),
        ("S11", "Directions", SECOND),
    ]
    assert [problem[:4] for problem in index.problems] == [
        ("S9", "Greeting", FIRST, Fault.KNOWN),
        ("S9", "SittingDown 1", FIRST, Fault.KNOWN),
        ("S9", "Waiting 1", FIRST, Fault.KNOWN),
        ("S11", "Directions", FIRST, Fault.KNOWN),
    ]


def test_what_cannot_be_checked_is_said(tree):
    shutil.copy(d2(tree, SECOND), d2(tree, FIRST))
    shutil.rmtree(d3(tree).parent)
    index = find(tree, ("S1", "S5", "S6"))
    assert len(index.sequences) == 8
    assert index.notes == (
        "S1: no D3_Positions: joints were not checked against the cameras, nor bones",
        "S6: neither S6/Videos nor S6/MyPoseFeatures/D2_Positions",
    )
    d3(tree).parent.mkdir()
    assert find(tree).notes == (
        "S1: no D3_Positions of Directions: its joints and bones were not checked by them",
    )
    index = find_sequences(tree, ("S5",))
    assert index.notes == ("no metadata.xml: joints were not checked against the cameras",)


def test_bones_are_checked_without_cameras(tree):
    wrong = fake.positions("S1", "Directions")
    wrong[6, 13] *= 2
    fake.write_cdf(d3(tree), wrong)
    assert {problem.fault for problem in find_sequences(tree, ("S1",)).problems} == {Fault.BONES}


def test_other_places(tree):
    features = tree / "S1" / "MyPoseFeatures"
    (features / "D2_Positions").rename(tree / "S1" / "Poses_D2_Positions")
    archive = tree / "Poses_D3_Positions_S1" / "S1" / "MyPoseFeatures"
    archive.mkdir(parents=True)
    (features / "D3_Positions").rename(archive / "D3_Positions")
    (tree / "Videos_S1" / "S1").mkdir(parents=True)
    (tree / "S1" / "Videos").rename(tree / "Videos_S1" / "S1" / "Videos")
    index = find(tree)
    assert len(index.sequences) == 8
    assert index.problems == index.notes == ()


def test_report():
    problems = (
        Problem("S5", "Walking 1", FIRST, Fault.VIDEO, "cut off"),
        Problem("S1", "Directions", FIRST, Fault.NO_VIDEO, "not there"),
        Problem("S1", "Directions", "", Fault.VIDEO, "empty"),
    )
    report = Report(3, 40, problems, ("S6: nothing",))
    assert report.counts == {Fault.VIDEO: 2, Fault.NO_VIDEO: 1}
    assert str(report).splitlines() == [
        "40 pictures from 3 sequences",
        "an annotation without video: 1",
        f"  S1 Directions {FIRST}: not there",
        "a damaged video: 2",
        f"  S5 Walking 1 {FIRST}: cut off",
        "  S1 Directions: empty",
        "S6: nothing",
    ]
    assert str(Report(2, 9)) == "9 pictures from 2 sequences"
