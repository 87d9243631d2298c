"""A kernel as machine code, as XLA takes it."""

import dataclasses
import functools
import os
import re
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple


@dataclasses.dataclass(frozen=True)
class Source:
    """A kernel and what is compiled into it.

    Attributes:
        kernel: a function decorated with `triton.jit`.
        pointers: names of its parameters that are pointers, and what these point to, in Triton's
            names.
        constants: names and values of its other parameters.
        capability: compute capability times ten, such as 90.
        num_warps: of a program.
        num_stages: of the software pipeline.
    """

    kernel: Any
    pointers: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    capability: int
    num_warps: int
    num_stages: int


class Program(NamedTuple):
    """A compiled kernel.

    Attributes:
        code: a CUDA binary ("cubin") with one kernel, of the name of the Python function.
        parameters: the kernel's parameters, all pointers: those of the source, and some of
            Triton's own, for memory of which these kernels take none.
        threads: of a program.
        shared_bytes: of shared memory that a program takes.
    """

    code: bytes
    parameters: int
    threads: int
    shared_bytes: int


@functools.cache
def compiling(source: Source) -> Future[Program]:
    """A kernel that is being compiled, beside others; Triton keeps it on disk for later processes.

    The result raises RuntimeError if this release of Triton writes kernels in a way that is not
    known here, and what Triton raises for a kernel that it cannot compile.
    """
    return _pool().submit(_compiled, source)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "deltajax-triton")


def _compiled(source: Source) -> Program:
    compiled = compile_source(source)
    metadata = compiled.metadata
    kernel = source.kernel.__name__
    for memory in ("global_scratch_size", "profile_scratch_size"):
        if getattr(metadata, memory, 0):
            raise RuntimeError(f"Triton wants memory for {kernel}: {memory} is not 0")
    parameters = count_parameters(compiled.asm["ptx"], kernel)
    if parameters < len(source.pointers):
        raise RuntimeError(f"{kernel} has fewer parameters than pointers")
    return Program(compiled.asm["cubin"], parameters, 32 * metadata.num_warps, metadata.shared)


def compile_source(source: Source) -> Any:
    """What Triton makes of a kernel."""
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
    return triton.compile(
        ASTSource(
            source.kernel,
            {name: kinds.get(name, "constexpr") for name in names},
            dict(source.constants),
            {(names.index(name),): [["tt.divisibility", 16]] for name in kinds},
        ),
        target=GPUTarget("cuda", source.capability, 32),
        options=options,
    )


def count_parameters(ptx: str, kernel: str) -> int:
    """The parameters of a kernel, of which PTX is text that can be read.

    Raises:
        RuntimeError: if there is no such kernel, or a parameter is not a pointer.
    """
    entry = re.search(rf"\.visible \.entry {kernel}\(([^)]*)\)", ptx)
    parameters = re.findall(r"\.param (\S+)", entry[1]) if entry else []
    if set(parameters) != {".u64"}:
        raise RuntimeError(f"PTX has no signature of {kernel} as it is known here: {ptx[:500]}")
    return len(parameters)
