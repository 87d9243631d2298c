"""One definition, two modes: an ordinary Flax network, and an incremental one."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

import deltajax as dj
from deltajax.layers import update_point
from deltajax.video import ProceduralClip
from tests.helpers import NORMS, dense_frames, pixel_norm, random_variables, relative_error


class DesignExample(nn.Module):
    """The first example of the documentation, with an argument for its thresholds."""

    threshold: float = 0.0
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x, train: bool = False):
        shared: Any = {"threshold": self.threshold, "implementation": self.implementation}
        x = dj.Sparsify(dilation=7, **shared)(x)
        x = dj.Conv(8, (3, 3), norm=dj.BatchNorm(), activation=nn.relu, **shared)(x, train=train)
        x = dj.MaxPool((2, 2), strides=(2, 2), **shared)(x)
        y = dj.Conv(8, (3, 3), **shared)(x)
        x = dj.Add(activation=nn.relu, **shared)(x, y)
        x = dj.GlobalAvgPool()(x)
        return nn.Dense(10)(x)


@functools.cache
def frames() -> np.ndarray:
    """float32 [6, 2, 24, 32, 3] in [0, 1]."""
    batch = next(ProceduralClip(24, 32, noise=0.01).batches(6, streams=2))
    return batch.frames.astype(np.float32) / np.float32(255)


def test_init_gives_all_collections_and_the_dense_output():
    model, frame = DesignExample(), jnp.asarray(frames()[0])
    output, variables = model.init_with_output(jax.random.key(0), frame)
    assert set(variables) == {"params", "batch_stats", "delta"}
    assert {"Sparsify_0", "Conv_0", "MaxPool_0", "Conv_1", "Add_0"} == set(variables["delta"])
    assert set(variables["params"]) == {"Conv_0", "Conv_1", "Dense_0"}
    assert set(variables["params"]["Conv_0"]) == {"kernel", "bias", "batch_norm"}
    weights = {name: variables[name] for name in ("params", "batch_stats")}
    dense = model.apply(weights, frame)
    assert relative_error(output, dense) <= 1e-6
    assert relative_error(model.apply(variables, frame), dense) <= 1e-6


def test_state_from_init_from_init_delta_and_none_at_all():
    model, frame = DesignExample(), jnp.asarray(frames()[0])
    variables = random_variables(model, frame)
    of_init = {**variables, "delta": model.init(jax.random.key(0), frame)["delta"]}
    unseen = {**variables, "delta": dj.init_delta(model, variables, frame)}
    jax.tree.map(np.testing.assert_array_equal, of_init["delta"], unseen["delta"])

    @jax.jit
    def step(variables, frame):
        return model.apply(variables, frame, mutable=["delta"])

    states = [of_init, unseen, variables]
    for frame in jnp.asarray(frames()[:3]):
        outputs, changed = zip(*(step(state, frame) for state in states), strict=True)
        states = [{**variables, **delta} for delta in changed]
        assert relative_error(outputs[0], model.apply(variables, frame)) <= 1e-5
        for output in outputs[1:]:
            np.testing.assert_array_equal(output, outputs[0])


class Wrapped(nn.Module):
    """Layers from outside, and one of the Flax modules that keep something of their own."""

    backbone: nn.Module
    head: nn.Module

    @nn.compact
    def __call__(self, x, head: bool = True):
        x = nn.BatchNorm(use_running_average=True)(self.backbone(x))
        return self.head(x) if head else x


def test_a_state_is_made_without_tracing_an_update(monkeypatch):
    """Of modules given as attributes, too, which their owner has to clone."""
    frame = jnp.asarray(frames()[0])
    model = Wrapped(DesignExample(), nn.Dense(3))
    variables = random_variables(model, frame)
    expected = model.init(jax.random.key(0), frame)["delta"]
    monkeypatch.setattr(update_point, "update", None)  # so that a call of it fails
    for keywords in ({}, {"head": False}):
        delta = dj.init_delta(model, variables, frame, **keywords)
        jax.tree.map(np.testing.assert_array_equal, delta, expected)
    assert model.backbone.parent is None


class LearnedSlope(nn.Module):
    """An activation that closes over a parameter, as PReLU does."""

    @nn.compact
    def __call__(self, x):
        slope = self.param("scale", nn.initializers.constant(0.25), (8,))
        x = dj.Sparsify(dilation=3)(x)
        for _ in range(2):
            x = dj.Conv(8, 3, activation=lambda z: jnp.where(z > 0, z, z * slope))(x)
        return dj.Densify()(x)


def test_an_activation_may_close_over_a_parameter():
    """Updates are jitted, so that it belongs to a trace outside; the next one has its own."""
    model = LearnedSlope()
    variables = random_variables(model, frames()[0])
    for slope in (0.25, 0.5):
        variables["params"]["scale"] = jnp.full(8, slope)
        for count in (3, 4):  # another program of the same updates
            outputs, _ = dj.scan_frames(model, variables, frames()[:count])
            dense = dense_frames(model, variables, frames()[:count])
            assert relative_error(outputs, dense) <= 1e-5


def test_numpy_frames():
    """What a video reader gives, without a conversion."""
    model = nn.Sequential([dj.Sparsify(dilation=7), dj.Conv(8, 3), dj.GlobalAvgPool()])
    frame = frames()[0]
    variables = random_variables(model, frame)
    dense = model.apply(variables, jnp.asarray(frame))
    assert relative_error(model.apply(variables, frame), dense) <= 1e-6
    assert relative_error(model.apply(variables, frame, mutable=["delta"])[0], dense) <= 1e-5


def test_frame_by_frame_is_the_scan():
    model = DesignExample(threshold=0.02)
    variables = random_variables(model, frames()[0])
    scanned, scanned_delta = dj.scan_frames(model, variables, frames())
    step = jax.jit(lambda v, frame: model.apply(v, frame, mutable=["delta"]))
    state = {"delta": dj.init_delta(model, variables, frames()[0])}
    outputs = []
    for frame in frames():
        output, state = step({**variables, **state}, frame)
        outputs.append(output)
    assert relative_error(np.stack(outputs), scanned) <= 1e-6
    for one, two in zip(
        jax.tree.leaves(state["delta"]), jax.tree.leaves(scanned_delta), strict=True
    ):
        assert relative_error(one, two) <= 1e-6


def test_scan_in_pieces_and_donated_is_the_scan():
    model = DesignExample(threshold=0.02)
    variables = random_variables(model, frames()[0])
    whole, whole_delta = dj.scan_frames(model, variables, frames())
    state = dict(variables)
    pieces = []
    for start in (0, 3):
        output, delta = dj.scan_frames(model, state, frames()[start : start + 3], donate=True)
        state = {**variables, "delta": delta}
        pieces.append(output)
    assert relative_error(np.concatenate(pieces), whole) <= 1e-6
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6),
        state["delta"], whole_delta,
    )  # fmt: skip


def test_trains():
    model = DesignExample()
    x = jnp.asarray(frames().reshape(-1, 24, 32, 3))
    labels = jnp.arange(len(x)) % 10
    variables = random_variables(model, x[:1])
    optimiser = optax.adam(1e-2)

    @jax.jit
    def train_step(params, batch_stats, moments):
        def loss(params):
            logits, changed = model.apply(
                {"params": params, "batch_stats": batch_stats}, x, train=True,
                mutable=["batch_stats"],
            )  # fmt: skip
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), changed["batch_stats"]

        (value, batch_stats), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = optimiser.update(gradient, moments)
        return optax.apply_updates(params, updates), batch_stats, moments, value, gradient

    params, batch_stats = variables["params"], variables["batch_stats"]
    moments, losses = optimiser.init(params), []
    for _ in range(25):
        params, after, moments, value, gradient = train_step(params, batch_stats, moments)
        assert all(np.isfinite(g).all() and np.any(g) for g in jax.tree.leaves(gradient["Conv_1"]))
        assert (
            relative_error(
                after["Conv_0"]["batch_norm"]["mean"], batch_stats["Conv_0"]["batch_norm"]["mean"]
            )
            > 1e-6
        )
        batch_stats = after
        losses.append(float(value))
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.8 * losses[0]

    trained = {"params": params, "batch_stats": batch_stats}
    outputs, _ = dj.scan_frames(model, trained, frames())
    assert relative_error(outputs, dense_frames(model, trained, frames())) <= 1e-5


def test_vmap_over_dense():
    model = DesignExample()
    variables = random_variables(model, frames()[0])
    each = jax.vmap(lambda frame: model.apply(variables, frame[None])[0])(frames()[0])
    assert relative_error(each, model.apply(variables, jnp.asarray(frames()[0]))) <= 1e-5


def test_update_is_differentiable_and_maps_in_its_dense_implementation():
    layer = dj.Conv(4, 3, implementation="dense")
    frame = jnp.asarray(frames()[0])
    variables = random_variables(layer, frame)
    mask = jnp.ones(frame.shape[:3], bool)
    cached: Any = layer.apply(variables, frame)
    state = {"delta": {"value": cached + 1.0}}

    def total(x):
        tensor, _ = layer.apply({**variables, **state}, dj.DeltaTensor(x, mask), mutable=["delta"])
        return jnp.sum(jnp.square(tensor.value))

    def dense(x):
        y: Any = layer.apply(variables, x)
        return jnp.sum(jnp.square(y))

    assert relative_error(jax.grad(total)(frame), jax.grad(dense)(frame)) <= 1e-5
    batched = jax.vmap(total)(jnp.stack([frame, 2 * frame]))
    assert relative_error(batched, jnp.stack([total(frame), total(2 * frame)])) <= 1e-5


class OwnCode(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = dj.Sparsify(name="entry")(x)
        x = dj.Densify()(dj.Conv(6, 3)(x))
        x = nn.LayerNorm()(jnp.flip(x, axis=1)) + jnp.mean(x, axis=(1, 2), keepdims=True)
        if self.is_mutable_collection("delta"):
            assert not isinstance(x, dj.DeltaTensor)
        x = dj.Sparsify(name="again")(x)
        x = dj.ConvTranspose(4, (4, 4), strides=2, activation="relu")(x)
        return dj.Densify()(x)


def test_own_code_between_densify_and_sparsify():
    model = OwnCode()
    variables = random_variables(model, frames()[0])
    outputs, delta = dj.scan_frames(model, variables, frames())
    assert {"entry", "again"} < set(delta)
    assert relative_error(outputs, dense_frames(model, variables, frames())) <= 1e-5


class EveryLayer(nn.Module):
    threshold: float = 0.0
    implementation: str = "auto"

    @nn.compact
    def __call__(self, x):
        shared: Any = {"threshold": self.threshold, "implementation": self.implementation}
        x = dj.Sparsify(**shared)(x)
        x = dj.Conv(8, 3, strides=2, norm=dj.BatchNorm(), activation="silu", **shared)(x)
        x = dj.BatchNorm(**shared)(x)
        gate = dj.AvgPool(x.shape[1:3], **shared)(x)
        gate = dj.Conv(8, 1, activation="sigmoid", **shared)(gate)
        x = dj.Multiply(**shared)(x, gate)
        low = dj.MaxPool(2, 2, **shared)(x)
        up = dj.Upsample(2, "bilinear", **shared)(low)
        x = dj.Concat(**shared)(x, up, dj.Upsample(2, **shared)(low))
        x = dj.Activation(jnp.tanh, **shared)(x)
        y = dj.Conv(24, 5, feature_group_count=24, **shared)(x)
        x = dj.Add(weights=(0.5, 2.0), activation="relu", **shared)(x, y)
        x = dj.Elementwise(lambda a, b: a - 0.1 * b, **shared)(x, y)
        x = dj.ConvTranspose(5, 4, 2, use_bias=False, norm=dj.BatchNorm(), **shared)(x)
        return dj.Densify()(x)


def test_every_layer_equals_dense():
    model = EveryLayer()
    variables = random_variables(model, frames()[0])
    outputs, _ = dj.scan_frames(model, variables, frames())
    assert relative_error(outputs, dense_frames(model, variables, frames())) <= 1e-5


def test_implementations_agree_above_zero():
    model = DesignExample(threshold=0.03)
    variables = random_variables(model, frames()[0])
    results = [
        dj.scan_frames(
            model.clone(implementation=name), variables, frames(), collect=("statistics",)
        )
        for name in ("dense", "xla", "auto")
    ]
    exact = dense_frames(model, variables, frames())
    assert relative_error(results[0][0], exact) > 1e-4
    for outputs, _, recorded in results[1:]:
        assert relative_error(outputs, results[0][0]) <= 1e-5
        jax.tree.map(
            np.testing.assert_array_equal, recorded["statistics"], results[0][2]["statistics"]
        )


LAYERS = {
    "sparsify": dj.Sparsify,
    "conv": functools.partial(dj.Conv, 8, 3, activation="relu"),
    "transposed": functools.partial(dj.ConvTranspose, 5, 4, 2),
    "max_pool": functools.partial(dj.MaxPool, 3, 2),
    "bilinear": functools.partial(dj.Upsample, 2, "bilinear"),
}


class OneLayer(nn.Module):
    """A layer behind an entry that sends everything."""

    name_of_layer: str
    threshold: float
    norm: str

    @nn.compact
    def __call__(self, x):
        layer = LAYERS[self.name_of_layer](threshold=self.threshold, threshold_norm=self.norm)
        if self.name_of_layer != "sparsify":
            x = dj.Sparsify()(x)
        return dj.Densify()(layer(x))


@pytest.mark.parametrize(
    ("name", "norm"),
    [*(("conv", norm) for norm in NORMS), *((name, "l2") for name in LAYERS if name != "conv")],
)
def test_error_of_a_layer_is_within_its_threshold(name, norm):
    model = OneLayer(name, 0.2, norm)
    variables = random_variables(model, frames()[0])
    outputs, _ = dj.scan_frames(model, variables, frames())
    exact = dense_frames(model, variables, frames())
    outputs = np.asarray(outputs)
    error = pixel_norm(outputs - np.asarray(exact, np.float64), norm)
    assert np.isfinite(outputs).all()
    assert error.max() <= 0.2 + 1e-6
    assert error.max() > 0.1
    np.testing.assert_array_equal(error[0] < 1e-5, True)


@pytest.mark.parametrize("dilation", [1, 3, 7])
def test_entry_sends_what_changed_near_a_large_change(dilation):
    """Pixels that differ at all, within reach of one that differs by more than the threshold."""
    rng = np.random.default_rng(0)
    before = rng.uniform(size=(2, 20, 24, 3)).astype(np.float32)
    difference = np.where(rng.random((2, 20, 24, 1)) < 0.5, rng.uniform(-0.1, 0.1, before.shape), 0)
    large = rng.random((2, 20, 24)) < 0.01
    after = (before + difference + 0.5 * large[..., None]).astype(np.float32)
    layer = dj.Sparsify(threshold=0.2, dilation=dilation)
    (first, second), delta = dj.scan_frames(Entry(layer), {}, np.stack([before, after]))
    near = np.zeros_like(large)
    reach = dilation // 2
    for n, h, w in np.argwhere(large):
        near[n, max(0, h - reach) : h + reach + 1, max(0, w - reach) : w + reach + 1] = True
    mask = near & (after != before).any(axis=-1)
    assert 0 < mask.mean() < 1
    assert first.all()
    np.testing.assert_array_equal(second, mask)
    value = np.where(mask[..., None], after, before)
    np.testing.assert_array_equal(delta["layer"]["value"], value)


class Entry(nn.Module):
    layer: dj.Sparsify

    def __call__(self, x):
        tensor: Any = self.layer(x)
        return tensor.mask
