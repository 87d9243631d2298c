"""Where a gate enters: a number for each channel, made of a whole map."""

import functools
import operator

import jax
import jax.numpy as jnp

from ..ops.entry import Normalisation, enter
from ..tensor import DeltaTensor
from .update_point import DELTA, Input, UpdatePoint


class Gate(UpdatePoint):
    """Takes the gate of a squeeze-and-excite block back among the maps.

    A gate depends on all pixels of a map, so it moves a little in every frame in which any of them
    changes, and all pixels that it multiplies move with it. With a threshold of zero such a block
    recomputes everything behind it; with a small one, 0.05 for gates in [0, 1], say, the gate is
    kept as it was until it has moved by more in one of its channels.
    """

    def __call__(self, gate: jax.Array, *sources: Input) -> Input:
        """A gate that other layers take as an input.

        Args:
            gate: [N, 1, 1, C], of all frames, or of a batch in dense mode.
            sources: what it was made of; incremental ones say which streams have a new frame.

        Raises:
            ValueError: for a gate of another shape, or none of whose sources is given.
        """
        if gate.ndim != 4 or gate.shape[1:3] != (1, 1):
            raise ValueError(f"{self.label}: a gate is [N, 1, 1, C], not {gate.shape}")
        if not sources:
            raise ValueError(f"{self.label}: needs the maps that the gate was made of")
        masks = [source.mask for source in sources if isinstance(source, DeltaTensor)]
        if not masks:
            return gate
        self.check_called_once()
        old = self.state(gate.shape, gate.dtype)
        if self.is_initializing():
            self.put_variable(DELTA, "value", old)
            return DeltaTensor(gate, jnp.ones(gate.shape[:3], bool))
        changed = [jnp.any(mask, axis=(1, 2), keepdims=True) for mask in masks]
        value, mask = enter(
            gate,
            Normalisation(None, None, None),
            old,
            functools.reduce(operator.or_, changed),
            self.resolved_threshold(),
            self.threshold_norm,
            dilation=1,
            # A few numbers: no work for a kernel.
            implementation="xla",
        )
        self.put_variable(DELTA, "value", value)
        self.record(mask, mask, 0.0)
        return DeltaTensor(value, mask)
