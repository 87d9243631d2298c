"""Trained networks on a real clip: their predictions, dense and with the scripts' thresholds."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _common import NetworkOptions, make_network, make_variables, settled
from _thresholds import with_thresholds

import deltajax as dj
from deltajax.metrics import intersection_over_union, keypoint_shift, top1_agreement
from deltajax.models import imagenet_classes
from deltajax.statistics import read_statistics, total
from deltajax.video import VideoReader, sample_clip
from tests.helpers import dense_frames, relative_error


class Cut(NamedTuple):
    """Frames of the clip that comes with the project.

    Attributes:
        roi: the region of them.
        side: of the square that it is scaled to.
        start: the first of them.
        steps: how many there are.
    """

    roi: tuple[int, int, int, int]
    side: int
    start: int
    steps: int


CUTS = {
    # A tripod, and in the middle somebody who passes it: with half as much again as these
    # thresholds, that is taken for something else.
    "efficientnet_lite0": Cut((384, 264, 224, 224), 224, 30, 32),
    # People from head to foot.
    "blazepose": Cut((560, 200, 160, 160), 256, 30, 16),
    "selfie_segmentation": Cut((560, 200, 160, 160), 256, 30, 16),
}


class Trained(NamedTuple):
    """What became of the frames of the clip.

    Attributes:
        dense: outputs of the dense network.
        outputs: incremental ones, by the factor of the thresholds that scripts take by default.
        work: by the same, the share of the multiplications that was done after the first frame.
    """

    dense: Any
    outputs: dict[float, Any]
    work: dict[float, float]


@pytest.fixture(scope="module")
def trained(published):
    @functools.cache
    def run(name: str) -> Trained:
        published(name)
        options = settled(NetworkOptions(model=name, weights="published"))
        network = make_network(options)
        cut = CUTS[name]
        with VideoReader(
            sample_clip(),
            roi=cut.roi,
            size=(cut.side, cut.side),
            start_frame=cut.start,
            max_frames=cut.steps,
            batch_frames=cut.steps,
        ) as reader:
            frames = next(reader).frames
        variables = make_variables(options, network, frames)
        scaled = with_thresholds(options, network, variables, frames[0])
        outputs, work = {}, {}
        later = np.arange(cut.steps)[:, None] > 0
        for factor in (0.0, 1.0):
            outputs[factor], _, recorded = dj.scan_frames(
                network, scaled(factor), frames, collect=("statistics",)
            )
            points = read_statistics(recorded["statistics"])
            work[factor] = total(points, later).multiplications_share
        return Trained(dense_frames(network, variables, frames), outputs, work)

    return run


@pytest.mark.parametrize("name", CUTS)
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
    # But for the frames in which somebody walks by.
    tripod = imagenet_classes().index("tripod")
    assert np.mean(np.argmax(found.dense, axis=-1) == tripod) > 0.75
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
    assert np.nanmean(shift) <= 0.003
    # Not only in the mean.
    distances = np.linalg.norm(
        found.outputs[1.0].landmarks[..., :33, :2] - found.dense.landmarks[..., :33, :2], axis=-1
    )
    assert np.mean(distances[present[..., 0]] <= 0.01 * 256) >= 0.95
    # Nor at the cost of the network's other outputs.
    people = [out.segmentation[present[..., 0]] for out in (found.outputs[1.0], found.dense)]
    assert intersection_over_union(*people, threshold=0.0) >= 0.98
    # From head to foot: the nose above the hips, and they above the ankles.
    height = jnp.mean(found.dense.landmarks[..., 1], axis=(0, 1))
    assert height[0] < height[23] < height[27]
