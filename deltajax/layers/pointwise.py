"""Layers in which every pixel stands for itself: activations, sums, products, concatenation."""

from collections.abc import Callable, Sequence

import jax

from ..ops.identity import Concatenation, Identity
from ..ops.tail import Tail
from .update_point import Activation as ActivationLike
from .update_point import Input, UpdatePoint, resolve_activation


class Activation(UpdatePoint):
    """y = fn(x), any elementwise function or a name of `flax.linen`'s."""

    fn: ActivationLike

    def __call__(self, x: Input) -> Input:
        """[N, H, W, C] → [N, H, W, C]."""
        activation = resolve_activation(self.label, self.fn)
        return self.compute(Identity(), Tail(activation=activation), [x])


class Elementwise(UpdatePoint):
    """y = fn(x₁, x₂, …) at each pixel.

    Attributes:
        fn: of arrays [..., C]; it may mix channels and inputs but not pixels, as it is given whole
            maps in one mode and lists of pixels in the other. C must stay that of the first.
    """

    fn: Callable[..., jax.Array]

    def __call__(self, *inputs: Input) -> Input:
        """[N, H, W, C] → [N, H, W, C]; inputs after the first may be 1 × 1 or of one channel."""
        return _combined(self, inputs, self.fn, None)


class Add(UpdatePoint):
    """y = activation(w₁ x₁ + w₂ x₂ + …).

    Attributes:
        weights: one for each input; None for all ones.
        activation: a function, a name of `flax.linen`'s, or None.
    """

    weights: Sequence[float] | None = None
    activation: ActivationLike | None = None

    def __call__(self, *inputs: Input) -> Input:
        """[N, H, W, C] → [N, H, W, C]; inputs after the first may be 1 × 1 or of one channel.

        Raises:
            ValueError: if there is not one weight for each input.
        """
        weights = self.weights
        if weights is None:
            weights = (1.0,) * len(inputs)
        if len(weights) != len(inputs):
            raise ValueError(f"{self.label}: {len(weights)} weights for {len(inputs)} inputs")

        def combine(*values: jax.Array) -> jax.Array:
            terms = [
                value if weight == 1 else value * weight
                for value, weight in zip(values, weights, strict=True)
            ]
            return sum(terms[1:], start=terms[0])

        return _combined(self, inputs, combine, self.activation)


class Multiply(UpdatePoint):
    """y = activation(x₁ · x₂ · …); a gate is an input of size [N, 1, 1, C] or [N, H, W, 1]."""

    activation: ActivationLike | None = None

    def __call__(self, *inputs: Input) -> Input:
        """[N, H, W, C] → [N, H, W, C]; inputs after the first may be 1 × 1 or of one channel."""

        def combine(value: jax.Array, *factors: jax.Array) -> jax.Array:
            for factor in factors:
                value = value * factor
            return value

        return _combined(self, inputs, combine, self.activation)


class Concat(UpdatePoint):
    """The channels of all inputs, one after the other."""

    def __call__(self, *inputs: Input) -> Input:
        """[N, H, W, C₁], [N, H, W, C₂], … → [N, H, W, C₁ + C₂ + …].

        Raises:
            ValueError: for inputs of different height, width or streams.
        """
        if not inputs or any(x.shape[:3] != inputs[0].shape[:3] for x in inputs):
            raise ValueError(
                f"{self.label}: inputs of shapes {[x.shape for x in inputs]} differ in more than "
                "their channels"
            )
        return self.compute(Concatenation(), Tail(), inputs)


def _combined(
    layer: UpdatePoint,
    inputs: Sequence[Input],
    combine: Callable[..., jax.Array],
    activation: ActivationLike | None,
) -> Input:
    if not inputs:
        raise ValueError(f"{layer.label}: needs at least one input")
    streams, height, width, channels = inputs[0].shape
    for x in inputs[1:]:
        fits = (
            x.shape[0] == streams
            and x.shape[1:3] in ((height, width), (1, 1))
            and x.shape[3] in (channels, 1)
        )
        if not fits:
            raise ValueError(
                f"{layer.label}: an input of shape {x.shape} cannot be broadcast to the first, "
                f"{inputs[0].shape}; only height and width together or channels may be 1"
            )
    tail = Tail(
        others=tuple(inputs[1:]),
        combine=combine,
        activation=resolve_activation(layer.label, activation),
    )
    return layer.compute(Identity(), tail, inputs[:1])
