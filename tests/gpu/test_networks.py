"""Whole networks with the Triton kernels: run by hand, `pytest -m gpu -n 6`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltajax as dj
from deltajax.models import create
from deltajax.video import VideoReader, sample_clip
from tests.helpers import random_variables, relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="there is no GPU"),
]

NETWORKS = {
    "simple_cnn": (64, 96),
    "resnet18": (64, 96),
    "resnet50": (64, 96),
    "pose_resnet50": (64, 96),
    "pose_small": (64, 96),
    "pose_hrnet_w32": (64, 96),
    "mobilenet_v2": (64, 96),
    "efficientnet_lite0": (64, 96),
    "selfie_segmentation": (64, 96),
    "blazepose": (256, 256),
}
"""Sizes of frames, by name."""
NUM_FRAMES, REPEATED = 50, 10


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_at_threshold_zero_are_dense(name):
    """500 frames in exact float32: fifty of a real clip, over and over."""
    size = NETWORKS[name]
    with VideoReader(
        sample_clip(), size=size, max_frames=NUM_FRAMES, batch_frames=NUM_FRAMES
    ) as reader:
        frames = np.tile(next(reader).frames, (REPEATED, 1, 1, 1, 1))
    model = create(name)
    variables = random_variables(model, frames[0])
    with jax.default_matmul_precision("highest"):
        outputs, _ = dj.scan_frames(model, variables, jnp.asarray(frames))
        dense = jax.jit(lambda frames: jax.lax.map(lambda x: model.apply(variables, x), frames))
        expected = dense(jnp.asarray(frames))
    pairs = list(zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True))
    assert pairs
    for found, right in pairs:
        found, right = np.asarray(found), np.asarray(right)
        assert relative_error(found, right) <= 1e-4
        assert relative_error(found[-5:], right[-5:]) <= 1e-4
        first = np.broadcast_to(right[:1], right[1:].shape)
        assert relative_error(first, right[1:]) > 1e-3
