from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

import deltajax as dj
from deltajax.inspection import update_points


class Nested(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = dj.Sparsify(name="entry")(x)
        x = dj.Conv(4, 3, 2, norm=dj.BatchNorm(), name="first")(x)
        return dj.Densify()(dj.MaxPool(2, name="a_pool")(x))


def test_names_layers_and_shapes_in_order_of_computation():
    frame = jnp.zeros((2, 8, 12, 3), jnp.bfloat16)
    model = Nested()
    points = update_points(model, model.init(jax.random.key(0), frame), frame)
    assert [point.name for point in points] == ["entry", "first", "a_pool"]
    assert [point.layer for point in points] == [dj.Sparsify, dj.Conv, dj.MaxPool]
    assert [point.shape for point in points] == [(2, 8, 12, 3), (2, 4, 6, 4), (2, 3, 5, 4)]
    assert points[0].bytes == 2 * 8 * 12 * 3 * 2


def test_bytes_are_those_of_the_state():
    frame = jnp.zeros((1, 8, 12, 3))
    model = Nested()
    variables = model.init(jax.random.key(0), frame)
    points = update_points(model, variables, frame)
    delta = dj.init_delta(model, variables, frame)
    assert sum(point.bytes for point in points) == dj.state_bytes(delta)


class Gated(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = dj.Sparsify(dilation=3, name="entry")(x)
        mean: Any = dj.GlobalAvgPool()(x)[:, None, None]
        mean = dj.Conv(3, 1, name="squeeze")(mean)
        return dj.Densify()(dj.Multiply(name="multiply")(x, dj.Gate(name="gate")(mean, x)))


def test_layers_of_a_plain_array_keep_nothing():
    frame = jnp.zeros((1, 8, 12, 3))
    variables = Gated().init(jax.random.key(0), frame)
    points = update_points(Gated(), variables, frame)
    assert [point.name for point in points] == ["entry", "gate", "multiply"]
    assert sum(point.bytes for point in points) == dj.state_bytes(variables["delta"])
    assert [point.dilation for point in points] == [3, None, None]
    assert points[1].shape == (1, 1, 1, 3)
