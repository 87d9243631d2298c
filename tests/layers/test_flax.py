"""Dense layers against Flax's own, with the same parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from tests.helpers import random_variables, relative_error

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 12, 8)), jnp.float32)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": (3, 3)},
        {"kernel_size": (3, 3), "strides": 2, "padding": "SAME"},
        {"kernel_size": (4, 3), "strides": (2, 1), "padding": "VALID", "use_bias": False},
        {"kernel_size": (3, 3), "strides": 2, "padding": 1, "kernel_dilation": 2},
        {"kernel_size": (5, 5), "padding": ((2, 0), (1, 3)), "feature_group_count": 8},
        {"kernel_size": (3, 1), "feature_group_count": 4, "dtype": jnp.bfloat16},
    ],
)
def test_conv(arguments):
    ours, flax = dj.Conv(16, **arguments), nn.Conv(16, **arguments)
    variables = random_variables(ours, X)
    shapes = jax.eval_shape(flax.init, jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
    actual: Any = ours.apply(variables, X)
    expected: Any = flax.apply(variables, X)
    assert actual.dtype == expected.dtype
    tolerance = 1e-6 if actual.dtype == jnp.float32 else 4e-3
    assert relative_error(actual, expected) <= tolerance


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 1), (0, 3))])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "dilation"),
    [((4, 4), 2, 1), ((3, 3), 2, 1), ((2, 2), 2, 1), ((2, 1), 3, 1), ((5, 4), (3, 2), 1),
     ((3, 3), 1, 2), ((3, 3), 2, 3)],
)  # fmt: skip
def test_conv_transpose(kernel_size, strides, dilation, padding):
    strides = (strides, strides) if isinstance(strides, int) else strides
    arguments = {
        "kernel_size": kernel_size,
        "strides": strides,
        "padding": padding,
        "kernel_dilation": (dilation, dilation),
    }
    ours, flax = dj.ConvTranspose(5, **arguments), nn.ConvTranspose(5, **arguments)
    variables = random_variables(ours, X)
    assert relative_error(ours.apply(variables, X), flax.apply(variables, X)) <= 1e-6


class Normalised(nn.Module):
    train: bool

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(16, (3, 3), name="conv")(x)
        x = nn.BatchNorm(use_running_average=not self.train, momentum=0.9, name="norm")(x)
        return nn.relu(x)


@pytest.mark.parametrize("train", [False, True])
def test_norm_of_a_convolution(train):
    ours = dj.Conv(16, (3, 3), norm=dj.BatchNorm(), activation=nn.relu)
    variables = random_variables(ours, X)
    flax_params = dict(variables["params"])
    flax_variables = {
        "params": {"norm": flax_params.pop("batch_norm"), "conv": flax_params},
        "batch_stats": {"norm": variables["batch_stats"]["batch_norm"]},
    }
    mutable = ["batch_stats"] if train else []
    actual, ours_after = ours.apply(variables, X, train=train, mutable=mutable)
    expected, flax_after = Normalised(train).apply(flax_variables, X, mutable=mutable)
    assert relative_error(actual, expected) <= 1e-5
    if train:
        for name in ("mean", "var"):
            after = ours_after["batch_stats"]["batch_norm"][name]
            assert relative_error(after, flax_after["batch_stats"]["norm"][name]) <= 1e-6


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("options", [{}, {"use_bias": False}, {"use_scale": False, "epsilon": 0.1}])
def test_batch_norm(train, options):
    ours = dj.BatchNorm(momentum=0.8, **options)
    flax = nn.BatchNorm(use_running_average=not train, momentum=0.8, **options)
    variables = random_variables(ours, X)
    actual, ours_after = ours.apply(variables, X, train=train, mutable=["batch_stats"])
    expected, flax_after = flax.apply(variables, X, mutable=["batch_stats"])
    assert relative_error(actual, expected) <= 1e-5
    for name in ("mean", "var"):
        after = ours_after["batch_stats"][name]
        assert relative_error(after, flax_after["batch_stats"][name]) <= 1e-6


def test_pools_and_upsampling():
    arguments = ((3, 2), (2, 1), "SAME")
    max_pool = dj.MaxPool(*arguments).apply({}, X)
    np.testing.assert_array_equal(max_pool, nn.max_pool(X, *arguments))
    for count in (True, False):
        ours = dj.AvgPool(*arguments, count_include_pad=count).apply({}, X)
        assert relative_error(ours, nn.avg_pool(X, *arguments, count_include_pad=count)) <= 1e-6
    assert relative_error(dj.GlobalAvgPool().apply({}, X), X.mean(axis=(1, 2))) <= 1e-6
    for method in ("nearest", "bilinear"):
        ours = dj.Upsample((2, 3), method).apply({}, X)
        assert relative_error(ours, jax.image.resize(X, (2, 18, 36, 8), method)) <= 1e-6


def test_pointwise():
    y, gate = jnp.sin(X), jnp.cos(X[:, :1, :1])
    added = dj.Add(weights=(1.0, -0.5, 2.0), activation="relu").apply({}, X, y, X)
    assert relative_error(added, nn.relu(X - 0.5 * y + 2 * X)) <= 1e-6
    gated = dj.Multiply().apply({}, X, gate, y[..., :1])
    assert relative_error(gated, X * gate * y[..., :1]) <= 1e-6
    joined = dj.Concat().apply({}, X, y)
    np.testing.assert_array_equal(joined, jnp.concatenate([X, y], axis=-1))
    assert relative_error(dj.Activation("gelu").apply({}, X), nn.gelu(X)) <= 1e-6
    combined = dj.Elementwise(lambda a, b: a * jnp.exp(b)).apply({}, X, y)
    assert relative_error(combined, X * jnp.exp(y)) <= 1e-6
