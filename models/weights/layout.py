"""How others lay an array out that we have in another order."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Layout:
    """The axes of an array as it is stored, and how it becomes ours.

    Attributes:
        order: of our axes, the stored ones.
        mirrored: whether the first two of our axes run the other way: in transposed convolutions,
            where lax turns the kernel and others do not.
    """

    order: tuple[int, ...]
    mirrored: bool = False

    def stored_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which an array of our shape is stored."""
        return tuple(shape[self.order.index(axis)] for axis in range(len(shape)))

    def ours(self, array: np.ndarray) -> np.ndarray:
        """The stored array in our order."""
        array = array.transpose(self.order)
        return array[::-1, ::-1] if self.mirrored else array


VECTOR = Layout((0,))

TORCH_LINEAR = Layout((1, 0))
TORCH_CONV = Layout((2, 3, 1, 0))
TORCH_CONV_TRANSPOSE = Layout((2, 3, 0, 1), mirrored=True)

TFLITE_CONV = Layout((1, 2, 3, 0))
TFLITE_DEPTHWISE = Layout((1, 2, 0, 3))
TFLITE_CONV_TRANSPOSE = Layout((1, 2, 3, 0), mirrored=True)
