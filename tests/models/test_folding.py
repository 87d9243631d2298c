import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltajax as dj
from deltajax.models import ResNet, create, fold_batch_norm
from deltajax.thresholds import uniform_thresholds
from tests.helpers import random_variables, relative_error


def variables_of(network, frame, seed: int):
    """Random weights, and batch norms that do something; no state."""
    variables = random_variables(network, frame)
    rng = np.random.default_rng(seed)

    def randomised(path, value):
        name = path[-1].key
        if name in ("scale", "var"):
            return jnp.asarray(rng.uniform(0.5, 1.5, value.shape), value.dtype)
        if name in ("bias", "mean"):
            return jnp.asarray(rng.normal(0, 0.3, value.shape), value.dtype)
        return value

    return jax.tree_util.tree_map_with_path(randomised, variables)


@pytest.fixture(scope="module", params=["resnet18", "pose_resnet18", "simple_cnn"])
def folded(request, real_frames):
    """A network, its variables, and both folded; and a frame."""
    network = create(request.param)
    frame = real_frames[0]
    variables = variables_of(network, frame, seed=1)
    return network, variables, *fold_batch_norm(network, variables), frame


def test_the_folded_network_is_the_same_function(folded):
    network, variables, folded_network, folded_variables, frame = folded
    expected = jax.jit(network.apply)(variables, frame)
    actual = jax.jit(folded_network.apply)(folded_variables, frame)
    assert relative_error(np.asarray(actual), np.asarray(expected)) <= 1e-5
    assert "batch_stats" not in folded_variables
    shapes = jax.eval_shape(folded_network.init, jax.random.key(0), frame)
    assert jax.tree.map(jnp.shape, folded_variables["params"]) == jax.tree.map(
        jnp.shape, shapes["params"]
    )


@pytest.mark.usefixtures("shallow_resnets")
def test_it_runs_on_changes_with_the_same_thresholds(real_frames):
    frames = real_frames[:3, :, :32, :48]
    network = ResNet(depth=10)
    variables = variables_of(network, frames[0], seed=2)
    thresholds = uniform_thresholds(
        network, variables, frames[0], input_threshold=0.0, threshold=0.0
    )
    folded_network, folded_variables = fold_batch_norm(network, variables)
    outputs, _ = dj.scan_frames(
        folded_network, {**folded_variables, "thresholds": thresholds}, frames
    )
    expected = jax.jit(network.apply)(variables, frames[-1])
    assert relative_error(np.asarray(outputs[-1]), np.asarray(expected)) <= 1e-5


def test_kernels_keep_their_dtype(folded):
    network, variables, *_ = folded
    half = jax.tree.map(
        lambda array: array.astype(jnp.bfloat16) if array.ndim == 4 else array, variables
    )
    for array in jax.tree.leaves(fold_batch_norm(network, half)[1]["params"]):
        assert array.dtype == (jnp.bfloat16 if array.ndim == 4 else jnp.float32)


def test_packed_weights_are_those_of_the_other_network(folded):
    network, variables, *_ = folded
    assert "packed" not in fold_batch_norm(network, {**variables, "packed": {}})[1]


def test_folding_twice():
    with pytest.raises(ValueError, match="have been folded before"):
        fold_batch_norm(create("resnet18", folded=True), {"params": {}})
