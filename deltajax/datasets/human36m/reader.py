"""Pictures and joints of Human3.6M."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from deltajax.video import VideoError
from deltajax.video._source import VideoSource

from ..errors import DatasetError
from ..pose_pictures import PosePictures
from .annotations import read_points
from .cache import Pictures, cached, describe
from .cameras import read_cameras
from .crops import box_around, crop, in_picture, to_crop
from .folders import places
from .index import Index, Sequence, find_sequences
from .protocols import PROTOCOLS
from .report import Fault, Problem, Report


def read_human36m(
    root: Path | str,
    part: Literal["train", "test"],
    *,
    protocol: int = 1,
    size: tuple[int, int] = (256, 256),
    every: int = 64,
    margin: float = 1.25,
    cache: Path | str | None = None,
    metadata: Path | str | None = None,
    subjects: tuple[str, ...] | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[PosePictures, Report]:
    """Pictures of the people in Human3.6M (Ionescu et al., PAMI 2014), with their 17 joints.

    The folder is as the dataset is distributed to those who register for it: S1/Videos with
    "Directions 1.54138969.mp4" and others, S1/MyPoseFeatures/D2_Positions with
    "Directions 1.54138969.cdf", S1/MyPoseFeatures/D3_Positions with "Directions 1.cdf", and so on
    for the other subjects; `folders.py` lists other places in which they are found. D3_Positions
    and metadata.xml only serve to check the joints.

    Nothing that is missing or wrong stops reading: it is passed over, and listed in the report. See
    `Fault` for what is looked for.

    Each picture is cut out around the joints, in the aspect of `size`, and scaled to it as
    `VideoReader` scales. Where it reaches beyond the video's picture it is black. Joint n of frame
    t is row t of D2_Positions; its numbers are taken as pixels from the middle of the first one.
    `counts` is True for joints that are in the crop and in the video's picture, hidden or not.

    Args:
        root: the folder with those of the subjects.
        part: which subjects: `PROTOCOLS` has them, and says where they are from.
        protocol: 1 or 2.
        size: (H, W) of the pictures.
        every: take each video's first frame and then every `every`-th, at 50 per second.
        margin: the box that is cut out is this many times as large as the joints' own, or larger.
        cache: a folder in which pictures are kept, and from which they are mapped when the same is
            asked for again and the dataset's files have not changed. Without it they are in memory.
        metadata: metadata.xml of the dataset's code release; that in `root` if not given, and
            there need not be one.
        subjects: of this part, to read fewer.
        progress: called with the number of pictures that have been read since the last call; not
            if they are in the cache.

    Returns:
        The pictures, in the order of subjects, actions, cameras and frames, and what was and was
        not read.

    Raises:
        DatasetError: nothing can be read, or metadata.xml is damaged.
        ValueError: an argument is out of range.
        ImportError: PyAV or cdflib is not installed.
    """
    root = Path(root)
    subjects = _chosen(part, protocol, subjects)
    if min(*size, every) < 1 or not margin > 0:
        raise ValueError(
            f"size, every and margin must be positive, got {size}, {every} and {margin}"
        )
    given = root / "metadata.xml" if metadata is None else Path(metadata)
    there = metadata is not None or given.is_file()
    cameras = read_cameras(given) if there else None

    def make(allocate: Callable[[tuple[int, ...]], np.ndarray]) -> Pictures:
        index = find_sequences(root, subjects, cameras)
        pictures = _read(index, size, every, margin, allocate, progress)
        if not pictures.report.pictures:
            raise _nothing(root, subjects, pictures.report)
        return pictures

    if cache is None:
        pictures = make(lambda shape: np.empty(shape, np.uint8))
    else:
        description = describe(
            root, subjects, given if there else None, size=size, every=every, margin=margin
        )
        pictures = cached(Path(cache), description, make)
    source = (
        f"Human3.6M ({part} of protocol {protocol}: {', '.join(subjects)}; 1 of {every} frames)"
    )
    found = PosePictures(pictures.images, pictures.points, pictures.counts, source)
    return found, pictures.report


def _chosen(part: str, protocol: int, subjects: tuple[str, ...] | None) -> tuple[str, ...]:
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be 1 or 2, got {protocol}")
    if part not in PROTOCOLS[protocol]:
        raise ValueError(f"part must be train or test, got {part}")
    all_subjects = PROTOCOLS[protocol][part]
    if subjects is None:
        return all_subjects
    if not subjects or not set(subjects) <= set(all_subjects):
        raise ValueError(
            f"subjects must be some of {', '.join(all_subjects)} ({part} of protocol {protocol}), "
            f"got {', '.join(subjects) or 'none'}"
        )
    return tuple(subject for subject in all_subjects if subject in subjects)


def _read(
    index: Index,
    size: tuple[int, int],
    every: int,
    margin: float,
    allocate: Callable[[tuple[int, ...]], np.ndarray],
    progress: Callable[[int], None],
) -> Pictures:
    most = sum(len(range(0, sequence.frames, every)) for sequence in index.sequences)
    # A file of no bytes cannot be mapped.
    images = allocate((max(most, 1), *size, 3))
    points = np.zeros((most, 17, 2), np.float32)
    counts = np.zeros((most, 17), np.bool_)
    problems = list(index.problems)
    total = sequences = 0
    for sequence in index.sequences:
        before = total
        joints = read_points(sequence.annotation)
        try:
            for number, picture in _frames(sequence, every):
                box = box_around(joints[number], size, margin)
                images[total] = crop(picture, box, size)
                points[total] = to_crop(joints[number], box, size)
                counts[total] = in_picture(points[total], size)
                counts[total] &= in_picture(joints[number], picture.shape[:2])
                total += 1
                progress(1)
        except VideoError as error:
            what = f"{error}; {total - before} pictures before that are kept"
            problems.append(
                Problem(sequence.subject, sequence.action, sequence.camera, Fault.VIDEO, what)
            )
        sequences += total > before
    report = Report(sequences, total, tuple(problems), index.notes)
    return Pictures(images[:total], points[:total], counts[:total], report)


def _frames(sequence: Sequence, every: int) -> Iterator[tuple[int, UInt8[np.ndarray, "PH PW 3"]]]:
    """Numbers and pictures of every n-th frame; VideoError where the video cannot be read on."""
    source = VideoSource(
        sequence.video, size=None, roi=None, format=None, options=None, timeout=None
    )
    try:
        wanted = range(0, sequence.frames, every)
        for number in range(wanted[-1] + 1):
            # Frames in between are decoded, as others follow from them, but not converted.
            picture = source.read() if number in wanted else None
            if picture is not None:
                yield number, picture
            elif number in wanted or not source.skip():
                raise VideoError(f"{source.name}, frame {number}: the video ends here")
    finally:
        source.close()


def _nothing(root: Path, subjects: tuple[str, ...], report: Report) -> DatasetError:
    looked_for = ", ".join(places(kind, subjects[0])[0] for kind in ("Videos", "D2_Positions"))
    return DatasetError(
        f"nothing of Human3.6M can be read in {root}: there must be {looked_for} and so on for "
        f"{', '.join(subjects)}\n{report}"
    )
