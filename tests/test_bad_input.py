"""The rows of the design's table of bad input, by their messages."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from deltajax.models import ResNet, SimpleCNN
from tests.helpers import dense_frames, random_variables, relative_error

IMPLEMENTATIONS = ("dense", "xla", "triton")
UNIT = {"mean": (0.5,), "std": (0.25,)}


class Small(nn.Module):
    """Max-pool and residual included; returns a map."""

    threshold: float = 0.0
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x):
        shared = {"threshold": self.threshold, "implementation": self.implementation}
        conv = functools.partial(dj.Conv, activation="relu", **shared)
        x = dj.Sparsify(name="entry", **shared)(x)
        x = conv(6, 3, name="conv1")(x)
        x = dj.MaxPool(3, 2, 1, name="pool", **shared)(x)
        x = conv(6, 3, name="conv2")(x, x)
        x = dj.ConvTranspose(4, 2, 2, name="deconv", **shared)(x)
        return dj.Densify()(x)


FRAME = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 16, 20, 3)), jnp.float32)


@functools.cache
def small() -> tuple[Small, dict]:
    model = Small()
    variables = random_variables(model, FRAME)
    return model, {**variables, "delta": dj.init_delta(model, variables, FRAME)}


def step(model, variables, frame):
    return model.apply(variables, frame, mutable=["delta"])


@pytest.fixture(autouse=True)
def _as_users_run_it():
    """Without the types checked, which would refuse bad arguments before the library does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def layer_error(layer, *inputs, match, mutable=("delta",), **kwargs):
    with pytest.raises(ValueError, match=match):
        layer.init_with_output(jax.random.key(0), *inputs, mutable=[*mutable, "params"], **kwargs)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (FRAME[:, :14], r"entry: .*\(2, 14, 20, 3\).*\(2, 16, 20, 3\).*init_delta"),
        (FRAME[:, :, :18], r"entry: .*\(2, 16, 18, 3\).*\(2, 16, 20, 3\).*init_delta"),
        (FRAME[..., :2], r"entry: .*\(2, 16, 20, 2\).*\(2, 16, 20, 3\).*init_delta"),
        (FRAME[:1], r"entry: .*\(1, 16, 20, 3\).*\(2, 16, 20, 3\).*init_delta"),
        (FRAME.astype(jnp.bfloat16), r"entry: .*bfloat16.*float32.*init_delta"),
        (jnp.moveaxis(jnp.tile(FRAME, 4), -1, 1)[:, :3], r"entry: .*\[N, C, H, W\].*moveaxis"),
        (FRAME[0], r"entry: .*\(16, 20, 3\).*\[N, H, W, C\].*frame\[None\]"),
        (FRAME[None], r"entry: .*\(1, 2, 16, 20, 3\).*\[N, H, W, C\]"),
        ((FRAME * 255).astype(jnp.int32), r"entry: .*int32.*\[N, H, W, C\].*floating"),
        ((FRAME * 255).astype(jnp.uint8), r"entry: .*uint8.*mean and std"),
        (FRAME > 0.5, r"entry: .*bool.*floating"),
    ],
)
def test_frames_that_do_not_fit(frame, message):
    model, variables = small()
    with pytest.raises(ValueError, match=message):
        step(model, variables, frame)
    if frame.ndim == 4:
        with pytest.raises(ValueError, match=message):
            dj.scan_frames(model, variables, frame[None])


def test_network_of_another_size_names_the_layer():
    model = SimpleCNN(features=(4, 4))
    variables = random_variables(model, FRAME)
    state = {**variables, "delta": dj.init_delta(model, variables, FRAME)}
    with pytest.raises(ValueError, match=r"sparsify: .*\(2, 8, 20, 3\).*\(2, 16, 20, 3\)"):
        dj.scan_frames(model, state, FRAME[None, :, :8])
    with pytest.raises(ValueError, match=r"sparsify: .*\(1, 16, 20, 3\).*\(2, 16, 20, 3\)"):
        dj.scan_frames(model, state, FRAME[None, :1])


