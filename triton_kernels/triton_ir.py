"""The Triton IR of a kernel, as XLA takes it."""

import functools
import re
from typing import Any

POINTERS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "i32": "i32", "u8": "i8", "i1": "i1"}
"""Triton's names of types, and MLIR's."""


def ir_of(
    kernel: Any,
    types: dict[str, str],
    constants: dict[str, Any],
    aliases: tuple[str, ...],
    capability: int,
    num_warps: int,
    num_stages: int,
) -> str:
    """The module of a kernel whose parameters are pointers, and constants.

    Args:
        kernel: a function decorated with `triton.jit`.
        types: of what its pointers point to, in Triton's names.
        constants: its other parameters.
        aliases: types of the results that are also operands. XLA passes their pointers a second
            time, after all others.
        capability: compute capability, such as 90.
        num_warps: of a program.
        num_stages: of the software pipeline.
    """
    key = tuple((name, constants[name]) for name in kernel.arg_names if name in constants)
    pointers = tuple((name, types[name]) for name in kernel.arg_names if name in types)
    return _ir_of(kernel, pointers, key, aliases, capability, num_warps, num_stages)


@functools.cache
def _ir_of(
    kernel: Any,
    pointers: tuple[tuple[str, str], ...],
    constants: tuple[tuple[str, Any], ...],
    aliases: tuple[str, ...],
    capability: int,
    num_warps: int,
    num_stages: int,
) -> str:
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler.compiler import make_backend

    target = GPUTarget("cuda", capability, 32)
    backend: Any = make_backend(target)
    options = backend.parse_options(
        {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
    )
    kinds = {name: f"*{kind}" for name, kind in pointers}
    source = ASTSource(
        kernel,
        {name: kinds.get(name, "constexpr") for name in kernel.arg_names},
        dict(constants),
        {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in kinds},
    )
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    module = source.make_ir(
        target,
        options,
        backend.get_codegen_implementation(options),
        backend.get_module_map(),
        context,
    )
    module = backend.make_ttir(module, {}, options, capability)
    more = "".join(
        f", %aliased_{i}: !tt.ptr<{POINTERS[kind]}> {{tt.divisibility = 16 : i32}}"
        for i, kind in enumerate(aliases)
    )
    text, count = re.subn(
        r"(tt\.func public @\w+\([^\n]*?)(\) attributes)", rf"\1{more}\2", module.str_nodebug()
    )
    assert count == 1, "a module has one kernel"
    return text
