"""Weights of our networks in a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from jax.typing import DTypeLike

from ..calibration import BATCH_STATS


def save_weights(
    variables: Mapping[str, Any],
    path: Path | str,
    dtype: DTypeLike = np.float32,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a .safetensors file that `read_weights` and `load_weights` take.

    Args:
        variables: "params", and "batch_stats" if there are any; other collections are left out.
        path: of the file; its folder is made if there is none.
        dtype: in which numbers are kept: float32, or float16 for half the size.
        metadata: text that is kept in the file, such as how the weights were trained.

    Raises:
        ImportError: if safetensors is not installed; the message says how to.
        ValueError: for variables without parameters, or with numbers that are not finite in
            `dtype`; the message names the first one.
    """
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise ImportError('saving weights needs: pip install "deltajax[weights]"') from error
    if not variables.get("params"):
        raise ValueError("there are no params to save")
    kept = {name: variables[name] for name in ("params", BATCH_STATS) if name in variables}
    arrays = {}
    for key, value in flatten_dict(kept, sep="/").items():
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(np.asarray(value, np.float32).astype(dtype))
        if not np.isfinite(array).all():
            raise ValueError(f"{key} has numbers that are not finite in {np.dtype(dtype)}")
        arrays[key] = array
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(arrays, path, dict(metadata or {}))
