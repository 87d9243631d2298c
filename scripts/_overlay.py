"""Pictures for a person: what the network says, and where it worked for it."""

import jax
import numpy as np

from deltajax.video import draw_text, heat_overlay, heatmap_overlay, side_by_side, tile

TOP = 5


def overlay(
    frames: np.ndarray,
    outputs: np.ndarray,
    heat: np.ndarray,
    work: np.ndarray,
    present: np.ndarray,
    number: int,
) -> np.ndarray:
    """One picture of all streams: left the prediction, right the work.

    Args:
        frames: uint8 [N, H, W, 3].
        outputs: heatmaps [N, h, w, K] or logits [N, K].
        heat: [N, H, W], where the work was done, in [0, 1].
        work: [N], the share of the network's multiplications done.
        present: [N], the streams that have this frame.
        number: of the frame, from 0.
    """
    pictures = []
    for stream, frame in enumerate(frames):
        done = f"work {work[stream]:.1%} of dense" if present[stream] else "ended"
        pictures.append(
            side_by_side(
                draw_prediction(frame, outputs[stream]),
                heat_overlay(frame, heat[stream]),
                (f"frame {number}", done),
            )
        )
    return tile(pictures)


def draw_prediction(frame: np.ndarray, output: np.ndarray) -> np.ndarray:
    """Heatmaps [h, w, K] over the frame, or the most probable classes of logits [K] on it."""
    if output.ndim == 3:
        return heatmap_overlay(frame, output)
    probabilities = np.asarray(jax.nn.softmax(output))
    best = np.argsort(-probabilities)[:TOP]
    return draw_text(frame, [f"class {index}: {probabilities[index]:.1%}" for index in best])
