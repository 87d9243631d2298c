"""One way to run a kernel: on a GPU as a kernel of XLA's own, elsewhere in Triton's interpreter."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import mlir

from .interpreter import interpret, interpreting, triton_type
from .program import Source, compiling


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    operands: Mapping[str, jax.Array],
    fresh: Mapping[str, jax.ShapeDtypeStruct],
    updated: tuple[str, ...],
    parameters: Mapping[str, Any],
    num_warps: int,
    num_stages: int,
) -> dict[str, jax.Array]:
    """Runs a kernel.

    Args:
        kernel: a function decorated with `triton.jit`. Its parameters are, in this order, the
            operands, the fresh arrays, integers and `tl.constexpr`s.
        grid: programs, along up to three axes.
        operands: arrays, by name.
        fresh: the arrays that it makes, uninitialised, by name in the order of its parameters.
        updated: the operands that it writes to, in place where the caller lets go of them.
        parameters: integers and `tl.constexpr`s, by name. All are compiled into the kernel: what
            differs between calls that are to share one has to be an operand.
        num_warps: of a program.
        num_stages: of the software pipeline.

    Returns:
        The fresh and the updated arrays, by name.

    Raises:
        ValueError: for an array of a dtype that kernels do not know.
    """
    types = {name: triton_type(name, array) for name, array in {**operands, **fresh}.items()}
    names = [*fresh, *updated]
    outputs = [*fresh.values(), *(jax.typeof(operands[name]) for name in updated)]
    outputs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs]
    if interpreting():
        given = tuple(operands)

        def run(*values: jax.Array) -> list[np.ndarray]:
            arrays = dict(zip(given, map(np.asarray, values), strict=True))
            arrays |= {name: np.array(arrays[name]) for name in updated}
            for name, array in fresh.items():
                arrays[name] = np.full(array.shape, _poison(array.dtype), array.dtype)
            interpret(kernel, grid, arrays, parameters)
            return [arrays[name] for name in names]

        results = jax.pure_callback(run, outputs, *operands.values())
    else:
        source = Source(
            kernel,
            tuple((name, types[name]) for name in kernel.arg_names if name in types),
            tuple((name, parameters[name]) for name in kernel.arg_names if name in parameters),
            _capability(),
            num_warps,
            num_stages,
        )
        # Begun here, so that all kernels of a function are compiled at the same time.
        compiling(source)
        given = [name for name in kernel.arg_names if name in operands]
        results = _kernel_call.bind(
            *(operands[name] for name in given),
            source=source,
            grid=grid,
            outputs=tuple((output.shape, output.dtype) for output in outputs),
            aliases=tuple((given.index(name), names.index(name)) for name in updated),
        )
    return dict(zip(names, results, strict=True))


_kernel_call = Primitive("kernel_call")
_kernel_call.multiple_results = True


@_kernel_call.def_impl
def _run(*operands: jax.Array, **parameters: Any) -> Sequence[jax.Array]:
    return jax.jit(functools.partial(_kernel_call.bind, **parameters))(*operands)


@_kernel_call.def_abstract_eval
def _outputs(*operands: Any, outputs: Sequence[tuple[Any, Any]], **_: Any) -> list[ShapedArray]:
    return [ShapedArray(shape, dtype) for shape, dtype in outputs]


def _lower(
    context: Any,
    *operands: Any,
    source: Source,
    grid: tuple[int, ...],
    outputs: Sequence[Any],
    aliases: tuple[tuple[int, int], ...],
) -> Any:
    """XLA makes a CUDA graph of these calls.

    To each it passes the pointers of the operands and then those of all results, so that what is
    updated comes twice: the kernel has no parameters for the second ones, or does not read them.
    """
    program = compiling(source).result()
    sizes = (*grid, 1, 1)
    integers = {
        "grid_x": sizes[0],
        "grid_y": sizes[1],
        "grid_z": sizes[2],
        "block_x": program.threads,
        "block_y": 1,
        "block_z": 1,
        "shared_mem_bytes": program.shared_bytes,
    }
    # Where the kernel has more parameters than there are pointers, the driver would read on.
    missing = max(0, program.parameters - len(operands) - len(outputs))
    dummies = [ShapedArray((1,), np.dtype(np.uint8))] * missing
    lower = jax.ffi.ffi_lowering("__gpu$xla.gpu.ptx", operand_output_aliases=dict(aliases))
    results = lower(
        context.replace(avals_out=[*context.avals_out, *dummies]),
        *operands,
        name=source.kernel.__name__,
        kernel_type="ptx",
        kernel_data=program.code,
        **{name: np.int32(value) for name, value in integers.items()},
    )
    return results[: len(outputs)]


mlir.register_lowering(_kernel_call, _lower)


def _poison(dtype: Any) -> Any:
    """What uninitialised memory is filled with in the interpreter: what no result can hide."""
    if np.dtype(dtype).kind == "b":
        return True
    return np.iinfo(dtype).max if jax.numpy.issubdtype(dtype, np.integer) else np.nan


def _capability() -> int:
    """The compute capability of the GPUs that JAX sees, times ten; an H100's if it sees none."""
    try:
        return round(10 * float(jax.local_devices(backend="cuda")[0].compute_capability))
    except RuntimeError:
        return 90
