"""What travels between layers: a complete feature map and the pixels of it that changed."""

import flax.struct
import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state
from jaxtyping import Array, Bool, Shaped


class Arrivals(flax.struct.PyTreeNode):
    """Zeros in which the kernels of a GPU count, handed from one update to the next.

    To clear memory for each of them would take longer than many an update.

    Attributes:
        counters: int32 [any].
        used: how many of the first ones are no longer zero.
    """

    counters: jax.Array
    used: int = flax.struct.field(pytree_node=False)

    @property
    def latest(self) -> "Arrivals":
        """These, or what the updates that were given them have left by now.

        Where a network branches, updates that do not depend on each other follow all the same: if
        two were given one array to overwrite, XLA would have to copy it.
        """
        arrivals, trace = self, get_opaque_trace_state(convention="flax")
        while (left := arrivals.__dict__.get("_left")) and left.__dict__["_trace"] == trace:
            arrivals = left
        return arrivals

    def hand_on(self, left: "Arrivals") -> None:
        """Says what an update that was given these has left.

        What is traced as a branch, a loop's body or a call stays inside of it.
        """
        trace = get_opaque_trace_state(convention="flax")
        object.__setattr__(left, "_trace", trace)
        if self.__dict__.get("_trace", trace) == trace:
            object.__setattr__(self, "_left", left)


class DeltaTensor(flax.struct.PyTreeNode):
    """A feature map together with its update mask.

    As the input of a model it is a frame with the pixels that can have changed; a stream
    whose mask is all off has no new frame, and its values are never looked at.

    Attributes:
        value: [N, H, W, C], complete and valid everywhere, not only where the mask is on.
        mask: [N, H, W], the pixels that changed in this frame.
    """

    # Not annotated with shapes: scan and vmap give both a further axis in front.
    value: jax.Array
    mask: jax.Array

    @property
    def arrivals(self) -> Arrivals | None:
        """Of the update that made it.

        They are no part of the pytree: what carries, maps or replaces a `DeltaTensor` drops them,
        and the next update makes new ones.
        """
        return self.__dict__.get("_arrivals")

    def with_arrivals(self, arrivals: Arrivals | None) -> "DeltaTensor":
        """The same map and mask with these."""
        other = self.replace()
        object.__setattr__(other, "_arrivals", arrivals)
        return other

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, H, W, C] of the map."""
        return self.value.shape

    @property
    def dtype(self) -> jnp.dtype:
        return self.value.dtype


def frame_of_streams(frame: Shaped[Array, "N H W C"], present: Bool[Array, " N"]) -> DeltaTensor:
    """A frame in which only some streams are new, as the input of a model.

    Args:
        frame: [N, H, W, C]; the values of streams that are not present are ignored.
        present: [N], which streams have a new frame in this step.
    """
    mask = jnp.broadcast_to(jnp.asarray(present)[:, None, None], frame.shape[:3])
    return DeltaTensor(jnp.asarray(frame), mask)


def value_of(x: "DeltaTensor | jax.Array") -> jax.Array:
    """The map itself, of a `DeltaTensor` or of a plain array."""
    return x.value if isinstance(x, DeltaTensor) else x
