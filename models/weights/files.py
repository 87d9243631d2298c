"""Weights from files, by what their names end in."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from .errors import WeightsError
from .pytorch import read_state_dict
from .tflite import read_tflite


def read_weights(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of a file, by name, on the host and as they were stored.

    Nothing in a file is ever executed: a pickle may hold arrays and plain containers only.

    Args:
        path: ".safetensors", ".npz", ".tflite", or ".pth", ".pt", ".bin" or ".pth.tar" that PyTorch
            has written, which need not be installed. Of a checkpoint the state dictionary is
            taken, of a .tflite file the weights of its layers (see
            `deltajax.models.weights.tflite`).

    Raises:
        WeightsError: for a file that is not there, is damaged or of another format, or that holds
            anything but arrays.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise WeightsError(
            f"{path}: names of weights end in {', '.join(READERS)}, not in {path.suffix!r}"
        )
    try:
        return READERS[path.suffix](path)
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = dict(arrays)
    except OSError:
        raise
    # A damaged archive can fail in any way.
    except Exception as error:
        raise WeightsError(f"{path} is no .npz of arrays, or damaged: {error}") from error
    if others := [name for name, value in found.items() if not isinstance(value, np.ndarray)]:
        raise WeightsError(f"{path} holds more than arrays: {', '.join(others)}")
    return found


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    try:
        # Here, as it is an extra.
        from safetensors.numpy import load_file
    except ImportError as error:
        raise WeightsError(
            f'{path}: reading it needs safetensors: pip install "deltajax[weights]"'
        ) from error
    try:
        return load_file(path)
    except OSError:
        raise
    # Of dtypes that NumPy has not, it fails in several ways.
    except Exception as error:
        raise WeightsError(f"{path} is no .safetensors file, or damaged: {error}") from error


READERS: Mapping[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".pth": read_state_dict,
    ".pt": read_state_dict,
    ".bin": read_state_dict,
    # "pose_resnet_50_256x192.pth.tar" is no archive of tar.
    ".tar": read_state_dict,
    ".tflite": read_tflite,
}
