"""The dense specification of each operation against implementations that are not ours."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from deltajax.ops.convolution import Convolution
from deltajax.ops.pooling import AveragePooling, MaxPooling
from deltajax.ops.resizing import Resizing
from deltajax.ops.transposed_convolution import TransposedConvolution
from deltajax.ops.windows import Window
from tests.helpers import relative_error


def naive_convolution(x, kernel, strides, padding, dilation, groups):
    """Σ over i, j, c of x[n, hs + id − p, ws + jd − p, c] k[i, j, c, o], in loops."""
    cropped = [(max(0, -before), max(0, -after)) for before, after in padding]
    (top, bottom), (left, right) = cropped
    x = x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]
    x = np.pad(x, ((0, 0), *[(max(0, b), max(0, a)) for b, a in padding], (0, 0)))
    rows, columns, channels, features = kernel.shape
    height = (x.shape[1] - (rows - 1) * dilation[0] - 1) // strides[0] + 1
    width = (x.shape[2] - (columns - 1) * dilation[1] - 1) // strides[1] + 1
    out = np.zeros((x.shape[0], height, width, features))
    for h, w, i, j, c, o in itertools.product(
        *map(range, (height, width, rows, columns, channels, features))
    ):
        channel = o // (features // groups) * channels + c
        row, column = h * strides[0] + i * dilation[0], w * strides[1] + j * dilation[1]
        out[:, h, w, o] += x[:, row, column, channel] * kernel[i, j, c, o]
    return out


@pytest.mark.parametrize(
    ("size", "strides", "padding", "dilation", "groups"),
    [
        ((3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
        ((3, 2), (2, 3), ((2, 0), (0, 1)), (1, 1), 1),
        ((2, 3), (1, 2), ((1, 1), (2, 2)), (3, 2), 2),
        ((3, 3), (1, 1), ((-1, 2), (0, -2)), (1, 1), 4),
        ((1, 1), (3, 2), ((0, 0), (0, 0)), (1, 1), 1),
    ],
)
def test_convolution(size, strides, padding, dilation, groups):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 8, 4))
    kernel = rng.normal(size=(*size, 4 // groups, 8))
    operation = Convolution(
        jnp.asarray(kernel, jnp.float32), Window(size, strides, padding, dilation), groups
    )
    values = (jnp.asarray(x, jnp.float32),)
    expected = naive_convolution(x, kernel, strides, padding, dilation, groups)
    assert operation.output_shape((x.shape,)) == expected.shape
    assert relative_error(operation.dense(values), expected) <= 1e-6


@pytest.mark.parametrize(
    ("size", "strides", "padding", "dilation"),
    [
        ((4, 4), (2, 2), ((2, 2), (2, 2)), (1, 1)),
        ((3, 3), (2, 2), ((2, 1), (2, 1)), (1, 1)),
        ((2, 2), (2, 2), ((1, 1), (1, 1)), (1, 1)),
        ((2, 1), (3, 3), ((1, 2), (0, 2)), (1, 1)),
        ((5, 5), (3, 2), ((4, 2), (3, 4)), (1, 1)),
        ((3, 4), (2, 4), ((4, 3), (6, 5)), (2, 2)),
        ((3, 3), (1, 1), ((1, 1), (0, 2)), (1, 3)),
    ],
)
def test_transposed_convolution(size, strides, padding, dilation):
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(2, 5, 6, 4)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*size, 4, 3)), jnp.float32)
    operation = TransposedConvolution(kernel, strides, padding, dilation)
    expected = lax.conv_transpose(x, kernel, strides, padding, rhs_dilation=dilation)
    assert operation.output_shape((x.shape,)) == expected.shape
    assert relative_error(operation.dense((x,)), expected) <= 1e-6


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 1), (1, 0))])
@pytest.mark.parametrize(("size", "strides"), [((3, 3), (2, 2)), ((2, 3), (1, 3))])
def test_pooling(size, strides, padding):
    x = jnp.asarray(np.random.default_rng(2).normal(size=(2, 7, 8, 4)), jnp.float32)
    window = Window(size, strides, padding)
    expected = nn.max_pool(x, size, strides, padding)
    np.testing.assert_array_equal(MaxPooling(window).dense((x,)), expected)
    for count in (True, False):
        expected = nn.avg_pool(x, size, strides, padding, count_include_pad=count)
        assert relative_error(AveragePooling(window, count).dense((x,)), expected) <= 1e-6


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
@pytest.mark.parametrize("scale", [(2, 2), (3, 3), (1, 4), (5, 2)])
def test_resizing(method, scale):
    x = jnp.asarray(np.random.default_rng(3).normal(size=(2, 5, 6, 4)), jnp.float32)
    size = (5 * scale[0], 6 * scale[1])
    expected = jax.image.resize(x, (2, *size, 4), method)
    assert relative_error(Resizing(size, method).dense((x,)), expected) <= 1e-6
