"""Trained networks on a real clip: their predictions, dense and incremental."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltajax as dj
from deltajax.metrics import intersection_over_union, keypoint_shift, top1_agreement
from deltajax.models import (
    create,
    imagenet_classes,
    load_weights,
    read_weights,
    recommended,
)
from deltajax.statistics import read_statistics, total
from deltajax.thresholds import uniform_thresholds
from deltajax.video import VideoReader, sample_clip
from tests.helpers import dense_frames, relative_error

STEPS = 16
CROPS = {
    "efficientnet_lite0": (384, 264, 224, 224),
    "blazepose": (560, 200, 160, 160),
    "selfie_segmentation": (560, 200, 160, 160),
}
"""Regions of the clip: a tripod and who passes it; people from head to foot."""
SIDES = {"efficientnet_lite0": 224}


class Trained(NamedTuple):
    """What became of the frames of the clip.

    Attributes:
        dense: outputs of the dense network.
        outputs: incremental ones, by the factor of the recommended thresholds.
        work: by the same, the share of the multiplications that was done after the first frame.
    """

    dense: Any
    outputs: dict[float, Any]
    work: dict[float, float]


@pytest.fixture(scope="module")
def trained(published):
    @functools.cache
    def run(name: str) -> Trained:
        thresholds = recommended(name)
        network = create(name, folded=True, input_dilation=thresholds.input_dilation)
        variables = load_weights(network, read_weights(published(name)))
        side = SIDES.get(name, 256)
        with VideoReader(
            sample_clip(),
            roi=CROPS[name],
            size=(side, side),
            start_frame=30,
            max_frames=STEPS,
            batch_frames=STEPS,
        ) as reader:
            frames = next(reader).frames
        outputs, work = {}, {}
        later = np.arange(STEPS)[:, None] > 0
        for scale in (0.0, 1.0):
            collection = uniform_thresholds(
                network,
                variables,
                frames[0],
                input_threshold=scale * thresholds.input_threshold,
                threshold=scale * thresholds.threshold,
                gate_threshold=scale * thresholds.gate_threshold,
            )
            outputs[scale], _, recorded = dj.scan_frames(
                network, {**variables, "thresholds": collection}, frames, collect=("statistics",)
            )
            points = read_statistics(recorded["statistics"])
            work[scale] = total(points, later).multiplications_share
        return Trained(dense_frames(network, variables, frames), outputs, work)

    return run


@pytest.mark.parametrize("name", CROPS)
def test_at_threshold_zero_it_is_dense(trained, name):
    found = trained(name)
    pairs = zip(jax.tree.leaves(found.outputs[0.0]), jax.tree.leaves(found.dense), strict=True)
    for output, expected in pairs:
        assert relative_error(output, expected) <= 1e-5
        first = np.broadcast_to(np.asarray(expected)[:1], expected.shape)
        assert relative_error(first, expected) > 1e-4
    assert found.work[1.0] < 0.95 * found.work[0.0]


def test_a_tripod_is_seen(trained):
    found = trained("efficientnet_lite0")
    # But for a frame in which somebody walks by.
    tripod = imagenet_classes().index("tripod")
    assert np.mean(np.argmax(found.dense, axis=-1) == tripod) > 0.9
    assert top1_agreement(found.outputs[1.0], found.dense) >= 0.99


def test_people_are_segmented(trained):
    found = trained("selfie_segmentation")
    assert 0.03 < np.mean(found.dense > 0.5) < 0.3
    assert intersection_over_union(found.outputs[1.0], found.dense) >= 0.98


def test_landmarks_stay_in_place(trained):
    found = trained("blazepose")
    present = np.asarray(found.dense.presence)[..., None] > 0.5
    assert present.mean() > 0.5
    shift = keypoint_shift(
        found.outputs[1.0].landmarks[..., :33, :2] / 256,
        found.dense.landmarks[..., :33, :2] / 256,
        np.broadcast_to(present, (*present.shape[:-1], 33)),
    )
    assert np.nanmean(shift) <= 0.01
    # From head to foot: the nose above the hips, and they above the ankles.
    height = jnp.mean(found.dense.landmarks[..., 1], axis=(0, 1))
    assert height[0] < height[23] < height[27]
