"""One case of the roofline, and its report."""

import dataclasses
import functools
import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _common import SettledOptions, make_network, make_variables
from _thresholds import with_thresholds

import deltajax as dj
from deltajax.statistics import Totals, read_statistics, total
from deltajax.work import needs_of, work_of


@dataclasses.dataclass(frozen=True)
class Case:
    """What the least time is computed of.

    Attributes:
        network: the network.
        clip: where the frames are from; None for a procedural clip.
        num_warmup: frames between the first and those that are counted.
        tflops: of the GPU's matrix products, in 10¹² operations a second.
        bandwidth: of its memory, in 10⁹ bytes a second.
        launch_us: that a kernel takes at least, in microseconds.
        timed: the case of a benchmark's results that is the same; None for no benchmark.
    """

    network: SettledOptions
    clip: Path | None
    num_warmup: int
    tflops: float
    bandwidth: float
    launch_us: float
    timed: Mapping[str, Any] | None


def timed_case(
    path: Path, network: SettledOptions, size: tuple[int, ...], streams: int
) -> Mapping[str, Any]:
    """The case of a benchmark's results that is the same. Raises ValueError if it is not there."""
    try:
        cases = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} has no results: {error}") from error
    wanted = {
        "model": network.model,
        "dtype": network.dtype,
        "height": size[0],
        "width": size[1],
        "streams": streams,
        "input_threshold": network.input_threshold,
        "threshold": network.threshold,
    }
    for case in cases if isinstance(cases, list) else [cases]:
        if all(case.get(name) == value for name, value in wanted.items()):
            return case
    raise ValueError(f"{path} has no case of {wanted}")


def run(case: Case, frames: np.ndarray) -> dict[str, Any]:
    """Counts what the frames after the warm-up need, and reports it with the floors.

    Args:
        case: what the least time is computed of.
        frames: uint8 [1 + num_warmup + T, N, H, W, 3].
    """
    network, streams = make_network(case.network), frames.shape[1]
    # Random weights do not depend on the frames, and eight large streams take much memory.
    first = frames if case.network.calibrate else frames[:, :1]
    variables = make_variables(case.network, network, first)
    variables = with_thresholds(case.network, network, variables, frames[0])(1.0)
    number = np.arange(len(frames))[:, None]
    # Streams do not know of each other: one after the other they need an eighth of the memory.
    of_streams = []
    for stream in range(streams):
        recorded = dj.scan_frames(
            network, variables, frames[:, stream : stream + 1], collect=("statistics",)
        )[2]
        points = read_statistics(recorded["statistics"])
        of_streams.append(total(points, number > case.num_warmup))
    totals = functools.reduce(operator.add, of_streams)
    if case.timed is not None:
        totals = as_timed(totals, case.timed)
    work = work_of(needs_of(network, variables, frames[0]), totals, streams)
    floors = [each.floor_us(case.tflops, case.bandwidth) for each in work]
    return {
        "model": case.network.model,
        "dtype": case.network.dtype,
        "clip": case.clip.name if case.clip else "procedural",
        "streams": streams,
        "height": frames.shape[2],
        "width": frames.shape[3],
        "frames": len(frames) - 1 - case.num_warmup,
        "input_threshold": case.network.input_threshold,
        "threshold": case.network.threshold,
        "tflops": case.tflops,
        "bandwidth": case.bandwidth,
        "launch_us": case.launch_us,
        "computed_pixels_of": "benchmark" if case.timed else "frames",
        "multiplications_share": totals.multiplications_share,
        "update_points": [
            dataclasses.asdict(each) | {"floor_us": floor}
            for each, floor in zip(work, floors, strict=True)
        ],
        "operations": sum(each.operations for each in work),
        "bytes": sum(each.bytes for each in work),
        "floor_ms": sum(floors) / 1e3,
        "floor_with_launches_ms": sum(max(f, case.launch_us) for f in floors) / 1e3,
        "measured_ms": case.timed["steady_ms"] if case.timed else None,
    }


def as_timed(totals: Totals, timed: Mapping[str, Any]) -> Totals:
    """The totals with as many computed pixels as in the frames that a benchmark timed.

    It timed more frames than are counted here, in which more or less may change. What share of the
    computed pixels passed the threshold is not in its results, and stays as it was counted.

    Raises:
        ValueError: for results of other update points.
    """
    active = timed.get("active_fraction", {})
    if set(active) != set(totals.pixels):
        raise ValueError("the benchmark's results are of other update points than the model's")
    computed = {
        name: round(active[name] * totals.frames * pixels) for name, pixels in totals.pixels.items()
    }
    updated = {
        name: round(count * computed[name] / max(totals.computed_pixels[name], 1))
        for name, count in totals.updated_pixels.items()
    }
    return dataclasses.replace(totals, computed_pixels=computed, updated_pixels=updated)
