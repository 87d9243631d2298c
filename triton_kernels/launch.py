"""One way to run a kernel: on a GPU through jax-triton, elsewhere in Triton's interpreter."""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from .interpreter import interpret, interpreting


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
            kernel, grid, operands, len(fresh), outputs, updated, parameters, num_warps, num_stages
        )
    return dict(zip(names, results, strict=True))


def _poison(dtype: Any) -> Any:
    """What uninitialised memory is filled with in the interpreter: what no result can hide."""
    if np.dtype(dtype).kind == "b":
        return True
    return np.iinfo(dtype).max if jax.numpy.issubdtype(dtype, np.integer) else np.nan


def _call_on_gpu(
    kernel: Any,
    grid: Any,
    operands: Mapping[str, jax.Array],
    num_fresh: int,
    outputs: list[jax.ShapeDtypeStruct],
    updated: tuple[str, ...],
    parameters: Mapping[str, Any],
    num_warps: int,
    num_stages: int,
) -> list[jax.Array]:
    import jax_triton

    # jax-triton hands the buffers of inputs and outputs to the kernel's parameters in order, and an
    # aliased output has no parameter of its own. With an aliased output before a fresh one the
    # latter's pointer would point at the aliased buffer: fresh outputs have to come first.
    positions = [name for name in kernel.arg_names if name in operands]
    aliases = {positions.index(name): num_fresh + i for i, name in enumerate(updated)}
    with warnings.catch_warnings():
        # The successor of aliases, jax.new_ref, copies every array twice in a scan.
        warnings.filterwarnings("ignore", "input_output_aliases", DeprecationWarning)
        return jax_triton.triton_call(
            kernel=kernel,
            out_type=outputs,
            grid=grid,
            input_output_aliases=aliases,
            num_warps=num_warps,
            num_stages=num_stages,
            # The default, said aloud: Triton 3.9 warns that it will change.
            backend_options={"enable_fp_fusion": True},
            **operands,
            **parameters,
        )
