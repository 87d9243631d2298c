"""What a model is made of: its update points, in the order in which they are computed."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Shaped

from .layers.sparsify import Sparsify
from .layers.update_point import DELTA, UpdatePoint
from .norms import ThresholdNorm
from .tensor import DeltaTensor


class UpdatePointMap(NamedTuple):
    """One update point and the map that it keeps.

    Attributes:
        name: the layer's path in the model, joined by "/".
        layer: its class; `Sparsify` is where frames enter.
        shape: [N, H, W, C] of its output.
        dtype: of its output.
        threshold: of the layer; an entry of the collection "thresholds" goes before it.
        threshold_norm: of the layer.
        dilation: of a `Sparsify`, in pixels; None of any other layer.
    """

    name: str
    layer: type[UpdatePoint]
    shape: tuple[int, ...]
    dtype: jnp.dtype
    threshold: float
    threshold_norm: ThresholdNorm
    dilation: int | None

    @property
    def bytes(self) -> int:
        """Bytes that one such map takes."""
        return math.prod(self.shape) * self.dtype.itemsize


def update_points(
    model: nn.Module,
    variables: Mapping[str, Any],
    frame: Shaped[Array, "N H W C"] | Shaped[np.ndarray, "N H W C"] | jax.ShapeDtypeStruct,
    **kwargs: Any,
) -> tuple[UpdatePointMap, ...]:
    """The update points of a model, in the order of computation. Nothing is computed for it.

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables; a "delta" among them is ignored.
        frame: [N, H, W, C], for its shape and dtype only.
        **kwargs: passed to the model.
    """
    found: list[UpdatePointMap] = []

    def record(
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        output = call(*arguments, **keywords)
        layer = context.module
        if not isinstance(layer, UpdatePoint) or context.method_name != "__call__":
            return output
        # Layers of a plain array, such as those of a gate, keep nothing.
        if isinstance(output, DeltaTensor):
            found.append(
                UpdatePointMap(
                    "/".join(layer.path),
                    type(layer),
                    output.shape,
                    output.dtype,
                    layer.threshold,
                    layer.threshold_norm,
                    layer.dilation if isinstance(layer, Sparsify) else None,
                )
            )
        return output

    def incremental(rest: Mapping[str, Any], frame: jax.Array) -> None:
        with nn.intercept_methods(record):
            model.apply(rest, frame, mutable=[DELTA], **kwargs)

    rest = {name: value for name, value in variables.items() if name != DELTA}
    jax.eval_shape(incremental, rest, frame)
    return tuple(found)
