"""One case of the benchmark, and its report."""

import dataclasses
import importlib.metadata
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _common import SettledOptions, Variables, device_name, make_network, make_variables
from _measure import NUM_REPEATS, Advance, Measurement, Stopwatch, measure
from _thresholds import with_thresholds
from rich.console import Console
from rich.progress import Progress

import deltajax as dj
from deltajax.inspection import update_points
from deltajax.layers import Sparsify
from deltajax.statistics import total


@dataclasses.dataclass(frozen=True)
class Case:
    """What is timed.

    Attributes:
        network: the network.
        clip: where the frames are from; None for a procedural clip.
        num_warmup: frames between the first and the steady ones, not counted.
        frames_per_call: frames that one compiled call processes.
        scales: by which the thresholds of the curve are multiplied; none for no curve.
    """

    network: SettledOptions
    clip: Path | None
    num_warmup: int
    frames_per_call: int
    scales: tuple[float, ...]


def run(case: Case, frames: np.ndarray, console: Console) -> dict[str, Any]:
    """The measurement as a report.

    Args:
        case: what is timed.
        frames: uint8 [1 + num_warmup + T, N, H, W, 3], T a multiple of `frames_per_call`.
        console: for the progress.
    """
    network = make_network(case.network)
    with console.status("compiling"):
        # Once, as who runs a network over a video does, and not in each call.
        variables = dj.pack_weights(
            network, make_variables(case.network, network, frames), frames[0]
        )
        scaled = with_thresholds(case.network, network, variables, frames[0])
        stopwatch = Stopwatch(network, scaled(1.0), frames[0], case.frames_per_call)
    with Progress(console=console) as progress:
        steps = (1 + len(case.scales)) * (len(frames) - 1) + 2 * NUM_REPEATS * case.frames_per_call
        task = progress.add_task("frames", total=steps)

        def advance(count: int) -> None:
            progress.advance(task, count)

        measured = measure(stopwatch, scaled(1.0), frames, case.num_warmup, advance)
        curve = [
            curve_point(case, stopwatch, scaled, scale, frames, advance) for scale in case.scales
        ]
    report = describe(case, frames) | results(measured)
    points = update_points(network, variables, frames[0])
    report |= {
        "full_change_input": min(
            report["full_change_active_fraction"][point.name]
            for point in points
            if issubclass(point.layer, Sparsify)
        ),
        "state_bytes": stopwatch.state_bytes,
        "dense_activation_bytes": sum(point.bytes for point in points),
        "temporary_bytes": stopwatch.temporary_bytes,
        "dense_temporary_bytes": stopwatch.dense_temporary_bytes,
        "dense_compile_seconds": stopwatch.dense_compile_seconds,
        "incremental_compile_seconds": stopwatch.incremental_compile_seconds,
    }
    return report | ({"curve": curve} if curve else {})


def curve_point(
    case: Case,
    stopwatch: Stopwatch,
    scaled: Callable[[float], Variables],
    scale: float,
    frames: np.ndarray,
    advance: Advance,
) -> dict[str, float]:
    """Speed and error of the steady frames, with the thresholds times `scale`."""
    variables = scaled(scale)
    clip = list(frames)
    steady = 1 + case.num_warmup
    stopwatch.first_frame(variables, clip[0])
    stopwatch.warm_up(variables, clip[1:steady], advance)
    run = stopwatch.run(variables, stopwatch.chunks(clip[steady:]), advance)
    number = np.broadcast_to(np.arange(len(frames))[:, None], frames.shape[:2])
    work = total(stopwatch.statistics(variables, frames), number >= steady)
    dense_ms, steady_ms = float(np.median(run.dense_ms)), float(np.median(run.incremental_ms))
    return {
        "scale": scale,
        "dense_ms": dense_ms,
        "steady_ms": steady_ms,
        "speedup": dense_ms / steady_ms,
        "relative_error": run.relative_error,
        "update_rate": work.update_rate,
        "multiplications_share": work.multiplications_share,
    }


def describe(case: Case, frames: np.ndarray) -> dict[str, Any]:
    """What was measured, and where."""
    chosen = case.network
    return {
        "device": device_name(),
        "platform": jax.default_backend(),
        "cores": os.cpu_count(),
        **versions(),
        "model": chosen.model,
        "clip": case.clip.name if case.clip else "procedural",
        "height": frames.shape[2],
        "width": frames.shape[3],
        "streams": frames.shape[1],
        "frames": len(frames) - 1 - case.num_warmup,
        "num_warmup": case.num_warmup,
        "frames_per_call": case.frames_per_call,
        "dtype": chosen.dtype,
        "implementation": chosen.implementation,
        "input_threshold": chosen.input_threshold,
        "input_dilation": chosen.input_dilation,
        "threshold": chosen.threshold,
        "gate_threshold": chosen.gate_threshold,
        "thresholds": chosen.thresholds,
        "threshold_scale": chosen.threshold_scale,
        "threshold_norm": chosen.threshold_norm,
        "seed": chosen.seed,
        "calibrate": chosen.calibrate,
        "fold_batch_norm": chosen.fold_batch_norm,
    }


def versions() -> dict[str, str | None]:
    """Of the packages that times depend on."""
    return {name: version_of(name) for name in ("jax", "jaxlib", "triton", "deltajax")}


def version_of(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def results(measured: Measurement) -> dict[str, Any]:
    """Times in milliseconds a frame, for all streams together, and what follows from them."""
    dense_ms = float(np.median(measured.steady.dense_ms))
    steady_ms = float(np.median(measured.steady.incremental_ms))
    static_ms = float(np.median(measured.static.incremental_ms))
    full_change_ms = float(np.median(measured.full_change.incremental_ms))
    return {
        "dense_ms": dense_ms,
        "first_ms": measured.first_ms,
        "steady_ms": steady_ms,
        "static_ms": static_ms,
        "full_change_ms": full_change_ms,
        "dense_ms_p10_p90": percentiles(measured.steady.dense_ms),
        "steady_ms_p10_p90": percentiles(measured.steady.incremental_ms),
        "speedup": dense_ms / steady_ms,
        "static_speedup": dense_ms / static_ms,
        "full_change_speedup": dense_ms / full_change_ms,
        "relative_error": measured.steady.relative_error,
        "frozen_error": measured.steady.frozen_error,
        "update_rate": measured.totals.update_rate,
        "multiplications_share": measured.totals.multiplications_share,
        "active_fraction": measured.totals.active_fraction,
        "static_active_fraction": measured.static_totals.active_fraction,
        "full_change_active_fraction": measured.full_change_totals.active_fraction,
    }


def percentiles(milliseconds: np.ndarray) -> list[float]:
    return [float(value) for value in np.percentile(milliseconds, (10, 90))]
