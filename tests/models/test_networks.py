"""Whole networks: incremental inference at threshold 0 is dense, for as long as it runs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltajax as dj
from deltajax.models import PoseResNet, ResNet, SimpleCNN
from deltajax.video import ProceduralClip
from tests.helpers import count_parameters, dense_frames, random_variables, relative_error

pytestmark = pytest.mark.usefixtures("shallow_resnets")

SIMPLE = SimpleCNN(features=(8, 16))
NETWORKS = {
    "simple_cnn": SIMPLE,
    "resnet10": ResNet(depth=10),
    "resnet17": ResNet(depth=17),
    "resnet18": ResNet(depth=18),
    "pose_resnet10": PoseResNet(depth=10),
}


@functools.cache
def weights(name: str) -> Any:
    return random_variables(NETWORKS[name], jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.uint8))


@pytest.mark.parametrize(
    ("name", "steps"),
    [("simple_cnn", 50), ("resnet18", 50), ("resnet17", 5), ("pose_resnet10", 5)],
)
def test_equals_dense(name, steps, procedural_frames, real_frames, clean_frames):
    model, variables = NETWORKS[name], weights(name)
    clips = (procedural_frames, real_frames, clean_frames)
    for clip in clips[: 2 if name == "resnet18" else 3]:
        # Every other pixel for the one that takes long to run.
        frames = clip[:, :, ::2, ::2] if name == "resnet18" else clip[:steps]
        outputs, _, recorded = dj.scan_frames(model, variables, frames, collect=("statistics",))
        dense = dense_frames(model, variables, frames)
        assert outputs.dtype == dense.dtype == jnp.float32
        for step in (0, steps - 1):
            assert relative_error(outputs[step], dense[step]) <= 1e-5
        assert relative_error(outputs, dense) <= 1e-5
        assert relative_error(dense[1:], np.broadcast_to(dense[:1], dense[1:].shape)) > 1e-4
        if clip is clean_frames:
            # Recomputed by lists of pixels; the noise of the others makes them whole.
            statistics = recorded["statistics"]
            first = statistics.get("conv1") or statistics["backbone"]["conv1"]
            active = np.asarray(first["active"])[1:, 0] / np.asarray(first["pixels"])[1:]
            assert 0 < active.min() <= active.max() < 0.3


def test_no_drift_in_2000_frames():
    """A clip forwards and backwards, with new noise each time: frames take long to draw."""
    rng = np.random.default_rng(0)
    clip = ProceduralClip(24, 32, figures=2, noise=0.0).frames(200)[:, None]
    variables = random_variables(SIMPLE, jax.ShapeDtypeStruct(clip.shape[1:], jnp.uint8))
    errors, delta = [], {}
    for start in range(0, 2000, 200):
        noisy = clip + rng.normal(0, 0.5, clip.shape)
        frames = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
        clip = clip[::-1]
        outputs, state = dj.scan_frames(SIMPLE, {**variables, **delta}, frames, donate=True)
        delta = {"delta": state}
        if start in (0, 1000, 1800):
            dense = np.asarray(dense_frames(SIMPLE, variables, frames))
            errors += [relative_error(o, d) for o, d in zip(outputs, dense, strict=True)]
    assert len(errors) == 600
    assert max(errors) <= 1e-5
    assert np.mean(errors[400:]) <= 1.5 * np.mean(errors[:200])


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [("resnet10", "bfloat16", 3e-2), ("simple_cnn", "float16", 2e-3)],
)
def test_half_precision(name, dtype, tolerance, real_frames):
    """Against float32: at most a few of the type's rounding errors, however many frames."""
    model, variables = NETWORKS[name], weights(name)
    frames = real_frames[:12]
    outputs, delta = dj.scan_frames(model.clone(dtype=jnp.dtype(dtype)), variables, frames)
    dense = dense_frames(model, variables, frames)
    errors = [relative_error(o, d) for o, d in zip(outputs, np.asarray(dense), strict=True)]
    assert max(errors) <= tolerance
    assert errors[-1] <= 2 * errors[0]
    assert {leaf.dtype for leaf in jax.tree.leaves(delta)} == {jnp.dtype(dtype)}


def test_uint8_and_float_frames_agree(procedural_frames):
    variables = weights("simple_cnn")
    # As in test_equals_dense, so that it is compiled once.
    outputs, *_ = dj.scan_frames(SIMPLE, variables, procedural_frames, collect=("statistics",))
    unit = procedural_frames.astype(np.float32) / np.float32(255)
    of_floats, _ = dj.scan_frames(SIMPLE, variables, unit)
    assert relative_error(of_floats, outputs) <= 1e-5


THREE = SimpleCNN(
    features=(8, 16), input_threshold=0.05, threshold=0.02, input_dilation=3, threshold_norm="rms"
)


@functools.cache
def three_streams() -> tuple[np.ndarray, Any]:
    """uint8 [8, 3, 48, 64, 3], and weights."""
    batch = next(ProceduralClip(48, 64, noise=0.01).batches(8, batch_frames=8, streams=3))
    return batch.frames, random_variables(THREE, batch.frames[0])


def unseen(model: SimpleCNN) -> Any:
    """The state before the first frame: with it, scans of four frames are compiled once."""
    frames, variables = three_streams()
    return dj.init_delta(model, variables, frames[0])


def scan(model: SimpleCNN, delta: Any, frames: np.ndarray) -> tuple[Any, Any]:
    return dj.scan_frames(model, {**three_streams()[1], "delta": delta}, frames)


