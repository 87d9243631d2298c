"""One way to run a kernel: on a GPU through jax-triton, elsewhere in Triton's interpreter."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from .interpreter import TRITON_TYPES, interpret, interpreting
from .triton_ir import ir_of


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
        parameters: integers and `tl.constexpr`s, by name.
        num_warps: of a program.
        num_stages: of the software pipeline.

    Returns:
        The fresh and the updated arrays, by name.
    """
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
        results = _call_on_gpu(
            kernel, grid, operands, fresh, updated, parameters, num_warps, num_stages
        )
    return dict(zip(names, results, strict=True))


def _poison(dtype: Any) -> Any:
    """What uninitialised memory is filled with in the interpreter: what no result can hide."""
    if np.dtype(dtype).kind == "b":
        return True
    return np.iinfo(dtype).max if jax.numpy.issubdtype(dtype, np.integer) else np.nan


def _call_on_gpu(
    kernel: Any,
    grid: tuple[int, ...],
    operands: Mapping[str, jax.Array],
    fresh: Mapping[str, jax.ShapeDtypeStruct],
    updated: tuple[str, ...],
    parameters: Mapping[str, Any],
    num_warps: int,
    num_stages: int,
) -> list[jax.Array]:
    """As XLA's own Triton kernel, which becomes part of a CUDA graph with all others.

    XLA passes the pointers of the operands and then those of all results.
    """
    names = [name for name in kernel.arg_names if name in operands]
    made = [name for name in kernel.arg_names if name in fresh]
    types = {
        name: TRITON_TYPES[np.dtype(array.dtype)] for name, array in {**operands, **fresh}.items()
    }
    outputs = [fresh[name] for name in made] + [jax.typeof(operands[name]) for name in updated]
    call = jax.ffi.ffi_call(
        "__gpu$xla.gpu.triton",
        [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in outputs],
        input_output_aliases={names.index(name): len(made) + i for i, name in enumerate(updated)},
    )
    aliases = tuple(types[name] for name in updated)
    sizes = (*grid, 1, 1)
    results = call(
        *(operands[name] for name in names),
        name=kernel.__name__,
        ir=ir_of(kernel, types, dict(parameters), aliases, _capability(), num_warps, num_stages),
        num_warps=np.int32(num_warps),
        num_stages=np.int32(num_stages),
        grid_x=np.int32(sizes[0]),
        grid_y=np.int32(sizes[1]),
        grid_z=np.int32(sizes[2]),
    )
    return [results[[*made, *updated].index(name)] for name in [*fresh, *updated]]


@functools.cache
def _capability() -> int:
    """The GPU's compute capability; an H100's where there is none."""
    try:
        gpus = jax.local_devices(backend="cuda")
    except RuntimeError:
        return 90
    return round(10 * float(gpus[0].compute_capability))
