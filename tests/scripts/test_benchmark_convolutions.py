"""Single convolutions: both sides compute the same, and the results are what they say."""

import json
import re

import benchmark_convolutions
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _convolutions import CHAIN, STEPS, arrays_of, blocks_mask, dense, incremental, layers_of

from tests.helpers import relative_error


def test_layers_of_a_network():
    layers = layers_of("resnet18", "bfloat16", (64, 96), 2)
    assert layers[0].kernel == (7, 7, 3, 64)
    assert layers[0].out == (2, 32, 48, 64)
    assert [layer.scale for layer in layers] == sorted(layer.scale for layer in layers)
    assert len(layers) >= 8


@pytest.mark.parametrize("active", [0.0, 0.03, 0.4, 1.0])
def test_blocks_mask(active):
    mask = blocks_mask((2, 48, 64), active)
    assert active <= mask.mean() <= min(active + 0.05, 1)
    assert blocks_mask((1, 2, 3), active).mean() >= active


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("implementation", ["xla", "triton"])
def test_both_sides_compute_the_same(implementation):
    layer = layers_of("resnet18", "float32", (16, 16), 1)[1]
    arrays = arrays_of(layer)
    masks = [jnp.asarray(blocks_mask(s[:3], 1.0)) for s in (layer.x, layer.out)]
    actual = jax.jit(incremental(layer, implementation))(arrays, *masks)
    expected, _ = jax.jit(dense(layer))(arrays, *masks)
    assert np.asarray(actual).shape == layer.out
    assert relative_error(actual, expected) <= 1e-5


def test_dense_convolutions_stay_in_the_loop():
    layer = layers_of("resnet18", "float32", (64, 96), 1)[1]
    arrays = arrays_of(layer)
    masks = [jnp.zeros(shape[:3], bool) for shape in (layer.x, layer.out)]
    text = jax.jit(dense(layer)).lower(arrays, *masks).compile().as_text()
    assert text is not None
    computations = dict(re.findall(r"^(?:ENTRY )?%(\S+) \(.*?\{\n(.*?)^\}", text, re.M | re.S))
    (body,) = re.findall(r" while\(.*body=%([\w.]+)", text)
    convolves = [name for name, lines in computations.items() if " convolution(" in lines]
    assert convolves
    for name in convolves:
        callers = [n for n, lines in computations.items() if f"calls=%{name}" in lines]
        assert (callers or [name]) == [body]
    assert str(STEPS * CHAIN) in text


def test_command_line(tmp_path):
    results, plot = tmp_path / "results.json", tmp_path / "deep" / "plot.png"
    arguments = ["--model=simple_cnn", "--size=32x32", "--streams=1", "--dtype", "float32"]
    arguments += ["--active", "0", "0.3", "1", f"--json={results}", f"--plot={plot}"]
    assert benchmark_convolutions.main(arguments) == 0
    report = json.loads(results.read_text())
    assert report["device"]
    assert report["command"].startswith("scripts/benchmark_convolutions.py --model=simple_cnn")
    assert [r["active"] for r in report["results"][:3]] == [0, 0.3, 1]
    for result in report["results"]:
        assert result["kernel_shape"][:2] == [3, 3]
        assert result["speedup"] == result["dense_us"] / result["incremental_us"] > 0
        assert result["computed"] == result["active"] or 0.3 <= result["computed"] <= 1
    assert plot.stat().st_size > 10_000


@pytest.mark.parametrize("option", ["--active=1.5", "--kernel-size=9"])
def test_refusals(option, capsys):
    assert benchmark_convolutions.main(["--model=resnet18", "--size=32x32", option]) == 1
    assert "error: --dtype and --active need a value each" in capsys.readouterr().err
