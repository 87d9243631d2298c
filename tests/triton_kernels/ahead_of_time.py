"""Compiles Triton kernels for NVIDIA GPUs that are not there.

Compilation runs in processes of its own, which leave TRITON_INTERPRET unset: with it set, Triton's
whole standard library is made for the interpreter when it is imported. Hence this module imports
Triton only inside compile_for.
"""

import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Shared memory that one block can have, in bytes, by compute capability (CUDA C++ Programming
# Guide, "Technical Specifications per Compute Capability": 163 KiB, 227 KiB, 227 KiB).
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}


@dataclass(frozen=True)
class Compiled:
    """What one compiled kernel takes of the GPU; registers and spills are per thread."""

    shared_bytes: int
    registers: int
    spill_bytes: int  # of the stack: kernels keep nothing there but registers that they lack
    ptx: str


@dataclass(frozen=True)
class Job:
    """The arguments of compile_for; the kernel and device functions may be of the interpreter."""

    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    capability: int
    num_warps: int
    num_stages: int


def output_of(module: str, *arguments: str) -> str:
    """What a module of the tests prints, run as a program that leaves TRITON_INTERPRET unset."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, "-m", f"tests.triton_kernels.{module}", *arguments],
        cwd=Path(__file__).parent.parent.parent,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def compile_all(jobs: Sequence[Job]) -> list[Compiled]:
    """Compiles the jobs in two processes, in the order given.

    The kernel and every device function in a job's constants must be found in their modules under
    their own names.
    """
    with ProcessPoolExecutor(2, get_context("spawn"), _leave_interpreter) as pool:
        return list(pool.map(_compile, map(_named, jobs)))


def compile_for(
    kernel: Any,
    types: dict[str, str],
    constants: dict[str, Any],
    capability: int,
    num_warps: int,
    num_stages: int,
) -> Compiled:
    """Compiles one kernel, in a process without TRITON_INTERPRET.

    Args:
      kernel: A @triton.jit function.
      types: Triton's types of what the pointers point to, by name, such as "fp32".
      constants: The other parameters by name.
      capability: 80, 90 or 100.
      num_warps: Warps of a block.
      num_stages: Stages of the software pipeline.
    """
    from deltajax.triton_kernels.program import Source, compile_source, compiling

    pointers = tuple((name, types[name]) for name in kernel.arg_names if name in types)
    others = tuple((name, constants[name]) for name in kernel.arg_names if name in constants)
    source = Source(kernel, pointers, others, capability, num_warps, num_stages)
    program = compiling(source).result()
    registers, spill_bytes = _resources(program.code)
    return Compiled(program.shared_bytes, registers, spill_bytes, compile_source(source).asm["ptx"])


def _resources(code: bytes) -> tuple[int, int]:
    """The registers of machine code, and the bytes of the stack that it keeps others in."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(code)
        command = [knobs.nvidia.cuobjdump.path, "--dump-resource-usage", cubin]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", shown)
    assert found, shown
    return int(found[1]), int(found[2])


@dataclass(frozen=True)
class _Name:
    """Where to find a Triton function, which does not pickle."""

    module: str
    function: str


def _named(job: Job) -> Job:
    def name(value: Any) -> Any:
        function = getattr(value, "fn", None)
        return _Name(function.__module__, function.__name__) if function else value

    constants = {key: name(value) for key, value in job.constants.items()}
    return replace(job, kernel=name(job.kernel), constants=constants)


def _compile(job: Job) -> Compiled:
    def find(value: Any) -> Any:
        if isinstance(value, _Name):
            return getattr(importlib.import_module(value.module), value.function)
        return value

    constants = {key: find(value) for key, value in job.constants.items()}
    return compile_for(
        find(job.kernel),
        job.types,
        constants,
        job.capability,
        job.num_warps,
        job.num_stages,
    )


def _leave_interpreter() -> None:
    """Runs first in each process."""
    os.environ.pop("TRITON_INTERPRET", None)
