"""The pose network that comes with the project, on clips of people whom it has not seen."""

import jax
import numpy as np
import pytest

import deltajax as dj
from deltajax.datasets import figure_clips, pose_scores, still_backgrounds
from deltajax.models import (
    create,
    decode_heatmaps,
    fetch_weights,
    load_weights,
    read_weights,
    recommended_thresholds,
)
from deltajax.statistics import read_statistics, total
from deltajax.video import sample_clip

LARGEST = 3_000_000
"""Bytes of the file."""


@pytest.fixture(scope="module")
def variables():
    return load_weights(create("pose_small"), read_weights(fetch_weights("pose_small")))


@pytest.fixture(scope="module")
def clips():
    stills = still_backgrounds([sample_clip()], (288, 384))
    return figure_clips(6, 16, (192, 256), seed=3000, backgrounds=stills, tall=(0.3, 0.5))


@pytest.fixture(scope="module")
def dense(variables, clips):
    network = create("pose_small")
    frames = clips.frames.reshape(-1, *clips.frames.shape[2:])
    return jax.jit(network.apply)(variables, frames)


def scores(heatmaps, clips):
    points = 4 * np.asarray(decode_heatmaps(heatmaps, "taylor").points)
    joints, counts = clips.points.reshape(points.shape), clips.counts.reshape(points.shape[:2])
    return pose_scores(points, joints, counts)


def test_file():
    path = fetch_weights("pose_small")
    assert path.stat().st_size <= LARGEST
    weights = read_weights(path)
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float16)}


def test_joints_are_found(dense, clips):
    assert scores(dense, clips).mean_pck >= 0.9


def test_incremental_with_the_thresholds_that_come_with_it(variables, clips, dense):
    """As good as dense for a quarter of the multiplications.

    On 24 clips PCK is 0.004 lower (docs/training.md); on as few joints as here it varies by more.
    """
    path = recommended_thresholds("pose_small")
    assert path is not None
    thresholds = dj.Thresholds.load(path)
    network = create("pose_small", input_dilation=thresholds.dilations["sparsify"])
    given = thresholds.collection(network, variables, clips.frames[0])
    found, _, recorded = dj.scan_frames(
        network, {**variables, "thresholds": given}, clips.frames, collect=("statistics",)
    )
    heatmaps = np.asarray(found).reshape(dense.shape)
    assert scores(heatmaps, clips).mean_pck >= scores(dense, clips).mean_pck - 0.01
    # The first frame of each stream is computed in full.
    steady = np.ones(clips.frames.shape[:2], bool)
    steady[0] = False
    work = total(read_statistics(recorded["statistics"]), steady)
    assert 0 < work.multiplications_share <= 0.25