def scan_present(model: SimpleCNN, delta: Any, frames: np.ndarray, present: np.ndarray) -> Any:
    variables = {**three_streams()[1], "delta": delta}
    return dj.scan_frames(model, variables, frames, present=present, collect=("statistics",))


def stream(tree: Any, number: int) -> list[np.ndarray]:
    return [np.asarray(leaf)[number] for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("model", [SIMPLE, THREE])
def test_reset_of_one_stream(model):
    frames, _ = three_streams()
    _, before = scan(model, unseen(model), frames[:4])
    after_reset = dj.reset(before, 1)
    for which in ([1], np.array([1]), np.array([False, True, False])):
        jax.tree.map(np.testing.assert_array_equal, dj.reset(before, which), after_reset)
    for other in (0, 2):
        for one, two in zip(stream(after_reset, other), stream(before, other), strict=True):
            np.testing.assert_array_equal(one, two)
    assert all(np.isinf(one).all() for one in stream(after_reset, 1))
    reset, reset_delta = scan(model, after_reset, frames[4:])
    going_on, going_on_delta = scan(model, before, frames[4:])
    fresh, fresh_delta = scan(model, unseen(model), frames[4:])
    assert np.isfinite(reset).all()
    np.testing.assert_array_equal(reset[:, 1], fresh[:, 1])
    np.testing.assert_array_equal(reset[:, [0, 2]], going_on[:, [0, 2]])
    expected = (stream(going_on_delta, 0), stream(fresh_delta, 1), stream(going_on_delta, 2))
    for number, maps in enumerate(expected):
        for one, two in zip(stream(reset_delta, number), maps, strict=True):
            np.testing.assert_array_equal(one, two)
    if model is THREE:
        assert relative_error(going_on[:, 1], fresh[:, 1]) > 1e-6


@pytest.mark.parametrize("model", [SIMPLE, THREE])
def test_streams_without_a_frame(model):
    """They keep output and state bit for bit, whatever their frame holds, and do no work."""
    frames, _ = three_streams()
    _, delta = scan(model, unseen(model), frames[:4])
    present = np.ones((4, 3), bool)
    present[:, 1] = [True, False, False, True]
    present[2] = False
    shown = frames[4:].astype(np.float32) / np.float32(255)
    shown[~present] = np.nan
    outputs, after, recorded = scan_present(model, delta, shown, present)
    outputs = np.asarray(outputs)
    assert np.isfinite(outputs).all()
    np.testing.assert_array_equal(outputs[1, 1], outputs[0, 1])
    np.testing.assert_array_equal(outputs[2], outputs[1])
    assert (outputs[3] != outputs[2]).any(axis=-1).all()
    for path, counts in jax.tree_util.tree_leaves_with_path(recorded["statistics"]):
        if path[-1].key in ("active", "updated"):
            assert (np.asarray(counts)[~present] == 0).all()
            assert (np.asarray(counts)[[0, 1, 3], 0] > 0).all()

    # Its two frames in all streams, and the second once more, which changes nothing.
    only = np.stack([shown[[0, 3, 3, 3], 1]] * 3, axis=1)
    alone, alone_delta, _ = scan_present(model, delta, only, np.ones((4, 3), bool))
    assert relative_error(outputs[[0, 3], 1], alone[:2, 1]) <= 1e-6
    for one, two in zip(stream(after, 1), stream(alone_delta, 1), strict=True):
        assert relative_error(one, two) <= 1e-6


def test_streams_that_join_later():
    """A stream's first frame is taken whole, whenever it comes."""
    frames, variables = three_streams()
    shown = frames.astype(np.float32) / np.float32(255)
    present = np.ones((8, 3), bool)
    present[:5, 2] = False
    first, delta, _ = scan_present(SIMPLE, unseen(SIMPLE), shown[:4], present[:4])
    second, *_ = scan_present(SIMPLE, delta, shown[4:], present[4:])
    outputs = np.concatenate([first, second])
    dense = np.asarray(dense_frames(SIMPLE, variables, shown))
    assert relative_error(outputs[present], dense[present]) <= 1e-5
    assert not np.isfinite(outputs[:5, 2]).any()


RESNET50_WITHOUT_HEAD = 25_557_032 - (2048 * 1000 + 1000)
DECONVOLUTIONS = 4 * 4 * 256 * (2048 + 256 + 256) + 3 * 2 * 256


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (ResNet(depth=18), 11_689_512),
        (ResNet(depth=34), 21_797_672),
        (ResNet(depth=50), 25_557_032),
        (ResNet(depth=101), 44_549_160),
        (ResNet(depth=152), 60_192_808),
        (PoseResNet(depth=50), RESNET50_WITHOUT_HEAD + DECONVOLUTIONS + 256 * 17 + 17),
    ],
)
def test_published_number_of_parameters(model, parameters):
    assert count_parameters(model, jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)) == parameters


@pytest.mark.parametrize("depth", [18, 50])
def test_output_shapes(depth):
    frame = jax.ShapeDtypeStruct((2, 96, 64, 3), jnp.uint8)

    def output(model):
        return jax.eval_shape(model.init_with_output, jax.random.key(0), frame)[0]

    heatmaps = output(PoseResNet(depth=depth))
    assert (heatmaps.shape, heatmaps.dtype) == ((2, 24, 16, 17), jnp.float32)
    assert output(ResNet(depth=depth)).shape == (2, 1000)
    assert output(SimpleCNN()).shape == (2, 10)