def test_scan_frames_arguments():
    model, variables = small()
    with pytest.raises(ValueError, match=r"\(2, 16, 20, 3\); they must be \[T, N, H, W, C\]"):
        dj.scan_frames(model, variables, FRAME)
    for present in (np.ones(2, bool), np.ones((1, 3), bool), np.ones((2, 2), bool)):
        with pytest.raises(ValueError, match=r"present has shape .* \[T, N\] are \(1, 2\)"):
            dj.scan_frames(model, variables, FRAME[None], present=present)


@pytest.mark.parametrize("threshold", [-0.1, float("nan")])
@pytest.mark.parametrize("layer", [dj.Sparsify, dj.MaxPool, dj.Conv, dj.Activation])
def test_threshold(layer, threshold):
    arguments = {dj.MaxPool: (2,), dj.Conv: (4, 3), dj.Activation: ("relu",)}.get(layer, ())

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            if layer is not dj.Sparsify:
                x = dj.Sparsify()(x)
            return layer(*arguments, threshold=threshold, name="wrong")(x)

    variables = random_variables(Model(), FRAME)
    with pytest.raises(ValueError, match=f"wrong: threshold is {threshold}"):
        step(Model(), variables, FRAME)


def test_infinite_threshold_never_gives_an_unseen_map():
    model = Small(threshold=float("inf"))
    _, variables = small()
    try:
        output, _ = step(model, variables, FRAME)
    except ValueError as error:
        assert "threshold is inf" in str(error)  # noqa: PT017
    else:
        assert relative_error(output, model.apply(variables, FRAME)) <= 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold_norm": "l1"}, r"wrong: threshold_norm is 'l1'.*'max', 'l2', 'rms'"),
        ({"implementation": "cuda"}, r"wrong: implementation is 'cuda'.*'auto', 'dense', 'xla'"),
    ],
)
@pytest.mark.parametrize("entry", [True, False])
def test_names_that_do_not_exist(entry, options, message):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            if entry:
                return dj.Sparsify(name="wrong", **options)(x)
            return dj.MaxPool(2, name="wrong", **options)(dj.Sparsify()(x))

    with pytest.raises(ValueError, match=message):
        step(Model(), {}, FRAME)


def test_activation_that_does_not_exist():
    message = "activation is 'rellu'.*relu, relu6"
    layer_error(dj.Conv(4, 3, activation="rellu"), FRAME, match="Conv: " + message)
    layer_error(dj.Activation("rellu"), FRAME, match="Activation: " + message)
    layer_error(dj.Add(activation="rellu"), FRAME, FRAME, match="Add: " + message)
    layer_error(dj.Activation("Dense"), FRAME, match="Activation: activation is 'Dense'")


@pytest.mark.parametrize("layer", [dj.Sparsify(), dj.MaxPool(2), dj.Conv(3, 3)])
def test_layer_called_twice(layer):
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            shared = layer.clone(parent=self, name="shared")
            if not isinstance(layer, dj.Sparsify):
                x = dj.Sparsify()(x)
            return shared(x), shared(x)

    message = "shared: this layer instance is called twice"
    with pytest.raises(ValueError, match=message):
        Twice().init(jax.random.key(0), FRAME)
    params = random_variables(layer, FRAME).get("params", {})
    with pytest.raises(ValueError, match=message):
        step(Twice(), {"params": {"shared": params}}, FRAME)


def test_layer_in_setup_is_called_once_a_frame():
    class InSetup(nn.Module):
        def setup(self):
            self.entry = dj.Sparsify()
            self.conv = dj.Conv(4, 3)
            self.densify = dj.Densify()

        def __call__(self, x):
            return self.densify(self.conv(self.entry(x)))

    bound = InSetup()
    variables = bound.init(jax.random.key(0), FRAME)
    for _ in range(2):
        output, state = step(bound, variables, FRAME)
        variables = {**variables, **state}
        assert np.isfinite(output).all()


