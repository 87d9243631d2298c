"""The tuner without a GPU: what it would measure."""

import jax
import pytest
import tune_kernels


def test_shapes_are_those_that_kernels_ask_for():
    layers = tune_kernels.layers_of("resnet18", "bfloat16", (64, 96), 2)
    keys = {tune_kernels.shape_of(layer).key for layer in layers}
    assert len(keys) == len(layers) >= 8


def test_needs_a_gpu(capsys):
    if jax.default_backend() == "gpu":
        pytest.skip("there is a GPU: it would tune")
    assert tune_kernels.main([]) == 1
    assert "there is no GPU to measure on" in capsys.readouterr().err
