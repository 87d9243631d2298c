"""One update of one update point: the design's recursion, and the choice of who computes it.

c = the output pixels whose receptive field meets a changed pixel of any input
z = f(inputs), at c only
m = c and (‖z − y‖ > τ)
y = z where m, unchanged elsewhere
"""

from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from ..norms import ThresholdNorm, exceeds
from .function import Function, Updated
from .update_xla import update_xla

Implementation = Literal["auto", "dense", "xla"]


def update_dense(
    function: Function,
    cached: Shaped[Array, "N H W C"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
) -> Updated:
    """The specification: f everywhere, then the masks. Works under grad and vmap."""
    computed = function.reach()
    z = function.dense()
    mask = computed & exceeds(z, cached, threshold, norm)
    return Updated(jnp.where(mask[..., None], z, cached), mask, computed)


def update(
    function: Function,
    cached: Shaped[Array, "N H W C"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
    implementation: Implementation = "auto",
) -> Updated:
    """One frame's update of a cached map.

    Args:
        function: f with its inputs of this frame.
        cached: [N, H, W, C], y, this update point's own last output.
        threshold: τ, in the units of the map.
        norm: of the difference over the channels of a pixel.
        implementation: "dense" computes everything and costs as much as the dense network;
            "xla" computes changed pixels only, in plain XLA; "auto" takes the fastest for the
            platform.
    """
    if implementation == "dense":
        return update_dense(function, cached, threshold, norm)
    return update_xla(function, cached, threshold, norm)


def check_implementation(name: str, implementation: str) -> None:
    """Raises ValueError for an implementation that does not exist; `name` says whose it is."""
    if implementation not in get_args(Implementation):
        raise ValueError(
            f"{name}: implementation is {implementation!r}; "
            f"it must be one of {get_args(Implementation)}"
        )
