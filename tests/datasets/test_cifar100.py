"""CIFAR-100 from both of its versions, and from files that are damaged or hostile."""

import hashlib
import http.server
import io
import os
import pickle
import tarfile
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from deltajax.datasets import (
    Cifar100,
    DatasetError,
    cifar100,
    download_cifar100,
    read_cifar100,
    synthetic_cifar100,
)

COUNTS = {"train": 30, "test": 20}


@pytest.fixture(scope="module")
def data() -> Cifar100:
    """Few pictures, whose labels are not in order."""
    made = synthetic_cifar100(COUNTS["train"], COUNTS["test"])
    order = np.random.default_rng(0).permutation(COUNTS["train"])
    train = cifar100.Split(made.train.images[order], made.train.labels[order] + 70)
    return made._replace(train=train)


@pytest.fixture(autouse=True)
def few():
    with mock.patch.dict(cifar100.COUNTS, COUNTS):
        yield


@pytest.fixture
def binary(data, tmp_path) -> Path:
    cifar100.write_cifar100(data, tmp_path / "cifar-100-binary")
    return tmp_path / "cifar-100-binary"


def python2(value) -> bytes:
    """As Python 2 wrote them: text is bytes, in the second protocol."""

    base: Any = vars(pickle)["_Pickler"]

    class Old(base):
        def save(self, obj, save_persistent_id=True):
            if not isinstance(obj, bytes) or id(obj) in self.memo:
                return super().save(obj, save_persistent_id)
            self.write(pickle.BINSTRING + len(obj).to_bytes(4, "little") + obj)
            self.memoize(obj)

    file = io.BytesIO()
    Old(file, protocol=2).dump(value)
    return file.getvalue()


@pytest.fixture
def python(data, tmp_path) -> Path:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for part in COUNTS:
        split = getattr(data, part)
        planes = split.images.transpose(0, 3, 1, 2).reshape(len(split), -1)
        fields = {
            b"data": np.ascontiguousarray(planes),
            b"fine_labels": split.labels.tolist(),
            b"filenames": [b"a.png"] * len(split),
        }
        # NumPy pickles bytes of arrays as text encoded in latin-1, which Python 2 had no need of.
        content = python2(fields) if part == "train" else pickle.dumps(fields, protocol=4)
        (folder / part).write_bytes(content)
    names = [name.encode() for name in data.names]
    (folder / "meta").write_bytes(python2({b"fine_label_names": names}))
    return folder


def packed(folder: Path) -> Path:
    archive = folder.parent / f"{folder.name}.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, folder.name)
    return archive


def known(archive: Path):
    """Has this archive pass for the published one."""
    return mock.patch.dict(
        cifar100.MD5, {archive.name: hashlib.md5(archive.read_bytes()).hexdigest()}
    )


def check(actual: Cifar100, expected: Cifar100) -> None:
    for part in COUNTS:
        split, other = getattr(actual, part), getattr(expected, part)
        np.testing.assert_array_equal(split.images, other.images)
        np.testing.assert_array_equal(split.labels, other.labels)
    assert actual.names == expected.names


def test_binary(data, binary):
    check(read_cifar100(binary), data)
    archive = packed(binary)
    with known(archive):
        check(read_cifar100(archive), data)


def test_python(data, python):
    check(read_cifar100(python), data)
    archive = packed(python)
    with known(archive):
        check(read_cifar100(str(archive)), data)


def test_batches(data):
    split = data.train.first(10)
    assert len(split) == 10
    batch = split.batch(np.array([3, 1]))
    np.testing.assert_array_equal(batch["image"], data.train.images[[3, 1]])
    np.testing.assert_array_equal(batch["label"], data.train.labels[[3, 1]])


def test_a_wrong_checksum(binary):
    archive = packed(binary)
    with pytest.raises(DatasetError, match=r"binary.tar.gz is damaged.*MD5 .* must be 03b5"):
        read_cifar100(archive)


def test_a_corrupt_archive(binary):
    archive = packed(binary)
    archive.write_bytes(archive.read_bytes()[:-2000])
    with known(archive), pytest.raises(DatasetError, match=r"tar.gz is damaged: "):
        read_cifar100(archive)


def test_a_folder_that_is_damaged(binary):
    train = binary / "train.bin"
    whole = train.read_bytes()
    train.write_bytes(whole[:-1])
    with pytest.raises(DatasetError, match=r"train.bin is cut off"):
        read_cifar100(binary)
    train.write_bytes(whole[: -2 - 3072])
    with pytest.raises(DatasetError, match=r"train has 29 images, and must have 30"):
        read_cifar100(binary)
    train.write_bytes(whole[:1] + b"\xff" + whole[2:])
    with pytest.raises(DatasetError, match="labels below 100"):
        read_cifar100(binary)
    train.write_bytes(whole)
    (binary / "fine_label_names.txt").write_text("apple\n")
    with pytest.raises(DatasetError, match="names 1 classes, not 100"):
        read_cifar100(binary)


def test_something_else(tmp_path):
    with pytest.raises(DatasetError, match="is not CIFAR-100: it has neither"):
        read_cifar100(tmp_path)
    with pytest.raises(DatasetError, match=r"nothing.tar.gz is not there; download"):
        read_cifar100(tmp_path / "nothing.tar.gz")
    (tmp_path / "cifar.zip").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"or an archive called cifar-100-binary.tar.gz or"):
        read_cifar100(tmp_path / "cifar.zip")


class Hostile:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_a_hostile_pickle(python, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (python / "train").write_bytes(pickle.dumps({b"data": Hostile()}, protocol=4))
    with pytest.raises(DatasetError, match=r"is refused: its pickle names .*system; nothing of it"):
        read_cifar100(python)
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": 3, b"fine_labels": [1]}),
        pickle.dumps({b"data": np.zeros((2, 3072)), b"fine_labels": [1, 2]}, protocol=4),
        pickle.dumps({b"data": np.zeros((2, 7), np.uint8), b"fine_labels": [1, 2]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [1, "x"]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [1]}),
    ],
)
def test_a_damaged_pickle(python, content):
    (python / "train").write_bytes(content)
    with pytest.raises(DatasetError, match=r"train is (damaged|not CIFAR-100)"):
        read_cifar100(python)


@pytest.fixture
def server(tmp_path):
    """The address of a server of the files in a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_download(data, binary, server, tmp_path):
    archive = packed(binary)
    told = []
    with known(archive):
        url = f"{server}/{archive.name}"
        path = download_cifar100(tmp_path / "kept", lambda *done: told.append(done), url)
        check(read_cifar100(path), data)
        size = archive.stat().st_size
        assert told[-1] == (size, size)
        archive.unlink()
        assert download_cifar100(tmp_path / "kept", url=url) == path
    assert [file.name for file in path.parent.iterdir()] == [archive.name]


def test_download_of_something_else(binary, server, tmp_path):
    archive = packed(binary)
    with pytest.raises(DatasetError, match="is damaged or another file: its MD5"):
        download_cifar100(tmp_path / "kept", url=f"{server}/{archive.name}")
    with pytest.raises(DatasetError, match=r"cannot be downloaded \(HTTP Error 404.*synthetic"):
        download_cifar100(tmp_path / "kept", url=f"{server}/no/{archive.name}")
    assert list((tmp_path / "kept").iterdir()) == []
