"""Every implementation of the update against its dense specification, which NumPy checks."""

import functools
import itertools
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltajax.ops.update import Updated, update, update_dense
from deltajax.tensor import DeltaTensor
from deltajax.triton_kernels.interpreter import interpreting
from tests.cases import BY_NAME, Case
from tests.helpers import NORMS, pixel_norm, relative_error

FRAMES = ("all", "few", "none", "block", "most", "mixed", "few", "all")
INTERPRETED_FRAMES = ("all", "few", "none", "mixed")
"""Of the Triton kernels without a GPU: their interpreter takes a while for each program."""

# Relative error against dense, and how near a threshold a norm may be for masks to differ, as
# multiples of the map's largest pixel: half types round once after the sum.
TOLERANCE = {"float32": (1e-5, 1e-6), "bfloat16": (4e-3, 1.6e-2), "float16": (5e-4, 2e-3)}

HALF_CASES = (
    ("resnet_stem_7x7_stride2", "bfloat16"),
    ("resnet_stem_7x7_stride2", "float16"),
    ("bottleneck_1x1_residual", "bfloat16"),
    ("depthwise_5x5", "float16"),
    ("grouped_3x3", "bfloat16"),
    ("three_streams_3x3_residual", "float16"),
    ("transposed_2x2", "bfloat16"),
    ("transposed_2x2", "float16"),
    ("resnet_max_pool_3x3_stride2", "bfloat16"),
    ("avg_pool_3x3_without_padding", "float16"),
    ("bilinear_x2", "bfloat16"),
    ("gate_of_channels", "float16"),
    ("concat", "bfloat16"),
)

# Most of their output pixels see the only input pixel, or none and follow any change.
MOSTLY_REACHED = (
    "one_pixel_map",
    "one_row",
    "transposed_kernel_smaller_than_stride",
    "transposed_narrower_than_strides",
    "stem",
    "stem_of_eight",
)


