"""The calls that XLA makes kernels of on a GPU; those of the interpreter are tested everywhere."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from deltajax.triton_kernels import triton_ir
from deltajax.triton_kernels.interpreter import TRITON_TYPES
from deltajax.triton_kernels.launch import launch
from tests.triton_kernels import toy
from tests.triton_kernels.ahead_of_time import output_of


@dataclasses.dataclass(frozen=True)
class Call:
    """A custom call of a module.

    Attributes:
        target: what it calls.
        integers: its attributes that are integers.
        ir: the attribute of that name.
        operands: the types of arrays, such as "2x16x16xi1".
        results: likewise.
        aliases: of results by operands, both by their numbers.
    """

    target: str
    integers: dict[str, int]
    ir: str
    operands: list[str]
    results: list[str]
    aliases: dict[int, int]

    @property
    def kernel(self) -> str:
        """The name of the kernel, of which the module has one."""
        (name,) = re.findall(r"tt\.func public @(\w+)\(", self.ir)
        return name

    @property
    def parameters(self) -> list[str]:
        """The types of the kernel's parameters, as MLIR has them."""
        (parameters,) = re.findall(r"tt\.func public @\w+\(([^\n]*?)\) attributes", self.ir)
        return re.findall(r"%\w+: (\S+)", parameters)


def read_call(line: str) -> Call:
    """A line of a module's text."""
    escaped = re.search(r' ir = "((?:[^"\\]|\\.)*)"', line)
    target = re.search(r"custom_call @(\S+?)\(", line)
    assert escaped
    assert target
    line = line.replace(escaped[0], "")
    operands, results = line.rpartition(" : (")[2].split(" -> ")
    return Call(
        target=target[1],
        integers={name: int(n) for name, n in re.findall(r"(\w+) = (\d+) : i32", line)},
        ir=re.sub(r"\\(\\|[0-9A-F]{2})", unescape, escaped[1]),
        operands=re.findall(r"tensor<(\S+?)>", operands),
        results=re.findall(r"tensor<(\S+?)>", results),
        aliases={
            int(operand): int(result)
            for result, operand in re.findall(
                r"output_tuple_indices = \[(\d+)\], operand_index = (\d+)", line
            )
        },
    )


def unescape(match: re.Match[str]) -> str:
    return "\\" if match[1] == "\\" else chr(int(match[1], 16))


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    text = output_of("lowering")
    return [read_call(line) for line in text.splitlines() if "custom_call @__gpu" in line]


def test_every_kernel_is_a_call_of_its_own(calls):
    assert {call.target for call in calls} == {"__gpu$xla.gpu.triton"}
    kernels = ["sparsify_rgb_kernel", *["convolution_kernel"] * (3 + 4), "pixelwise_kernel"]
    assert [call.kernel for call in calls] == kernels


def test_parameters_are_the_operands_and_all_results(calls):
    """And nothing else: no integer is a parameter."""
    for call in calls:
        numbers = [array.rpartition("x")[2] for array in (*call.operands, *call.results)]
        pointers = [f"!tt.ptr<{number.replace('ui8', 'i8')}>" for number in numbers]
        assert call.parameters == pointers


def test_updated_arrays_are_operands_and_the_last_results(calls):
    for call in calls:
        for operand, result in call.aliases.items():
            assert call.operands[operand] == call.results[result]
        last = range(len(call.results) - len(call.aliases), len(call.results))
        assert sorted(call.aliases.values()) == list(last)
        assert call.ir.count("%aliased_") == len(call.aliases), "one of the two is not used"
    assert len(calls[0].aliases) == len(calls[-1].aliases) == 1
    # The phases of a transposed convolution after the first find a mask to update.
    first, *phases = (len(call.aliases) for call in calls[4:8])
    assert phases == [first + 1] * 3


def test_grids(calls):
    for call in calls:
        assert (call.integers["grid_y"], call.integers["grid_z"]) == (1, 1)
        assert call.integers["num_warps"] in (4, 8, 16)
    # 2 × 16 × 16 pixels, 128 to a program.
    assert calls[-1].integers["grid_x"] == 4


def test_updates_of_one_shape_have_one_kernel(calls):
    assert calls[2].ir == calls[3].ir
    assert calls[2].integers == calls[3].integers
    assert calls[1].ir != calls[2].ir


def test_every_dtype_of_kernels_has_a_pointer():
    assert set(triton_ir.MLIR_TYPES) == set(TRITON_TYPES.values())


def test_another_dtype():
    operands = {"x": jnp.zeros(4, jnp.int8), "mask": jnp.zeros(4, bool)}
    fresh = {"positive": jax.ShapeDtypeStruct((4,), jnp.bool_)}
    parameters = {"size": 4, "BLOCK": 4, "FUNCTION": toy.double}
    with pytest.raises(ValueError, match=r"x is of type int8, it must be one of float32, float16"):
        launch(toy.masked_map, (1,), operands, fresh, ("x",), parameters, 4, 1)


def test_a_signature_that_is_not_known():
    with pytest.raises(RuntimeError, match="no signature of kernel as it is known here: module"):
        triton_ir._with_pointers("module { tt.func @kernel(%0) }", "kernel", ())
