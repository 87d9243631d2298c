"""The pickles of CIFAR-100's python version, read without executing anything.

They were written by Python 2: a dictionary with bytes for keys, of lists, bytes and one array.
"""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DatasetError


class _Dtype:
    """In the place of `numpy.dtype`: remembers what it was called with."""

    def __init__(self, name: Any = "", *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        pass


class _NdArray:
    """In the place of `numpy.ndarray`, which is only named."""


class _Array:
    """In the place of `numpy.core.multiarray._reconstruct`: an array, made by its state."""

    def __init__(self, *_: Any) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not (
            isinstance(dtype, _Dtype)
            and dtype.name in (b"u1", "u1")
            and isinstance(content, bytes)
            and all(type(size) is int and size >= 0 for size in shape)
            and math.prod(shape) == len(content)
        ):
            raise ValueError("an array is no array of bytes")
        order = "F" if fortran else "C"
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order=order)


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _Dtype,
}


# Not the one in C, for whose memo a few bytes can ask gigabytes.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        found = _ALLOWED.get((module, name))
        if found is None:
            raise DatasetError(f"its pickle names {module}.{name}; nothing of it has been executed")
        return found


def read_pickle(content: bytes, path: Path) -> dict[str, Any]:
    """The dictionary that a file holds, its keys as text.

    Raises:
        DatasetError: for a pickle that is damaged, or names anything but arrays.
    """
    try:
        fields = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(fields, dict):
            raise ValueError("it is no dictionary")
    except DatasetError as error:
        raise DatasetError(f"{path} is refused: {error}") from error
    except Exception as error:
        raise DatasetError(f"{path} is damaged: {error}") from error
    return {
        key.decode(errors="replace") if isinstance(key, bytes) else str(key): (
            value.array if isinstance(value, _Array) else value
        )
        for key, value in fields.items()
    }
