"""Pointwise JAX functions as Triton device functions, for the epilogue of a kernel."""

import functools
import hashlib
import inspect
import linecache
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import triton
import triton.language as tl
from jax.core import ShapedArray, Tracer
from jax.extend import core
from triton import knobs
from triton.runtime.jit import KernelInterface

# A block of any JAX dtype is held in one of three Triton dtypes: bfloat16 and float16 are held in
# float32 and rounded to their own precision after every operation.
_BLOCK_DTYPES = {
    "float32": "tl.float32",
    "bfloat16": "tl.float32",
    "float16": "tl.float32",
    "int32": "tl.int32",
    "bool": "tl.int1",
}
# Two shapes, so that a function which depends on the shape, say on the number of channels, shows.
_TRACED_SHAPES = ((5, 7), (3, 11))


def pointwise_kernel(
    fn: Callable[..., jax.Array], dtypes: tuple[jnp.dtype, ...]
) -> KernelInterface | None:
    """A Triton device function which computes the same as `fn`, or None where there is none.

    Args:
        fn: takes as many arrays of one shape as there are dtypes, and computes every element of
            its result from the same elements of these arrays. It is traced, not run.
        dtypes: of the arrays: float32, bfloat16, float16, int32 or bool.

    Returns:
        A function to pass to a Triton kernel as a `tl.constexpr`, where it takes as many blocks of
        one shape and returns a float32 block of this shape. Equal operations give the same object.
        None if `fn` mixes elements, depends on the shape, captures an array or a traced scalar,
        raises when traced, has a result that isn't one floating-point array, or uses an operation
        that isn't listed below. The function is interpreted if TRITON_INTERPRET=1 is set now.
    """
    sources = set()
    for shape in _TRACED_SHAPES:
        try:
            traced = jax.make_jaxpr(fn)(*(jax.ShapeDtypeStruct(shape, dtype) for dtype in dtypes))
        except Exception:
            # Such as a captured array that doesn't broadcast to this shape. If it is a mistake of
            # fn, it also shows where fn is called.
            return None
        try:
            sources.add(_source(traced.jaxpr, traced.consts, shape))
        except _NotPointwise:
            return None
    if len(sources) > 1:
        return None
    return _load(*sources, interpreted=knobs.runtime.interpret)


