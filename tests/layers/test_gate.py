"""Gates: one number a channel of a whole map, which would change every pixel a little."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from tests.helpers import random_variables, relative_error

FRAME = jax.ShapeDtypeStruct((2, 16, 24, 3), jnp.float32)


class Gated(nn.Module):
    """A convolution, times a gate of its mean."""

    gate_threshold: float = 0.0
    implementation: Any = "auto"

    @nn.compact
    def __call__(self, x):
        x = dj.Sparsify(implementation=self.implementation)(x)
        x = dj.Conv(8, 3, activation="relu", implementation=self.implementation)(x)
        gate: Any = dj.GlobalAvgPool(keepdims=True)(x)
        gate = dj.Conv(8, 1, activation="sigmoid")(gate)
        gate = dj.Gate(threshold=self.gate_threshold)(gate, x)
        x = dj.Multiply(implementation=self.implementation)(x, gate)
        return dj.Densify()(x)


@pytest.fixture(scope="module")
def variables():
    return random_variables(Gated(), FRAME)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """float32 [8, 2, 16, 24, 3]: a square moves and fades; the last frame is all white."""
    frames = np.zeros((8, 2, 16, 24, 3), np.float32)
    for step in range(7):
        frames[step, :, 4:8, 2 * step : 2 * step + 4] = 1 - 0.02 * step
    frames[7] = 1
    return frames


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("implementation", ["dense", "xla", "triton"])
def test_at_threshold_zero_it_is_dense(variables, frames, implementation):
    outputs, _ = dj.scan_frames(Gated(implementation=implementation), variables, frames)
    assert relative_error(outputs, jax.vmap(lambda x: Gated().apply(variables, x))(frames)) <= 1e-5


def test_a_threshold_keeps_what_it_multiplies_sparse(variables, frames):
    """With none, each step recomputes the whole product; with one, what the square touches."""
    computed = {}
    for threshold in (0.0, 0.05):
        model = Gated(gate_threshold=threshold)
        outputs, _, masks = dj.scan_frames(model, variables, frames, collect=("masks",))
        computed[threshold] = np.asarray(masks["masks"]["Multiply_0"]["computed"])[1:].mean((2, 3))
        gates = np.asarray(masks["masks"]["Gate_0"]["computed"])
        assert gates.shape == (8, 2, 1, 1)
    dense: Any = jax.vmap(lambda x: Gated().apply(variables, x))(frames)
    assert (computed[0.0] == 1).all()
    assert computed[0.05][:6].max() < 0.25
    # When the gate does move, all pixels follow.
    assert (computed[0.05][6] == 1).all()
    # The gates are in [0, 1]: no pixel is off by more than the threshold times what it gates.
    assert np.abs(outputs - dense).max() <= 0.05 * np.abs(dense / 0.5).max()
    assert relative_error(outputs[7], dense[7]) <= 1e-5


def test_streams_without_a_frame_keep_their_gate(variables, frames):
    model = Gated()
    present = np.ones((8, 2), bool)
    present[:3, 1] = False  # not even seen yet
    present[5, 0] = False
    outputs, _ = dj.scan_frames(model, variables, frames, present=present)
    dense = np.asarray(jax.vmap(lambda x: Gated().apply(variables, x))(frames))
    expected = dense.copy()
    expected[5, 0] = dense[4, 0]
    assert relative_error(outputs[:, 0], expected[:, 0]) <= 1e-5
    assert relative_error(outputs[3:, 1], expected[3:, 1]) <= 1e-5


def test_bad_input():
    with pytest.raises(ValueError, match=r"a gate is \[N, 1, 1, C\], not \(1, 2, 2, 3\)"):
        dj.Gate().apply({}, jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match="needs the maps that the gate was made of"):
        dj.Gate().apply({}, jnp.zeros((1, 1, 1, 3)))
