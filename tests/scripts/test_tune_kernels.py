"""The tuner without a GPU: what it would measure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tune_kernels

from deltajax.triton_kernels.configuration import rule
from tests.helpers import relative_error


def test_layers_of_a_network():
    layers = tune_kernels.layers_of("resnet18", "bfloat16", (64, 96), 2)
    assert layers[0].kernel == (7, 7, 3, 64)
    assert layers[0].out == (2, 32, 48, 64)
    assert [layer.scale for layer in layers] == sorted(layer.scale for layer in layers)
    keys = {layer.shape().key for layer in layers}
    assert len(keys) == len(layers) >= 8


@pytest.mark.parametrize("active", [0.03, 0.4, 1.0])
def test_blocks_mask(active):
    mask = tune_kernels.blocks_mask((2, 48, 64), active)
    assert active <= mask.mean() <= min(active + 0.05, 1)


def test_both_sides_compute_the_same():
    """The map after the last update is the dense convolution of the last kernel."""
    layer = tune_kernels.layers_of("resnet18", "float32", (16, 16), 1)[1]
    arrays = tune_kernels.arrays_of(layer)
    masks = [jnp.asarray(tune_kernels.blocks_mask(s[:3], 1.0)) for s in (layer.x, layer.out)]
    with tune_kernels.update_triton.configured(rule(layer.shape())):
        actual = jax.jit(tune_kernels.incremental(layer))(arrays, *masks)
    doubled = arrays | {"kernel": arrays["kernel"] / 2}
    expected = jax.jit(tune_kernels.dense(layer))(doubled, *masks)
    assert np.asarray(actual).shape == layer.out
    assert relative_error(actual, expected) <= 1e-5


def test_needs_a_gpu(capsys):
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU: it would tune")
    assert tune_kernels.main([]) == 1
    assert "there is no GPU to measure on" in capsys.readouterr().err