def test_training_on_a_frames_changes():
    model = ResNet(depth=18, num_classes=3)
    frame = jnp.zeros((1, 32, 32, 3))
    variables = random_variables(model, frame)
    with pytest.raises(ValueError, match="backbone/conv1: train=True needs all pixels"):
        model.apply(variables, frame, train=True, mutable=["delta", "batch_stats"])
    tensor = dj.DeltaTensor(FRAME, jnp.ones(FRAME.shape[:3], bool))
    norm = dj.BatchNorm()
    with pytest.raises(ValueError, match="BatchNorm: train=True"):
        norm.apply(random_variables(norm, FRAME), tensor, train=True, mutable=["delta"])


TENSOR = dj.DeltaTensor(FRAME, jnp.ones(FRAME.shape[:3], bool))


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (dj.Add(), (TENSOR, FRAME)),
        (dj.Multiply(), (FRAME, TENSOR)),
        (dj.Concat(), (TENSOR, FRAME)),
        (dj.Conv(3, 3), (TENSOR, FRAME)),
    ],
)
def test_mixed_inputs(layer, inputs):
    layer_error(layer, *inputs, match="plain arrays; pass the plain ones through a Sparsify")


def test_delta_tensor_without_mutable_delta():
    for layer in (dj.MaxPool(2), dj.Activation("relu"), dj.Add()):
        inputs = (TENSOR, TENSOR) if isinstance(layer, dj.Add) else (TENSOR,)
        with pytest.raises(ValueError, match=r"'delta' is not mutable.*mutable=\['delta'\]"):
            layer.apply({}, *inputs)


def test_shapes_that_do_not_fit():
    layer_error(
        dj.Conv(4, 3),
        FRAME,
        FRAME,
        match=r"residual has shape \(2, 16, 20, 3\), but the output has \(2, 16, 20, 4\)",
    )
    layer_error(
        dj.Conv(3, 3, strides=2),
        TENSOR,
        TENSOR,
        match=r"residual has shape \(2, 16, 20, 3\), but the output has \(2, 8, 10, 3\)",
    )
    layer_error(dj.Concat(), FRAME, FRAME[:, :8], match="differ in more than their channels")
    layer_error(dj.Add(), FRAME, FRAME[:, :8], match=r"\(2, 8, 20, 3\) cannot be broadcast")
    layer_error(dj.Multiply(), FRAME[:, :1, :1], FRAME, match="cannot be broadcast")
    layer_error(dj.Add(weights=(1.0,)), FRAME, FRAME, match="1 weights for 2 inputs")
    layer_error(dj.Add(), match="Add: needs at least one input")


def test_hyperparameters():
    groups = r"feature_group_count 2 divides not both the input's 3 channels and the 4 features"
    layer_error(dj.Conv(4, 3, feature_group_count=2), FRAME, match=groups)
    layer_error(dj.Conv(4, 3, feature_group_count=3), FRAME, match="feature_group_count 3")
    paddings: Any = ("CIRCULAR", (1, 2, 3), ((1, 2, 3), 1))
    for padding in paddings:
        layer_error(dj.Conv(4, 3, padding=padding), FRAME, match="padding is")
        layer_error(dj.ConvTranspose(4, 3, padding=padding), FRAME, match="padding is")
    layer_error(dj.Conv(4, (3, 3, 3)), FRAME, match="kernel_size is .* one or two integers")
    layer_error(dj.Conv(4, 3, strides=0), FRAME, match="strides is 0")
    layer_error(dj.Conv(4, 3, kernel_dilation=0), FRAME, match="kernel_dilation is 0")
    layer_error(dj.MaxPool(0), FRAME, match="window_shape is 0")
    layer_error(dj.MaxPool(2, padding=2), FRAME, match="must be smaller than the window")
    layer_error(dj.Upsample(0), FRAME, match="scale is 0")
    cubic: Any = "cubic"
    layer_error(dj.Upsample(method=cubic), FRAME, match="method is 'cubic'")


