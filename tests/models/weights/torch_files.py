"""Writes files as `torch.save` does, without PyTorch."""

import collections
import io
import pickle
import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from deltajax.models.weights.pytorch import MAGIC_NUMBER, PROTOCOL, STORAGES


class Parameter(collections.UserList):
    """An array that is to be written as a parameter, in a list of one."""


@contextmanager
def fake_torch() -> Iterator[types.ModuleType]:
    """Modules with the names that are pickled."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES:
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *_: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    torch.__dict__["_utils"] = utils
    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        yield torch


class Storage:
    def __init__(self, array: np.ndarray, key: str) -> None:
        self.array, self.key = array, key


class Pickler(pickle.Pickler):
    def __init__(self, file: Any, torch: Any, storages: list[Storage], legacy: bool) -> None:
        super().__init__(file, protocol=2)
        self._torch, self._storages, self._legacy = torch, storages, legacy

    def persistent_id(self, obj: Any, /) -> Any:
        if not isinstance(obj, Storage):
            return None
        (name,) = (name for name, dtype in STORAGES.items() if dtype == obj.array.dtype)
        kind = getattr(self._torch, name)
        view = (None,) if self._legacy else ()
        return ("storage", kind, obj.key, "cpu", obj.array.size, *view)

    def reducer_override(self, obj: Any, /) -> Any:
        utils = self._torch._utils
        if isinstance(obj, Parameter):
            return utils._rebuild_parameter, (obj[0], True, collections.OrderedDict())
        if not isinstance(obj, np.ndarray):
            return NotImplemented
        # A view shares the storage of what it is a view of.
        whole = obj if obj.base is None else obj.base
        known = next((s for s in self._storages if s.array is whole), None)
        storage = known or Storage(whole, str(len(self._storages)))
        if known is None:
            self._storages.append(storage)
        offset = (obj.ctypes.data - whole.ctypes.data) // obj.itemsize
        strides = tuple(step // obj.itemsize for step in obj.strides)
        size = (storage, offset, obj.shape, strides, False, collections.OrderedDict())
        return utils._rebuild_tensor_v2, size


def save(content: Any, path: Path, legacy: bool = False) -> None:
    """Writes as PyTorch since 1.6 does, or before."""
    storages: list[Storage] = []
    pickled = io.BytesIO()
    with fake_torch() as torch:
        Pickler(pickled, torch, storages, legacy).dump(content)
    if not legacy:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickled.getvalue())
            archive.writestr("archive/byteorder", "little")
            for storage in storages:
                archive.writestr(f"archive/data/{storage.key}", storage.array.tobytes())
        return
    system = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
    with path.open("wb") as file:
        for value in (MAGIC_NUMBER, PROTOCOL, system):
            pickle.dump(value, file, protocol=2)
        file.write(pickled.getvalue())
        pickle.dump([storage.key for storage in storages], file, protocol=2)
        for storage in storages:
            file.write(storage.array.size.to_bytes(8, "little") + storage.array.tobytes())
