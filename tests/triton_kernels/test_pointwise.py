import inspect
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import triton
import triton.language as tl
from jax import lax
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from deltajax.triton_kernels.interpreter import interpret
from deltajax.triton_kernels.pointwise import pointwise_kernel

FLOAT32 = jnp.dtype("float32")
BFLOAT16 = jnp.dtype("bfloat16")
FLOAT16 = jnp.dtype("float16")
TRITON_NAMES = {FLOAT32: "fp32", BFLOAT16: "bf16", FLOAT16: "fp16", jnp.dtype("int32"): "i32"}

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 1e-8, -1e-8, 0.49999997]
SPECIAL += [-2.5, 30.0, -30.0, 100.0, -100.0, np.inf, -np.inf, np.nan]


class Case(NamedTuple):
    fn: Callable[..., jax.Array]
    arrays: int = 1
    # Where JAX itself cancels digits; otherwise what float32 cannot hold with full precision.
    atol: float = 1e-37


def weighted_sum(x, y, w):
    return 0.7 * x - 1.3 * y + 2.0 * w


def integers_and_masks(x, y):
    positive, near = x > 0, ~(abs(y) >= 2)
    count = jnp.where(positive & near, 3, -2) * (8 * x).astype(jnp.int32)
    count = jnp.maximum(count & 63, -count) ^ (positive | near).astype(jnp.int32)
    return jnp.where(positive ^ near, count.astype(x.dtype), (x != y).astype(x.dtype))


@jax.custom_vjp
def doubled(x):
    return 2 * x


doubled.defvjp(lambda x: (doubled(x), None), lambda _, g: (2 * g,))

scale = jnp.float32(1.7)

FLAX_NAMES = ["relu", "relu6", "leaky_relu", "elu", "celu", "selu", "silu", "swish", "sigmoid"]
FLAX_NAMES += ["hard_sigmoid", "hard_swish", "hard_silu", "hard_tanh", "softplus", "tanh"]
FLAX_NAMES += ["log_sigmoid", "soft_sign"]
NUMPY_NAMES = ["abs", "sign", "square", "sqrt", "exp", "exp2", "expm1", "log", "log1p", "sin"]
NUMPY_NAMES += ["cos", "floor", "ceil", "round", "cbrt", "negative"]
LAX_NAMES = ["erf", "erfc", "rsqrt", "logistic"]

CASES = {
    "gelu": Case(nn.gelu, atol=2e-6),
    "gelu exact": Case(lambda x: nn.gelu(x, approximate=False)),
    "mish": Case(jax.nn.mish),
    "squareplus": Case(jax.nn.squareplus, atol=2e-6),
    "identity": Case(lambda x: x),
    "add": Case(jnp.add, 2, atol=1e-6),
    "multiply": Case(jnp.multiply, 2),
    "maximum": Case(jnp.maximum, 2),
    "minimum": Case(jnp.minimum, 2),
    "divide": Case(jnp.divide, 2),
    "power": Case(jnp.power, 2),
    "power 2.5": Case(lambda x: jnp.power(x, 2.5)),
    "where": Case(lambda x, y: jnp.where(x <= y, -x, 0.5), 2),
    "where True": Case(lambda x: jnp.where(True, x, 2 * x)),
    "clip": Case(lambda x: jnp.clip(x, -1, 2)),
    "clamp": Case(lambda x, low: lax.clamp(low, x, jnp.asarray(2, x.dtype)), 2),
    "nan_to_num": Case(jnp.nan_to_num),
    "weighted sum": Case(weighted_sum, 3, atol=1e-5),
    "gated": Case(lambda x, y, w: x * nn.sigmoid(y) + w, 3, atol=1e-5),
    "integers and masks": Case(integers_and_masks, 2),
    "to int32": Case(lambda x: (x * 1e9).astype(jnp.int32).astype(jnp.float32)),
    "is_finite": Case(lambda x: jnp.where(jnp.isfinite(x), x, 0)),
    "round away": Case(lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO)),
    "integer_pow": Case(lambda x: lax.integer_pow(x, 5) + lax.integer_pow(x, -2)),
    "captured scalar": Case(lambda x: x * scale),
    "scalar arithmetic": Case(lambda x: x * jnp.sqrt(scale + 1)),
    "custom_vjp": Case(doubled),
    "checkpoint": Case(jax.checkpoint(nn.silu)),
    "stop_gradient": Case(lambda x: lax.stop_gradient(x) * 2),
}
CASES |= {name: Case(getattr(nn, name)) for name in FLAX_NAMES}
CASES |= {name: Case(getattr(jnp, name)) for name in NUMPY_NAMES}
CASES |= {name: Case(getattr(lax, name)) for name in LAX_NAMES}


