"""What every operation is to the update: a function of a window of pixels (design: one update,
many neighbourhoods)."""

import abc
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

Values = tuple[jax.Array, ...]
Masks = tuple[jax.Array, ...]


class Pixels(NamedTuple):
    """A list of pixels of a map. Entries beyond the map's pixels may be any valid position."""

    stream: Int[Array, " P"]
    row: Int[Array, " P"]
    column: Int[Array, " P"]


class Neighbourhood(abc.ABC):
    """An operation in which each output pixel depends on a window of input pixels.

    Attributes:
        phases: (rows, columns). Output pixels fall into rows × columns interleaved lattices,
            pixel (h, w) into (h % rows, w % columns), within which all windows look alike.
    """

    phases: tuple[int, int] = (1, 1)

    @property
    def tileable(self) -> bool:
        """Whether there is `at_tiles`."""
        return False

    @property
    def taps(self) -> int:
        """Input pixels that one output pixel sees."""
        return 1

    @abc.abstractmethod
    def output_shape(self, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, int, int, int]:
        """[N, H, W, C] of the output, for inputs of these shapes."""

    @abc.abstractmethod
    def window_reach(self, masks: Masks) -> Bool[Array, "N H W"]:
        """The output pixels whose window meets a pixel of any mask."""

    @abc.abstractmethod
    def dense(self, values: Values) -> jax.Array:
        """All output pixels, [N, H, W, C], in plain lax: the specification."""

    @abc.abstractmethod
    def at(self, values: Values, pixels: Pixels, phase: tuple[int, int] = (0, 0)) -> jax.Array:
        """The same at a list of output pixels of one phase, [P, C]."""

    def at_tiles(self, values: Values, corners: Pixels, tile: tuple[int, int]) -> jax.Array:
        """The same for tiles of output pixels, given by their first ones: [P, *tile, C].

        Of tiles that hang over the border, the pixels outside the map are meaningless.
        """
        raise TypeError(f"{type(self).__name__} is not computed in tiles")

    @abc.abstractmethod
    def multiplications(self, shapes: tuple[tuple[int, ...], ...]) -> float:
        """Multiplications that one output pixel costs."""

    def covered(self, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray | None:
        """[H, W], the output pixels whose window meets the input at all; None where all do."""
        return None

    def reach(self, masks: Masks) -> Bool[Array, "N H W"]:
        """The output pixels that can change when the inputs change where the masks are on.

        Pixels whose window lies wholly in the padding depend on no input, but a stream's first
        frame has to write them all the same: they follow any change of their stream.
        """
        reached = self.window_reach(masks)
        covered = self.covered(tuple((*mask.shape, 1) for mask in masks))
        if covered is None or covered.all():
            return reached
        changed = jnp.any(jnp.stack([mask.any(axis=(1, 2)) for mask in masks]), axis=0)
        return reached | (changed[:, None, None] & ~covered)


def gather(values: jax.Array, pixels: Pixels) -> jax.Array:
    """The pixels' channels, [P, C]; axes of size one of `values` are broadcast."""
    height, width, channels = values.shape[1:]
    index = pixels.stream * (height * width)
    if height > 1:
        index = index + pixels.row * width
    if width > 1:
        index = index + pixels.column
    return values.reshape(-1, channels).at[index].get(mode="promise_in_bounds")
