"""Pictures that were read once, kept in files."""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from .folders import PLACES, find_files
from .report import Fault, Problem, Report

FORMAT = 1
"""Of the files; counts as one of the settings."""


class Pictures(NamedTuple):
    """What is kept.

    Attributes:
        images: [N, H, W, 3], uint8 RGB.
        points: [N, 17, 2], in pixels.
        counts: [N, 17].
        report: about them.
    """

    images: UInt8[np.ndarray, "N H W 3"]
    points: Float32[np.ndarray, "N 17 2"]
    counts: Bool[np.ndarray, "N 17"]
    report: Report


def describe(
    root: Path, subjects: tuple[str, ...], metadata: Path | None, **settings: Any
) -> dict[str, Any]:
    """What pictures depend on, as JSON keeps it: settings, and a checksum of the dataset.

    Of each file its name, size and time of change are summed, as by `make`: to read all of them
    would take long.
    """
    found = [find_files(root, kind, subject) for kind in PLACES for subject in subjects]
    files = [path for group in found for path in (group or {}).values()]
    checksum = hashlib.sha256()
    for path in sorted(files + ([metadata] if metadata else [])):
        status = path.stat()
        # A dataset that is moved as a whole stays the same.
        name = path.relative_to(root) if path.is_relative_to(root) else path.name
        checksum.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    description = {"format": FORMAT, "subjects": subjects, **settings}
    return json.loads(json.dumps({**description, "files": checksum.hexdigest()}))


def cached(
    cache: Path,
    description: Mapping[str, Any],
    make: Callable[[Callable[[tuple[int, ...]], np.ndarray]], Pictures],
) -> Pictures:
    """The pictures of this description from the cache, made and put there if they are not in it.

    They are a folder whose name has a checksum of the description, with images.npy, which is
    mapped, not read; points.npy; counts.npy; and pictures.json with the description and the report.
    It is written under another name, and renamed when all is in it; a run that is killed may leave
    a folder "unfinished-…". Pictures of other descriptions stay beside it.

    Args:
        cache: a folder, made if it is not there.
        description: from `describe`.
        make: is given a function that makes an array of bytes of a shape, which is a file.
    """
    checksum = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
    place = cache / f"human36m-{checksum[:16]}"
    kept = _load(place, description)
    if kept is not None:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache) as temporary:
        folder = Path(temporary) / "pictures"
        folder.mkdir()
        made = make(
            lambda shape: np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
        )
        if isinstance(made.images, np.memmap):
            made.images.flush()
        np.save(folder / "points.npy", made.points)
        np.save(folder / "counts.npy", made.counts)
        content = {"description": description, "report": dataclasses.asdict(made.report)}
        (folder / "pictures.json").write_text(json.dumps(content, indent=2) + "\n")
        if place.exists():  # damaged, or else it would have been loaded
            shutil.rmtree(place)
        folder.rename(place)
    return _load(place, description) or made


def _load(place: Path, description: Mapping[str, Any]) -> Pictures | None:
    """The pictures in a folder, None if they are not there, not whole, or others."""
    try:
        content = json.loads((place / "pictures.json").read_text())
        if content["description"] != description:
            return None
        points, counts = np.load(place / "points.npy"), np.load(place / "counts.npy")
        # There is room for pictures that turned out not to be readable.
        images = np.load(place / "images.npy", mmap_mode="r")[: len(points)]
        report = content["report"]
        problems = tuple(
            Problem(subject, action, camera, Fault(fault), what)
            for subject, action, camera, fault, what in report["problems"]
        )
        notes = tuple(report["notes"])
        return Pictures(
            images, points, counts, Report(report["sequences"], report["pictures"], problems, notes)
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
