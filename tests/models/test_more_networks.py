"""Networks of other families: inverted residuals, gates, four resolutions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltajax as dj
from deltajax.models import BlazePose, MobileNetV2, PoseHRNet, create
from deltajax.models.recommended import DEFAULT, RECOMMENDED, recommended
from tests.helpers import count_parameters, dense_frames, random_variables, relative_error

FRAME = jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.uint8)
NETWORKS = {
    "mobilenet_v2": MobileNetV2(),
    "hrnet": PoseHRNet(width=8, modules=(1, 1, 1), blocks=1),
}


@functools.cache
def weights(name: str):
    return random_variables(NETWORKS[name], FRAME)


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_dense(name, real_frames):
    model, variables = NETWORKS[name], weights(name)
    frames = real_frames[:6]
    outputs, _ = dj.scan_frames(model, variables, frames)
    dense = dense_frames(model, variables, frames)
    assert relative_error(outputs, dense) <= 1e-5
    assert relative_error(dense[1:], np.broadcast_to(dense[:1], dense[1:].shape)) > 1e-6


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("mobilenet_v2", 3.505),
        ("efficientnet_lite0", 4.652),
        ("pose_hrnet_w32", 28.536),
        ("pose_hrnet_w48", 63.596),
    ],
)
def test_published_numbers_of_parameters(name, millions):
    assert round(count_parameters(create(name), FRAME) / 1e6, 3) == millions


def test_blazepose_takes_its_own_size_only():
    with pytest.raises(ValueError, match=r"256 x 256 pixels, not 64 x 96 \(height x width\); crop"):
        jax.eval_shape(BlazePose().init, jax.random.key(0), FRAME)


def test_recommended_thresholds():
    assert recommended("resnet50") == DEFAULT
    assert recommended("blazepose") == RECOMMENDED["blazepose"]
    with pytest.raises(ValueError, match="there is no network 'vgg'"):
        recommended("vgg")
