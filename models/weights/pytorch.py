"""State dictionaries that PyTorch has written, read without PyTorch.

There are two formats (torch/serialization.py and torch/_utils.py describe them). Since PyTorch 1.6:
a zip archive with "data.pkl", a pickle in which tensors are views of storages, and each storage's
bytes in a file of its own. Before: several pickles one after the other, of which the fourth is that
one, and the bytes of the storages behind the last.

A pickle is a program. These may call nothing but what makes tensors and ordered dictionaries;
whatever else they name is refused before it is looked up.
"""

import collections
import dataclasses
import functools
import io
import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from .errors import WeightsError

STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
"""The classes of torch by which storages tell their dtype."""

STATE_DICTIONARIES = ("state_dict", "model_state_dict", "model")
"""Under which training scripts put one into a checkpoint."""

MAGIC_NUMBER, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""The first two pickles of the old format."""

SHARED = 4
"""Times the file's size: tensors that share storages may be larger together, but not much."""

StorageOf = Callable[[np.dtype, str, int], np.ndarray]
"""The array of a storage, from its dtype, its key and how many numbers it has."""


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dictionary, or of the one in a checkpoint, by name.

    Raises:
        WeightsError: for a file of neither format, that is damaged, or whose pickles hold or call
            anything else.
        OSError: for a file that cannot be opened.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _state_dict(_from_archive(archive, path), path)
        with path.open("rb") as file:
            return _state_dict(_from_pickles(file, path), path)
    except (WeightsError, OSError):
        raise
    # A damaged pickle, or archive, can fail in any way.
    except Exception as error:
        raise WeightsError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _from_archive(archive: zipfile.ZipFile, path: Path) -> Any:
    pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise WeightsError(f"{path} is a zip archive, but not one of PyTorch's: it has no data.pkl")
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise WeightsError(f"{path} is compressed, which PyTorch's archives are not")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist():
        _check_byteorder(archive.read(f"{folder}byteorder") == b"little", path)

    @functools.cache
    def storage(dtype: np.dtype, key: str, count: int) -> np.ndarray:
        return np.frombuffer(archive.read(f"{folder}data/{key}"), dtype, count)

    return _Unpickler(io.BytesIO(archive.read(pickles[0])), path, storage).load()


def _from_pickles(file: io.BufferedReader, path: Path) -> Any:
    storages: dict[str, np.ndarray] = {}
    size = path.stat().st_size

    def storage(dtype: np.dtype, key: str, count: int) -> np.ndarray:
        if not 0 <= count * dtype.itemsize <= size:
            raise ValueError(f"storage {key} of {count} numbers is larger than the file")
        # Its bytes come later.
        return storages.setdefault(key, np.zeros(count, dtype))

    def load() -> Any:
        return _Unpickler(file, path, storage).load()

    if file.peek(2)[:2] != b"\x80\x02" or (load(), load()) != (MAGIC_NUMBER, PROTOCOL):
        raise WeightsError(f"{path} was not written by PyTorch, or is cut off")
    _check_byteorder(load()["little_endian"], path)
    content = load()
    for key in load():
        array = storages[key]
        count = int.from_bytes(file.read(8), "little")
        content_of = file.read(array.nbytes)
        if count != array.size or len(content_of) != array.nbytes:
            raise WeightsError(f"{path} is cut off")
        array[:] = np.frombuffer(content_of, array.dtype)
    return content


def _check_byteorder(little: bool, path: Path) -> None:
    if not little:
        raise WeightsError(f"{path} was written by a big-endian machine")


def _state_dict(content: Any, path: Path) -> dict[str, np.ndarray]:
    """Copies, of views of storages that may be much larger."""
    if isinstance(content, Mapping):
        for name in STATE_DICTIONARIES:
            if isinstance(content.get(name), Mapping):
                content = content[name]
                break
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dictionary")
    others = [name for name, value in content.items() if not isinstance(value, np.ndarray)]
    if others:
        raise WeightsError(
            f"{path} holds more than tensors, and no state dictionary under "
            f"{', '.join(map(repr, STATE_DICTIONARIES))}: {', '.join(map(str, others))}"
        )
    if sum(value.nbytes for value in content.values()) > SHARED * path.stat().st_size:
        raise WeightsError(f"{path} names the same numbers over and over, as no network does")
    return {str(name): np.array(value) for name, value in content.items()}


@dataclasses.dataclass
class _Storage:
    """What is left of one of torch's classes of storages: its dtype."""

    dtype: np.dtype


@dataclasses.dataclass
class _Contents:
    """The numbers of a storage, which nothing but a tensor looks into."""

    array: np.ndarray


class _Tensor:
    """In the place of `torch._utils._rebuild_tensor_v2`: a view of a storage."""

    def __call__(
        self, storage: _Contents, offset: int, size: tuple, stride: tuple, *_: Any
    ) -> np.ndarray:
        # Anything else with the methods of a number could say one thing here and another to NumPy.
        if not isinstance(storage, _Contents) or any(
            type(number) is not int or number < 0 for number in (offset, *size, *stride)
        ):
            raise ValueError("a tensor is no view of a storage")
        array = storage.array
        if math.prod(size) > array.size:
            raise ValueError(f"a tensor {tuple(size)} is larger than its storage")
        if 0 in size:
            return np.empty(tuple(size), array.dtype)
        # NumPy refuses what reaches beyond the bytes.
        return np.ndarray(
            tuple(size),
            array.dtype,
            buffer=array.view(np.uint8),
            offset=offset * array.itemsize,
            strides=[step * array.itemsize for step in stride],
        )


class _Parameter:
    """In the place of `torch._utils._rebuild_parameter`."""

    def __call__(self, data: np.ndarray, *_: Any) -> np.ndarray:
        return data


class _Size:
    """In the place of `torch.Size`."""

    def __call__(self, sizes: Any) -> tuple:
        return tuple(sizes)


ALLOWED: Mapping[tuple[str, str], Callable[[], Any]] = {
    ("collections", "OrderedDict"): lambda: collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    ("torch", "Size"): _Size,
    **{("torch", name): functools.partial(_Storage, dtype) for name, dtype in STORAGES.items()},
}
"""What a pickle may name, by module and name; made anew each time, as a pickle may change it."""


# Not the one in C: its memo is an array, for which a few bytes of a pickle ask gigabytes.
class _Unpickler(pickle._Unpickler):
    def __init__(self, file: io.BufferedIOBase, path: Path, storage: StorageOf) -> None:
        super().__init__(file)
        self._path, self._storage = path, storage

    def find_class(self, module: str, name: str, /) -> Any:
        make = ALLOWED.get((module, name))
        if make is None:
            raise WeightsError(
                f"{self._path} is refused: its pickle names {module}.{name}, and only tensors and "
                "plain containers are admitted. Nothing of it has been executed"
            )
        return make()

    def persistent_load(self, pid: Any, /) -> _Contents:
        """("storage", its class, its key, its device, its numbers), and in the old format None."""
        kind, storage, key, _, count, *view = pid
        if kind != "storage" or not isinstance(storage, _Storage) or any(view):
            raise ValueError(f"{kind!r} is no storage that is known here")
        return _Contents(self._storage(storage.dtype, key, count))
