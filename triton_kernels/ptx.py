"""The PTX of a kernel, as XLA takes it."""

import dataclasses
import functools
import os
import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

PTX_VERSIONS = {80: 80, 86: 80, 87: 80, 89: 80, 90: 80, 100: 87}
"""By compute capability times ten: as old as can be, as the GPU's driver has to know it.

Of others, Triton's own, as new as the assembler that comes with it.
"""


@dataclasses.dataclass(frozen=True)
class Source:
    """A kernel and what is compiled into it.

    Attributes:
        kernel: a function decorated with `triton.jit`.
        pointers: names of its parameters that are pointers, and what these point to, in Triton's
            names.
        constants: names and values of its other parameters.
        aliases: results that are also operands. XLA passes their pointers a second time, after all
            others: so many parameters more, which are not used.
        capability: compute capability times ten, such as 90.
        num_warps: of a program.
        num_stages: of the software pipeline.
    """

    kernel: Any
    pointers: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    aliases: int
    capability: int
    num_warps: int
    num_stages: int


class Program(NamedTuple):
    """A compiled kernel.

    Attributes:
        ptx: its text, with one kernel, of the name of the Python function.
        threads: of a program.
        shared_bytes: of shared memory that a program takes.
    """

    ptx: str
    threads: int
    shared_bytes: int


@functools.cache
def compiling(source: Source) -> Future[Program]:
    """A kernel that is being compiled, beside others; Triton keeps it on disk for later processes.

    The result raises RuntimeError if this release of Triton writes PTX in a way that is not known
    here, and what Triton raises for a kernel that it cannot compile.
    """
    return _pool().submit(_compiled, source)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "deltajax-triton")


def _compiled(source: Source) -> Program:
    # Not needed by the interpreter, nor there if it is on: see `interpreter`.
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = source.kernel.arg_names
    kinds = {name: f"*{kind}" for name, kind in source.pointers}
    # The last is the default up to Triton 3.9, which warns where it is left out.
    options = {
        "num_warps": source.num_warps, "num_stages": source.num_stages, "enable_fp_fusion": True
    }  # fmt: skip
    if version := PTX_VERSIONS.get(source.capability):
        options["ptx_version"] = version
    compiled = triton.compile(
        ASTSource(
            source.kernel,
            {name: kinds.get(name, "constexpr") for name in names},
            dict(source.constants),
            {(names.index(name),): [["tt.divisibility", 16]] for name in kinds},
        ),
        target=GPUTarget("cuda", source.capability, 32),
        options=options,
    )
    metadata = compiled.metadata
    if getattr(metadata, "global_scratch_size", 0):
        raise RuntimeError(f"Triton wants scratch memory for {source.kernel.__name__}")
    pointers = len(source.pointers)
    ptx = with_parameters(
        compiled.asm["ptx"], source.kernel.__name__, pointers, pointers + source.aliases
    )
    return Program(ptx, 32 * metadata.num_warps, metadata.shared)


def with_parameters(text: str, kernel: str, used: int, number: int) -> str:
    """PTX whose kernel has this number of parameters, all pointers.

    Triton adds some of its own, for memory of which these kernels take none.

    Args:
        text: the PTX.
        kernel: the name of the kernel.
        used: parameters that the kernel may read.
        number: parameters that it is to have.

    Raises:
        RuntimeError: for PTX that is not as it is known here.
    """
    entry = re.search(rf"\.visible \.entry {kernel}\(([^)]*)\)", text)
    names = re.findall(rf"\.param \.u64 [^,\n]*\b({kernel}_param_\d+)", entry[1]) if entry else []
    if entry is None or len(names) < used or names != re.findall(r"\w+_param_\w+", entry[1]):
        raise RuntimeError(f"PTX has no signature of {kernel} as it is known here: {text[:500]}")
    body = text[entry.end() :]
    read = [name for name in names[used:] if re.search(rf"\b{name}\b", body)]
    if read:
        raise RuntimeError(f"{kernel} reads {', '.join(read)}, which XLA does not pass")
    parameters = ",\n".join(f"\t.param .u64 {kernel}_param_{i}" for i in range(number))
    # Where its lines come from takes half of the text, and no one reads it there.
    body = re.split(r"^\s*\.section\s+\.debug", body, maxsplit=1, flags=re.MULTILINE)[0]
    body = re.sub(r"^\s*(?:\.loc|\.file|//).*\n", "", body, flags=re.MULTILINE)
    return f"{text[: entry.start()]}.visible .entry {kernel}(\n{parameters}\n){body}"
