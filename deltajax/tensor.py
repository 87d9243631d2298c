"""What travels between layers: a complete feature map and the pixels of it that changed."""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
from jax.extend.core import get_opaque_trace_state
from jaxtyping import Array, Bool, Shaped


class Arrivals(flax.struct.PyTreeNode):
    """Zeros in which the kernels of a GPU count, handed from one update to the next.

    To clear memory for each of them would take longer than many an update. But an array goes to one
    update only: if two were given the same, XLA would have to copy it, and if one waited for the
    other, branches of a network could not run side by side. Where branches meet, all arrays but
    one are left over, for others that branch later. (These then wait for the update that had such
    an array last, and seldom need it.)

    Attributes:
        counters: int32 [any].
        used: how many of the first ones are no longer zero.
    """

    counters: jax.Array
    used: int = flax.struct.field(pytree_node=False)

    @classmethod
    def take(cls, left: Sequence["Arrivals"], number: int, size: int) -> "Arrivals":
        """For an update: what an input's has left, or what is left over, or new ones.

        What was made around a branch, a loop's body or a call that is traced is not for it, and
        nothing that was made in there leaves it.

        Args:
            left: by the updates that made the inputs; nobody can take these again.
            number: zeros that are needed.
            size: of a new array.
        """
        trace = get_opaque_trace_state(convention="flax")
        own = [arrivals for arrivals in left if arrivals.__dict__.get("_trace") == trace]
        spare: list[Arrivals] = own[0].__dict__["_spare"] if own else []
        free = []
        for arrivals in own:
            fits = arrivals.used + number <= arrivals.counters.size
            if fits and "_taken" not in arrivals.__dict__:
                # Without the list, which would hold itself by way of them, and outlive the frame.
                free.append(arrivals.replace())
            arrivals.__dict__["_taken"] = True
        found = free or spare
        taken = found.pop(0) if found else cls(jnp.zeros(size, jnp.int32), 0)
        spare += free
        taken.__dict__.update(_trace=trace, _spare=spare)
        return taken

    def hand_on(self, left: "Arrivals") -> None:
        """Says what an update that has taken these has left."""
        left.__dict__.update(_trace=self.__dict__["_trace"], _spare=self.__dict__["_spare"])


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
