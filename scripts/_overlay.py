"""Pictures for a person: what the network says, and where it worked for it."""

from typing import Any

import jax
import numpy as np
from _predictions import Prediction

from deltajax.video import heat_overlay, side_by_side, tile


def overlay(
    prediction: Prediction,
    frames: np.ndarray,
    outputs: Any,
    heat: np.ndarray,
    work: np.ndarray,
    present: np.ndarray,
    number: int,
) -> np.ndarray:
    """One picture of all streams: left the prediction, right the work.

    Args:
        prediction: how outputs are drawn.
        frames: uint8 [N, H, W, 3].
        outputs: [N, ...], or a tree of them.
        heat: [N, H, W], where the work was done, in [0, 1].
        work: [N], the share of the network's multiplications done.
        present: [N], the streams that have this frame.
        number: of the frame, from 0.
    """
    pictures = []
    for stream, frame in enumerate(frames):
        done = f"work {work[stream]:.1%} of dense" if present[stream] else "ended"
        output = jax.tree.map(lambda array, stream=stream: array[stream], outputs)
        pictures.append(
            side_by_side(
                prediction.draw(frame, output),
                heat_overlay(frame, heat[stream]),
                (f"frame {number}", done),
            )
        )
    return tile(pictures)
