"""What an update point computes, and what comes of computing it."""

import functools
import operator
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped

from ..tensor import Arrivals, DeltaTensor, value_of
from .neighbourhood import Neighbourhood
from .tail import Tail


@flax.struct.dataclass
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
    """An update's outcome: the new map and mask, and the pixels that were computed for it.

    With the arrivals of the map's `DeltaTensor`, if kernels have made it.
    """

    value: Shaped[Array, "N H W C"]
    mask: Bool[Array, "N H W"]
    computed: Bool[Array, "N H W"]
    arrivals: Arrivals | None = None


class PackedWeights(flax.struct.PyTreeNode):
    """Weights of an update as its kernels take them.

    Attributes:
        scale, shift: of the tail, or None.
        arrays: one for each part of the operation, or a depthwise kernel; none without weights.
        layout: what each part is laid out for.
    """

    scale: Any
    shift: Any
    arrays: tuple[Any, ...]
    layout: tuple[Any, ...] = flax.struct.field(pytree_node=False)
