"""Sliding windows: which pixels they cover, of masks and of maps."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool

from .neighbourhood import Pixels

Padding = Literal["SAME", "VALID"] | int | Sequence[int | tuple[int, int]]
Pair = tuple[int, int]


def pair(name: str, value: int | Sequence[int], least: int = 1) -> Pair:
    """(rows, columns) of a number or of two.

    Raises:
        ValueError: for another length, or a number below `least`.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value, value)
    if len(values) != 2 or not all(isinstance(v, int | np.integer) and v >= least for v in values):
        raise ValueError(f"{name} is {value!r}; it must be one or two integers of at least {least}")
    return int(values[0]), int(values[1])


@dataclasses.dataclass(frozen=True)
class Window:
    """A kernel's footprint on a map: size, strides, padding and dilation over rows and columns.

    Attributes:
        size: the kernel's (rows, columns).
        strides: between neighbouring output pixels.
        padding: ((top, bottom), (left, right)); may be negative (cropping).
        dilation: between neighbouring taps of the kernel.
    """

    size: Pair
    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair = (1, 1)

    @property
    def taps(self) -> int:
        return self.size[0] * self.size[1]

    def extent(self, axis: int) -> int:
        """Pixels from the first to the last tap, both included."""
        return (self.size[axis] - 1) * self.dilation[axis] + 1

    def output_size(self, height: int, width: int) -> Pair:
        sizes = []
        for axis, size in enumerate((height, width)):
            room = size + sum(self.padding[axis]) - self.extent(axis)
            sizes.append(max(0, room // self.strides[axis] + 1))
        return sizes[0], sizes[1]

    def reach(self, mask: Bool[Array, "N H W"]) -> Bool[Array, "N Ho Wo"]:
        """The output pixels whose window meets the mask."""
        out = self.output_size(*mask.shape[1:])
        for axis in (0, 1):
            mask = _any_tap(mask, axis, out[axis], self)
        return mask

    def covered(self, height: int, width: int) -> np.ndarray:
        """[Ho, Wo], the output pixels whose window meets the map."""
        axes = []
        for axis, (size, out) in enumerate(
            zip((height, width), self.output_size(height, width), strict=True)
        ):
            first = np.arange(out)[:, None] * self.strides[axis] - self.padding[axis][0]
            taps = first + np.arange(self.size[axis])[None] * self.dilation[axis]
            axes.append(((taps >= 0) & (taps < size)).any(axis=1))
        return axes[0][:, None] & axes[1][None]

    def rows_and_columns(
        self, pixels: Pixels, height: int, width: int
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Input positions under each tap, and whether they lie in the map: three of [P, taps]."""
        tap_rows, tap_columns = np.divmod(np.arange(self.taps, dtype=np.int32), self.size[1])
        rows = (
            pixels.row[:, None] * self.strides[0]
            + (tap_rows * self.dilation[0] - self.padding[0][0])[None]
        )
        columns = (
            pixels.column[:, None] * self.strides[1]
            + (tap_columns * self.dilation[1] - self.padding[1][0])[None]
        )
        # One unsigned comparison tells both bounds.
        inside = (rows.astype(jnp.uint32) < height) & (columns.astype(jnp.uint32) < width)
        return rows, columns, inside

    def gather(self, values: jax.Array, pixels: Pixels, fill: float = 0.0) -> jax.Array:
        """The windows of a list of output pixels, [P, taps, C], `fill` outside the map."""
        streams, height, width, channels = values.shape
        flat = values.reshape(-1, channels)
        if self.taps == 1 and self._never_outside(height, width):
            index = (pixels.stream * height + pixels.row * self.strides[0]) * width
            index = index + pixels.column * self.strides[1]
            return flat.at[index].get(mode="promise_in_bounds")[:, None]
        rows, columns, inside = self.rows_and_columns(pixels, height, width)
        index = (pixels.stream[:, None] * height + rows) * width + columns
        index = jnp.where(inside, index, streams * height * width)
        taken = flat.at[index.reshape(-1)].get(mode="fill", fill_value=fill)
        return taken.reshape(*index.shape, channels)

    def gather_tiles(
        self, values: jax.Array, corners: Pixels, tile: Pair
    ) -> tuple[jax.Array, "Window"]:
        """What the windows of a tile's pixels cover together, [P, rows, columns, C], zero outside
        the map; and the window, without padding, that slides over it.
        """
        streams, height, width, channels = values.shape
        sizes = [(tile[axis] - 1) * self.strides[axis] + self.extent(axis) for axis in (0, 1)]
        rows, columns = (
            first[:, None] * self.strides[axis]
            + np.arange(-self.padding[axis][0], sizes[axis] - self.padding[axis][0])
            for axis, first in ((0, corners.row), (1, corners.column))
        )
        inside = (rows.astype(jnp.uint32) < height)[:, :, None]
        inside &= (columns.astype(jnp.uint32) < width)[:, None]
        index = (corners.stream[:, None] * height + rows)[:, :, None] * width + columns[:, None]
        index = jnp.where(inside, index, streams * height * width)
        flat = values.reshape(-1, channels)
        covered = flat.at[index.reshape(-1)].get(mode="fill", fill_value=0)
        window = Window(self.size, self.strides, ((0, 0), (0, 0)), self.dilation)
        return covered.reshape(*index.shape, channels), window

    def _never_outside(self, height: int, width: int) -> bool:
        return all(
            before <= 0 and (out - 1) * stride - before + self.extent(axis) <= size
            for axis, (size, out, stride, (before, _)) in enumerate(
                zip(
                    (height, width),
                    self.output_size(height, width),
                    self.strides,
                    self.padding,
                    strict=True,
                )
            )
        )


def _any_tap(mask: jax.Array, axis: int, out: int, window: Window) -> jax.Array:
    """Or over the taps of one axis (0 rows, 1 columns) of a mask [N, H, W]."""
    size, stride = window.size[axis], window.strides[axis]
    before, after = window.padding[axis]
    dilation = window.dilation[axis]
    if (size, stride, before, after) == (1, 1, 0, 0):
        return mask
    padding = [(0, 0, 0)] * 3
    padding[axis + 1] = (before, after, 0)
    padded = lax.pad(mask, jnp.zeros((), bool), padding)
    reached = None
    for tap in range(size):
        start = tap * dilation
        limit = start + (out - 1) * stride + 1
        if out == 0:
            limit = start
        part = lax.slice_in_dim(padded, start, limit, stride, axis + 1)
        reached = part if reached is None else reached | part
    assert reached is not None
    return reached


def resolve_padding(
    padding: Padding, size: Pair, strides: Pair, dilation: Pair, height: int, width: int
) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)) of what Flax accepts as padding.

    Raises:
        ValueError: for anything else than "SAME", "VALID", an integer, or one integer or
            (before, after) for rows and for columns.
    """
    if isinstance(padding, str):
        if padding.upper() not in ("SAME", "VALID"):
            raise ValueError(f'padding is {padding!r}; as a name it must be "SAME" or "VALID"')
        extents = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
        rows, columns = lax.padtype_to_pads((height, width), extents, strides, padding.upper())
        return (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1]))
    both = (padding, padding) if isinstance(padding, int) else tuple(padding)
    pads = [(p, p) if isinstance(p, int) else tuple(p) for p in both]
    if len(pads) != 2 or any(len(p) != 2 for p in pads):
        raise ValueError(
            f"padding is {padding!r}; it must be a name, an integer, or one integer or "
            "(before, after) for rows and for columns"
        )
    return (pads[0][0], pads[0][1]), (pads[1][0], pads[1][1])