def apply(x, y, w, out, FUNCTION: tl.constexpr, ARRAYS: tl.constexpr, ROWS: tl.constexpr):
    """out = FUNCTION(x, ...) on one block [ROWS, 64]; ARRAYS of the three are given to it."""
    index = tl.arange(0, ROWS)[:, None] * 64 + tl.arange(0, 64)[None, :]
    if ARRAYS == 1:
        result = FUNCTION(tl.load(x + index))
    elif ARRAYS == 2:
        result = FUNCTION(tl.load(x + index), tl.load(y + index))
    else:
        result = FUNCTION(tl.load(x + index), tl.load(y + index), tl.load(w + index))
    tl.store(out + index, result)


def inputs(*dtypes: jnp.dtype) -> list[np.ndarray]:
    """Arrays [16, 64]: every pair of special values in the first two, then normal numbers."""
    special = np.array(SPECIAL)
    pairs = np.stack([np.tile(special, len(special)), np.repeat(special, len(special))])
    values = 3 * np.random.default_rng(0).normal(size=(3, 16 * 64))
    values[:2, : pairs.shape[1]] = pairs
    values[:, -200:] *= 1e-4
    return [
        value.astype(np.float32).astype(dtype).reshape(16, 64)
        for value, dtype in zip(values[: len(dtypes)], dtypes, strict=True)
    ]


