"""What a computation launches, and its compilation for GPUs that are not there.

Run as a program in a process without TRITON_INTERPRET:

    python -m tests.triton_kernels.launches network MODEL DTYPE HEIGHT WIDTH STREAMS CAPABILITY...
    python -m tests.triton_kernels.launches tiles CAPABILITY...
    python -m tests.triton_kernels.launches pixelwise CAPABILITY...

compiles every kernel that a network launches, the convolution kernel with every tile that a
configuration can have, or all other kernels, and prints a line of JSON for each.
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
import numpy as np

from deltajax.triton_kernels.interpreter import triton_type


@dataclasses.dataclass(frozen=True)
class Launch:
    """The arguments of `triton_kernels.launch.launch`, arrays by their types."""

    kernel: Any
    grid: tuple[int, ...]
    types: dict[str, str]
    parameters: dict[str, Any]
    fresh_bytes: int
    num_warps: int
    num_stages: int

    @property
    def name(self) -> str:
        return getattr(self.kernel, "__name__", str(self.kernel))

    @property
    def key(self) -> str:
        """Equal for launches of the same compiled kernel."""
        shown = {name: getattr(x, "__name__", x) for name, x in self.parameters.items()}
        return f"{self.name} {self.types} {shown} {self.num_warps} {self.num_stages}"


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
        types = {name: triton_type(name, a) for name, a in {**operands, **fresh}.items()}
        # XLA passes pointers in this order.
        assert set(kernel.arg_names[: len(operands)]) == set(operands)
        assert kernel.arg_names[len(operands) : len(types)] == list(fresh)
        size = sum(a.size * a.dtype.itemsize for a in fresh.values())
        launches.append(Launch(kernel, grid, types, dict(parameters), size, num_warps, num_stages))
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


def launches_of_tiles() -> list[Launch]:
    """A convolution with a norm and a residual, in every tile, dtype and precision."""
    from deltajax.ops import update_triton
    from deltajax.triton_kernels.configuration import TILES, cut, rule

    launches: list[Launch] = []
    struct = jax.ShapeDtypeStruct
    for dtype, precision in (("float32", "tf32"), ("float32", "tf32x3"), ("bfloat16", "tf32")):
        for size, features, shape in ((3, 256, (2, 36, 48)), (1, 64, (8, 144, 192))):
            kernel = struct((size, size, 64, features), dtype)
            out = (*shape, features)
            case = update_triton.convolution_shape(kernel, 1, out, out[1:3], precision)
            exact = jax.lax.Precision.HIGHEST if precision == "tf32x3" else None
            tiles = [tile._replace(block_n=min(tile.block_n, features)) for tile in TILES]
            every = size == 3 and not case.exact
            configs = [cut(case, tile, 2048, i == 4) for i, tile in enumerate(tiles) if every]
            for config in dict.fromkeys([rule(case), *configs]):
                with update_triton.configured(config):
                    launches += launches_of(
                        _convolution_update(size, exact),
                        struct((*shape, 64), dtype),
                        kernel,
                        struct(out, dtype),
                        struct((features,), "float32"),
                        struct(shape, "bool"),
                        struct(out, dtype),
                    )
    return launches


def _convolution_update(size: int, precision: Any) -> Callable[..., Any]:
    from deltajax.ops import update_triton
    from deltajax.ops.convolution import Convolution
    from deltajax.ops.function import Function
    from deltajax.ops.tail import Norm, Tail
    from deltajax.ops.windows import Window
    from deltajax.tensor import DeltaTensor

    border = (size // 2, size // 2)
    window = Window((size, size), (1, 1), (border, border))

    def update(x: Any, kernel: Any, cached: Any, ones: Any, mask: Any, residual: Any) -> Any:
        tail = Tail(
            others=(DeltaTensor(residual, mask),),
            combine=jnp.add,
            activation=jax.nn.relu,
            norm=Norm(ones, ones, ones, ones, 1e-5),
        )
        operation = Convolution(kernel, window, precision=precision)
        function = Function(operation, tail, (DeltaTensor(x, mask),))
        arrivals = update_triton.arrivals_of(function)
        return update_triton.update_triton(function, cached, 0.1, "max", arrivals)

    return update


def launches_without_products() -> list[Launch]:
    """What the cases of the tests launch beside convolutions, and frames that enter."""
    from deltajax.layers import Sparsify
    from deltajax.ops.update import update
    from tests.cases import CASES

    launches: list[Launch] = []
    for case in CASES:
        for dtype in ("float32", "bfloat16")[: 2 if case.name in ("bilinear_x2", "add") else 1]:
            parameters = case.make_parameters(np.random.default_rng(0), dtype)
            tensors = tuple(_tensor(shape, dtype) for shape in case.shapes)

            def run(parameters: Any, tensors: Any, case: Any = case) -> Any:
                function = case.function(parameters, tensors)
                cached = jnp.zeros(function.output_shape, tensors[0].dtype)
                return update(function, cached, 0.1, "l2", "triton")

            launches += launches_of(run, parameters, tensors)
    for dtype, dilation in (("uint8", 1), ("uint8", 7), ("float32", 3)):
        layer = Sparsify(
            dilation=dilation, mean=(0.5,), std=(0.2,), dtype=jnp.float32, implementation="triton"
        )
        frame = jax.ShapeDtypeStruct((2, 64, 96, 3), dtype)
        launches += launches_of(lambda x, layer=layer: layer.apply({}, x, mutable=["delta"]), frame)
    return [launch for launch in launches if launch.name != "convolution_kernel"]


def _tensor(shape: tuple[int, ...], dtype: str) -> Any:
    from deltajax.tensor import DeltaTensor

    value: Any = jax.ShapeDtypeStruct(shape, dtype)
    mask: Any = jax.ShapeDtypeStruct(shape[:3], "bool")
    return DeltaTensor(value, mask)


def main(arguments: list[str]) -> None:
    from tests.triton_kernels.ahead_of_time import compile_for

    what, *rest = arguments
    if what == "network":
        name, dtype, height, width, streams, *capabilities = rest
        shape = (int(streams), int(height), int(width), 3)
        launches = launches_of_network(name, dtype, shape)
    else:
        launches = launches_of_tiles() if what == "tiles" else launches_without_products()
        capabilities = rest
    for key, launch in {launch.key: launch for launch in launches}.items():
        for capability in map(int, capabilities):
            report: dict[str, Any] = {"key": key, "capability": capability}
            try:
                compiled = compile_for(
                    launch.kernel,
                    launch.types,
                    launch.parameters,
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
