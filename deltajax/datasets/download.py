"""Datasets over the network."""

import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from .cifar100 import check_md5
from .errors import DatasetError

CIFAR100_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
CHUNK = 1 << 18
"""Bytes that are read at once."""


def download_cifar100(
    folder: Path | str,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    url: str = CIFAR100_URL,
) -> Path:
    """The archive of CIFAR-100's binary version (161 MB); downloads it if it is not there yet.

    Args:
        folder: to keep it in; made if there is none.
        progress: called with the bytes that are there and the bytes in all, None where the server
            does not tell.
        url: where it is.

    Raises:
        DatasetError: if it cannot be downloaded, or what came is something else.
    """
    path = Path(folder) / url.rpartition("/")[2]
    if path.exists():
        check_md5(path)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Under its own name only when it is whole.
    unfinished = path.parent / "unfinished" / path.name
    unfinished.parent.mkdir(exist_ok=True)
    try:
        with urllib.request.urlopen(url, timeout=30) as response, unfinished.open("wb") as file:
            length = response.headers.get("Content-Length")
            total = int(length) if length and length.isdecimal() else None
            done = 0
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress(done, total)
        check_md5(unfinished)
        unfinished.replace(path)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise DatasetError(
            f"{url} cannot be downloaded ({error}); get {path.name} by other means and give its "
            "path, or take synthetic data"
        ) from error
    finally:
        shutil.rmtree(unfinished.parent, ignore_errors=True)
    return path
