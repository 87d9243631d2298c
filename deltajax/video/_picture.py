"""What all drawings on pictures share: checking, blending, scaling of layers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# A picture as it is handed in, uint8 [H, W, 3]. The type says less than that, because
# `require_picture` looks at it and can say more when it is wrong.
Picture = NDArray[Any]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def require_picture(picture: Picture, name: str) -> None:
    """Raises ValueError, with the name of the argument, unless it is uint8 [H, W, 3]."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            f"{name} must be uint8 [H, W, 3], got {picture.dtype} with shape {picture.shape}"
        )


def pale(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The frame with most of its colour taken out, so that colour means an overlay."""
    # Each channel of the result, of each of the frame, in one product.
    mix = 0.25 * np.eye(3, dtype=np.float32) + 0.65 * _LUMA[:, None]
    return (frame @ mix + 20).astype(np.float32)


def blend(picture: NDArray[np.number], layer: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lays a layer [..., RGB and opacity] over a picture [..., 3]."""
    return to_bytes(picture + (layer[..., :3] - picture) * layer[..., 3:])


def to_bytes(picture: NDArray[np.number]) -> NDArray[np.uint8]:
    """Rounds colours in 0..255 and clips those beyond."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def interpolate(layer: NDArray[np.float32], length: int, axis: int) -> NDArray[np.float32]:
    """Linear interpolation along an axis, between the centres of its cells."""
    extent = layer.shape[axis]
    position = (np.arange(length, dtype=np.float32) + 0.5) * (extent / length) - 0.5
    position = np.clip(position, 0, extent - 1)
    below = position.astype(np.intp)
    above = np.minimum(below + 1, extent - 1)
    shape = [1] * layer.ndim
    shape[axis] = length
    fraction = (position - below.astype(np.float32)).reshape(shape)
    return layer.take(below, axis) * (1 - fraction) + layer.take(above, axis) * fraction
