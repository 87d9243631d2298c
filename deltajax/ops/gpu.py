"""What JAX sees of NVIDIA's GPUs, and whether Triton kernels can run on them."""

import functools
import importlib.metadata
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

MIN_CAPABILITY = 8.0
MIN_VERSIONS = {"jax": (0, 11), "triton": (3, 6)}


@functools.cache
def gpus() -> tuple[Any, ...]:
    """NVIDIA's GPUs that JAX sees."""
    try:
        return tuple(jax.local_devices(backend="cuda"))
    except RuntimeError:
        return ()


@functools.cache
def why_not_triton() -> str | None:
    """Why Triton kernels cannot run, or be compiled, here, and the remedy; None if they can."""
    for name, least in MIN_VERSIONS.items():
        wanted = f"{name} >= {'.'.join(map(str, least))}"
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return f'{wanted} is not installed: pip install "deltajax[gpu]"'
        numbers = re.match(r"(\d+)\.(\d+)", version)
        if numbers and tuple(map(int, numbers.groups())) < least:
            return f'{name} is {version}, but {wanted} is needed: pip install "deltajax[gpu]"'
    if len({gpu.compute_capability for gpu in gpus()}) > 1:
        return "there are GPUs of several generations; choose with CUDA_VISIBLE_DEVICES"
    for gpu in gpus():
        if float(gpu.compute_capability) < MIN_CAPABILITY:
            return (
                f"{gpu.device_kind} has compute capability {gpu.compute_capability}, but "
                f"{MIN_CAPABILITY} (Ampere) or newer is needed"
            )
    return _why_not_run() if gpus() else None


def _why_not_run() -> str | None:
    """What is wrong with jax, Triton and the driver together; None if a small update runs.

    How XLA calls kernels, and what Triton writes, is promised by neither.
    """
    try:
        # Imported here: without Triton it cannot be.
        from .update_triton import try_update

        # In a thread, which knows nothing of what is being traced here, and on which mesh.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(try_update, gpus()[0]).result()
    except Exception as error:
        pair = " and ".join(f"{name} {importlib.metadata.version(name)}" for name in MIN_VERSIONS)
        reason = str(error).partition("\n")[0]
        return (
            f"{pair} cannot run a kernel together; install versions that can, such as the "
            f'newest of both: pip install --upgrade "jax[cuda13]" triton '
            f"({type(error).__name__}: {reason})"
        )
    return None


def shared_bytes() -> int:
    """Of shared memory that a block of threads can have; an H100's where there is no GPU.

    CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
    """
    capability = gpus()[0].compute_capability if gpus() else "9.0"
    kib = {"8.0": 163, "8.7": 163, "9.0": 227, "10.0": 227, "10.3": 227, "11.0": 227}
    return kib.get(capability, 99) << 10


def multiprocessors() -> int:
    """Of the GPU; an H100's where there is none."""
    return gpus()[0].core_count if gpus() else 132
