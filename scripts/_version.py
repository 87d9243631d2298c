"""An incremental network to be timed, and the process in which compare_versions.py runs one.

Requests come in and answers go out in JSON.
"""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from _common import (
    SettledOptions,
    cpu_device,
    device_name,
    frames_of_a_call,
    make_network,
    make_variables,
    read_clip,
)
from _measure import alternating, compiled, timed
from _report import versions
from _thresholds import with_thresholds

import deltajax as dj

KINDS = ("steady", "static", "full_change")
"""Of frames: those of the clip, those in which nothing changes, those in which everything does."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be run.

    Attributes:
        network: `_common.SettledOptions` as a dict.
        clip: video file; None for a procedural clip.
        roi: region of interest, or None.
        size: (height, width), or None.
        streams: independent streams.
        frames_per_call: F, the frames of a compiled call; None for the usual number.
        calls: parts of the clip, of F frames each.
    """

    network: dict[str, Any]
    clip: str | None
    roi: tuple[int, int, int, int] | None
    size: tuple[int, int] | None
    streams: int
    frames_per_call: int | None
    calls: int


class Version:
    """The incremental network: to be compiled, which takes nothing of the GPU, started and run.

    Weights are not packed before, since there are revisions that cannot.
    """

    def __init__(self, request: Request) -> None:
        options = SettledOptions(**request.network)
        self.frames_per_call = frames_of_a_call(request.frames_per_call)
        clip = read_clip(
            Path(request.clip) if request.clip else None,
            request.size,
            self.frames_per_call * request.calls,
            request.streams,
            options.seed,
            request.roi,
        )
        self._network = network = make_network(options)
        with jax.default_device(None if options.calibrate else cpu_device()):
            variables = make_variables(options, network.clone(implementation="xla"), clip)
            variables = with_thresholds(options, network, variables, clip[0])(1.0)
        self._host = jax.device_get(variables)
        self._clips = {
            "steady": clip,
            "static": np.stack([clip[-1]] * self.frames_per_call),
            "full_change": np.stack(alternating(clip[-1], self.frames_per_call)),
        }

        def incremental(variables: Any, delta: Any, frames: jax.Array) -> tuple[Any, Any]:
            return dj.scan_frames(network, {**variables, "delta": delta}, frames)

        self._incremental = jax.jit(incremental, donate_argnums=1)
        self._program: Any = None
        self._variables: Any = None
        self._delta: Any = None
        self._chunks: dict[str, list[jax.Array]] = {}
        self._outputs: Any = None

    def trace(self) -> jax.stages.Traced:
        """The call, to be compiled."""
        shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self._host)
        delta = jax.eval_shape(
            lambda v: dj.init_delta(self._network, v, self._clips["steady"][0]), shapes
        )
        frames = self._clips["steady"][: self.frames_per_call]
        return self._incremental.trace(
            shapes, delta, jax.ShapeDtypeStruct(frames.shape, frames.dtype)
        )

    def compile(self, traced: jax.stages.Traced) -> float:
        """Compiles what `run` runs; returns the seconds that XLA took for it."""
        self._program, seconds = compiled(traced.lower())
        return seconds

    def start(self) -> None:
        """Puts weights, state and frames on the device."""
        self._variables = jax.device_put(self._host)
        self._delta = dj.init_delta(self._network, self._variables, self._clips["steady"][0])
        self._chunks = {
            kind: jax.device_put(np.split(frames, len(frames) // self.frames_per_call))
            for kind, frames in self._clips.items()
        }

    def stop(self) -> None:
        """Frees the device's memory."""
        self._variables, self._delta, self._chunks, self._outputs = None, None, {}, None

    def run(self, kind: str, number: int) -> float:
        """Milliseconds a frame of one call: the number-th one of such frames, over and over."""
        chunks = self._chunks[kind]
        (outputs, self._delta), milliseconds = timed(
            self._program, self._variables, self._delta, chunks[number % len(chunks)]
        )
        if kind == "steady":
            self._outputs = outputs
        return milliseconds / self.frames_per_call

    def save_outputs(self, path: Path) -> None:
        """Writes those of the last steady call, as one list of numbers."""
        leaves = [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(self._outputs)]
        np.save(path, np.concatenate([leaf.ravel() for leaf in leaves]))


def main() -> None:
    # Whatever a library prints must not come between the answers.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

        def answer(**values: Any) -> None:
            answers.write(json.dumps(values) + "\n")
            answers.flush()

        version = Version(Request(**json.loads(next(sys.stdin))))
        compile_seconds = version.compile(version.trace())
        version.start()
        answer(
            **versions(),
            device=device_name(),
            frames_per_call=version.frames_per_call,
            compile_seconds=compile_seconds,
        )
        for line in sys.stdin:
            asked = json.loads(line)
            if "save" in asked:
                version.save_outputs(Path(asked["save"]))
                answer()
            else:
                answer(ms=version.run(**asked))


if __name__ == "__main__":
    main()
