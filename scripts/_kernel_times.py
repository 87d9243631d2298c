"""How long each kernel of a network takes while the network runs, from a profile of the GPU.

The profile does not say which layer a kernel belongs to. But the program says in which order, and
with how many programs, threads and bytes of shared memory, kernels are launched; XLA changes that
order only where two do not depend on each other.
"""

import gzip
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from deltajax.triton_kernels.program import Source, compiling

CONVOLUTION = "convolution_kernel"
LISTING = "list_kernel"
"""Lists pixels for the convolution behind it, as a part of its work."""


class Kernel(NamedTuple):
    """What a launch and the profile have in common.

    Attributes:
        name: of the function.
        grid: programs, along three axes.
        threads: of a program.
        shared_bytes: of shared memory that a program takes.
    """

    name: str
    grid: tuple[int, ...]
    threads: int
    shared_bytes: int


class Event(NamedTuple):
    """A kernel, or a copy, in the profile; times in microseconds."""

    kernel: Kernel
    start: float
    end: float


class Launch(NamedTuple):
    """A kernel that a program launches.

    Attributes:
        source: the kernel and its constants.
        grid: programs, along three axes.
    """

    source: Source
    grid: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.source.kernel.__name__

    @property
    def kernel(self) -> Kernel:
        """Of the compiled kernel; raises what its compilation raises."""
        program = compiling(self.source).result()
        return Kernel(self.name, self.grid, program.threads, program.shared_bytes)


def launches_of(jaxpr: Any) -> list[Launch]:
    """What the loop over frames in a traced function launches in each turn, in order.

    Args:
        jaxpr: of the function, or what is inside of one.
    """
    for equation in jaxpr.eqns:
        for inner in _inside(equation):
            found = _launches(inner) if equation.primitive.name == "scan" else launches_of(inner)
            if found:
                return found
    return []


def _launches(jaxpr: Any) -> list[Launch]:
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "kernel_call":
            grid = (*equation.params["grid"], 1, 1)[:3]
            found.append(Launch(equation.params["source"], grid))
        for inner in _inside(equation):
            found += _launches(inner)
    return found


def _inside(equation: Any) -> list[Any]:
    """The functions that an equation calls."""
    leaves = jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda value: hasattr(value, "eqns")
    )
    return [leaf for leaf in leaves if hasattr(leaf, "eqns")]


def read_profile(folder: Path) -> list[Event]:
    """What the GPU did, in order, of a profile that `jax.profiler.trace` wrote.

    Raises:
        ValueError: if there is no profile of a GPU.
    """
    paths = sorted(folder.glob("**/*.trace.json.gz"))
    entries = json.loads(gzip.decompress(paths[-1].read_bytes()))["traceEvents"] if paths else []
    names: dict[tuple[str, Any, Any], str] = {
        (entry["name"], entry["pid"], entry.get("tid")): entry["args"]["name"]
        for entry in entries
        if entry.get("ph") == "M" and entry["name"] in ("process_name", "thread_name")
    }
    processes = {pid: name for (kind, pid, _), name in names.items() if kind == "process_name"}
    events = [
        Event(_kernel(entry), entry["ts"], entry["ts"] + entry["dur"])
        for entry in entries
        if entry.get("ph") == "X"
        and "GPU" in processes.get(entry["pid"], "")
        and "Stream" in names.get(("thread_name", entry["pid"], entry.get("tid")), "")
    ]
    if not events:
        raise ValueError(f"{folder} has no profile of a GPU")
    return sorted(events, key=lambda event: event.start)


def _kernel(entry: dict[str, Any]) -> Kernel:
    """Copies have no details."""
    details = dict(re.findall(r"(\w+):([\d,]+)", entry.get("args", {}).get("kernel_details", "")))
    grid, block = (
        tuple(map(int, details.get(name, "0,0,0").split(","))) for name in ("grid", "block")
    )
    shared_bytes = int(details.get("static_shared", 0)) + int(details.get("dynamic_shared", 0))
    return Kernel(entry["name"], grid, int(np.prod(block)), shared_bytes)


def frames_of(events: Sequence[Event], kernels: Sequence[Kernel]) -> list[list[Event]]:
    """The events of each frame: a frame begins with the first kernel of the loop."""
    starts = [i for i, event in enumerate(events) if event.kernel == kernels[0]]
    return [list(events[a:b]) for a, b in itertools.pairwise([*starts, len(events)])]


def times_of(frame: Sequence[Event], kernels: Sequence[Kernel]) -> np.ndarray:
    """Microseconds of each launch in one frame, from the end of what ran before it.

    Raises:
        ValueError: if the frame has other kernels than the program.
    """
    waiting: dict[Kernel, list[int]] = {}
    for index, kernel in enumerate(kernels):
        waiting.setdefault(kernel, []).append(index)
    names = {kernel.name for kernel in kernels}
    times = np.zeros(len(kernels))
    end = frame[0].start
    for event in frame:
        if event.kernel.name in names:
            if not waiting.get(event.kernel):
                raise ValueError(f"the profile has a kernel too many: {event.kernel}")
            times[waiting[event.kernel].pop(0)] = event.end - end
        end = event.end
    missing = [kernel for kernel, indices in waiting.items() if indices]
    if missing:
        raise ValueError(f"the profile lacks a kernel: {missing[0]}")
    return times


def convolution_times(launches: Sequence[Launch], times: np.ndarray) -> list[tuple[Launch, float]]:
    """The launches of convolutions, and their times with those of the lists made for them."""
    found, before = [], 0.0
    for launch, time in zip(launches, times, strict=True):
        if launch.name == LISTING:
            before += time
        elif launch.name == CONVOLUTION:
            found.append((launch, before + time))
            before = 0.0
    return found
