"""Which sequences of Human3.6M are there and fit together."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from deltajax.video import VideoError, VideoReader

from ..errors import DatasetError
from .annotations import read_points, read_positions
from .cameras import CAMERAS, Camera
from .checks import FARTHEST, Wrong, check_bones, check_numbers, check_projection
from .folders import Name, find_files, places
from .protocols import known_fault
from .report import Fault, Problem

FEW_FRAMES = 10
"""Frames by which a video and its annotation may differ: some videos go on for a few frames, says
akanazawa/human_dynamics, which takes the common part."""


class Sequence(NamedTuple):
    """A video of one camera, and its joints.

    Attributes:
        subject: "S1", for example.
        action: "Directions 1", for example: the name of the files.
        camera: its id.
        video: its file.
        annotation: the file of D2_Positions.
        frames: that both have.
    """

    subject: str
    action: str
    camera: str
    video: Path
    annotation: Path
    frames: int


class Index(NamedTuple):
    """What `find_sequences` found.

    Attributes:
        sequences: that can be used.
        problems: of the others.
        notes: what was not there, and what could not be checked for that.
    """

    sequences: tuple[Sequence, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def find_sequences(
    root: Path | str,
    subjects: tuple[str, ...],
    cameras: Mapping[tuple[str, str], Camera] | None = None,
) -> Index:
    """Pairs the videos of these subjects with their annotations, and checks each pair.

    A sequence with which something is wrong is passed over, and the first thing that is wrong with
    it is listed. Video and annotation may differ by `FEW_FRAMES`; then the common part counts.
    Of the videos only the first frame is decoded here.

    Args:
        root: the folder with those of the subjects.
        subjects: "S1", for example.
        cameras: from `read_cameras`; None leaves out the check of the joints in the picture against
            those in the world.

    Raises:
        ImportError: PyAV or cdflib is not installed.
    """
    root = Path(root)
    sequences: list[Sequence] = []
    problems: list[Problem] = []
    notes: list[str] = []
    if cameras is None:
        notes.append("no metadata.xml: joints were not checked against the cameras")
    for subject in subjects:
        for item in _of_subject(root, subject, cameras):
            if isinstance(item, Sequence):
                sequences.append(item)
            elif isinstance(item, Problem):
                problems.append(item)
            else:
                notes.append(f"{subject}: {item}")
    return Index(tuple(sequences), tuple(problems), tuple(notes))


def _of_subject(
    root: Path, subject: str, cameras: Mapping[tuple[str, str], Camera] | None
) -> Iterator[Sequence | Problem | str]:
    """Sequences, problems, and notes."""
    videos = find_files(root, "Videos", subject)
    annotations = find_files(root, "D2_Positions", subject)
    if videos is None and annotations is None:
        yield f"neither {places('Videos', subject)[0]} nor {places('D2_Positions', subject)[0]}"
        return
    videos, annotations = videos or {}, annotations or {}
    positions = find_files(root, "D3_Positions", subject)
    if positions is None:
        yield "no D3_Positions: joints were not checked against the cameras, nor bones"
    own = {camera: cameras[subject, camera] for camera in CAMERAS} if cameras else None
    names = sorted(videos.keys() | annotations.keys())
    for action, group in itertools.groupby(names, lambda name: name.action):
        in_world = None
        file = (positions or {}).get(Name(action, ""))
        if file is not None:
            try:
                in_world = read_positions(file)
            except DatasetError as error:
                yield Problem(subject, action, "", Fault.ANNOTATION, f"{error}; not checked by it")
        elif positions is not None:
            yield f"no D3_Positions of {action}: its joints and bones were not checked by them"
        for name in group:
            try:
                yield _sequence(
                    subject, name, videos.get(name), annotations.get(name), in_world, own
                )
            except Wrong as wrong:
                yield Problem(subject, action, name.camera, wrong.fault, str(wrong))


def _sequence(
    subject: str,
    name: Name,
    video: Path | None,
    annotation: Path | None,
    positions: Float32[np.ndarray, "T 17 3"] | None,
    cameras: Mapping[str, Camera] | None,
) -> Sequence:
    """The sequence of these files. Raises Wrong."""
    known = known_fault(subject, *name)
    if name.camera not in CAMERAS:
        raise Wrong(Fault.NAME, "its name ends with none of the cameras")
    if known is not None:
        raise Wrong(Fault.KNOWN, known)
    if annotation is None:
        raise Wrong(Fault.NO_ANNOTATION, "D2_Positions has no such file")
    if video is None:
        raise Wrong(Fault.NO_VIDEO, "Videos has no such file")
    try:
        points = read_points(annotation)
    except DatasetError as error:
        raise Wrong(Fault.ANNOTATION, str(error)) from error
    check_numbers(points, FARTHEST)
    if positions is not None:
        check_numbers(positions)
        check_bones(positions)
        common = _common(len(points), len(positions), "its D3_Positions")
        if cameras is not None:
            check_projection(points[:common], positions[:common], name.camera, cameras)
    frames = _common(len(points), _count_frames(video), "its video")
    return Sequence(subject, *name, video, annotation, frames)


def _common(annotated: int, others: int, what: str) -> int:
    """Frames that both have. Raises Wrong if one has many more."""
    if abs(annotated - others) > FEW_FRAMES:
        raise Wrong(
            Fault.LENGTH, f"D2_Positions has joints of {annotated} frames, {what} has {others}"
        )
    return min(annotated, others)


def _count_frames(video: Path) -> int:
    """As the file says, in which the first frame can be decoded. Raises Wrong."""
    try:
        with VideoReader(video) as reader:
            frames = reader.frame_count
    except VideoError as error:
        raise Wrong(Fault.VIDEO, str(error)) from error
    if not frames:
        raise Wrong(Fault.VIDEO, "the file does not say how many frames it has")
    return frames
