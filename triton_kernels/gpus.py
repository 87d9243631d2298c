"""The GPUs that there are."""

import functools
from typing import Any

import jax


@functools.cache
def gpus() -> tuple[Any, ...]:
    """NVIDIA's GPUs that JAX sees."""
    try:
        return tuple(jax.local_devices(backend="cuda"))
    except RuntimeError:
        return ()
