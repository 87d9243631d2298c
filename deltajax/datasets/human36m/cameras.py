"""The cameras of Human3.6M: read from metadata.xml, and projecting."""

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from ..errors import DatasetError

CAMERAS = ("54138969", "55011271", "58860488", "60457274")
"""Ids of the four cameras, in the order of metadata.xml."""

NUM_SUBJECTS = 11
EXTRINSICS = 6
INTRINSICS = 9
NUM_PARAMETERS = len(CAMERAS) * (NUM_SUBJECTS * EXTRINSICS + INTRINSICS)


class Camera(NamedTuple):
    """Where a camera stood for one subject, and its optics.

    Attributes:
        rotation: from the world's axes to the camera's: x right, y down, z forward [3, 3].
        position: of the camera in the world, in millimetres [3].
        focal: lengths, in pixels [2].
        centre: where the optical axis meets the picture, x and y in pixels [2].
        radial: coefficients of r², r⁴ and r⁶ [3].
        tangential: coefficients of tangential distortion [2].
    """

    rotation: Float[np.ndarray, "3 3"]
    position: Float[np.ndarray, "3"]
    focal: Float[np.ndarray, "2"]
    centre: Float[np.ndarray, "2"]
    radial: Float[np.ndarray, "3"]
    tangential: Float[np.ndarray, "2"]


def read_cameras(path: Path | str) -> dict[tuple[str, str], Camera]:
    """The cameras of all subjects, by subject ("S1" to "S11") and id of the camera ("54138969").

    The file is metadata.xml of the dataset's code release. Its element `w0` holds 300 numbers: for
    each camera and, within it, each of 11 subjects, three angles and the position; then for each
    camera the focal lengths, the centre, three radial and two tangential coefficients. The element
    `dbcameras/index2id` names the cameras. This order is that of `src/cameras.py` in
    una-dinosauria/3d-pose-baseline and of `metadata.py` in anibali/h36m-fetch.

    Raises:
        DatasetError: for a file that is not there, is damaged, or is something else.
    """
    path = Path(path)
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path} is not there; metadata.xml is part of Human3.6M's code release"
        ) from error
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise DatasetError(f"{path} is damaged or no XML: {error}") from error
    text = root.findtext("w0")
    if text is None:
        raise DatasetError(f"{path} is not Human3.6M's metadata.xml: it has no element w0")
    try:
        numbers = np.array(text.strip().strip("[]").split(), np.float64)
    except ValueError as error:
        raise DatasetError(f"{path} is damaged: w0 holds something else than numbers") from error
    if numbers.shape != (NUM_PARAMETERS,) or not np.isfinite(numbers).all():
        raise DatasetError(
            f"{path} is damaged: w0 has {np.isfinite(numbers).sum()} finite numbers, and must have "
            f"{NUM_PARAMETERS}"
        )
    ids = tuple(element.text or "" for element in root.iterfind("dbcameras/index2id/*")) or CAMERAS
    if set(ids) != set(CAMERAS):
        raise DatasetError(
            f"{path} names the cameras {', '.join(ids)}, and must name {', '.join(CAMERAS)}"
        )
    extrinsics, intrinsics = np.split(numbers, [len(CAMERAS) * NUM_SUBJECTS * EXTRINSICS])
    extrinsics = extrinsics.reshape(len(CAMERAS), NUM_SUBJECTS, EXTRINSICS)
    intrinsics = intrinsics.reshape(len(CAMERAS), INTRINSICS)
    return {
        (f"S{subject + 1}", camera): Camera(
            _rotation(extrinsics[number, subject, :3]),
            extrinsics[number, subject, 3:],
            *np.split(intrinsics[number], [2, 4, 7]),
        )
        for number, camera in enumerate(ids)
        for subject in range(NUM_SUBJECTS)
    }


def project(points: Float[np.ndarray, "*batch 3"], camera: Camera) -> Float[np.ndarray, "*batch 2"]:
    """Where a camera sees points.

    With X = R (P - T), the point in the camera's axes, x = X₁ / X₃, y = X₂ / X₃ and r² = x² + y²:

        d = 1 + k₁ r² + k₂ r⁴ + k₃ r⁶ + p₁ y + p₂ x
        u = f₁ (x d + p₂ r²) + c₁
        v = f₂ (y d + p₁ r²) + c₂

    This is `project_point_radial` of una-dinosauria/3d-pose-baseline, which has it from the
    dataset's own code; without the factor 2 that the tangential terms have in OpenCV.

    Args:
        points: in millimetres, in the world's axes [..., 3].

    Returns:
        x and y in pixels [..., 2]; NaN for points that are not in front of the camera.
    """
    seen = (points - camera.position) @ camera.rotation.T
    depth = np.where(seen[..., 2:] > 0, seen[..., 2:], np.nan)
    flat = seen[..., :2] / depth
    square = np.sum(flat**2, axis=-1, keepdims=True)
    radial = 1 + square * (
        camera.radial[0] + square * (camera.radial[1] + square * camera.radial[2])
    )
    swapped = camera.tangential[::-1]
    distorted = flat * (radial + flat @ swapped[:, None]) + square * swapped
    return distorted * camera.focal + camera.centre


def _rotation(angles: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rx Ry Rz, of angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z
