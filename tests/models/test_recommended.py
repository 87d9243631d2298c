"""Thresholds that come with networks fit them."""

import jax
import jax.numpy as jnp
import pytest

import deltajax as dj
from deltajax.models import NAMES, create, recommended_thresholds

WITH_FILES = [name for name in NAMES if recommended_thresholds(name)]


def test_of_which_networks():
    assert set(WITH_FILES) == {
        "blazepose", "efficientnet_lite0", "pose_small", "selfie_segmentation"
    }  # fmt: skip
    with pytest.raises(ValueError, match="nonsense"):
        recommended_thresholds("nonsense")


@pytest.mark.parametrize("name", WITH_FILES)
def test_they_fit(name):
    path = recommended_thresholds(name)
    assert path is not None
    thresholds = dj.Thresholds.load(path)
    assert thresholds.network == name
    assert "/" not in thresholds.found["clip"]
    (dilation,) = thresholds.dilations.values()
    network = create(name, input_dilation=dilation)
    frame = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.uint8)
    variables = jax.eval_shape(network.init, jax.random.key(0), frame)
    collection = thresholds.collection(network, variables, frame)
    assert len(jax.tree.leaves(collection)) == len(thresholds.values)
    assert max(thresholds.values.values()) > 0
