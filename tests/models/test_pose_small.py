"""The pose network that comes with the project, on clips of people whom it has not seen."""

import jax
import numpy as np
import pytest

from deltajax.datasets import figure_clips, pose_scores, still_backgrounds
from deltajax.models import create, decode_heatmaps, fetch_weights, load_weights, read_weights
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
    assert scores(dense, clips).mean_pck >= 0.84
