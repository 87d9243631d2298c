"""The calls that XLA makes kernels of on a GPU; those of the interpreter are tested everywhere."""

import dataclasses
import re
import struct

import jax
import jax.numpy as jnp
import pytest

from deltajax.triton_kernels.launch import launch
from deltajax.triton_kernels.program import count_parameters
from tests.triton_kernels import toy
from tests.triton_kernels.ahead_of_time import output_of

CONSTANTS_BEFORE_PARAMETERS = 0x210
"""Bytes of a kernel's first bank of constants on compute capability 9.0 (from what ptxas makes of
kernels with one and with two parameters)."""
DUMMY = "1xui8"
"""The type of results that are there for parameters of Triton's own."""


@dataclasses.dataclass(frozen=True)
class Call:
    """A custom call of a module.

    Attributes:
        target: what it calls.
        kernel: the name of its kernel.
        integers: its attributes that are integers.
        code: of its kernel, an ELF file.
        operands: the types of arrays, such as "2x16x16xi1".
        results: likewise.
        aliases: of results by operands, both by their numbers.
    """

    target: str
    kernel: str
    integers: dict[str, int]
    code: bytes
    operands: list[str]
    results: list[str]
    aliases: dict[int, int]


def read_call(line: str) -> Call:
    """A line of a module's text."""
    escaped = re.search(r' kernel_data = "((?:[^"\\]|\\.)*)"', line)
    target = re.search(r"custom_call @(\S+?)\(", line)
    kernel = re.search(r' name = "(\w+)"', line)
    assert escaped
    assert target
    assert kernel
    line = line.replace(escaped[0], "")
    operands, results = line.rpartition(" : (")[2].split(" -> ")
    return Call(
        target=target[1],
        kernel=kernel[1],
        integers={name: int(n) for name, n in re.findall(r"(\w+) = (\d+) : i32", line)},
        code=re.sub(r"\\(\\|[0-9A-F]{2})", unescape, escaped[1]).encode("latin-1"),
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


def section_sizes(code: bytes) -> dict[str, int]:
    """Bytes of the sections of a 64-bit ELF file (ELF-64 Object File Format, version 1.5)."""
    assert code[:6] == b"\x7fELF\x02\x01"
    start, size, number, names = (
        struct.unpack_from(kind, code, at)[0]
        for kind, at in (("<Q", 0x28), ("<H", 0x3A), ("<H", 0x3C), ("<H", 0x3E))
    )
    # Name, type, flags, address, offset, size.
    headers = [struct.unpack_from("<IIQQQQ", code, start + i * size) for i in range(number)]
    strings = code[headers[names][4] :]
    return {
        strings[name : strings.index(b"\0", name)].decode(): length
        for name, _, _, _, _, length in headers
    }


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    text = output_of("lowering")
    return [read_call(line) for line in text.splitlines() if "custom_call @__gpu" in line]


def test_every_kernel_is_a_call_of_its_own(calls):
    assert {call.target for call in calls} == {"__gpu$xla.gpu.ptx"}
    kernels = ["sparsify_rgb_kernel", *["convolution_kernel"] * (3 + 1 + 4), "pixelwise_kernel"]
    assert [call.kernel for call in calls] == kernels


def test_there_is_a_pointer_for_every_parameter(calls):
    """The driver takes as many as the kernel declares, whatever comes after the last pointer."""
    for call in calls:
        bank = section_sizes(call.code)[f".nv.constant0.{call.kernel}"]
        declared = (bank - CONSTANTS_BEFORE_PARAMETERS) / 8
        # Triton's own, of which kernels take none, are at most two.
        fresh = len(call.results) - len(call.aliases)
        assert len(call.operands) < declared <= len(call.operands) + len(call.results)
        assert declared <= len(call.operands) + fresh + 2


def test_updated_arrays_are_operands_and_the_last_results(calls):
    for call in calls:
        for operand, result in call.aliases.items():
            assert call.operands[operand] == call.results[result]
        arrays = [result for result in call.results if result != DUMMY]
        last = range(len(arrays) - len(call.aliases), len(arrays))
        assert sorted(call.aliases.values()) == list(last)
    assert len(calls[0].aliases) == len(calls[-1].aliases) == 1
    # Phases of a transposed convolution that have calls of their own find a mask to update.
    first, *phases = (len(call.aliases) for call in calls[5:9])
    assert phases == [first + 1] * 3


def test_grids(calls):
    for call in calls:
        assert (call.integers["grid_y"], call.integers["grid_z"]) == (1, 1)
        assert call.integers["block_x"] in (128, 256, 512)
        assert call.integers["shared_mem_bytes"] <= 227 << 10
    # 2 × 32 × 32 pixels, 128 to a program.
    assert calls[-1].integers["grid_x"] == 16


def test_updates_of_one_shape_have_one_kernel(calls):
    assert calls[2].code == calls[3].code
    assert calls[2].integers == calls[3].integers
    assert calls[1].code != calls[2].code


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


def test_parameters_are_counted():
    assert count_parameters(PTX, "kernel") == 2


@pytest.mark.parametrize("text", [PTX.replace("entry", "func"), PTX.replace(".u64", ".u32", 1), ""])
def test_a_signature_that_is_not_known(text):
    with pytest.raises(RuntimeError, match="no signature of kernel as it is known here: "):
        count_parameters(text, "kernel")
