"""Incremental inference is DeltaCNN's recursion: the same masks and the same values."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from deltajax.video import ProceduralClip
from tests import oracle
from tests.helpers import NORMS, random_variables, relative_error

LAYERS = ("entry", "conv1", "pool", "conv2", "conv3", "conv4")
FRAMES = 8

THRESHOLDS = {
    "max": (0.08, 0.06, 0.05, 0.10, 0.15, 0.10),
    "l2": (0.10, 0.10, 0.08, 0.20, 0.30, 0.20),
    "rms": (0.06, 0.04, 0.03, 0.06, 0.08, 0.06),
}


class FiveLayers(nn.Module):
    """Returns every layer's map and mask."""

    norm: str
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x):
        shared: Any = {"threshold_norm": self.norm, "implementation": self.implementation}
        conv = functools.partial(dj.Conv, activation="relu", **shared)
        entry = dj.Sparsify(name="entry", **shared)(x)
        conv1 = conv(8, 3, padding=1, name="conv1")(entry)
        pool = dj.MaxPool(2, 2, name="pool", **shared)(conv1)
        conv2 = conv(12, 3, 2, 1, name="conv2")(pool)
        conv3 = conv(12, 3, padding=1, name="conv3")(conv2, conv2)
        conv4 = conv(10, 1, padding=0, name="conv4")(conv3)
        return entry, conv1, pool, conv2, conv3, conv4


class Recursion:
    """The same network, in deltas."""

    def __init__(self, params, thresholds, norm):
        def truncation(layer, **kwargs):
            return oracle.Truncation(thresholds[LAYERS.index(layer)], norm, **kwargs)

        def convolution(layer, stride, padding):
            kernel, bias = (np.asarray(params[layer][name], np.float64) for name in KERNEL_BIAS)
            return oracle.Convolution(kernel, bias, stride, padding)

        relu = functools.partial(np.maximum, 0.0)
        self.entry = truncation("entry")
        self.pool = oracle.MaxPool(thresholds[LAYERS.index("pool")], norm)
        self.convolutions = {
            "conv1": convolution("conv1", 1, 1),
            "conv2": convolution("conv2", 2, 1),
            "conv3": convolution("conv3", 1, 1),
            "conv4": convolution("conv4", 1, 0),
        }
        self.truncations = {name: truncation(name, phi=relu) for name in self.convolutions}
        self.previous = None
        self.outputs = dict.fromkeys(LAYERS, 0.0)

    def __call__(self, frame):
        """Every layer's map, the sum of what it sent, and its mask."""
        d = frame if self.previous is None else frame - self.previous
        self.previous = frame
        sent = {"entry": self.entry(oracle.Delta(d, np.ones(d.shape[:2], bool)))}
        sent["conv1"] = self.layer("conv1", sent["entry"])
        sent["pool"] = self.pool(sent["conv1"])
        sent["conv2"] = self.layer("conv2", sent["pool"])
        sent["conv3"] = self.layer("conv3", sent["conv2"], residual=sent["conv2"])
        sent["conv4"] = self.layer("conv4", sent["conv3"])
        self.outputs = {name: self.outputs[name] + sent[name].d for name in LAYERS}
        return self.outputs, {name: sent[name].mask for name in LAYERS}

    def layer(self, name, delta, residual=None):
        convolved = self.convolutions[name](delta)
        if residual is not None:
            convolved = oracle.add(convolved, residual)
        return self.truncations[name](convolved)

    @property
    def closest(self):
        return min(x.closest for x in (self.entry, self.pool, *self.truncations.values()))


KERNEL_BIAS = ("kernel", "bias")


@functools.cache
def clip(noise: float) -> np.ndarray:
    """float32 [T, 1, H, W, 3], sums of powers of two: differences of frames are exact."""
    frames = ProceduralClip(40, 56, figures=1, noise=noise, seed=4).frames(FRAMES)
    return frames[:, None] / np.float32(256)


@functools.cache
def compiled(norm, implementation):
    """Weights, and a function of frames and thresholds that yields the layers' outputs."""
    model = FiveLayers(norm, implementation)
    shape = jax.ShapeDtypeStruct((1, 40, 56, 3), jnp.float32)
    variables = random_variables(model, shape, seed=1)
    unseen = dj.init_delta(model, variables, shape)

    @jax.jit
    def step(frame, delta, thresholds):
        state = {**variables, "delta": delta, "thresholds": thresholds}
        return model.apply(state, frame, mutable=["delta"])

    def run(frames, thresholds):
        thresholds = {name: {"threshold": t} for name, t in zip(LAYERS, thresholds, strict=True)}
        delta = unseen
        for frame in frames:
            outputs, state = step(frame, delta, thresholds)
            delta = state["delta"]
            yield dict(zip(LAYERS, outputs, strict=True))

    return variables["params"], run


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("above_zero", [False, True])
@pytest.mark.parametrize("implementation", ["dense", "xla", "triton"])
@pytest.mark.parametrize("norm", NORMS)
def test_same_masks_and_outputs(norm, implementation, above_zero):
    thresholds = (
        np.array(THRESHOLDS[norm], np.float32) if above_zero else np.zeros(len(LAYERS), np.float32)
    )
    frames = clip(0.004 if above_zero else 0.0)
    params, run = compiled(norm, implementation)
    recursion = Recursion(params, thresholds.astype(np.float64), norm)
    shares = {name: [] for name in LAYERS}
    for frame, tensors in zip(frames, run(frames, thresholds), strict=True):
        outputs, masks = recursion(np.asarray(frame[0], np.float64))
        for name in LAYERS:
            np.testing.assert_array_equal(tensors[name].mask[0], masks[name], err_msg=name)
            assert relative_error(tensors[name].value[0], outputs[name]) <= 1e-5
            shares[name].append(masks[name].mean())
    assert recursion.closest > 1e-6, "masks could differ by rounding: take other thresholds"
    for name in LAYERS:
        assert shares[name][0] == 1
        assert 0 < np.mean(shares[name][1:]) < 0.6
