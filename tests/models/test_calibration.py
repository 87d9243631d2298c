import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from deltajax.models import SimpleCNN, VideoNetwork
from deltajax.models.calibration import calibrate_batch_norm


class OneLayer(VideoNetwork):
    @nn.compact
    def __call__(self, x, train: bool = False):
        layer = self.normalised_convolution(activation=None)
        return layer(8, 3, name="layer")(self.sparsify()(x), train=train)


def frames_like(seed: int) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), (2, 16, 24, 3), 0, 256).astype(jnp.uint8)


@pytest.mark.parametrize("count", [1, 3])
def test_outputs_have_mean_zero_and_unit_scale(count):
    network, frame = OneLayer(), frames_like(0)
    variables = network.init(jax.random.key(1), frame)
    calibrated = calibrate_batch_norm(network, variables, [frame] * count)
    output = np.asarray(network.apply(calibrated, frame))
    np.testing.assert_allclose(output.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(output.std(axis=(0, 1, 2)), 1, rtol=1e-3)
    assert calibrated["params"] is variables["params"]
    # What was packed before has the norms of before.
    assert "packed" not in calibrate_batch_norm(network, {**variables, "packed": {}}, [frame])


def test_statistics_of_several_frames_are_averaged():
    network = OneLayer()
    variables = network.init(jax.random.key(1), frames_like(0))
    one = [
        calibrate_batch_norm(network, variables, [frames_like(seed)])["batch_stats"]["layer"]
        for seed in (0, 1)
    ]
    both = calibrate_batch_norm(network, variables, [frames_like(0), frames_like(1)])
    # The later frame weighs 1 against the momentum of the earlier.
    expected = jax.tree.map(lambda a, b: (0.9 * a + b) / 1.9, *one)
    for actual, value in zip(
        jax.tree.leaves(both["batch_stats"]["layer"]), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(actual, value, rtol=1e-4, atol=1e-6)


def test_a_network_without_batch_norm_is_left_as_it_is():
    network, frame = SimpleCNN(), frames_like(0)
    variables = dict(network.init(jax.random.key(1), frame))
    assert calibrate_batch_norm(network, variables, [frame]) == variables


def test_no_frames():
    network = OneLayer()
    variables = network.init(jax.random.key(1), frames_like(0))
    with pytest.raises(ValueError, match="at least one frame"):
        calibrate_batch_norm(network, variables, [])
