import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import triton.language as tl
from triton.runtime.errors import InterpreterError

from deltajax.triton_kernels.interpreter import interpret, interpreting
from tests.triton_kernels import toy
from tests.triton_kernels.ahead_of_time import SHARED_LIMIT, Compiled, Job, compile_all


def random(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def masked_map(x: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The toy of that name: x and positive, both [size]."""
    x, positive = x.copy(), np.zeros(len(x), bool)
    interpret(
        toy.masked_map,
        (-(-len(x) // 32),),
        {"x": x, "mask": mask.copy(), "positive": positive},
        {"size": len(x), "BLOCK": 32, "FUNCTION": toy.double},
    )
    return x, positive


def test_interpreting():
    assert interpreting()


def test_masks_and_device_function():
    x, mask = random(100), np.arange(100) % 3 == 0
    doubled, positive = masked_map(x, mask)
    np.testing.assert_array_equal(doubled, np.where(mask, 2 * x, 0))
    np.testing.assert_array_equal(positive, mask & (x > 0))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("precision", ["tf32", "tf32x3", "ieee"])
def test_dot(dtype: str, precision: str):
    a, b = random(16, 48, dtype=jnp.dtype(dtype)), random(48, 16, dtype=jnp.dtype(dtype))
    c = np.zeros((16, 16), a.dtype)
    parameters = {"depth": 48, "BLOCK": 16, "PRECISION": precision}
    interpret(toy.matmul, (1,), {"a": a, "b": b, "c": c}, parameters)
    factors = [x.astype(np.float32) for x in (a, b)]
    if precision == "tf32":
        # Eight bits of exponent and ten of mantissa are looked at.
        factors = [(x.view(np.uint32) & 0xFFFFE000).view(np.float32) for x in factors]
    expected = factors[0] @ factors[1]
    # One rounding to the type of c; only the order of the sums may differ before it.
    np.testing.assert_allclose(
        c.astype(np.float32), expected, rtol=2 * float(jnp.finfo(dtype).eps), atol=1e-5
    )


@pytest.mark.parametrize("dtype", ["uint8", "bool", "int32"])
def test_atomic_sum_and_scan(dtype: str):
    mask = (np.arange(70) % 7 == 1).astype(dtype)
    indices, count = np.full(70, -1, np.int32), np.zeros(1, np.int32)
    arrays = {"mask": mask, "indices": indices, "count": count}
    interpret(toy.compact, (3,), arrays, {"size": 70, "BLOCK": 32})
    assert count == 10
    np.testing.assert_array_equal(indices[:10], np.flatnonzero(mask))
    assert (indices[10:] == -1).all()


def test_control_flow():
    out = np.zeros(8, np.int32)
    interpret(toy.control_flow, (1,), {"out": out}, {"size": 9, "STEPS": 4})
    np.testing.assert_array_equal(out, [16, 6, 22, 0, 24, 28, 32, 36])


@pytest.mark.parametrize("source", ["float32", "int32"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_types_round_to_nearest(source: str, dtype: str):
    x = (100 * random(64)).astype(source)
    y = np.zeros(64, jnp.dtype(dtype))
    interpret(toy.narrow, (1,), {"x": x, "y": y}, {"BLOCK": 64})
    rounded = x.astype(y.dtype)
    np.testing.assert_array_equal(y, np.where(rounded > 1, rounded + y.dtype.type(1), rounded))


def test_triton_is_left_as_it_was():
    before = tl.load, tl.core.load, tl.reduce, tl.tensor.__add__
    masked_map(random(8), np.ones(8, bool))
    assert (tl.load, tl.core.load, tl.reduce, tl.tensor.__add__) == before


def test_bad_arrays():
    with pytest.raises(InterpreterError, match="1 of 32 elements lie outside"):
        interpret(toy.fill, (1,), {"x": np.zeros(31, np.float32)}, {"BLOCK": 32})
    constant = np.zeros(32, np.float32)
    constant.flags.writeable = False
    with pytest.raises(InterpreterError, match=r"32 of 32 elements lie .* or in read-only ones"):
        interpret(toy.fill, (1,), {"x": constant}, {"BLOCK": 32})
    with pytest.raises(ValueError, match="x must be C-contiguous"):
        interpret(toy.fill, (1,), {"x": np.zeros((8, 8), np.float32).T}, {"BLOCK": 32})
    with pytest.raises(ValueError, match="x is of type float64"):
        interpret(toy.fill, (1,), {"x": np.zeros(32)}, {"BLOCK": 32})


def test_threads():
    x, mask = random(100), np.ones(100, bool)
    results = {}

    def run(factor: int) -> None:
        results[factor] = masked_map(factor * x, mask)[0]

    threads = [threading.Thread(target=run, args=(factor,)) for factor in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for factor in range(4):
        np.testing.assert_array_equal(results[factor], 2 * factor * x)


def test_inside_jit():
    def callback(x, mask):
        return masked_map(np.asarray(x), np.asarray(mask))

    @jax.jit
    def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = jax.ShapeDtypeStruct.like(x), jax.ShapeDtypeStruct(x.shape, jnp.bool_)
        first, positive = jax.pure_callback(callback, out, x, x > 0)
        second, _ = jax.pure_callback(callback, out, x, ~positive)
        return first + second, positive

    x = random(300)
    doubled, positive = run(jnp.asarray(x))
    np.testing.assert_array_equal(doubled, 2 * x)
    np.testing.assert_array_equal(positive, x > 0)


def matmul_job(capability: int, block: int, num_warps: int) -> Job:
    return Job(
        toy.matmul,
        {"a": "fp16", "b": "fp16", "c": "fp32"},
        {"depth": 1024, "BLOCK": block, "PRECISION": "tf32"},
        capability,
        num_warps=num_warps,
        num_stages=3,
    )


def masked_map_job(capability: int) -> Job:
    types = {"x": "fp32", "mask": "i1", "positive": "i1"}
    constants = {"size": 1000, "BLOCK": 128, "FUNCTION": toy.double}
    return Job(toy.masked_map, types, constants, capability, num_warps=4, num_stages=1)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compiled]:
    """Compiled in an empty cache: by kernel and capability."""
    jobs = {
        f"{name} {capability}": job
        for capability in SHARED_LIMIT
        for name, job in {
            "matmul": matmul_job(capability, block=64, num_warps=4),
            "masked_map": masked_map_job(capability),
        }.items()
    } | {"spilling": matmul_job(80, block=128, num_warps=2)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        return dict(zip(jobs, compile_all(list(jobs.values())), strict=True))


@pytest.mark.parametrize("capability", SHARED_LIMIT)
def test_ahead_of_time(compiled: dict[str, Compiled], capability: int):
    matmul, masked = compiled[f"matmul {capability}"], compiled[f"masked_map {capability}"]
    # At least one tile of each factor, in float16.
    assert 2 * 64 * 64 * 2 <= matmul.shared_bytes <= SHARED_LIMIT[capability]
    assert masked.shared_bytes == 0
    assert matmul.spill_bytes == masked.spill_bytes == 0
    assert 8 <= masked.registers < matmul.registers <= 255
    assert f".target sm_{capability}" in matmul.ptx


def test_spills_are_seen(compiled: dict[str, Compiled]):
    assert compiled["spilling"].spill_bytes > 0
