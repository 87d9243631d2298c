"""Measures configurations of the convolution kernels on this GPU, and writes a table of the best.

A network runs over a clip, again and again, each time with other configurations of all of its
convolutions, and a profile of the GPU says how long each kernel takes: on the frames of the clip,
with the pixels that change there; where nothing changes; and where all do. Kernels are compiled in
several processes, of which one at a time has the GPU. The library reads the table that the
environment variable DELTAJAX_KERNEL_TABLE names, and goes by a rule for shapes that it does not
hold.
"""

import dataclasses
import itertools
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from _common import (
    CaseOptions,
    Dtype,
    RegionOptions,
    command_line,
    device_name,
    network_options,
    size_text,
    write_json,
)
from _kernel_times import (
    CONVOLUTION,
    Event,
    Kernel,
    Launch,
    convolution_times,
    frames_of,
    launches_of,
    read_profile,
    times_of,
)
from _version import KINDS, Request, Version
from rich.console import Console
from rich.progress import Progress

from deltajax.ops import update_triton
from deltajax.ops.gpu import multiprocessors, why_not_triton
from deltajax.triton_kernels.configuration import (
    ConvolutionConfig,
    ConvolutionShape,
    candidates,
    read_table,
    rule,
)
from deltajax.video import VideoError

SCHEDULE = (
    ("steady", 0, False), ("steady", 1, True), ("steady", 2, True), ("full_change", 0, False),
    ("full_change", 1, True), ("static", 0, False), ("static", 0, True),
)  # fmt: skip
"""Calls of a profile: the frames' kind, which of such calls, and whether it counts."""
BETTER = 0.98
"""A configuration replaces the rule's if it costs so much of it at most: times vary by 1 %."""


@dataclasses.dataclass(frozen=True)
class Options(RegionOptions, CaseOptions):
    """Measures configurations of the convolution kernels on this GPU.

    Attributes:
        configurations: how many each convolution is measured in, at most, the rule's included.
        frames_per_call: frames that one compiled call processes.
        static_weight: what a kernel's time counts in which nothing changes, against one on the
            clip, when configurations are compared.
        full_weight: the same for one in which every pixel changes.
        workers: processes that compile; 0 for as many as there are processors.
        out: table to write; entries that it has for other shapes stay.
        log: file for all measurements, JSON.
    """

    dtype: tuple[Dtype, ...] = ("float32", "bfloat16")
    configurations: int = 40
    frames_per_call: int = 20
    static_weight: float = 0.1
    full_weight: float = 0.1
    workers: int = 0
    out: Path = Path("out/kernels.json")
    log: Path | None = None


class Job(NamedTuple):
    """A network to run in one configuration of each convolution.

    Attributes:
        case: which network it is.
        request: what to run.
        index: of the configuration, among those of each convolution.
    """

    case: int
    request: Request
    index: int


class Measured(NamedTuple):
    """What became of a job.

    Attributes:
        convolutions: with their times; none if it failed.
        refused: what Triton says of configurations that it did not compile, which the rule's stood
            in for.
        error: why it failed, or None.
    """

    convolutions: list["Timed"]
    refused: list[str]
    error: str | None = None


class Timed(NamedTuple):
    """A convolution in a configuration.

    Attributes:
        key: `ConvolutionShape.key`.
        config: the configuration.
        of_rule: whether it is the rule's.
        case: which network ran.
        microseconds: by kind, of all launches of such convolutions in a frame.
    """

    key: str
    config: ConvolutionConfig
    of_rule: bool
    case: int
    microseconds: dict[str, float]


def configurations_of(shape: ConvolutionShape) -> list[ConvolutionConfig]:
    """That a convolution is measured in, the rule's first."""
    return list(dict.fromkeys([rule(shape), *candidates(shape)]))


