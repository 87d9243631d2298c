"""The batch of frames that every source of video hands out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class VideoBatch(NamedTuple):
    """Up to T consecutive frames of N independent streams.

    Attributes:
        frames: uint8 [T, N, H, W, 3], RGB.
        present: bool [T, N]. False where a stream had ended before this frame; `frames`
            repeats its last picture there, so that nothing appears to change.
    """

    frames: NDArray[np.uint8]
    present: NDArray[np.bool_]
