"""Weights from files."""

import collections
import contextlib
import io
import json
import os
import pickle
import subprocess
import warnings
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from deltajax.models.weights import WeightsError, read_weights
from deltajax.models.weights.pytorch import STORAGES
from tests.models.weights.torch_files import Parameter, Pickler, Storage, fake_torch, save


def state(rng: np.random.Generator) -> collections.OrderedDict:
    """Tensors of every dtype, a parameter, a transposed view, a part of a storage, a scalar."""
    arrays = {
        f"layer.{name}": rng.integers(0, 2, (3, 4)).astype(dtype)
        for name, dtype in STORAGES.items()
    }
    whole = rng.normal(size=(5, 6, 7))
    return collections.OrderedDict(
        **arrays,
        transposed=rng.normal(size=(2, 3, 4)).transpose(2, 0, 1),
        part=whole[1:3, ::2, 5:],
        other_part=whole[0],
        scalar=np.array(7),
        empty=np.zeros((0, 3), np.float32),
        parameter=Parameter([rng.normal(size=(2, 2))]),
    )


def check(found: dict[str, np.ndarray], expected: dict) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        array = array[0] if isinstance(array, Parameter) else array
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)
        found[name][...] = 0  # an array of its own


@pytest.mark.parametrize("legacy", [False, True], ids=["since 1.6", "before"])
@pytest.mark.parametrize("inside", [None, "state_dict", "model_state_dict", "model"])
def test_pytorch(tmp_path, legacy, inside):
    expected = state(np.random.default_rng(0))
    content = {"epoch": 3, inside: expected, "loss": [0.5], "best": None} if inside else expected
    save(content, tmp_path / "weights.pth", legacy)
    check(read_weights(tmp_path / "weights.pth"), expected)


def test_npz_and_safetensors(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"a.weight": rng.normal(size=(2, 3)), "b": rng.integers(0, 9, 4)}
    np.savez(tmp_path / "weights.npz", **arrays)
    check(read_weights(tmp_path / "weights.npz"), arrays)
    arrays["c"] = rng.normal(size=3).astype(ml_dtypes.bfloat16)
    save_file(arrays, tmp_path / "weights.safetensors")
    found = read_weights(str(tmp_path / "weights.safetensors"))
    check({name: found[name] for name in arrays}, arrays)


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, call: tuple) -> None:
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("legacy", [False, True], ids=["since 1.6", "before"])
@pytest.mark.parametrize("call", ["os.system", "builtins.eval", "subprocess.check_call"])
def test_pickles_that_run_code_are_refused(tmp_path, call, legacy):
    mark = tmp_path / "executed"
    calls = {
        "os.system": (os.system, (f"touch {mark}",)),
        "builtins.eval": (eval, (f"__import__('pathlib').Path({str(mark)!r}).touch()",)),
        "subprocess.check_call": (subprocess.check_call, (["touch", str(mark)],)),
    }
    pickle.loads(pickle.dumps(Hostile(calls[call])))
    assert mark.exists(), "the test itself is wrong"
    mark.unlink()
    path = tmp_path / "weights.pth"
    save({"layer": np.ones(3), "evil": Hostile(calls[call])}, path, legacy)
    # Pickles of this protocol have modules' names of Python 2.
    module = {"builtins": "__builtin__", "subprocess": "commands"}.get(
        call.partition(".")[0], calls[call][0].__module__
    )
    with pytest.raises(WeightsError, match=rf"refused: its pickle names {module}.\w+, and only"):
        read_weights(path)
    assert not mark.exists()


class Tampering:
    """Asks for a change of what makes tensors."""

    def __reduce__(self):
        import torch._utils  # pyright: ignore[reportMissingImports]

        return torch._utils._rebuild_tensor_v2, ((), 0, (), ()), {"__call__": "changed"}


def test_one_file_changes_nothing_for_the_next(tmp_path):
    bad, good = tmp_path / "bad.pth", tmp_path / "good.pth"
    save({"a": np.ones(2), "b": Tampering()}, bad)
    with pytest.raises(WeightsError):
        read_weights(bad)
    save({"a": np.ones(2)}, good)
    check(read_weights(good), {"a": np.ones(2)})


