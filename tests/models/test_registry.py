import pytest

from deltajax.models import NAMES, PoseResNet, ResNet, SimpleCNN, create


def test_networks_by_name():
    assert isinstance(create("simple_cnn"), SimpleCNN)
    network = create("resnet101", threshold=0.5)
    assert isinstance(network, ResNet)
    assert (network.depth, network.threshold) == (101, 0.5)
    network = create("pose_resnet34", num_joints=3)
    assert isinstance(network, PoseResNet)
    assert (network.depth, network.num_joints) == (34, 3)


def test_all_names_are_known():
    assert len(NAMES) == 18
    for name in NAMES:
        create(name)


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match=r"'resnet19'.*resnet18.*pose_resnet152"):
        create("resnet19")
