"""The relative error of outputs that come one after the other."""

import math
from typing import Any

import jax
import jax.numpy as jnp


class RelativeError:
    """‖actual − expected‖ / ‖expected‖ over all arrays that were added."""

    def __init__(self) -> None:
        self._error = 0.0
        self._norm = 0.0

    def add(self, actual: Any, expected: Any) -> None:
        """Counts outputs, arrays or trees of them; `actual` may have to be broadcast."""
        pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
        for error, norm in (_squared_norms(*pair) for pair in pairs):
            self._error += float(error)
            self._norm += float(norm)

    @property
    def value(self) -> float:
        """NaN if nothing but zeros was expected."""
        return math.sqrt(self._error / self._norm) if self._norm else math.nan


# On the device: copying the heatmaps of eight cameras takes longer than computing them.
@jax.jit
def _squared_norms(actual: jax.Array, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
    expected = expected.astype(jnp.float32)
    error = jnp.sum(jnp.square(actual.astype(jnp.float32) - expected))
    return error, jnp.sum(jnp.square(expected))
