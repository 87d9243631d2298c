"""Batch-norm statistics for random weights, from frames."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

import deltajax as dj

from .common import VideoNetwork

BATCH_STATS = "batch_stats"


def calibrate_batch_norm(
    network: VideoNetwork,
    variables: Mapping[str, Any],
    frames: Iterable[Shaped[Array, "N H W C"]],
) -> dict[str, Any]:
    """Sets the running statistics of all batch norms to those of the given frames.

    With random weights and the initial statistics (mean 0, variance 1) activations grow from
    block to block of a residual network; after this they have unit scale, as in a trained one.

    Args:
        network: whose batch norms have the default momentum.
        variables: its variables.
        frames: at least one [N, H, W, C], all of one shape.

    Returns:
        The variables with new "batch_stats"; a network without any keeps what it has.
    """
    variables = dict(variables)
    if not variables.get(BATCH_STATS):
        return variables

    @jax.jit
    def observe(variables: Mapping[str, Any], frame: jax.Array) -> Any:
        return network.apply(variables, frame, train=True, mutable=[BATCH_STATS])[1][BATCH_STATS]

    rest = {name: value for name, value in variables.items() if name != "delta"}
    averages = jax.tree.map(jnp.zeros_like, variables[BATCH_STATS])
    count = 0
    for frame in frames:
        averages = observe({**rest, BATCH_STATS: averages}, frame)
        count += 1
    if count == 0:
        raise ValueError("calibrate_batch_norm needs at least one frame")
    # Averages that began at zero have seen this share of a whole; as in Adam.
    seen = 1 - dj.BatchNorm.momentum**count
    variables.pop("packed", None)  # with the norms as they were
    return {**variables, BATCH_STATS: jax.tree.map(lambda average: average / seen, averages)}
