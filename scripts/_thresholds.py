"""The thresholds of the options as a collection: from their file, or one for all layers."""

from collections.abc import Callable

import jax
import numpy as np
from _common import SettledOptions, Variables, load_thresholds

from deltajax.models import VideoNetwork
from deltajax.thresholds import uniform_thresholds


def with_thresholds(
    options: SettledOptions, network: VideoNetwork, variables: Variables, frame: np.ndarray
) -> Callable[[float], Variables]:
    """The variables with the options' thresholds, times a factor.

    Args:
        options: of the network.
        network: the network.
        variables: its variables.
        frame: [N, H, W, 3], for its shape.

    Raises:
        ValueError: for thresholds that are none, or that do not fit the network.
    """

    if options.thresholds is None:
        collection = uniform_thresholds(
            network,
            variables,
            frame,
            input_threshold=options.input_threshold or 0.0,
            threshold=options.threshold or 0.0,
            gate_threshold=options.gate_threshold or 0.0,
        )
    else:
        tuned = load_thresholds(options.model, options.thresholds)
        collection = tuned.collection(network, variables, frame)

    def scaled(factor: float) -> Variables:
        factor *= options.threshold_scale
        return {**variables, "thresholds": jax.tree.map(lambda t: t * factor, collection)}

    return scaled
