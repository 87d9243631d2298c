"""What thresholds cost and save on some frames: the error of the outputs and the work done."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Shaped

from ..frames import scan_frames
from ..layers.update_point import DELTA, THRESHOLDS, UpdatePoint
from ..statistics import read_statistics, total
from ..thresholds import threshold_collection

Objective = Callable[[Any, Any], float]
"""Of incremental and dense outputs, trees of [T, N, ...]: 0 where they are the same."""


class Trial(NamedTuple):
    """What became of the frames with some thresholds.

    Attributes:
        error: the objective.
        work: multiplications done after each stream's first frame, as a share of the dense
            network's.
    """

    error: float
    work: float


class Evaluator:
    """A network over some frames, with whatever thresholds: compiled once.

    Args:
        model: the network.
        variables: its variables; "delta" and "thresholds" among them are ignored.
        frames: [T, N, H, W, C], T at least 2.
        objective: of the outputs.
        expected: dense outputs of these frames; computed if not given.
        **kwargs: passed to the model.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        frames: Shaped[np.ndarray, "T N H W C"],
        objective: Objective,
        expected: Any = None,
        **kwargs: Any,
    ) -> None:
        ignored = (DELTA, THRESHOLDS)
        self._model, self._kwargs = model, kwargs
        self._variables = {name: value for name, value in variables.items() if name not in ignored}
        self._frames = jax.device_put(frames)
        self._objective = objective
        self._later = np.broadcast_to(np.arange(len(frames))[:, None] > 0, frames.shape[:2])
        if expected is None:
            expected = dense_outputs(model, self._variables, self._frames, **kwargs)
        self.expected = expected

    def __call__(self, thresholds: Mapping[str, float]) -> Trial:
        """Runs the frames, from their streams' first.

        Args:
            thresholds: of each update point, by its name.
        """
        outputs, _, recorded = scan_frames(
            self._model,
            {**self._variables, THRESHOLDS: threshold_collection(thresholds)},
            self._frames,
            collect=("statistics",),
            **self._kwargs,
        )
        outputs = jax.tree.map(np.asarray, outputs)
        work = total(read_statistics(recorded["statistics"]), self._later).multiplications_share
        return Trial(float(self._objective(outputs, self.expected)), float(work))


def dense_outputs(
    model: nn.Module,
    variables: Mapping[str, Any],
    frames: Shaped[np.ndarray, "T N H W C"] | jax.Array,
    **kwargs: Any,
) -> Any:
    """What the dense network makes of the frames, arrays with leading axes [T, N]."""

    @jax.jit
    def run(variables: Mapping[str, Any], frames: jax.Array) -> Any:
        return jax.lax.map(lambda frame: model.apply(variables, frame, **kwargs), frames)

    return jax.tree.map(np.asarray, run(variables, jnp.asarray(frames)))


def output_scales(
    model: nn.Module,
    variables: Mapping[str, Any],
    frame: Shaped[np.ndarray, "N H W C"],
    **kwargs: Any,
) -> dict[str, float]:
    """The root mean square of each layer's dense output, by its name, in its units."""
    found: dict[str, jax.Array] = {}

    def record(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        output = call(*arguments, **keywords)
        layer = context.module
        if isinstance(layer, UpdatePoint) and context.method_name == "__call__":
            mean_square = jnp.mean(jnp.square(output.astype(jnp.float32)))
            found["/".join(layer.path)] = jnp.sqrt(mean_square)
        return output

    @jax.jit
    def run(variables: Mapping[str, Any], frame: jax.Array) -> dict[str, jax.Array]:
        with nn.intercept_methods(record):
            model.apply(variables, frame, **kwargs)
        return dict(found)

    rest = {name: value for name, value in variables.items() if name != DELTA}
    return {name: float(value) for name, value in run(rest, jnp.asarray(frame)).items()}
