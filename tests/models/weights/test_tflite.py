"""Networks of .tflite files against LiteRT, which runs the files themselves."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltajax.models import create
from deltajax.models.weights import WeightsError, load_weights, read_weights
from deltajax.video import VideoReader, sample_clip
from tests.models.weights.lite_runtime import run

RELATIVE_ERROR = 1e-3


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """uint8 [1, 256, 256, 3], two people, from head to foot."""
    with VideoReader(sample_clip(), start_frame=40, max_frames=1) as reader:
        frame = next(reader).frames[0]
    square = jnp.asarray(frame[:, 200:360, 560:720], jnp.float32)
    return np.asarray(jax.image.resize(square, (1, 256, 256, 3), "linear").round(), np.uint8)


def relative_error(actual, expected) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def test_blazepose(published, crop):
    path = published("blazepose")
    expected = run(path, (crop / 255).astype(np.float32))
    network = create("blazepose")
    pose: Any = network.apply(load_weights(network, read_weights(path)), jnp.asarray(crop))
    found = {
        "Identity": pose.landmarks.reshape(1, -1),
        "Identity_1": pose.presence[:, None],
        "Identity_2": pose.segmentation,
        "Identity_3": pose.heatmaps,
        "Identity_4": pose.world_landmarks.reshape(1, -1),
    }
    assert found.keys() == expected.keys()
    for name, output in found.items():
        assert relative_error(output, expected[name]) <= RELATIVE_ERROR, name


def test_selfie_segmentation(published, crop):
    """The last operation, which is MediaPipe's own, is a transposed convolution and a sigmoid."""
    path = published("selfie_segmentation")
    weights = read_weights(path)
    (features,) = run(path, (crop / 255).astype(np.float32)).values()
    kernel = weights["segment/kernel"].astype(np.float64)
    logits = np.einsum("nhwc,oijc->nhiwjo", features, kernel).reshape(1, 256, 256, 1)
    expected = 0.5 + 0.5 * np.tanh((logits + weights["segment/bias"]) / 2)
    assert expected.max() > 0.9, "nobody is in the picture"
    network = create("selfie_segmentation")
    found = network.apply(load_weights(network, weights), jnp.asarray(crop))
    assert relative_error(found, expected) <= RELATIVE_ERROR


def test_damaged_files(published, tmp_path):
    content = published("selfie_segmentation").read_bytes()
    path = tmp_path / "network.tflite"
    for length in (0, 7, 20, 1000, len(content) // 2, len(content) - 1000):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match=r"network\.tflite (is no|is damaged)"):
            read_weights(path)
    rng = np.random.default_rng(0)
    for place in rng.integers(8, len(content), 30):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            arrays = read_weights(path)
        except WeightsError:
            continue
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_another_network(published):
    weights = read_weights(published("selfie_segmentation"))
    with pytest.raises(WeightsError, match=r"not those of BlazePose\(\) as MediaPipe has it:\n"):
        load_weights(create("blazepose"), weights)
