"""Batch norms folded into the weights of the convolutions before them."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from deltajax.ops.tail import folded_norm

from .calibration import BATCH_STATS
from .common import VideoNetwork

NORM = "batch_norm"
"""The name of a convolution's norm among its parameters."""


def fold_batch_norm(
    network: VideoNetwork, variables: Mapping[str, Any]
) -> tuple[VideoNetwork, dict[str, Any]]:
    """The same function without batch norms, for who will not train any more.

    A convolution's kernel takes over the factor of its norm, γ / √(σ² + ε), and its bias the rest,
    β − μ γ / √(σ² + ε). On a GPU the dense network becomes faster by it, as cuDNN adds a bias by
    itself.

    Args:
        network: one with batch norms.
        variables: "params" and "batch_stats", and others, which are kept: thresholds and states
            have the same paths in both networks.

    Returns:
        The network with `folded=True`, and its variables.

    Raises:
        ValueError: if the network is folded already.
    """
    if network.folded:
        raise ValueError("the network's batch norms have been folded before")
    kept = {name: value for name, value in variables.items() if name not in (BATCH_STATS, "packed")}
    statistics = variables.get(BATCH_STATS, {})
    params = _folded(variables["params"], statistics, network.batch_norm_epsilon)
    return network.clone(folded=True), {**kept, "params": params}


def _folded(
    params: Mapping[str, Any], statistics: Mapping[str, Any], epsilon: float
) -> dict[str, Any]:
    """A part of the tree of parameters, with the part of the statistics that belongs to it."""
    if NORM not in params:
        return {
            name: _folded(value, statistics.get(name, {}), epsilon)
            if isinstance(value, Mapping)
            else value
            for name, value in params.items()
        }
    learnt, seen = params[NORM], statistics[NORM]
    factor, bias = folded_norm(seen["mean"], seen["var"], learnt["scale"], learnt["bias"], epsilon)
    kernel = params["kernel"]
    return {"kernel": (kernel.astype(jnp.float32) * factor).astype(kernel.dtype), "bias": bias}