@functools.cache
def _load(source: str, interpreted: bool) -> KernelInterface:
    """The device function of a source; a key is `interpreted` because triton.jit depends on it."""
    name = f"pointwise_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    source = source.replace("def pointwise(", f"def {name}(")
    file = f"<{name}>"
    # triton.jit asks inspect for the source, and inspect asks linecache.
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    # Unwrapped, because the tests wrap every function to check its types.
    namespace: dict[str, Any] = {
        function.__name__: triton.jit(inspect.unwrap(function))
        for function in _DEVICE_FUNCTIONS
        if f"{function.__name__}(" in source
    }
    namespace |= {"tl": tl, "__name__": __name__}
    exec(compile(source, file, "exec"), namespace)
    return triton.jit(namespace[name])


class _NotPointwise(Exception):
    pass


def _source(jaxpr: core.Jaxpr, constants: Sequence[Any], shape: tuple[int, ...]) -> str:
    """The Triton source of a traced function, one assignment per operation."""
    lines, inputs = [], []
    for i, variable in enumerate(jaxpr.invars):
        inputs.append(f"x{i}")
        dtype = _block_dtype(variable)
        # A block of bools may have been loaded as int8.
        lines.append(f"x{i} = x{i} != 0" if dtype == "tl.int1" else f"x{i} = x{i}.to({dtype})")
    outputs = _translate(jaxpr, constants, inputs, shape, lines)
    if len(outputs) != 1 or not isinstance(outputs[0], str):
        raise _NotPointwise
    if not jnp.issubdtype(_array(jaxpr.outvars[0]).dtype, jnp.floating):
        raise _NotPointwise
    lines.append(f"return {outputs[0]}")
    return f"def pointwise({', '.join(inputs)}):\n" + "".join(f"    {line}\n" for line in lines)


# What a variable of a jaxpr holds: a block, by its name in the source, or a scalar, by its value.
_Operand = str | np.generic


def _translate(
    jaxpr: core.Jaxpr,
    constants: Sequence[Any],
    inputs: Sequence[_Operand],
    shape: tuple[int, ...],
    lines: list[str],
) -> list[_Operand]:
    """Append the operations of a jaxpr to `lines`, and return what its outputs are."""
    operands = dict(zip(jaxpr.invars, inputs, strict=True))
    operands |= {v: _scalar(c) for v, c in zip(jaxpr.constvars, constants, strict=True)}

    def read(variable: core.Var | core.Literal) -> _Operand:
        if isinstance(variable, core.Literal):
            return _scalar(np.asarray(variable.val, _array(variable).dtype))
        return operands[variable]

    for equation in jaxpr.eqns:
        values = [read(variable) for variable in equation.invars]
        name = equation.primitive.name
        if name in _CALLS:
            called = equation.params[_CALLS[name]]
            results = _translate(
                getattr(called, "jaxpr", called),
                getattr(called, "consts", ()),
                values,
                shape,
                lines,
            )
        elif values and all(_array(v).shape == () for v in (*equation.invars, *equation.outvars)):
            with jax.ensure_compile_time_eval():
                outputs = equation.primitive.bind(*values, **equation.params)
            outputs = outputs if equation.primitive.multiple_results else [outputs]
            results = [_scalar(output) for output in outputs]
        elif [_array(v).shape for v in equation.outvars] == [shape]:
            lines.append(f"y{len(lines)} = {_expression(equation, values)}")
            results = [lines[-1].split(" = ", 1)[0]]
        else:
            raise _NotPointwise
        operands |= dict(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _array(variable: core.Var | core.Literal) -> ShapedArray:
    """The shape and dtype of a variable."""
    if not isinstance(variable.aval, ShapedArray):
        raise _NotPointwise
    return variable.aval


def _scalar(constant: Any) -> np.generic:
    is_key = jnp.issubdtype(jnp.result_type(constant), jax.dtypes.extended)
    if isinstance(constant, Tracer) or is_key or np.ndim(constant):
        raise _NotPointwise
    return np.asarray(constant).flat[0]


def _block_dtype(variable: core.Var | core.Literal) -> str:
    dtype = _array(variable).dtype.name
    if dtype not in _BLOCK_DTYPES:
        raise _NotPointwise
    return _BLOCK_DTYPES[dtype]


def _expression(equation: core.JaxprEqn, values: list[_Operand]) -> str:
    """The Triton expression of one operation with a block as its result."""
    name, params = equation.primitive.name, equation.params
    dtype = _block_dtype(equation.outvars[0])
    operand_dtypes = [_block_dtype(variable) for variable in equation.invars]
    texts = [_text(value) for value in values]

    if name == "broadcast_in_dim" and not isinstance(values[0], str):
        return f"tl.full(x0.shape, {texts[0]}, {dtype})"
    if not any(isinstance(value, str) for value in values):
        raise _NotPointwise
    if name == "convert_element_type":
        result = _conversion(operand_dtypes[0], dtype).format(*texts)
    elif name == "select_n" and operand_dtypes[0] == "tl.int1" and len(values) == 3:
        result = f"tl.where({texts[0]}, {texts[2]}, {texts[1]})"
    elif name == "integer_pow" and dtype == "tl.float32" and params["y"] != 0:
        power = " * ".join(texts * abs(params["y"]))
        result = power if params["y"] > 0 else f"1.0 / ({power})"
    elif name == "round" and dtype == "tl.float32":
        to_even = params["rounding_method"] == jax.lax.RoundingMethod.TO_NEAREST_EVEN
        result = f"{'_round_to_even' if to_even else '_round_away'}({texts[0]})"
    elif name in _TEMPLATES and set(operand_dtypes) <= set(_TEMPLATES[name].dtypes):
        if name == "pow":
            blocks = zip(values, texts, strict=True)
            texts = [
                t if isinstance(v, str) else f"tl.full(x0.shape, {t}, {dtype})" for v, t in blocks
            ]
        result = _TEMPLATES[name].expression.format(*texts)
    else:
        raise _NotPointwise

    precision = _array(equation.outvars[0]).dtype.name
    return f"({result}).to(tl.{precision}).to({dtype})" if "float16" in precision else result


def _text(value: _Operand) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, np.bool_ | np.integer):
        return str(value)
    return repr(float(value)) if np.isfinite(value) else f'float("{float(value)}")'


def _conversion(source: str, target: str) -> str:
    if source == target:
        return "{0}"
    if target == "tl.int1":
        return "{0} != 0"
    if source == "tl.float32":
        return "_to_int32({0})"
    return f"{{0}}.to({target})"


# Operations which are replaced by what they call, and the parameter that holds it.
_CALLS = {
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "remat2": "jaxpr",
}


class _Template(NamedTuple):
    expression: str
    dtypes: tuple[str, ...] = ("tl.float32",)


_NUMBERS = ("tl.float32", "tl.int32")
_BITS = ("tl.int32", "tl.int1")
_ALL = ("tl.float32", "tl.int32", "tl.int1")
_MAX = "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)"
_MIN = "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)"

_TEMPLATES = {
    "abs": _Template("tl.abs({0})", _NUMBERS),
    "add": _Template("{0} + {1}", _NUMBERS),
    "and": _Template("{0} & {1}", _BITS),
    "cbrt": _Template("_cbrt({0})"),
    "ceil": _Template("tl.ceil({0})"),
    "clamp": _Template(_MIN.format(_MAX.format("{0}", "{1}"), "{2}"), _NUMBERS),
    "copy": _Template("{0}", _ALL),
    "copy_p": _Template("{0}", _ALL),
    "cos": _Template("tl.cos({0})"),
    "div": _Template("{0} / {1}"),
    "eq": _Template("{0} == {1}", _ALL),
    "erf": _Template("tl.erf({0})"),
    "erfc": _Template("_erfc({0})"),
    "exp": _Template("tl.exp({0})"),
    "exp2": _Template("tl.exp2({0})"),
    "expm1": _Template("_expm1({0})"),
    "floor": _Template("tl.floor({0})"),
    "ge": _Template("{0} >= {1}", _NUMBERS),
    "gt": _Template("{0} > {1}", _NUMBERS),
    "is_finite": _Template('tl.abs({0}) < float("inf")'),
    "le": _Template("{0} <= {1}", _NUMBERS),
    "log": _Template("tl.log({0})"),
    "log1p": _Template("_log1p({0})"),
    "logistic": _Template("1.0 / (1.0 + tl.exp(-{0}))"),
    "lt": _Template("{0} < {1}", _NUMBERS),
    "max": _Template(_MAX, _NUMBERS),
    "min": _Template(_MIN, _NUMBERS),
    "mul": _Template("{0} * {1}", _NUMBERS),
    "ne": _Template("{0} != {1}", _ALL),
    "neg": _Template("-{0}", _NUMBERS),
    "not": _Template("~{0}", _BITS),
    "or": _Template("{0} | {1}", _BITS),
    "pow": _Template("_pow({0}, {1})"),
    "rsqrt": _Template("tl.rsqrt({0})"),
    "sign": _Template("tl.where({0} > 0, 1, tl.where({0} < 0, -1, {0}))", _NUMBERS),
    "sin": _Template("tl.sin({0})"),
    "sqrt": _Template("tl.sqrt({0})"),
    "square": _Template("{0} * {0}", _NUMBERS),
    "stop_gradient": _Template("{0}", _ALL),
    "sub": _Template("{0} - {1}", _NUMBERS),
    "tanh": _Template("_tanh({0})"),
    "xor": _Template("{0} ^ {1}", _BITS),
}

# The functions which tl lacks, of float32 blocks. libdevice has them, but doesn't run in the
# interpreter. They are jitted in _load, and cannot call one another.


def _tanh(x):
    # Cephes, tanhf.c. The exponential of a negative number doesn't overflow.
    square = x * x
    series = -5.70498872745e-3 * square + 2.06390887954e-2
    series = (series * square - 5.37397155531e-2) * square + 1.33314422036e-1
    series = (series * square - 3.33332819422e-1) * square * x + x
    decay = tl.exp(-2.0 * tl.abs(x))
    far = (1.0 - decay) / (1.0 + decay)
    return tl.where(tl.abs(x) < 0.625, series, tl.where(x < 0, -far, far))


def _expm1(x):
    # Near 0, where exp(x) - 1 cancels, the Taylor series.
    series = x * (1.0 / 40320.0) + 1.0 / 5040.0
    series = (series * x + 1.0 / 720.0) * x + 1.0 / 120.0
    series = (series * x + 1.0 / 24.0) * x + 1.0 / 6.0
    series = ((series * x + 0.5) * x + 1.0) * x
    return tl.where(tl.abs(x) < 0.5, series, tl.exp(x) - 1.0)


def _log1p(x):
    # Goldberg, What Every Computer Scientist Should Know About Floating-Point Arithmetic,
    # theorem 4: the rounding of 1 + x cancels in the quotient.
    u = 1.0 + x
    log = tl.log(u) * (x / (u - 1.0))
    return tl.where(u == 1.0, x, tl.where(u == float("inf"), u, log))


def _erfc(x):
    # Press et al., Numerical Recipes, erfcc: accurate relative to erfc in its tail too. There the
    # exponent is large, so the exact part of its square is kept apart. Beyond 12 the result is 0.
    a = tl.minimum(tl.abs(x), 12.0, propagate_nan=tl.PropagateNan.ALL)
    exact = tl.floor(a * 16.0) * 0.0625
    t = 1.0 / (1.0 + 0.5 * a)
    series = t * 0.17087277 - 0.82215223
    series = (series * t + 1.48851587) * t - 1.13520398
    series = (series * t + 0.27886807) * t - 0.18628806
    series = (series * t + 0.09678418) * t + 0.37409196
    series = (series * t + 1.00002368) * t - 1.26551223
    tail = t * tl.exp(-exact * exact) * tl.exp(series - (a - exact) * (a + exact))
    return tl.where(x < 0, 2.0 - tail, tail)


def _cbrt(x):
    # One step of Newton's method from the root by logarithms.
    a = tl.abs(x)
    root = tl.exp2(tl.log2(a) / 3.0)
    root = root - (root - a / (root * root)) / 3.0
    root = tl.where((a == 0.0) | (a == float("inf")), a, root)
    return tl.where(x < 0, -root, root)


def _pow(x, y):
    # The special cases of C's powf.
    infinity = float("inf")
    size = tl.exp2(y * tl.log2(tl.abs(x)))
    size = tl.where((y == 0.0) | (x == 1.0) | ((x == -1.0) & (tl.abs(y) == infinity)), 1.0, size)
    whole = tl.floor(y) == y
    odd = tl.floor(y * 0.5) * 2.0 != y
    signed = tl.where(whole & odd, -size, size)
    power = tl.where(whole | (x == 0.0) | (x == -infinity), signed, float("nan"))
    # The quotient tells -0 from 0.
    return tl.where((x < 0) | (1.0 / x < 0), power, size)


def _round_to_even(x):
    # Numbers from 2^23 on are whole, and adding 2^23 rounds those below.
    a = tl.abs(x)
    rounded = (a + 8388608.0) - 8388608.0
    return tl.where(a < 8388608.0, tl.where(x < 0, -rounded, rounded), x)


def _round_away(x):
    a = tl.abs(x)
    whole = tl.floor(a)
    rounded = tl.where(a - whole >= 0.5, whole + 1.0, whole)
    return tl.where(x < 0, -rounded, rounded)


def _to_int32(x):
    # As XLA: saturated, and NaN is 0. 2147483520 is the largest float32 below 2^31.
    inside = tl.where(x == x, tl.minimum(tl.maximum(x, -2147483648.0), 2147483520.0), 0.0)
    return tl.where(x >= 2147483648.0, 2147483647, inside.to(tl.int32))


_DEVICE_FUNCTIONS = (
    _cbrt,
    _erfc,
    _expm1,
    _log1p,
    _pow,
    _round_away,
    _round_to_even,
    _tanh,
    _to_int32,
)
