"""What an update point has to read, write and multiply, whoever computes it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Shaped

from .inspection import UpdatePointMap, update_points
from .layers.sparsify import Sparsify
from .layers.update_point import DELTA, UpdatePoint
from .ops.function import Function
from .statistics import Totals
from .tensor import value_of


@dataclasses.dataclass(frozen=True)
class Needs:
    """What one update point needs, of all streams together.

    An input pixel that several windows share is counted once, so that these are the fewest bytes:
    what kernels read again because no cache holds it comes on top.

    Attributes:
        name: the layer's path in the model, joined by "/".
        bytes: read and written whatever changes: weights and masks, and at the entry the frame
            and its map.
        bytes_per_computed_pixel: of the inputs, of further inputs, and of the cached map.
        bytes_per_updated_pixel: of the map.
    """

    name: str
    bytes: float
    bytes_per_computed_pixel: float
    bytes_per_updated_pixel: float


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of one update point, the mean of some frames of all streams together.

    Attributes:
        name: the layer's path in the model, joined by "/".
        active: share of its pixels that were computed, in [0, 1].
        operations: multiplications and additions.
        bytes: to and from memory.
    """

    name: str
    active: float
    operations: float
    bytes: float

    def floor_us(self, tflops: float, bandwidth: float) -> float:
        """Microseconds that it takes at least.

        Williams et al., "Roofline", CACM 2009: the larger of operations over the rate of the units
        that do them and bytes over memory bandwidth.

        Args:
            tflops: 10¹² operations a second.
            bandwidth: 10⁹ bytes a second.
        """
        return max(self.operations / tflops / 1e6, self.bytes / bandwidth / 1e3)


def needs_of(
    model: nn.Module,
    variables: Mapping[str, Any],
    frame: Shaped[np.ndarray, "N H W C"],
    **kwargs: Any,
) -> list[Needs]:
    """What each update point of a model needs for frames like this one.

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables; a "delta" among them is ignored.
        frame: for its shape and dtype only.
        **kwargs: passed to the model.
    """
    found: dict[str, Needs] = {}

    def record(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        layer = context.module
        if isinstance(layer, UpdatePoint) and context.method_name == "compute":
            name = "/".join(layer.path)
            neighbourhood, tail, inputs = arguments
            found[name] = _of_function(name, Function(neighbourhood, tail, tuple(inputs)))
        return call(*arguments, **keywords)

    def dense(variables: Mapping[str, Any], frame: jax.Array) -> Any:
        with nn.intercept_methods(record):
            return model.apply(variables, frame, **kwargs)

    rest = {name: value for name, value in variables.items() if name != DELTA}
    jax.eval_shape(dense, rest, frame)
    points = update_points(model, rest, frame, **kwargs)
    return [found.get(point.name) or _of_entry(point, frame) for point in points]


def _of_function(name: str, function: Function) -> Needs:
    shape = function.output_shape
    pixels = shape[0] * shape[1] * shape[2]
    output = jax.eval_shape(function.dense)
    computed = float(shape[3] * output.dtype.itemsize)
    fixed = float(pixels)
    for x in function.values:
        area = x.shape[1] * x.shape[2] / (shape[1] * shape[2])
        computed += min(function.neighbourhood.taps, area) * x.shape[3] * x.dtype.itemsize
        fixed += x.shape[0] * x.shape[1] * x.shape[2]
    for other in map(value_of, function.tail.others):
        computed += other.size / pixels * other.dtype.itemsize
    kernel = getattr(function.neighbourhood, "kernel", None)
    if kernel is not None:
        fixed += kernel.size * kernel.dtype.itemsize
    return Needs(name, fixed, computed, float(shape[3] * output.dtype.itemsize))


def _of_entry(point: UpdatePointMap, frame: np.ndarray) -> Needs:
    """The frame, or a gate, is read and compared with its whole map."""
    pixels = float(np.prod(point.shape[:3]))
    entering = point.bytes
    if issubclass(point.layer, Sparsify):
        entering = frame.size * jnp.dtype(frame.dtype).itemsize
    fixed = entering + point.bytes + pixels
    return Needs(point.name, fixed, 0.0, float(point.shape[3] * point.dtype.itemsize))


def work_of(needs: list[Needs], totals: Totals, streams: int) -> list[Work]:
    """The mean work of some frames.

    Args:
        needs: of the model.
        totals: of these frames, those of each stream by themselves.
        streams: that a frame has.
    """
    active, frames = totals.active_fraction, totals.frames / streams
    work = []
    for need in needs:
        computed = totals.computed_pixels[need.name] / frames
        updated = totals.updated_pixels[need.name] / frames
        work.append(
            Work(
                name=need.name,
                active=active[need.name],
                operations=2 * computed * totals.multiplications_per_pixel[need.name],
                bytes=need.bytes
                + computed * need.bytes_per_computed_pixel
                + updated * need.bytes_per_updated_pixel,
            )
        )
    return work
