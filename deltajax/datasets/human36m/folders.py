"""Where the files of Human3.6M are."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PLACES = {
    "Videos": ("{subject}/Videos", "Videos_{subject}/{subject}/Videos"),
    "D2_Positions": (
        "{subject}/MyPoseFeatures/D2_Positions",
        "{subject}/Poses_D2_Positions",
        "Poses_D2_Positions_{subject}/{subject}/MyPoseFeatures/D2_Positions",
    ),
    "D3_Positions": (
        "{subject}/MyPoseFeatures/D3_Positions",
        "{subject}/Poses_D3_Positions",
        "Poses_D3_Positions_{subject}/{subject}/MyPoseFeatures/D3_Positions",
    ),
}
"""Folders in which files of each kind are looked for: as the archives have them, as
anibali/h36m-fetch unpacks them, and each archive unpacked into a folder of its name."""

SUFFIXES = {"Videos": ".mp4", "D2_Positions": ".cdf", "D3_Positions": ".cdf"}


class Name(NamedTuple):
    """What the name of a file says; the camera is empty for D3_Positions."""

    action: str
    camera: str


def places(kind: str, subject: str) -> list[str]:
    """Folders that are looked for, relative to the dataset's."""
    return [place.format(subject=subject) for place in PLACES[kind]]


def find_files(root: Path, kind: str, subject: str) -> dict[Name, Path] | None:
    """The files of this kind ("Videos", "D2_Positions" or "D3_Positions"), in the order of names.

    Those of whole recordings, whose names begin with "_ALL", are passed over, as are hidden ones.
    The camera is what is behind the last dot of the name, whether there is such a camera or not.

    Returns:
        None if there is no folder of this kind.
    """
    folder = next(
        (root / place for place in places(kind, subject) if (root / place).is_dir()), None
    )
    if folder is None:
        return None
    return {_name(path, kind): path for path in sorted(_listed(folder, kind))}


def _listed(folder: Path, kind: str) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.suffix.lower() == SUFFIXES[kind] and not path.name.startswith(("_ALL", ".")):
            yield path


def _name(path: Path, kind: str) -> Name:
    if kind == "D3_Positions":
        return Name(path.stem, "")
    action, _, camera = path.stem.rpartition(".")
    return Name(action, camera) if action else Name(path.stem, "")