def shape_of(launch: Launch, shapes: Sequence[ConvolutionShape]) -> ConvolutionShape:
    """What the configuration of a launched convolution was chosen by.

    Args:
        launch: of the convolution kernel.
        shapes: those that were asked for.
    """
    constants, pointers = dict(launch.source.constants), dict(launch.source.pointers)
    groups = constants["GROUPS"]
    known = {
        "pixels": constants["pixels"],
        "group_channels": constants["C_IN"] // groups,
        "group_features": constants["C_OUT"] // groups,
        "groups": groups,
        "taps": constants["KERNEL_HEIGHT"] * constants["KERNEL_WIDTH"],
        "itemsize": 4 if pointers["weights"] == "fp32" else 2,
        "exact": pointers["weights"] == "fp32" and constants["PRECISION"] != "tf32",
        # Of phases, each has a part of them.
        "multiprocessors": max(multiprocessors() // constants["PHASES"], 1),
    }
    return next(
        shape for shape in shapes if all(getattr(shape, name) == x for name, x in known.items())
    )


_GPU: Any = None


def _start_worker(gpu: Any) -> None:
    """One process at a time has the GPU."""
    global _GPU
    _GPU = gpu
    with _GPU:
        why_not_triton()  # runs a small update, in the rule's configuration


def measure(job: Job) -> Measured:
    """The times of all convolutions in a job's configurations, or why there are none."""
    try:
        return _measure(job)
    except Exception as error:  # what does not fit is one result among others
        return Measured([], [], f"{type(error).__name__}: {str(error)[:300]}")


def _measure(job: Job) -> Measured:
    network = Version(job.request)
    program = _trace(network, job.index)
    network.compile(program.traced)
    with _GPU:
        events = _profile(network)
    times = _times(events, [launch.kernel for launch in program.launches], job.request)
    sums: dict[ConvolutionShape, dict[str, float]] = {}
    for kind, of_kind in times.items():
        for launch, microseconds in convolution_times(program.launches, of_kind):
            shape = shape_of(launch, list(program.chosen))
            of_shape = sums.setdefault(shape, dict.fromkeys(KINDS, 0.0))
            of_shape[kind] += microseconds
    convolutions = []
    for shape, microseconds in sums.items():
        config = program.chosen[shape]
        of_rule = config == rule(shape)
        convolutions.append(Timed(shape.key, config, of_rule, job.case, microseconds))
    return Measured(convolutions, program.refused)


class Program(NamedTuple):
    """A network in one configuration of each convolution.

    Attributes:
        traced: its computation.
        launches: of kernels, in a frame.
        chosen: the configurations.
        refused: what Triton says of those that it did not compile, which the rule's stand in for.
    """

    traced: Any
    launches: list[Launch]
    chosen: dict[ConvolutionShape, ConvolutionConfig]
    refused: list[str]


def _trace(network: Version, index: int) -> Program:
    """The network in the configurations of this index.

    Raises:
        RuntimeError: if the rule's do not compile.
    """
    chosen: dict[ConvolutionShape, ConvolutionConfig] = {}
    refused: dict[ConvolutionShape, str] = {}

    def choose(shape: ConvolutionShape) -> ConvolutionConfig:
        of_shape = configurations_of(shape)
        number = 0 if shape in refused else index % len(of_shape)
        return chosen.setdefault(shape, of_shape[number])

    while True:
        chosen.clear()
        # Of a function that was traced before JAX keeps the configurations.
        jax.clear_caches()
        with update_triton.configured(choose):
            traced = network.trace()
        launches = launches_of(traced.jaxpr)
        found = {
            shape_of(launch, list(chosen)): error
            for launch in launches
            if (error := _why_not_compiled(launch))
        }
        if not found:
            return Program(traced, launches, chosen, list(refused.values()))
        if index == 0 or found.keys() <= refused.keys():
            raise RuntimeError(f"not even the rule's kernels compile: {next(iter(found.values()))}")
        refused |= found


def _profile(network: Version) -> list[Event]:
    """What the GPU did in the calls of `SCHEDULE`."""
    with tempfile.TemporaryDirectory() as folder:
        network.start()
        for kind, number, _ in SCHEDULE:
            network.run(kind, number)
        with jax.profiler.trace(folder):
            for kind, number, _ in SCHEDULE:
                network.run(kind, number)
        network.stop()
        return read_profile(Path(folder))


def _times(events: list[Event], kernels: list[Kernel], request: Request) -> dict[str, np.ndarray]:
    """Microseconds of each kernel in a frame by kind: medians of the frames that count."""
    frames = iter(frames_of(events, kernels))
    times: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for kind, _, counts in SCHEDULE:
        call = list(itertools.islice(frames, request.frames_per_call))
        if counts:
            times[kind] += [times_of(frame, kernels) for frame in call]
    return {kind: np.median(each, axis=0) for kind, each in times.items()}


def _why_not_compiled(launch: Launch) -> str | None:
    """What Triton says of a convolution that it does not compile."""
    try:
        _ = launch.kernel
    except Exception as error:
        if launch.name != CONVOLUTION:
            raise
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Tunes; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console = Console()
    # Processes share the GPU, and none may take all of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        check(options)
        kept = dict(read_table(str(options.out))) if options.out.exists() else {}
        results: list[Timed] = []
        for more in run(options, console, command_line("tune_kernels.py", arguments)):
            results += more
            best = best_of(results, options.static_weight, options.full_weight)
            table = {key: dataclasses.asdict(config) for key, config in (kept | best).items()}
            # After each network, so that a run that is cut off keeps what it has.
            write_json({"device": device_name(), "convolutions": table}, options.out)
        if not results:
            raise ValueError("nothing could be measured")
    except (ValueError, OSError, VideoError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        return 1
    show(results, best, console)
    console.print(f"table: {options.out}", highlight=False)
    return 0


def check(options: Options) -> None:
    """Raises ValueError for options that do not fit, and where there is nothing to measure on."""
    if min(options.configurations, options.frames_per_call, *options.streams) < 1:
        raise ValueError("--configurations, --frames-per-call and --streams must be at least 1")
    if jax.default_backend() != "gpu":
        raise ValueError("there is no GPU to measure on")


def run(options: Options, console: Console, command: str) -> Iterator[list[Timed]]:
    """Measures one network after the other; those whose rule cannot be measured are left out."""
    triton = dataclasses.replace(options.update, implementation="triton")
    cases = list(itertools.product(options.model, options.dtype, options.size, options.streams))
    log: list[dict[str, Any]] = []
    with Progress(console=console) as progress:
        # The rule's once more at the end: all others are compared with it.
        indices = [*range(options.configurations), 0]
        task = progress.add_task("configurations", total=len(cases) * len(indices))
        for number, (model, dtype, size, streams) in enumerate(cases):
            request = Request(
                network=dataclasses.asdict(network_options(triton, model, dtype)),
                clip=str(options.clip) if options.clip else None,
                roi=options.roi,
                size=size,
                streams=streams,
                frames_per_call=options.frames_per_call,
                calls=1 + max(call for _, call, _ in SCHEDULE),
            )
            case = {"model": model, "dtype": dtype, "size": size_text(size), "streams": streams}
            results: list[Timed] = []
            jobs = [Job(number, request, index) for index in indices]
            for job, measured in zip(jobs, measure_all(jobs, options.workers), strict=True):
                progress.advance(task)
                results += measured.convolutions
                log.append(case | {"index": job.index, **as_json(measured)})
                if measured.error:
                    text = f"left out: {case}, configuration {job.index}: {measured.error}"
                    console.print(text, highlight=False)
                if options.log:
                    report = {"command": command, "device": device_name(), "runs": log}
                    write_json(report, options.log)
            of_rule = {timed.key for timed in results if timed.of_rule}
            yield [timed for timed in results if timed.key in of_rule]


def measure_all(jobs: Sequence[Job], workers: int) -> Iterator[Measured]:
    """What becomes of each job, in their order.

    Each has a process of its own, as an error of the GPU lasts as long as a process.

    Args:
        jobs: of one network.
        workers: processes at a time; 0 for as many as there are processors.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers or os.cpu_count() or 1, len(jobs)),
        context,
        _start_worker,
        (context.Lock(),),
        max_tasks_per_child=1,
    ) as pool:
        for future in [pool.submit(measure, job) for job in jobs]:
            try:
                yield future.result()
            except BrokenProcessPool as error:
                yield Measured([], [], f"a process died: {error}")


def as_json(measured: Measured) -> dict[str, Any]:
    convolutions = [
        timed._asdict() | {"config": dataclasses.asdict(timed.config)}
        for timed in measured.convolutions
    ]
    return measured._asdict() | {"convolutions": convolutions}


def by_key(results: Sequence[Timed]) -> dict[str, list[Timed]]:
    """The results of each shape, of each configuration one.

    Of several measurements it is the median, and of several networks the sum: configurations that
    could not be measured in all of them are left out.
    """
    found: dict[str, dict[ConvolutionConfig, dict[int, list[Timed]]]] = {}
    for timed in results:
        of_config = found.setdefault(timed.key, {}).setdefault(timed.config, {})
        of_config.setdefault(timed.case, []).append(timed)
    summed: dict[str, list[Timed]] = {}
    for key, of_key in found.items():
        cases = {case for of_config in of_key.values() for case in of_config}
        for of_config in of_key.values():
            if of_config.keys() != cases:
                continue
            microseconds = {
                kind: float(
                    sum(
                        np.median([timed.microseconds[kind] for timed in same])
                        for same in of_config.values()
                    )
                )
                for kind in KINDS
            }
            first = next(iter(of_config.values()))[0]
            summed.setdefault(key, []).append(first._replace(microseconds=microseconds))
    return summed


def cost(timed: Timed, base: Timed, static_weight: float, full_weight: float) -> float:
    """What a configuration takes of the time that the rule's takes, a mean over the kinds."""
    weights = {"steady": 1.0, "static": static_weight, "full_change": full_weight}
    parts = (w * timed.microseconds[k] / base.microseconds[k] for k, w in weights.items())
    return sum(parts) / sum(weights.values())


def best_of(
    results: Sequence[Timed], static_weight: float, full_weight: float
) -> dict[str, ConvolutionConfig]:
    """The best configuration of each shape; the rule's where none is clearly better."""
    entries = {}
    for key, of_key in by_key(results).items():
        base = next(timed for timed in of_key if timed.of_rule)
        costs = [cost(timed, base, static_weight, full_weight) for timed in of_key]
        best = int(np.argmin(costs))
        entries[key] = of_key[best].config if costs[best] <= BETTER else base.config
    return entries


def show(results: Sequence[Timed], best: dict[str, ConvolutionConfig], console: Console) -> None:
    """What would be gained, for a person to read."""
    total = dict.fromkeys(KINDS, 0.0)
    before = dict.fromkeys(KINDS, 0.0)
    for key, of_key in by_key(results).items():
        base = next(timed for timed in of_key if timed.of_rule)
        taken = next(timed for timed in of_key if timed.config == best[key])
        for kind in KINDS:
            total[kind] += taken.microseconds[kind]
            before[kind] += base.microseconds[kind]
    for kind in KINDS:
        console.print(
            f"{kind}: {before[kind]:.1f} µs a frame in convolutions by the rule, "
            f"{total[kind]:.1f} with the table",
            highlight=False,
        )


if __name__ == "__main__":
    sys.exit(main())
