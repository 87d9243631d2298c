"""Weights of our networks, written and read again."""

import jax
import numpy as np
import pytest
from safetensors import safe_open

from deltajax.models import (
    WeightsError,
    create,
    fold_batch_norm,
    load_weights,
    read_weights,
    save_weights,
)

FRAME = np.zeros((1, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def variables():
    """Of a MobileNetV2, with running statistics that are not those of the beginning."""
    network = create("mobilenet_v2", num_classes=7)
    found = dict(jax.jit(network.init)(jax.random.key(0), FRAME))
    found["batch_stats"] = jax.tree.map(lambda x: x + 0.25, found["batch_stats"])
    return network, found


def equal(actual, expected, tolerance: float = 0.0) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        actual,
        expected,
    )


def test_written_and_read(variables, tmp_path):
    network, found = variables
    path = tmp_path / "new" / "weights.safetensors"
    save_weights(found, path, metadata={"recipe": "none"})
    loaded = load_weights(network, read_weights(path))
    equal(loaded, {name: found[name] for name in ("params", "batch_stats")})
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"recipe": "none"}


def test_half_the_size(variables, tmp_path):
    network, found = variables
    for dtype in ("float32", "float16"):
        save_weights(found, tmp_path / f"{dtype}.safetensors", dtype)
    whole, half = (tmp_path / f"{d}.safetensors" for d in ("float32", "float16"))
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    equal(load_weights(network, read_weights(half))["params"], found["params"], 1e-3)


def test_folded_while_loading(variables, tmp_path):
    network, found = variables
    save_weights(found, tmp_path / "a.safetensors")
    folded = load_weights(network.clone(folded=True), read_weights(tmp_path / "a.safetensors"))
    kept = {name: found[name] for name in ("params", "batch_stats")}
    network_folded, expected = fold_batch_norm(network, kept)
    equal(folded, expected, 1e-6)
    # And saved again.
    save_weights(folded, tmp_path / "b.safetensors")
    equal(load_weights(network_folded, read_weights(tmp_path / "b.safetensors")), folded)


def test_what_does_not_fit(variables, tmp_path):
    network, found = variables
    save_weights(found, tmp_path / "a.safetensors")
    weights = read_weights(tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"as deltajax has it:\n  params/fc/bias is \(7,\), it"):
        load_weights(network.clone(num_classes=8), weights)
    other = load_weights(network.clone(num_classes=8), weights, new_head=jax.random.key(0))
    assert other["params"]["fc"]["bias"].shape == (8,)
    del weights["params/fc/bias"]
    with pytest.raises(WeightsError, match=r"missing: params/fc/bias \(7,\)"):
        load_weights(network, weights)


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="there are no params"):
        save_weights({"batch_stats": {}}, tmp_path / "a.safetensors")
    large = {"params": {"a": {"kernel": np.array([1e6])}}}
    with pytest.raises(ValueError, match="params/a/kernel has numbers that are not finite in"):
        save_weights(large, tmp_path / "a.safetensors", "float16")
    assert not (tmp_path / "a.safetensors").exists()