def test_entry_hyperparameters():
    layer_error(dj.Sparsify(dilation=2), FRAME, match="dilation is 2; it must be odd")
    layer_error(dj.Sparsify(mean=(0.5,)), FRAME, match="mean and std are given together")
    layer_error(
        dj.Sparsify(mean=(0.5, 0.5), std=(1.0, 1.0)), FRAME, match="mean has 2 entries.*3 channels"
    )


def test_depth_that_does_not_exist():
    with pytest.raises(ValueError, match=r"depth is 20; it must be one of \(18, 34, 50, 101, 152"):
        jax.eval_shape(ResNet(depth=20).init, jax.random.key(0), FRAME)


def test_streams_to_reset_that_do_not_exist():
    _, variables = small()
    for streams in (2, [0, 5], np.array([True, False, True])):
        with pytest.raises((ValueError, IndexError), match="stream"):
            dj.reset(variables["delta"], streams)


POISONS = (float("nan"), float("inf"), -float("inf"))


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_poisoned_pixel_recovers(implementation, threshold, first):
    """Once the pixel is finite the outputs are dense inference's again, up to the threshold.

    A maximum (a ReLU, a pool) may drop a NaN, so that the poisoned frame's own output is anything.
    """
    model = Small(threshold, implementation)
    _, variables = small()
    clean = np.tile(np.asarray(FRAME), (6, 1, 1, 1, 1))
    for poison in POISONS:
        frames = clean.copy()
        begin = 0 if first else 2
        frames[begin : begin + 2, 0, 5, 7, 1] = poison
        outputs, delta = dj.scan_frames(model, variables, jnp.asarray(frames))
        outputs = np.asarray(outputs)
        dense = np.asarray(dense_frames(model, variables, jnp.asarray(clean)))
        assert np.isfinite(outputs[begin + 2 :]).all()
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(delta))
        assert relative_error(outputs[:, 1], dense[:, 1]) <= 1e-5
        if not first:
            assert relative_error(outputs[:2], dense[:2]) <= 1e-5
        recovered = relative_error(outputs[begin + 2 :], dense[begin + 2 :])
        assert recovered <= (1e-5 if threshold == 0 else 0.1)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_poisoned_pixel_counts_as_changed(implementation):
    class Masks(nn.Module):
        @nn.compact
        def __call__(self, x):
            shared = {"threshold": 1e6, "implementation": implementation}
            entry: Any = dj.Sparsify(**shared)(x)
            conv: Any = dj.Conv(4, 3, **shared)(entry)
            return entry.mask, conv.mask

    variables = random_variables(Masks(), FRAME)
    for poison in POISONS:
        poisoned = FRAME.at[1, 5, 7, 2].set(poison)
        frames = jnp.stack([FRAME, FRAME, poisoned, FRAME, FRAME])
        (entry, conv), _ = dj.scan_frames(Masks(), variables, frames)
        expected = np.zeros(FRAME.shape[:3], bool)
        expected[1, 5, 7] = True
        around = np.zeros_like(expected)
        around[1, 4:7, 6:9] = True
        for step, (changed, reached) in enumerate(
            [(True, True), (False, False), (expected, around), (expected, around), (False, False)]
        ):
            np.testing.assert_array_equal(entry[step], np.broadcast_to(changed, expected.shape))
            np.testing.assert_array_equal(conv[step], np.broadcast_to(reached, around.shape))


def test_an_infinite_corner_is_not_taken_for_a_first_frame():
    """Only pixels in the mask of an input can change, once its stream has been seen."""
    entry = dj.Sparsify()
    infinite = FRAME.at[:, 0, 0].set(jnp.inf)
    _, state = step(entry, {}, infinite)
    mask = jnp.zeros(FRAME.shape[:3], bool).at[:, 9, 9].set(True)
    elsewhere_unknown = jnp.where(mask[..., None], FRAME + 1, jnp.nan)
    _, after = step(entry, state, dj.DeltaTensor(elsewhere_unknown, mask))
    expected = jnp.where(mask[..., None], FRAME + 1, infinite)
    np.testing.assert_array_equal(after["delta"]["value"], expected)
