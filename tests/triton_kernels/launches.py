"""What a computation launches, and its compilation for GPUs that are not there.

Run as a program in a process without TRITON_INTERPRET:

    python -m tests.triton_kernels.launches MODEL DTYPE HEIGHT WIDTH STREAMS CAPABILITY...

compiles every kernel that a network launches, and prints a line of JSON for each.
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

TRITON_TYPES = {
    np.dtype(np.float32): "*fp32",
    np.dtype(ml_dtypes.bfloat16): "*bf16",
    np.dtype(np.float16): "*fp16",
    np.dtype(np.int32): "*i32",
    np.dtype(np.uint8): "*u8",
    np.dtype(np.bool_): "*i1",
}


@dataclasses.dataclass(frozen=True)
class Launch:
    """The arguments of `triton_kernels.launch.launch`, arrays by their types."""

    kernel: Any
    grid: tuple[int, ...]
    pointers: dict[str, str]
    parameters: dict[str, Any]
    fresh_bytes: int
    num_warps: int
    num_stages: int

    @property
    def name(self) -> str:
        return getattr(self.kernel, "__name__", str(self.kernel))

    def signature_and_constants(self) -> tuple[dict[str, str], dict[str, Any]]:
        """As jax-triton gives them to Triton's compiler: integers of one are constants."""
        integers = {
            name: value
            for name, value in self.parameters.items()
            if not name.isupper() and value != 1
        }
        signature = self.pointers | dict.fromkeys(integers, "i32")
        constants = {n: v for n, v in self.parameters.items() if n not in integers}
        return signature, constants

    @property
    def key(self) -> str:
        """Equal for launches of the same compiled kernel."""
        signature, constants = self.signature_and_constants()
        shown = {name: getattr(value, "__name__", value) for name, value in constants.items()}
        return f"{self.name} {signature} {shown} {self.num_warps} {self.num_stages}"


@contextlib.contextmanager
def recorded() -> Iterator[list[Launch]]:
    """The launches of what is traced within, which give zeros."""
    launches: list[Launch] = []

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
        arrays = {**operands, **fresh}
        pointers = {name: TRITON_TYPES[np.dtype(a.dtype)] for name, a in arrays.items()}
        size = sum(a.size * a.dtype.itemsize for a in fresh.values())
        launches.append(
            Launch(kernel, grid, pointers, dict(parameters), size, num_warps, num_stages)
        )
        made = {name: jnp.zeros(a.shape, a.dtype) for name, a in fresh.items()}
        return made | {name: operands[name] for name in updated}

    with contextlib.ExitStack() as stack:
        for module in ("convolution", "pixelwise", "sparsify"):
            stack.enter_context(mock.patch(f"deltajax.triton_kernels.{module}.launch", launch))
        yield launches


def launches_of(function: Callable[..., Any], *arguments: Any) -> list[Launch]:
    """The launches of a function of arrays or their shapes."""
    with recorded() as launches:
        jax.eval_shape(function, *arguments)
    return launches


def launches_of_network(name: str, dtype: str, shape: tuple[int, ...]) -> list[Launch]:
    """The launches of a network's frame, uint8 [N, H, W, 3]."""
    from deltajax.models import create

    model = create(name, dtype=jnp.dtype(dtype), implementation="triton")
    frame = jax.ShapeDtypeStruct(shape, jnp.uint8)
    with recorded():
        variables = jax.eval_shape(model.init, jax.random.key(0), frame)
    return launches_of(lambda v, x: model.apply(v, x, mutable=["delta"]), variables, frame)


def main(arguments: list[str]) -> None:
    from tests.triton_kernels.ahead_of_time import compile_for

    name, dtype, height, width, streams, *capabilities = arguments
    launches = launches_of_network(name, dtype, (int(streams), int(height), int(width), 3))
    for key, launch in {launch.key: launch for launch in launches}.items():
        signature, constants = launch.signature_and_constants()
        for capability in map(int, capabilities):
            report: dict[str, Any] = {"key": key, "capability": capability}
            try:
                compiled = compile_for(
                    launch.kernel,
                    signature,
                    constants,
                    capability,
                    launch.num_warps,
                    launch.num_stages,
                )
                report |= {
                    "shared_bytes": compiled.shared_bytes,
                    "registers": compiled.registers,
                    "spill_bytes": compiled.spill_bytes,
                }
            except Exception as error:
                report["error"] = f"{type(error).__name__}: {str(error)[-300:]}"
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
