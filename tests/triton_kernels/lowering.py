"""Prints what XLA is given for an NVIDIA GPU, wherever it runs.

Run as a program in a process without TRITON_INTERPRET:

    python -m tests.triton_kernels.lowering
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj


class Network(nn.Module):
    """Two convolutions of one shape, transposed ones, in one call and in several, and pooling."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        shared: Any = {"threshold": 0.1, "implementation": "triton"}
        x = dj.Sparsify(mean=(0.45,), std=(0.25,), dtype=jnp.float32, **shared)(x)
        x = dj.Conv(32, 3, dtype=jnp.bfloat16, **shared)(x)
        x = dj.Conv(32, 3, dtype=jnp.bfloat16, **shared)(x)
        x = dj.Conv(32, 3, dtype=jnp.bfloat16, **shared)(x)
        x = dj.ConvTranspose(16, 2, 2, **shared)(x)
        x = dj.ConvTranspose(8, 3, 2, **shared)(x)
        return dj.Densify()(dj.MaxPool(2, 2, **shared)(x))


def main() -> None:
    frame = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.uint8)
    variables = jax.eval_shape(Network().init, jax.random.key(0), frame)
    step = jax.jit(lambda variables, x: Network().apply(variables, x, mutable=["delta"]))
    print(step.trace(variables, frame).lower(lowering_platforms=("cuda",)).as_text())


if __name__ == "__main__":
    main()