def make_mask(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """[N, H, W]; of "mixed", streams differ."""
    streams, height, width = shape
    if kind == "mixed":
        kinds = [("none", "few", "most")[(stream + 1) % 3] for stream in range(streams)]
        return np.concatenate([make_mask(rng, (1, height, width), one) for one in kinds])
    if kind == "block":
        mask = np.zeros(shape, bool)
        mask[:, height // 3 : height // 3 + -(-height // 3), : -(-width // 2)] = True
        return mask
    share = {"none": 0.0, "few": 0.02, "most": 0.8, "all": 1.0}[kind]
    mask = rng.random(shape) < share
    if kind == "few":
        mask.reshape(streams, -1)[np.arange(streams), rng.integers(0, height * width, streams)] = 1
    return mask


def make_frames(
    case: Case, dtype: str, seed: int, kinds: tuple[str, ...] = FRAMES
) -> list[tuple[DeltaTensor, ...]]:
    """Inputs of consecutive frames: they differ where their masks are on, the first everywhere.

    One pixel in eight of a mask has not changed after all.
    """
    rng = np.random.default_rng(seed)
    values = [np.zeros(shape) for shape in case.shapes]
    frames = []
    for kind in kinds:
        masks = [make_mask(rng, shape[:3], kind) for shape in case.shapes]
        if kind == "few":
            for shape, mask in zip(case.others, masks[len(case.inputs) :], strict=True):
                mask &= shape[1] * shape[2] > 1  # a gate's change reaches everything
        for value, mask in zip(values, masks, strict=True):
            changed = mask & ((rng.random(mask.shape) < 7 / 8) | (not frames))
            value[changed] = rng.normal(0, 1, (changed.sum(), value.shape[-1]))
        tensors = zip(values, masks, strict=True)
        frames.append(tuple(DeltaTensor(jnp.asarray(v, dtype), jnp.asarray(m)) for v, m in tensors))
    return frames


@functools.partial(jax.jit, static_argnums=0)
def dense(case: Case, parameters: Any, tensors: Any) -> jax.Array:
    """Compiled once for all implementations, like the specification."""
    return case.function(parameters, tensors).dense()


@functools.partial(jax.jit, static_argnums=(0, 1))
def specification(
    case: Case, norm: Any, parameters: Any, tensors: Any, cached: jax.Array, threshold: jax.Array
) -> Updated:
    return update_dense(case.function(parameters, tensors), cached, threshold, norm)


def check(
    case: Case,
    implementation: Any,
    norm: Any,
    dtype: str,
    precision: str = "highest",
    tolerance: tuple[float, float] | None = None,
    kinds: tuple[str, ...] | None = None,
    agreement: float = 1e-6,
) -> None:
    """An implementation against the specification, at threshold zero and above.

    Args:
        case: the update point.
        implementation: of the update.
        norm: of differences.
        dtype: of the maps.
        precision: of the implementation's float32 products; the specification's are exact.
        tolerance: in place of TOLERANCE.
        kinds: of frames, in place of FRAMES.
        agreement: of the specification with the dense map, of which XLA may compute each in its
            own way on a GPU.
    """
    seed = zlib.crc32(case.name.encode())
    if kinds is None:
        kinds = INTERPRETED_FRAMES if implementation == "triton" and interpreting() else FRAMES
    parameters = case.make_parameters(np.random.default_rng(seed), dtype)
    frames = make_frames(case, dtype, seed + 1, kinds)

    @jax.jit
    def tested(parameters, tensors, cached, threshold) -> Updated:
        function = case.function(parameters, tensors)
        return update(function, cached, threshold, norm, implementation)

    with jax.default_matmul_precision("highest"):
        maps = [np.asarray(dense(case, parameters, tensors), np.float64) for tensors in frames]
    unseen = jnp.full(maps[0].shape, jnp.inf, dtype)
    steps = [pixel_norm(b - a, norm) for a, b in itertools.pairwise(maps)]
    above_zero = float(np.median(np.concatenate([step[step > 1e-3] for step in steps])))

    relative, ambiguous = tolerance or TOLERANCE[dtype]
    for threshold in (0.0, above_zero):
        cached, kept = unseen, 0
        for number, (kind, tensors) in enumerate(zip(kinds, frames, strict=True)):
            threshold_array = jnp.float32(threshold)
            with jax.default_matmul_precision("highest"):
                expected = specification(case, norm, parameters, tensors, cached, threshold_array)
            with jax.default_matmul_precision(precision):
                actual = tested(parameters, tensors, cached, threshold_array)
            check_specification(expected, maps[number], cached, threshold, norm, agreement)

            np.testing.assert_array_equal(actual.computed, expected.computed)
            if left := actual.arrivals:
                assert not np.asarray(left.counters[left.used :]).any()
            difference = np.asarray(maps[number]) - np.asarray(cached, np.float64)
            margin = np.abs(pixel_norm(difference, norm) - threshold)
            near = margin <= ambiguous * pixel_norm(maps[number], norm).max()
            differing = np.asarray(actual.mask) != np.asarray(expected.mask)
            assert not (differing & ~near).any()
            if threshold > 0:
                assert differing.mean() < 0.02
            assert actual.value.dtype == expected.value.dtype == dtype
            same = ~differing if threshold > 0 else np.ones_like(differing)
            error = relative_error(
                np.where(same[..., None], np.asarray(actual.value, np.float64), 0),
                np.where(same[..., None], np.asarray(expected.value, np.float64), 0),
            )
            assert error <= relative

            computed, updated = np.asarray(expected.computed), np.asarray(expected.mask)
            if number == 0:
                assert computed.all()
                assert updated.all()
            elif kind == "none":
                assert not computed.any()
            elif kind == "few":
                assert computed.any()
                assert computed.mean() < 0.6 or case.name in MOSTLY_REACHED
            kept += (computed & ~updated).sum()
            cached = expected.value
        assert threshold == 0 or kept > 0


def check_specification(
    expected: Updated,
    z: np.ndarray,
    cached: jax.Array,
    threshold: float,
    norm: str,
    agreement: float,
) -> None:
    """m = c and (‖z − y‖ > τ); y = z where m, unchanged elsewhere."""
    difference = pixel_norm(z - np.asarray(cached, np.float64), norm)
    mask = np.asarray(expected.computed) & (difference > threshold)
    differing = mask != np.asarray(expected.mask)
    near = np.abs(difference - threshold) <= agreement * (1 + difference)
    assert not (differing & ~near).any()
    z = np.where(np.asarray(expected.mask)[..., None], z, np.asarray(cached, np.float64))
    assert relative_error(np.asarray(expected.value, np.float64), z) <= agreement


@pytest.mark.parametrize("implementation", ["xla", "triton"])
@pytest.mark.parametrize("name", BY_NAME)
def test_float32(name, implementation):
    norm = NORMS[list(BY_NAME).index(name) % 3]
    check(BY_NAME[name], implementation, norm, "float32")


@pytest.mark.parametrize("implementation", ["xla", "triton"])
@pytest.mark.parametrize("norm", NORMS)
def test_norms(norm, implementation):
    check(BY_NAME["three_streams_3x3_residual"], implementation, norm, "float32")


@pytest.mark.parametrize("implementation", ["xla", "triton"])
@pytest.mark.parametrize(("name", "dtype"), HALF_CASES)
def test_half_precision(name, dtype, implementation):
    check(BY_NAME[name], implementation, "rms" if dtype == "float16" else "max", dtype)
