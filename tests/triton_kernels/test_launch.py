"""The calls that XLA makes kernels of on a GPU; those of the interpreter are tested everywhere."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

from deltajax.triton_kernels.launch import launch
from deltajax.triton_kernels.ptx import with_parameters
from tests.triton_kernels import toy
from tests.triton_kernels.ahead_of_time import output_of


@dataclasses.dataclass(frozen=True)
class Call:
    """A custom call of a module.

    Attributes:
        target: what it calls.
        integers: its attributes that are integers.
        ptx: the text of its kernel.
        operands: the types of arrays, such as "2x16x16xi1".
        results: likewise.
        aliases: of results by operands, both by their numbers.
    """

    target: str
    integers: dict[str, int]
    ptx: str
    operands: list[str]
    results: list[str]
    aliases: dict[int, int]

    @property
    def kernel(self) -> str:
        """The name of the kernel, of which the text has one."""
        (name,) = re.findall(r"\.entry (\w+)\(", self.ptx)
        return name

    @property
    def parameters(self) -> list[str]:
        """The kernel's parameters, with their types."""
        (parameters,) = re.findall(r"\.entry \w+\(([^)]*)\)", self.ptx)
        return [parameter.strip() for parameter in parameters.split(",")]


def read_call(line: str) -> Call:
    """A line of a module's text."""
    escaped = re.search(r' kernel_data = "((?:[^"\\]|\\.)*)"', line)
    target = re.search(r"custom_call @(\S+?)\(", line)
    assert escaped
    assert target
    line = line.replace(escaped[0], "")
    operands, results = line.rpartition(" : (")[2].split(" -> ")
    return Call(
        target=target[1],
        integers={name: int(n) for name, n in re.findall(r"(\w+) = (\d+) : i32", line)},
        ptx=re.sub(r"\\(\\|[0-9A-F]{2})", unescape, escaped[1]),
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
    assert {call.target for call in calls} == {"__gpu$xla.gpu.ptx"}
    kernels = ["sparsify_rgb_kernel", *["convolution_kernel"] * (3 + 4), "pixelwise_kernel"]
    assert [call.kernel for call in calls] == kernels


def test_parameters_are_the_operands_and_all_results(calls):
    """And nothing else: no integer is a parameter."""
    for call in calls:
        number = len(call.operands) + len(call.results)
        names = [f"{call.kernel}_param_{i}" for i in range(number)]
        assert call.parameters == [f".param .u64 {name}" for name in names]
        read = re.findall(rf"ld\.param\S*\s+\S+ \[({call.kernel}_param_\d+)\]", call.ptx)
        assert read
        assert set(read) <= set(names)


def test_updated_arrays_are_operands_and_the_last_results(calls):
    for call in calls:
        for operand, result in call.aliases.items():
            assert call.operands[operand] == call.results[result]
        last = range(len(call.results) - len(call.aliases), len(call.results))
        assert sorted(call.aliases.values()) == list(last)
        number = len(call.operands) + len(call.results)
        for i in range(number - len(call.aliases), number):
            assert call.ptx.count(f"{call.kernel}_param_{i}") == 1, "one of the two is not read"
    assert len(calls[0].aliases) == len(calls[-1].aliases) == 1
    # The phases of a transposed convolution after the first find a mask to update.
    first, *phases = (len(call.aliases) for call in calls[4:8])
    assert phases == [first + 1] * 3


def test_grids(calls):
    for call in calls:
        assert (call.integers["grid_y"], call.integers["grid_z"]) == (1, 1)
        assert call.integers["block_x"] in (128, 256, 512)
        assert call.integers["shared_mem_bytes"] <= 227 << 10
    # 2 × 16 × 16 pixels, 128 to a program.
    assert calls[-1].integers["grid_x"] == 4


def test_updates_of_one_shape_have_one_kernel(calls):
    assert calls[2].ptx == calls[3].ptx
    assert calls[2].integers == calls[3].integers
    assert calls[1].ptx != calls[2].ptx


def test_where_lines_come_from_is_left_out(calls):
    for call in calls:
        assert ".loc" not in call.ptx
        assert ".debug" not in call.ptx
        assert call.ptx.rstrip().endswith("}")


def test_drivers_of_cuda_12_know_the_version(calls):
    """12.0, the first that JAX runs on."""
    assert {re.findall(r"^\.version (\S+)", call.ptx, re.MULTILINE)[0] for call in calls} == {"8.0"}


def test_another_dtype():
    operands = {"x": jnp.zeros(4, jnp.int8), "mask": jnp.zeros(4, bool)}
    fresh = {"positive": jax.ShapeDtypeStruct((4,), jnp.bool_)}
    parameters = {"size": 4, "BLOCK": 4, "FUNCTION": toy.double}
    with pytest.raises(ValueError, match=r"x is of type int8, it must be one of float32, float16"):
        launch(toy.masked_map, (1,), operands, fresh, ("x",), parameters, 4, 1)


PTX = """.visible .entry kernel(
	.param .u64 .ptr .global .align 1 kernel_param_0,
	.param .u64 .ptr .global .align 1 kernel_param_1
)
{
	ld.param.b64 	%rd1, [kernel_param_1];
}
"""


def test_parameters_of_tritons_own_are_left_out():
    assert with_parameters(PTX.replace("[kernel_param_1]", "[kernel_param_0]"), "kernel", 1, 1) == (
        ".visible .entry kernel(\n\t.param .u64 kernel_param_0\n)\n"
        "{\n\tld.param.b64 \t%rd1, [kernel_param_0];\n}\n"
    )
    with pytest.raises(RuntimeError, match="kernel reads kernel_param_1, which XLA does not pass"):
        with_parameters(PTX, "kernel", 1, 3)


@pytest.mark.parametrize(
    "text", [PTX.replace("entry", "func"), PTX.replace(".u64", ".u32"), PTX.replace("kernel_", "_")]
)
def test_a_signature_that_is_not_known(text):
    with pytest.raises(RuntimeError, match="no signature of kernel as it is known here: "):
        with_parameters(text, "kernel", 2, 3)
