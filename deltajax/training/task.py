"""What is learnt: how examples become frames and targets, and what outputs are worth."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

Examples = Mapping[str, jax.Array]
"""Arrays of a batch, by name, each with an axis of examples first."""


@runtime_checkable
class Task(Protocol):
    """All of it runs on the device, compiled into the steps."""

    def prepare(
        self, examples: Examples, key: PRNGKeyArray | None
    ) -> tuple[Shaped[Array, "N H W C"], Any]:
        """Frames for the network, and targets: what the loss compares outputs with.

        Args:
            examples: of a batch.
            key: for augmentation; None leaves examples as they are.
        """
        ...

    def loss(self, outputs: Any, targets: Any) -> Float[Array, " N"]:
        """Of each example."""
        ...

    def metrics(self, outputs: Any, targets: Any) -> Mapping[str, Float[Array, " N"]]:
        """Other values of each example, whose means are shown."""
        ...


class Classification:
    """Images with a label each: "image", uint8 [N, H, W, C], and "label", integers [N].

    Augmentation flips an image or leaves it, each half of the time.

    Args:
        size: (H, W) to which images are scaled, bilinearly; None leaves them as they are.
        flip: whether to flip.
    """

    def __init__(self, size: tuple[int, int] | None = None, flip: bool = True) -> None:
        self.size, self.flip = size, flip

    def prepare(
        self, examples: Examples, key: PRNGKeyArray | None
    ) -> tuple[Float[Array, "N H W C"], Any]:
        """Images in [0, 1], and labels."""
        images = examples["image"].astype(jnp.float32) / 255
        if key is not None and self.flip:
            flipped = jax.random.bernoulli(key, 0.5, (len(images),))
            images = jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)
        if self.size is not None and images.shape[1:3] != self.size:
            shape = (images.shape[0], *self.size, images.shape[3])
            images = jax.image.resize(images, shape, "bilinear", antialias=True)
        return images, examples["label"]

    def loss(self, outputs: Float[Array, "N K"], targets: Any) -> Float[Array, " N"]:
        """Cross-entropy of the softmax."""
        return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)

    def metrics(
        self, outputs: Float[Array, "N K"], targets: Any
    ) -> Mapping[str, Float[Array, " N"]]:
        """Accuracy: whether the label is the most probable class, and one of the first five."""
        better = outputs > jnp.take_along_axis(outputs, targets[:, None], axis=-1)
        rank = jnp.sum(better, axis=-1)
        # Of equal logits the first is taken, as by an argmax; NaN is never right.
        finite = jnp.isfinite(outputs).all(axis=-1)
        first = (jnp.argmax(outputs, axis=-1) == targets) & finite
        return {
            "accuracy": first.astype(jnp.float32),
            "top5_accuracy": ((rank < 5) & finite).astype(jnp.float32),
        }
