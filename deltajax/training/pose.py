"""Heatmap regression of joints, as PoseResNet is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .task import Examples

FLIP = 0.5
"""The share of pictures that are mirrored."""


class PoseEstimation:
    """Pictures with joints: "image", uint8 [N, H, W, C], "points", [N, K, 2], x and y in pixels
    from the middle of the first one, and "counts", bool [N, K], the joints that are known.

    Targets are Gaussians around the joints on maps a quarter as large; the loss is half the mean
    squared error over all maps of joints that are known (Xiao et al., "Simple baselines for human
    pose estimation and tracking", ECCV 2018, section 2). Augmentation mirrors, scales and shifts.

    Most of a map is zero, and a network that begins with random weights first learns to say so
    everywhere, which is hard to get out of. `foreground` makes errors count for more where a joint
    is: the squared error is multiplied by 1 + foreground · target.

    Args:
        pairs: numbers of joints that change places in a mirror.
        sigma: of the Gaussians, in pixels of the maps.
        stride: pixels of a picture for one of the maps.
        foreground: see above; 0 is the published loss.
        flip: whether to mirror half of the pictures.
        scale: pictures are scaled by factors within 1 ± this.
        shift: they are shifted by up to this share of their sides.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]],
        *,
        sigma: float = 2.0,
        stride: int = 4,
        foreground: float = 0.0,
        flip: bool = True,
        scale: float = 0.25,
        shift: float = 0.1,
    ) -> None:
        self.pairs, self.sigma, self.stride = tuple(pairs), sigma, stride
        self.foreground = foreground
        self.flip, self.scale, self.shift = flip, scale, shift

    def prepare(
        self, examples: Examples, key: PRNGKeyArray | None
    ) -> tuple[Float[Array, "N H W C"], Any]:
        """Pictures in [0, 1]; and of targets "maps" [N, h, w, K], "points" and "counts"."""
        images = examples["image"].astype(jnp.float32) / 255
        points, counts = examples["points"].astype(jnp.float32), examples["counts"]
        if key is not None:
            keys = jax.random.split(key, len(images))
            images, points, counts = jax.vmap(self._augment)(keys, images, points, counts)
        height, width = images.shape[1:3]
        inside = jnp.all((points >= -0.5) & (points < jnp.array([width, height]) - 0.5), axis=-1)
        counts = counts & inside
        maps = self.maps(points, (height // self.stride, width // self.stride))
        return images, {"maps": maps, "points": points, "counts": counts}

    def maps(self, points: Float[Array, "N K 2"], size: tuple[int, int]) -> Float[Array, "N h w K"]:
        """Gaussians of height one around the points."""
        # The middle of a map's pixel p is that of the picture's pixel stride · p.
        x, y = (points[:, None, :, axis] / self.stride for axis in (0, 1))
        columns, rows = jnp.arange(size[1])[:, None], jnp.arange(size[0])[:, None]
        across = jnp.exp(-((columns - x) ** 2) / (2 * self.sigma**2))
        down = jnp.exp(-((rows - y) ** 2) / (2 * self.sigma**2))
        return down[:, :, None] * across[:, None]

    def loss(self, outputs: Float[Array, "N h w K"], targets: Any) -> Float[Array, " N"]:
        """Half the mean squared error over the maps; those of unknown joints count as right."""
        known, maps = targets["counts"][:, None, None], targets["maps"]
        squares = (1 + self.foreground * maps) * (outputs - maps) ** 2
        return 0.5 * jnp.mean(jnp.where(known, squares, 0), axis=(1, 2, 3))

    def metrics(
        self, outputs: Float[Array, "N h w K"], targets: Any
    ) -> Mapping[str, Float[Array, " N"]]:
        """The share of known joints whose map is largest within a tenth of its height of the target
        (as Xiao et al. watch training); of a picture with none, 1."""
        number, height, width, joints = outputs.shape
        flat = outputs.reshape(number, height * width, joints)
        best = jnp.argmax(flat, axis=1)
        found = jnp.stack([best % width, best // width], axis=-1).astype(jnp.float32)
        away = jnp.linalg.norm(found - targets["points"] / self.stride, axis=-1)
        finite = jnp.isfinite(flat).all(axis=1)
        counts = targets["counts"]
        right = jnp.sum(counts & finite & (away <= 0.1 * height), axis=-1)
        known = jnp.sum(counts, axis=-1)
        return {"accuracy": jnp.where(known > 0, right / jnp.maximum(known, 1), 1.0)}

    def _augment(
        self,
        key: PRNGKeyArray,
        image: Float[Array, "H W C"],
        points: Float[Array, "K 2"],
        counts: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        mirror, size, place = jax.random.split(key, 3)
        height, width, _ = image.shape
        sides = jnp.array([width, height], jnp.float32)
        if self.flip:
            swapped = jnp.arange(len(points))
            for first, second in self.pairs:
                swapped = swapped.at[jnp.array([first, second])].set(jnp.array([second, first]))
            mirrored = jnp.stack([width - 1 - points[:, 0], points[:, 1]], axis=-1)
            turned = jax.random.bernoulli(mirror, FLIP)
            image = jnp.where(turned, image[:, ::-1], image)
            points = jnp.where(turned, mirrored[swapped], points)
            counts = jnp.where(turned, counts[swapped], counts)
        factor = 1 + jax.random.uniform(size, minval=-self.scale, maxval=self.scale)
        offset = self.shift * sides * jax.random.uniform(place, (2,), minval=-1.0, maxval=1.0)
        # About the middle; jax.image counts from the corner of the first pixel, points do not.
        move = (sides / 2) * (1 - factor) + offset
        image = jax.image.scale_and_translate(
            image, image.shape, (0, 1), jnp.stack([factor, factor]), move[::-1], "linear"
        )
        return image, (points + 0.5) * factor + move - 0.5, counts
