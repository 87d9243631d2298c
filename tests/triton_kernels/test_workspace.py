"""What kernels need beside the state, by their shapes; tests/gpu asks the compiler."""

from unittest import mock

import jax
import jax.numpy as jnp
import pytest

import deltajax as dj
from deltajax.models import create
from deltajax.ops import update_triton

from .launches import launches_of_network


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["resnet50", "pose_resnet50"])
def test_no_launch_needs_a_twentieth_of_the_state(name, dtype):
    """With one stream, which has the smallest state and as many programs as others."""
    shape = (1, 576, 768, 3)
    # As on an H100, not as the interpreter does.
    with mock.patch.object(update_triton, "interpreting", return_value=False):
        launches = launches_of_network(name, dtype, shape)
    model = create(name, dtype=jnp.dtype(dtype))
    frame = jax.ShapeDtypeStruct(shape, jnp.uint8)
    variables = jax.eval_shape(model.init, jax.random.key(0), frame)
    state = dj.state_bytes(variables["delta"])
    most = max(launches, key=lambda launch: launch.fresh_bytes)
    # The interpreter's few programs need next to nothing.
    assert 0.01 * state <= most.fresh_bytes <= 0.05 * state, most.key
