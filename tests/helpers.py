"""What the tests share: comparisons that no NaN passes, weights, dense runs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

NORMS = ("max", "l2", "rms")


def relative_error(actual: Any, expected: Any) -> float:
    """‖actual − expected‖ / ‖expected‖; an AssertionError where either is not finite."""
    actual, expected = (np.asarray(x, np.float64) for x in (actual, expected))
    assert actual.shape == expected.shape
    assert actual.size > 0
    assert np.isfinite(expected).all()
    assert np.isfinite(actual).all()
    difference = float(np.linalg.norm(actual - expected))
    scale = float(np.linalg.norm(expected))
    if scale == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / scale


def pixel_norm(difference: np.ndarray, norm: str) -> np.ndarray:
    """The norm over the channels of each pixel, in float64."""
    absolute = np.abs(np.asarray(difference, np.float64))
    if norm == "max":
        return absolute.max(axis=-1)
    mean = np.mean if norm == "rms" else np.sum
    return np.sqrt(mean(absolute**2, axis=-1))


def random_variables(model: nn.Module, frame: Any, seed: int = 0) -> dict[str, Any]:
    """Parameters and running statistics of a model, none of them at its initial value."""
    rng = np.random.default_rng(seed)
    shape = jax.ShapeDtypeStruct(frame.shape, frame.dtype)
    shapes = jax.eval_shape(model.init, jax.random.key(0), shape)

    def leaf(path: tuple[Any, ...], like: jax.ShapeDtypeStruct) -> np.ndarray:
        name = path[-1].key
        if name == "kernel":
            return rng.normal(0, (2 / np.prod(like.shape[:-1])) ** 0.5, like.shape)
        if name in ("bias", "mean"):
            return rng.normal(0, 0.1, like.shape)
        assert name in ("scale", "var")
        return rng.uniform(0.4, 0.8, like.shape)

    return {
        collection: jax.tree_util.tree_map_with_path(
            lambda path, like: jnp.asarray(leaf(path, like), like.dtype), tree
        )
        for collection, tree in shapes.items()
        if collection in ("params", "batch_stats")
    }


@functools.partial(jax.jit, static_argnums=0)
def dense_frames(model: nn.Module, variables: Any, frames: jax.Array) -> Any:
    """The model's dense outputs of frames [T, N, H, W, C], as one batch."""
    outputs: Any = model.apply(variables, jnp.reshape(frames, (-1, *frames.shape[2:])))
    return jax.tree.map(lambda x: jnp.reshape(x, (*frames.shape[:2], *x.shape[1:])), outputs)


def count_parameters(model: nn.Module, frame: jax.ShapeDtypeStruct) -> int:
    shapes = jax.eval_shape(model.init, jax.random.key(0), frame)
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