@pytest.mark.parametrize("legacy", [False, True], ids=["since 1.6", "before"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_truncated_and_damaged_files(tmp_path_factory, legacy, data):
    """Are refused, or what they hold is what was written; nothing else is raised."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    expected = state(np.random.default_rng(0))
    save(expected, path, legacy)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut off"):
        content = content[: data.draw(st.integers(0, len(content) - 1), label="length")]
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"weights\.pth"):
            read_weights(path)
        return
    place = data.draw(st.integers(0, len(content) - 1), label="place")
    content[place] ^= data.draw(st.integers(1, 255), label="bits")
    path.write_bytes(content)
    with contextlib.suppress(WeightsError):
        assert all(isinstance(array, np.ndarray) for array in read_weights(path).values())


def archive(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def test_other_files(tmp_path):
    text = tmp_path / "readme.txt"
    text.write_text("weights")
    with pytest.raises(WeightsError, match=r"end in \.safetensors, \.npz, .*not in '\.txt'"):
        read_weights(text)
    with pytest.raises(WeightsError, match=r"missing\.pth: No such file"):
        read_weights(tmp_path / "missing.pth")
    for suffix in ("npz", "safetensors", "pth"):
        damaged = tmp_path / f"damaged.{suffix}"
        damaged.write_bytes(b"weights")
        with pytest.raises(WeightsError, match=rf"damaged\.{suffix} (is no|was not)"):
            read_weights(damaged)
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    with pytest.raises(WeightsError, match=r"objects\.npz is no \.npz of arrays"):
        read_weights(tmp_path / "objects.npz")
    with pytest.raises(WeightsError, match=r"it has no data\.pkl"):
        read_weights(archive(tmp_path / "a.pth", {"weights": b""}))
    pickled = pickle.dumps([1, 2], protocol=2)
    with pytest.raises(WeightsError, match="is compressed"):
        read_weights(archive(tmp_path / "b.pth", {"a/data.pkl": pickled}, zipfile.ZIP_DEFLATED))
    with pytest.raises(WeightsError, match="big-endian"):
        read_weights(archive(tmp_path / "c.pth", {"a/data.pkl": pickled, "a/byteorder": b"big"}))
    with pytest.raises(WeightsError, match="holds a list, not a state dictionary"):
        read_weights(archive(tmp_path / "d.pth", {"a/data.pkl": pickled}))
    save({"epoch": 1, "weights": {"a": np.ones(1)}}, tmp_path / "e.pth")
    with pytest.raises(WeightsError, match=r"more than tensors, and no state .*: epoch, weight"):
        read_weights(tmp_path / "e.pth")


def test_tensors_beyond_their_storage(tmp_path):
    whole = np.arange(4.0)
    path = tmp_path / "weights.pth"
    save({"a": whole}, path)
    with zipfile.ZipFile(path) as file:
        files = {name: file.read(name) for name in file.namelist()}
    # The size (4,) as (5,), and as (-4,).
    for size in (b"K\x05", b"J\xfc\xff\xff\xff"):
        pickled = files["archive/data.pkl"]
        start = pickled.rindex(b"K\x04\x85")
        changed = pickled[:start] + size + pickled[start + 2 :]
        bad = archive(tmp_path / "bad.pth", files | {"archive/data.pkl": changed})
        with pytest.raises(WeightsError, match=r"bad\.pth is damaged: ValueError: a tensor"):
            read_weights(bad)


class Rebuilt(list):
    """The arguments of a tensor, whatever they are."""


class Rebuilding(Pickler):
    def reducer_override(self, obj):
        if isinstance(obj, Rebuilt):
            return self._torch._utils._rebuild_tensor_v2, (*obj, False, collections.OrderedDict())
        return super().reducer_override(obj)


def save_rebuilt(tensor: Rebuilt, storages: list[Storage], path: Path) -> None:
    pickled = io.BytesIO()
    with fake_torch() as torch:
        Rebuilding(pickled, torch, [], legacy=False).dump(collections.OrderedDict(leak=tensor))
    numbers = {f"archive/data/{each.key}": each.array.tobytes() for each in storages}
    archive(path, {"archive/data.pkl": pickled.getvalue(), **numbers})


def test_tensors_of_tensors_and_of_their_numbers(tmp_path):
    """Both could be made to say one size to a check and another to NumPy."""
    path = tmp_path / "leak.pth"
    storage = Storage(np.arange(127, dtype=np.uint8), "0")
    inner = Rebuilt((storage, 99, (100,), (0,)))
    number = Storage(np.array([100], np.int8), "1")
    scalar = Rebuilt((number, 0, (), ()))
    for tensor in (
        Rebuilt((inner, 0, (100,), (1,))),
        Rebuilt((storage, 0, (scalar,), (scalar,))),
        Rebuilt((storage, 100, (100,), (1,))),
        Rebuilt((storage, 0, (2, 127), (127, 1))),
        Rebuilt((storage, -1, (2,), (1,))),
    ):
        save_rebuilt(tensor, [storage, number], path)
        with pytest.raises(WeightsError, match=r"leak\.pth is damaged"):
            read_weights(path)
    save_rebuilt(Rebuilt((storage, 27, (10, 10), (10, 1))), [storage], path)
    np.testing.assert_array_equal(
        read_weights(path)["leak"], np.arange(27, 127, dtype=np.uint8).reshape(10, 10)
    )


def test_small_files_that_ask_for_much_memory(tmp_path):
    """A large index of the memo, and one storage under many names."""
    path = tmp_path / "bomb.pth"
    index = (2**31 - 1).to_bytes(4, "little")
    assert read_weights(archive(path, {"a/data.pkl": b"\x80\x02}r" + index + b"."})) == {}
    storage = np.zeros(10_000, np.float32)
    save({f"copy{number}": storage[:] for number in range(100)}, path)
    with pytest.raises(WeightsError, match=r"bomb\.pth names the same numbers over and over"):
        read_weights(path)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_npz_and_safetensors(tmp_path_factory, suffix, data):
    """Read as they are, or refused; nothing else is raised."""
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"weights.{suffix}"
    arrays = {"weight": np.arange(60, dtype=np.float32).reshape(5, 12), "bias": np.arange(4)}
    if suffix == "npz":
        np.savez_compressed(path, **arrays)
    else:
        save_file(arrays, path)
    contents = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(contents) - 1))
    contents[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(contents)
    with contextlib.suppress(WeightsError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert all(isinstance(value, np.ndarray) for value in read_weights(path).values())


def test_what_numpy_has_no_dtype_for(tmp_path):
    path = tmp_path / "weights.safetensors"
    header = json.dumps({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(WeightsError, match=r"weights\.safetensors is no \.safetensors file"):
        read_weights(path)


def test_a_zip_of_other_files_is_no_npz(tmp_path):
    path = tmp_path / "weights.npz"
    archive(path, {"readme.txt": b"no array"})
    with pytest.raises(WeightsError, match=r"weights\.npz holds more than arrays: readme\.txt"):
        read_weights(path)


def test_pth_tar_is_a_file_of_pytorch(tmp_path):
    path = tmp_path / "pose_resnet_50_256x192.pth.tar"
    save({"weight": np.arange(6, dtype=np.float32)}, path)
    np.testing.assert_array_equal(read_weights(path)["weight"], np.arange(6))
