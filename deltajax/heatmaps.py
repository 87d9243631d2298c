"""Keypoints from the heatmaps of pose networks, finer than their pixels."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Refinement = Literal["none", "quarter", "taylor"]

TAYLOR_SIGMA = 2.0
"""Of the Gaussians that networks are trained on, in pixels of the heatmap."""


class Keypoints(NamedTuple):
    """Keypoints of N pictures.

    Attributes:
        points: [N, K, 2], x and y in pixels of the heatmap, from the middle of the first one.
        scores: [N, K], the heatmaps' largest values.
    """

    points: Float[Array, "N K 2"]
    scores: Float[Array, "N K"]


def decode_heatmaps(
    heatmaps: Float[Array, "N H W K"] | Float[np.ndarray, "N H W K"],
    refinement: Refinement | str = "quarter",
) -> Keypoints:
    """Where each heatmap is largest.

    Args:
        heatmaps: one for each keypoint. A network that halves twice has H / 4 × W / 4 of them: a
            point times 4 is in pixels of the picture.
        refinement: "none": the largest pixel's. "quarter": a quarter of a pixel towards the larger
            neighbour in each axis (Newell et al., "Stacked hourglass networks", ECCV 2016; Xiao et
            al., ECCV 2018). "taylor": the maximum of the parabola that the logarithm of the
            blurred heatmap is there (Zhang et al., "Distribution-aware coordinate representation
            for human pose estimation", CVPR 2020, section 3.2).

    Raises:
        ValueError: for an unknown refinement.
    """
    if refinement not in ("none", "quarter", "taylor"):
        raise ValueError(f'refinement is {refinement!r}; it must be "none", "quarter" or "taylor"')
    streams, height, width, joints = heatmaps.shape
    maps = jnp.moveaxis(heatmaps.astype(jnp.float32), -1, 1)
    flat = maps.reshape(streams, joints, height * width)
    best = jnp.argmax(flat, axis=-1)
    scores = jnp.max(flat, axis=-1)
    column, row = best % width, best // width
    points = jnp.stack([column, row], axis=-1).astype(jnp.float32)
    if refinement == "none" or min(height, width) < 3:
        return Keypoints(points, scores)
    if refinement == "taylor":
        maps = jnp.log(jnp.maximum(_blurred(maps), 1e-10))
    # 3 × 3 pixels around the largest; a pixel on the border is left as it is.
    inside = (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1)
    top = jnp.clip(row - 1, 0, height - 3)
    left = jnp.clip(column - 1, 0, width - 3)

    def around(image: jax.Array, top: jax.Array, left: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (top, left), (3, 3))

    near = jax.vmap(jax.vmap(around))(maps, top, left)
    offset = _quarter(near) if refinement == "quarter" else _newton(near)
    return Keypoints(points + jnp.where(inside[..., None], offset, 0.0), scores)


def _quarter(near: Float[Array, "N K 3 3"]) -> Float[Array, "N K 2"]:
    across = near[..., 1, 2] - near[..., 1, 0]
    down = near[..., 2, 1] - near[..., 0, 1]
    return 0.25 * jnp.sign(jnp.stack([across, down], axis=-1))


def _newton(near: Float[Array, "N K 3 3"]) -> Float[Array, "N K 2"]:
    """−H⁻¹ g of the parabola through the pixels, at most one pixel in each axis."""
    middle = near[..., 1, 1]
    dx = (near[..., 1, 2] - near[..., 1, 0]) / 2
    dy = (near[..., 2, 1] - near[..., 0, 1]) / 2
    dxx = near[..., 1, 2] - 2 * middle + near[..., 1, 0]
    dyy = near[..., 2, 1] - 2 * middle + near[..., 0, 1]
    dxy = (near[..., 2, 2] - near[..., 2, 0] - near[..., 0, 2] + near[..., 0, 0]) / 4
    determinant = dxx * dyy - dxy**2
    # Only where it is a maximum.
    peak = (determinant > 1e-12) & (dxx < 0)
    safe = jnp.where(peak, determinant, 1.0)
    step = jnp.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], axis=-1) / -safe[..., None]
    return jnp.where(peak[..., None], jnp.clip(step, -1, 1), 0.0)


def _blurred(maps: Float[Array, "N K H W"]) -> Float[Array, "N K H W"]:
    """Gaussian smoothing, which leaves one maximum of several close to each other."""
    reach = round(3 * TAYLOR_SIGMA)
    taps = jnp.exp(-(jnp.arange(-reach, reach + 1) ** 2) / (2 * TAYLOR_SIGMA**2))
    taps = taps / taps.sum()
    for axis in (2, 3):
        padding = [(0, 0)] * 4
        padding[axis] = (reach, reach)
        padded = jnp.pad(jnp.maximum(maps, 0), padding)
        size = maps.shape[axis]
        maps = sum(
            (
                weight * jax.lax.slice_in_dim(padded, start, start + size, axis=axis)
                for start, weight in enumerate(taps)
            ),
            start=jnp.zeros_like(maps),
        )
    return maps
