"""Enlarging maps."""

from collections.abc import Sequence

from ..ops.resizing import ResizeMethod, Resizing
from ..ops.tail import Tail
from ..ops.windows import pair
from .update_point import Input, UpdatePoint


class Upsample(UpdatePoint):
    """Enlarges a map by whole factors; values as `jax.image.resize`, and as PyTorch's
    `interpolate(align_corners=False)`.

    Attributes:
        scale: of rows and columns.
        method: "nearest" or "bilinear".
    """

    scale: int | Sequence[int] = 2
    method: ResizeMethod = "nearest"

    def __call__(self, x: Input) -> Input:
        """[N, H, W, C] → [N, H · scale, W · scale, C].

        Raises:
            ValueError: for a scale that is not whole and positive, or an unknown method.
        """
        rows, columns = pair("scale", self.scale)
        if self.method not in ("nearest", "bilinear"):
            raise ValueError(
                f'{self.label}: method is {self.method!r}; it must be "nearest" or "bilinear"'
            )
        size = (x.shape[1] * rows, x.shape[2] * columns)
        return self.compute(Resizing(size, self.method), Tail(), [x])