def interpreted(
    fn: Callable[..., jax.Array], arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> np.ndarray:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    function = pointwise_kernel(fn, tuple(array.dtype for array in arrays))
    assert function is not None
    out = np.zeros(arrays[0].shape, np.float32)
    pointers = dict(zip("xyw", (arrays * 3)[:3], strict=True)) | {"out": out}
    parameters = {"FUNCTION": function, "ARRAYS": len(arrays), "ROWS": 16}
    interpret(triton.jit(apply), (1,), pointers, parameters)
    return out


def compiled(
    fn: Callable[..., jax.Array],
    dtypes: tuple[jnp.dtype, ...],
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
) -> str:
    """The PTX of the kernel with this function, for compute capability 9.0."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    function = pointwise_kernel(fn, dtypes)
    assert function is not None
    names = [f"*{TRITON_NAMES[dtype]}" for dtype in (dtypes * 3)[:3]]
    constants = {"FUNCTION": function, "ARRAYS": len(dtypes), "ROWS": rows}
    signature = dict(zip("xyw", names, strict=True)) | {"out": "*fp32"}
    source = ASTSource(
        triton.jit(apply), signature | dict.fromkeys(constants, "constexpr"), constants
    )
    # Named, because Triton 3.9 warns that its default will change.
    options = {"enable_fp_fusion": True}
    with knobs.cache.scope():
        knobs.cache.dir = str(cache)
        kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    return kernel.asm["ptx"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_float32(case: Case, monkeypatch: pytest.MonkeyPatch):
    arrays = inputs(*[FLOAT32] * case.arrays)
    expected = case.fn(*map(jnp.asarray, arrays))
    actual = interpreted(case.fn, arrays, monkeypatch)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=case.atol)


@pytest.mark.parametrize("dtype", [BFLOAT16, FLOAT16], ids=str)
@pytest.mark.parametrize("name", ["relu", "silu", "elu", "softplus", "gelu", "weighted sum"])
def test_half_precision(name: str, dtype: jnp.dtype, monkeypatch: pytest.MonkeyPatch):
    fn, count, _ = CASES[name]
    arrays = inputs(*[dtype] * count)
    expected = np.asarray(fn(*map(jnp.asarray, arrays)), np.float32)
    actual = interpreted(fn, arrays, monkeypatch)
    # XLA may leave out the roundings between two operations, and its exp may overflow in float16.
    ulp = float(jnp.finfo(dtype).eps)
    atol = 8 * ulp if name in ["gelu", "weighted sum"] else 2e-4 if dtype == FLOAT16 else 1e-6
    np.testing.assert_allclose(actual, expected, rtol=3 * ulp, atol=atol)
    np.testing.assert_array_equal(actual, actual.astype(dtype).astype(np.float32))


def test_mixed_dtypes(monkeypatch: pytest.MonkeyPatch):
    arrays = inputs(FLOAT32, BFLOAT16, jnp.dtype("bool"))

    def fn(x, y, mask):
        return jnp.where(mask, x * y, y + 1)

    expected = fn(*map(jnp.asarray, arrays))
    np.testing.assert_allclose(interpreted(fn, arrays, monkeypatch), expected, rtol=1e-5)


vector = jnp.arange(7.0)
NOT_POINTWISE = {
    "channel maximum": lambda x, y: x * jnp.tanh(y) + jnp.max(x, axis=-1, keepdims=True),
    "softmax": lambda x, y: jax.nn.softmax(x),
    "mean": lambda x, y: x - jnp.mean(x),
    "flip": lambda x, y: x[:, ::-1],
    "roll": lambda x, y: jnp.roll(x, 1, axis=-1),
    "cumsum": lambda x, y: jnp.cumsum(x, axis=-1),
    "sort": lambda x, y: jnp.sort(x),
    "transpose": lambda x, y: x.T,
    "reshape": lambda x, y: x.reshape(-1),
    "slice": lambda x, y: x[:1],
    "element": lambda x, y: x[0, 0],
    "matmul": lambda x, y: x @ y.T @ x,
    "captured array": lambda x, y: x * vector,
    "captured row": lambda x, y: x * jnp.ones((1, 1)),
    "array of another shape": lambda x, y: x + jnp.arange(64.0),
    "iota": lambda x, y: x + lax.broadcasted_iota(jnp.float32, x.shape, 1),
    "number of channels": lambda x, y: x / x.shape[-1],
    "constant": lambda x, y: 1.0,
    "mask": lambda x, y: x > y,
    "two results": lambda x, y: (x, y),
    "loop": lambda x, y: lax.fori_loop(0, 3, lambda i, x: x + y, x),
    "random": lambda x, y: x + jax.random.normal(jax.random.key(0), x.shape),
    "complex": lambda x, y: jnp.real(x + 1j * y),
    "print": lambda x, y: jax.debug.print("{}", x) or x,
    "unsupported": lambda x, y: lax.lgamma(x),
    "only one argument": lambda x: x,
}


@pytest.mark.parametrize("fn", NOT_POINTWISE.values(), ids=NOT_POINTWISE.keys())
def test_not_pointwise(fn: Callable[..., jax.Array]):
    assert pointwise_kernel(fn, (FLOAT32, FLOAT32)) is None


def test_unsupported_dtype():
    assert pointwise_kernel(jnp.add, (FLOAT32, jnp.dtype("uint8"))) is None


def test_traced_scalar():
    found = []

    @jax.jit
    def traced(x, scale):
        found.append(pointwise_kernel(lambda x: x * scale, (FLOAT32,)))
        found.append(pointwise_kernel(lambda x: x * jnp.sqrt(2.0), (FLOAT32,)))
        return x

    traced(jnp.ones(3), 2.0)
    assert found[0] is None
    assert found[1] is pointwise_kernel(lambda x: x * np.sqrt(np.float32(2)), (FLOAT32,))


def test_same_source_is_same_function(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    functions = [
        pointwise_kernel(lambda x, factor=factor: factor * x, (FLOAT32,))
        for factor in [2.0, 2.0, 3.0]
    ]
    assert functions[0] is functions[1]
    double, triple = functions[1:]
    assert isinstance(double, triton.JITFunction)
    assert isinstance(triple, triton.JITFunction)
    assert double.__name__ != triple.__name__
    assert double.cache_key != triple.cache_key
    assert inspect.getsource(double.fn).startswith(f"def {double.__name__}(x0):\n")


def everything(x, y, w):
    """A sum of all cases, so that one compilation covers all operations."""
    total = jnp.zeros_like(x)
    for fn, arrays, _ in CASES.values():
        total += fn(*[x, y, w][:arrays])
    return total


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_all_compile_for_gpu(dtype: jnp.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    # A small block, since each of a thread's elements is as much code again.
    compiled(everything, (dtype,) * 3, 2, monkeypatch, tmp_path)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT16], ids=str)
def test_nan_propagates_on_gpu(dtype: jnp.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    ptx = compiled(nn.relu, (dtype,), 128, monkeypatch, tmp_path)
    assert "max.NaN.f" in ptx
