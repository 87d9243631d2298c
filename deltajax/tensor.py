"""What travels between layers: a complete feature map and the pixels of it that changed."""

import flax.struct
import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state
from jaxtyping import Array, Bool, Shaped


class Arrivals(flax.struct.PyTreeNode):
    """Zeros in which the kernels of a GPU count, handed from one update to the next.

    To clear memory for each of them would take longer than many an update. But where a network
    branches only one goes on with the array, and each of the others has one of its own: if two were
    given the same, XLA would have to copy it, and if one waited for the other, the branches could
    not run side by side. Where branches meet, all arrays but one are left over for other branches.

    Attributes:
        counters: int32 [any].
        used: how many of the first ones are no longer zero.
    """

    counters: jax.Array
    used: int = flax.struct.field(pytree_node=False)

    @classmethod
    def new(cls, number: int, spare: list["Arrivals"]) -> "Arrivals":
        """So many zeros, and what is left over before them."""
        made = cls(jnp.zeros(number, jnp.int32), 0)
        made.__dict__["_spare"] = spare
        return made

    @property
    def spare(self) -> list["Arrivals"]:
        """Others that are left over, in one list for all updates of a frame."""
        return self.__dict__.setdefault("_spare", [])

    @property
    def taken(self) -> bool:
        """Whether an update has been given them, so that others cannot."""
        return self.__dict__.get("_taken", False)

    @property
    def made_here(self) -> bool:
        """Whether they are of what is traced, and not of what stands around it, or inside of it."""
        trace = get_opaque_trace_state(convention="flax")
        return self.__dict__.get("_trace", trace) == trace

    def hand_on(self, left: "Arrivals") -> None:
        """Says that an update was given these, and what it has left.

        What is traced as a branch, a loop's body or a call stays inside of it.
        """
        trace = get_opaque_trace_state(convention="flax")
        left.__dict__.update(_trace=trace, _spare=self.spare)
        if self.made_here:
            self.__dict__["_taken"] = True


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
