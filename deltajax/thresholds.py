"""Thresholds given at run time, as the collection "thresholds", instead of as layer attributes.

Its values are inputs of the compiled step: trying others compiles nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Shaped

from .inspection import update_points
from .layers.gate import Gate
from .layers.sparsify import Sparsify
from .layers.update_point import check_threshold


def update_point_names(delta: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the update points of a state: their paths in the model, joined by "/"."""
    return tuple("/".join(path[:-1]) for path in flatten_dict(delta))


def make_thresholds(delta: Mapping[str, Any], choose: Callable[[str], float]) -> dict[str, Any]:
    """The collection "thresholds" for a state, with a threshold for each update point.

    Give it to the model as `{**variables, "thresholds": thresholds}`; its entries go before the
    layers' own attributes.

    Args:
        delta: a state of the model, for the names of its update points.
        choose: the threshold of an update point of this name, in the units of its output.

    Raises:
        ValueError: for a negative or NaN threshold; the message names the update point.
    """
    return threshold_collection({name: choose(name) for name in update_point_names(delta)})


def uniform_thresholds(
    model: nn.Module,
    variables: Mapping[str, Any],
    frame: Shaped[Array, "N H W C"] | Shaped[np.ndarray, "N H W C"] | jax.ShapeDtypeStruct,
    *,
    input_threshold: float,
    threshold: float,
    gate_threshold: float = 0.0,
    **kwargs: Any,
) -> dict[str, Any]:
    """The collection "thresholds" with one threshold for entries, gates, and all else each.

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables.
        frame: [N, H, W, C], for its shape and dtype only.
        input_threshold: of every `Sparsify`, in the units of its output (normalised).
        threshold: of every other update point, in the units of its output.
        gate_threshold: of every `Gate`.
        **kwargs: passed to the model.

    Raises:
        ValueError: for a negative or NaN threshold.
    """
    special = {Sparsify: input_threshold, Gate: gate_threshold}
    return threshold_collection(
        {
            point.name: special.get(point.layer, threshold)
            for point in update_points(model, variables, frame, **kwargs)
        }
    )


def threshold_collection(thresholds: Mapping[str, float]) -> dict[str, Any]:
    """The collection "thresholds" of values by the name of the update point.

    Raises:
        ValueError: for a negative, infinite or NaN threshold; the message names the update point.
    """
    flat = {}
    for name, threshold in thresholds.items():
        check_threshold(name, threshold)
        path = name.split("/") if name else []
        flat[(*path, "threshold")] = jnp.float32(threshold)
    return unflatten_dict(flat)
