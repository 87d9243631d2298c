"""Weights of others in our trees: names, shapes, heads."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltajax.models import PoseHRNet, PoseResNet, ResNet, SimpleCNN, create
from deltajax.models.weights import WeightsError, load_weights
from tests.models.weights import references


def weights_of(name: str) -> dict[str, np.ndarray]:
    return references.random_state_dict(references.read(name).shapes)


@pytest.fixture(scope="module")
def resnet18() -> dict[str, np.ndarray]:
    return weights_of("resnet18")


def test_every_wrong_key_is_named_and_nothing_loaded(resnet18):
    wrong = dict(resnet18)
    kernel = wrong.pop("layer2.0.downsample.0.weight")
    wrong["layer2.0.downsample.weight"] = kernel
    wrong["bn1.bias"] = np.zeros(63, np.float32)
    wrong["conv1.weight"] = wrong["conv1.weight"].transpose(2, 3, 1, 0)
    expected = (
        "these weights are not those of ResNet(depth=18, num_classes=1000, stem=7x7) as "
        "torchvision has it:\n"
        "  missing: layer2.0.downsample.0.weight (128, 64, 1, 1)\n"
        "  conv1.weight is (7, 7, 3, 64), it must be (64, 3, 7, 7)\n"
        "  bn1.bias is (63,), it must be (64,)\n"
        "  not known: layer2.0.downsample.weight (128, 64, 1, 1)"
    )
    with pytest.raises(WeightsError, match=f"^{re.escape(expected)}$"):
        load_weights(ResNet(depth=18), wrong)


def test_another_architecture(resnet18):
    with pytest.raises(WeightsError, match=r"not those of ResNet\(depth=50") as caught:
        load_weights(ResNet(depth=50), resnet18)
    assert "missing: layer1.0.conv3.weight (256, 64, 1, 1)" in str(caught.value)
    with pytest.raises(WeightsError, match=r"not those of MobileNetV2"):
        load_weights(create("mobilenet_v2"), resnet18)


def test_parallel_training_puts_module_in_front(resnet18):
    expected = load_weights(ResNet(depth=18), resnet18)
    parallel = {f"module.{key}": array for key, array in resnet18.items()}
    found = load_weights(ResNet(depth=18), parallel)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))


@pytest.mark.parametrize("head", ["head", "keypoint_head"], ids=["mmpose 1", "mmpose 0"])
@pytest.mark.parametrize(
    ("name", "network"),
    [("pose_resnet50", PoseResNet(depth=50)), ("pose_hrnet_w32", PoseHRNet(width=32))],
)
def test_keys_of_mmpose(name, network, head):
    """As in its checkpoints: backbone.conv1.weight, keypoint_head.deconv_layers.0.weight, ..."""
    weights = weights_of(name)
    renamed = {
        f"{head if key.startswith(('deconv', 'final')) else 'backbone'}.{key}": array
        for key, array in weights.items()
    }
    expected = load_weights(network, weights)
    assert jax.tree.all(jax.tree.map(np.array_equal, load_weights(network, renamed), expected))


def test_a_new_head(resnet18):
    network = ResNet(depth=18, num_classes=7)
    with pytest.raises(WeightsError, match=r"fc\.weight is \(1000, 512\), it must be \(7, 512\)"):
        load_weights(network, resnet18)
    loaded = load_weights(network, resnet18, new_head=jax.random.key(0))
    whole = load_weights(ResNet(depth=18), resnet18)
    assert loaded["params"]["fc"]["kernel"].shape == (512, 7)
    assert jnp.std(loaded["params"]["fc"]["kernel"]) > 0.01
    for variables in (loaded, whole):
        del variables["params"]["fc"]
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, whole))
    # What the weights have of a head does not matter, not even whether they have one.
    backbone = {key: array for key, array in resnet18.items() if not key.startswith("fc.")}
    load_weights(network, backbone, new_head=jax.random.key(0))


@pytest.mark.parametrize(
    ("name", "network", "last"),
    [
        ("pose_resnet50", PoseResNet(depth=50, num_joints=5), 256),
        ("pose_hrnet_w32", PoseHRNet(width=32, num_joints=5), 32),
    ],
)
def test_a_new_head_of_heatmaps(name, network, last):
    """Five joints in place of seventeen; all but the last convolution is that of the weights."""
    weights = weights_of(name)
    with pytest.raises(WeightsError, match=rf"final_layer\.weight is \(17, {last}, 1, 1\), it"):
        load_weights(network, weights)
    loaded: Any = load_weights(network, weights, new_head=jax.random.key(0))
    whole: Any = load_weights(network.clone(num_joints=17), weights)
    assert loaded["params"]["head"]["kernel"].shape == (1, 1, last, 5)
    assert loaded["params"]["head"]["bias"].shape == (5,)
    assert jnp.std(loaded["params"]["head"]["kernel"]) > 1e-4
    for variables in (loaded, whole):
        del variables["params"]["head"]
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, whole))


def test_folded_while_loading(resnet18):
    frame = jnp.asarray(references.frame())
    network = ResNet(depth=18)
    expected: Any = network.apply(load_weights(network, resnet18), frame)
    folded = network.clone(folded=True)
    variables = load_weights(folded, resnet18)
    assert "batch_stats" not in variables
    actual: Any = folded.apply(variables, frame)
    assert np.linalg.norm(actual - expected) <= 1e-5 * np.linalg.norm(expected)


def test_networks_without_known_names(resnet18):
    with pytest.raises(ValueError, match=r"how others call the weights of SimpleCNN; it is of Res"):
        load_weights(SimpleCNN(), resnet18)
    with pytest.raises(ValueError, match=r"SelfieSegmentation are folded .* leave folded=True"):
        load_weights(create("selfie_segmentation", folded=False), {})
    with pytest.raises(ValueError, match="BlazePose has no head of a size that could be another"):
        load_weights(create("blazepose"), {}, new_head=jax.random.key(0))
