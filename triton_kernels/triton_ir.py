"""The Triton IR of a kernel, as XLA takes it."""

import functools
import re
from collections.abc import Mapping
from typing import Any

MLIR_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "i32": "i32", "u8": "i8", "i1": "i1"}
"""By Triton's names, those of `interpreter.TRITON_TYPES`."""


def ir_of(
    kernel: Any,
    types: Mapping[str, str],
    constants: Mapping[str, Any],
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
            time, after all others; the kernel has a parameter for each, and does not use it.
        capability: compute capability times ten, such as 90.
        num_warps: of a program.
        num_stages: of the software pipeline.

    Raises:
        RuntimeError: if this release of Triton writes the module in a way that is not known here.
    """
    pointers = tuple((name, types[name]) for name in kernel.arg_names if name in types)
    others = tuple((name, constants[name]) for name in kernel.arg_names if name in constants)
    return _ir_of(kernel, pointers, others, aliases, capability, num_warps, num_stages)


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
    # Triton's internals, which the interpreter does without.
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler.compiler import make_backend

    target = GPUTarget("cuda", capability, 32)
    backend: Any = make_backend(target)
    options = backend.parse_options(
        # The last is the default up to Triton 3.9, which warns where it is left out.
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
    # XLA runs such passes, too, but ends the process over some modules that have not been through
    # these. They take a fifteenth of the time.
    module = backend.make_ttir(module, {}, options, capability)
    return _with_pointers(module.str_nodebug(), kernel.__name__, aliases)


def _with_pointers(text: str, kernel: str, types: tuple[str, ...]) -> str:
    """A module's text, with further pointers as the last parameters of its kernel."""
    more = "".join(
        f", %aliased_{i}: !tt.ptr<{MLIR_TYPES[kind]}> {{tt.divisibility = 16 : i32}}"
        for i, kind in enumerate(types)
    )
    signature = rf"(tt\.func public @{kernel}\([^\n]+?)(\) attributes)"
    text, count = re.subn(signature, rf"\1{more}\2", text)
    if count != 1:
        raise RuntimeError(
            f"Triton's IR has no signature of {kernel} as it is known here: {text[:500]}"
        )
    return text
