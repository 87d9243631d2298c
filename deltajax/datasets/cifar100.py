"""CIFAR-100 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009)."""

import dataclasses
import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from ._cifar_pickle import read_pickle
from .errors import DatasetError

MD5 = {
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
}
"""Of the published archives, as their author gives them."""

COUNTS = {"train": 50_000, "test": 10_000}
"""Images of each part."""

PIXELS = 3 * 32 * 32
NUM_CLASSES = 100


@dataclasses.dataclass(frozen=True)
class Split:
    """A part of the dataset, as `deltajax.training.fit` takes it.

    Attributes:
        images: [N, 32, 32, 3], uint8 RGB.
        labels: [N], the fine labels, in [0, 100).
    """

    images: UInt8[np.ndarray, "N 32 32 3"]
    labels: Int32[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, numbers: np.ndarray) -> Mapping[str, np.ndarray]:
        """The images and labels of these numbers."""
        return {"image": self.images[numbers], "label": self.labels[numbers]}

    def first(self, count: int | None) -> "Split":
        """As many, from the first one on; all for None."""
        return Split(self.images[:count], self.labels[:count])


class Cifar100(NamedTuple):
    """The dataset.

    Attributes:
        train: 50,000 images, in any order.
        test: 10,000 images.
        names: of the 100 classes.
        source: where it is from, for reports.
    """

    train: Split
    test: Split
    names: tuple[str, ...]
    source: str


def read_cifar100(path: Path | str) -> Cifar100:
    """The dataset from one of its published archives, or the folder that one of them holds.

    The binary version has no pickles; those of the python version are read by an unpickler that
    admits nothing but arrays and plain containers.

    Args:
        path: cifar-100-binary.tar.gz or cifar-100-python.tar.gz, whose checksums are verified, or
            a folder with train.bin and test.bin, or with train, test and meta.

    Raises:
        DatasetError: for a file that is not there, is damaged, or is something else.
    """
    path = Path(path)
    if path.is_dir():
        return _read(
            {file.name: file.read_bytes() for file in path.iterdir() if file.is_file()}, path
        )
    if not path.exists():
        raise DatasetError(
            f"{path} is not there; download cifar-100-binary.tar.gz, or take synthetic data"
        )
    if path.name not in MD5:
        raise DatasetError(f"{path} must be a folder, or an archive called {' or '.join(MD5)}")
    check_md5(path)
    try:
        with tarfile.open(path) as archive:
            files = {}
            for member in archive:
                content = archive.extractfile(member)  # None for folders and the like
                if content is not None:
                    files[Path(member.name).name] = content.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DatasetError(f"{path} is damaged: {error}") from error
    return _read(files, path)


def check_md5(path: Path) -> None:
    """Raises DatasetError if an archive is not the one that is published."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != MD5[path.name]:
        raise DatasetError(
            f"{path} is damaged or another file: its MD5 is {found}, and must be {MD5[path.name]}; "
            "download it again"
        )


def _read(files: Mapping[str, bytes], path: Path) -> Cifar100:
    """From the contents of the files, by name."""
    if {"train.bin", "test.bin", "fine_label_names.txt"} <= files.keys():
        splits = {part: _binary(files[f"{part}.bin"], path / f"{part}.bin") for part in COUNTS}
        names = [name for name in files["fine_label_names.txt"].decode().splitlines() if name]
    elif {"train", "test", "meta"} <= files.keys():
        splits = {part: _python(files[part], path / part) for part in COUNTS}
        names = read_pickle(files["meta"], path / "meta").get("fine_label_names", [])
        names = [name.decode() for name in names if isinstance(name, bytes)]
    else:
        raise DatasetError(
            f"{path} is not CIFAR-100: it has neither train.bin, test.bin and "
            "fine_label_names.txt nor train, test and meta"
        )
    for part, split in splits.items():
        if len(split) != COUNTS[part] or (len(split) and split.labels.max() >= NUM_CLASSES):
            raise DatasetError(
                f"{path} is damaged: {part} has {len(split)} images, and must have {COUNTS[part]} "
                f"with labels below {NUM_CLASSES}"
            )
    if len(names) != NUM_CLASSES:
        raise DatasetError(f"{path} is damaged: it names {len(names)} classes, not {NUM_CLASSES}")
    return Cifar100(splits["train"], splits["test"], tuple(names), path.name)


def _binary(content: bytes, path: Path) -> Split:
    """Records of a coarse label, a fine label, and 1024 red, 1024 green and 1024 blue values."""
    if len(content) % (2 + PIXELS):
        raise DatasetError(f"{path} is cut off: {len(content)} bytes are no whole images")
    records = np.frombuffer(content, np.uint8).reshape(-1, 2 + PIXELS)
    return _split(records[:, 2:], records[:, 1])


def _python(content: bytes, path: Path) -> Split:
    fields = read_pickle(content, path)
    data, labels = fields.get("data"), fields.get("fine_labels")
    if (
        not isinstance(data, np.ndarray)
        or data.shape[1:] != (PIXELS,)
        or not isinstance(labels, list)
        or len(labels) != len(data)
        or any(type(label) is not int or not 0 <= label < 256 for label in labels)
    ):
        raise DatasetError(f"{path} is not CIFAR-100: it has no data with fine_labels")
    return _split(data, np.array(labels))


def _split(planes: np.ndarray, labels: np.ndarray) -> Split:
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), labels.astype(np.int32))


def write_cifar100(data: Cifar100, folder: Path) -> None:
    """Writes a dataset as the files of the binary version; coarse labels, not kept, as 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, split in (("train", data.train), ("test", data.test)):
        planes = split.images.transpose(0, 3, 1, 2).reshape(len(split), PIXELS)
        labels = np.stack([np.zeros_like(split.labels), split.labels], axis=1).astype(np.uint8)
        (folder / f"{part}.bin").write_bytes(np.hstack([labels, planes]).tobytes())
    (folder / "fine_label_names.txt").write_text("".join(f"{name}\n" for name in data.names))
