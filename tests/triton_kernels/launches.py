"""What a computation launches, and its compilation for GPUs that are not there.

Run as a program in a process without TRITON_INTERPRET:

    python -m tests.triton_kernels.launches network MODEL DTYPE HEIGHT WIDTH STREAMS CAPABILITY...
    python -m tests.triton_kernels.launches tiles CAPABILITY...
    python -m tests.triton_kernels.launches steps CAPABILITY...
    python -m tests.triton_kernels.launches pixelwise CAPABILITY...

compiles every kernel that a network launches, a convolution in every tile that a configuration can
have, the same with every length and number of stages of a tile's steps, or all other kernels, and
prints a line of JSON for each.
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

from .tiles import Tile, candidates_of_tables, chosen_by_rule


@dataclasses.dataclass(frozen=True)
class Launch:
    """The arguments of `triton_kernels.launch.launch`, arrays by their types.

    With the tile that it was made for, and what has it: "ResNet-50" with eight streams, the "rule"
    for another network, or only a "table".
    """

    kernel: Any
    grid: tuple[int, ...]
    types: dict[str, str]
    parameters: dict[str, Any]
    fresh_bytes: int
    num_warps: int
    num_stages: int
    tile: Tile | None = None
    of: str = ""

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


def launches_of_tiles(capability: int, every_step: bool) -> list[Launch]:
    """A convolution of a network in every tile that the rule, or a table, can have on such a GPU.

    Of ResNet-50 with eight streams, where that has the tile; see `chosen_by_rule`.
    """
    by_rule = chosen_by_rule(capability, every_step)
    sides = {chosen.tile.sides(False) for chosen in by_rule}
    others = [
        each for each in candidates_of_tables(capability) if each.tile.sides(False) not in sides
    ]
    launches: list[Launch] = []
    for of, several in (("rule", by_rule), ("table", others)):
        for tile, layer, config, measured in several:
            given = layer.arguments_as(tile.dtype, tile.precision, config)
            launches += [
                dataclasses.replace(each, tile=tile, of="ResNet-50" if measured else of)
                for each in _launches_of_call(given)
            ]
    return launches


def _launches_of_call(arguments: dict[str, Any]) -> list[Launch]:
    """Those of one call of `convolve`."""
    from deltajax.triton_kernels.convolution import convolve

    leaves, structure = jax.tree.flatten(arguments)
    arrays = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, jax.ShapeDtypeStruct)}

    def call(arrays: dict[int, jax.Array]) -> Any:
        filled = [arrays.get(i, leaf) for i, leaf in enumerate(leaves)]
        return convolve(**jax.tree.unflatten(structure, filled))

    return launches_of(call, arrays)


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
        name, dtype, height, width, streams, *rest = rest
        shape = (int(streams), int(height), int(width), 3)
        launches = launches_of_network(name, dtype, shape)
    elif what == "pixelwise":
        launches = launches_without_products()
    for capability in map(int, rest):
        if what in ("tiles", "steps"):
            launches = launches_of_tiles(capability, every_step=what == "steps")
        for key, launch in {launch.key: launch for launch in launches}.items():
            report: dict[str, Any] = {
                "key": key, "capability": capability, "tile": launch.tile, "of": launch.of
            }  # fmt: skip
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
                    "fetches": "prefetch.global.L2" in compiled.ptx,
                }
            except Exception as error:
                report["error"] = f"{type(error).__name__}: {str(error)[-300:]}"
            print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
