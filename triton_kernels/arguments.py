"""What the calls of kernels share: windows, broadcasting, the limit of 32-bit indices."""

import dataclasses
from typing import NamedTuple

import jax

INT32_LIMIT = 2**31
"""Numbers of a map from which on its indices need 64 bits."""


@dataclasses.dataclass(frozen=True)
class Window:
    """A kernel's footprint, each of (rows, columns).

    Attributes:
        size: taps.
        strides: between neighbouring output pixels.
        padding: before the first input pixel.
        dilation: between neighbouring taps.
    """

    size: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def constants(self) -> dict[str, int]:
        """As a kernel takes it."""
        return {
            "KERNEL_HEIGHT": self.size[0],
            "KERNEL_WIDTH": self.size[1],
            "STRIDE_HEIGHT": self.strides[0],
            "STRIDE_WIDTH": self.strides[1],
            "PAD_TOP": self.padding[0],
            "PAD_LEFT": self.padding[1],
            "DILATION_HEIGHT": self.dilation[0],
            "DILATION_WIDTH": self.dilation[1],
        }


class Affine(NamedTuple):
    """What multiplies and shifts each channel after the operation, all float [C].

    Attributes:
        scale, shift: or None.
    """

    scale: jax.Array | None = None
    shift: jax.Array | None = None

    def operands(self, nothing: jax.Array) -> dict[str, jax.Array]:
        """As a kernel takes it, `nothing` standing for what there is not."""
        arrays = {"scale": self.scale, "shift": self.shift}
        return {name: nothing if array is None else array for name, array in arrays.items()}

    def constants(self) -> dict[str, bool]:
        return {"HAS_SCALE": self.scale is not None, "HAS_SHIFT": self.shift is not None}


def other_strides(other: jax.Array | None, shape: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """Of a further input: strides in numbers, zero along broadcast axes; how the kernel reads it.

    Args:
        other: [N, H, W, C], axes of size one being broadcast; None if there is none.
        shape: [N, H, W, C] of the output.
    """
    if other is None:
        return (0, 0, 0, 0), "none"
    if other.shape == shape:
        return (0, 0, 0, 0), "full"
    strides, stride = [], 1
    for size in reversed(other.shape):
        strides.append(stride if size > 1 else 0)
        stride *= size
    return tuple(reversed(strides)), "broadcast"
