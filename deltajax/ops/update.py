"""One update of one update point: the design's recursion, and the choice of who computes it.

c = the output pixels whose receptive field meets a changed pixel of any input
z = f(inputs), at c only
m = c and (‖z − y‖ > τ)
y = z where m, unchanged elsewhere
"""

import dataclasses
import functools
import operator
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from ..norms import ThresholdNorm, exceeds
from ..tensor import DeltaTensor, value_of
from .neighbourhood import Neighbourhood
from .tail import Tail

Implementation = Literal["auto", "dense", "xla"]


@dataclasses.dataclass(frozen=True)
class Function:
    """f of an update point: a neighbourhood operation of its inputs, then a pointwise tail."""

    neighbourhood: Neighbourhood
    tail: Tail
    inputs: tuple[DeltaTensor | jax.Array, ...]

    @property
    def values(self) -> tuple[jax.Array, ...]:
        return tuple(value_of(x) for x in self.inputs)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(x.shape for x in self.inputs)

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.neighbourhood.output_shape(self.shapes)

    def dense(self) -> jax.Array:
        """f everywhere, [N, H, W, C]."""
        return self.tail(
            self.neighbourhood.dense(self.values), [value_of(x) for x in self.tail.others]
        )

    def reach(self) -> Bool[Array, "N H W"]:
        """c: the output pixels that may differ from what they were before this frame."""
        masks = tuple(x.mask for x in self.inputs if isinstance(x, DeltaTensor))
        others = [x.mask for x in self.tail.others if isinstance(x, DeltaTensor)]
        reached = [self.neighbourhood.reach(masks)] if masks else []
        shape = self.output_shape[:3]
        return jnp.broadcast_to(functools.reduce(operator.or_, reached + others), shape)


class Updated(NamedTuple):
    """An update's outcome: the new map and mask, and the pixels that were computed for it."""

    value: Shaped[Array, "N H W C"]
    mask: Bool[Array, "N H W"]
    computed: Bool[Array, "N H W"]


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
    from .update_xla import update_xla

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
