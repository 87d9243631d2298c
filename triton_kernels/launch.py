"""One way to run a kernel: on a GPU as XLA's own Triton call, elsewhere in Triton's interpreter."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from .interpreter import interpret, interpreting, triton_type
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
        aliases = tuple(types[name] for name in updated)
        ir = ir_of(kernel, types, parameters, aliases, _capability(), num_warps, num_stages)
        given = [name for name in kernel.arg_names if name in operands]
        sizes = (*grid, 1, 1)
        # XLA makes a CUDA graph of these calls. To each it passes the pointers of the operands and
        # then those of all results, so that what is updated comes twice.
        results = jax.ffi.ffi_call(
            "__gpu$xla.gpu.triton",
            outputs,
            input_output_aliases={given.index(name): names.index(name) for name in updated},
        )(
            *(operands[name] for name in given),
            name=kernel.__name__,
            ir=ir,
            num_warps=np.int32(num_warps),
            num_stages=np.int32(num_stages),
            grid_x=np.int32(sizes[0]),
            grid_y=np.int32(sizes[1]),
            grid_z=np.int32(sizes[2]),
        )
    return dict(zip(names, results, strict=True))


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
