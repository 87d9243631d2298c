import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import deltajax as dj
from deltajax.thresholds import make_thresholds, uniform_thresholds, update_point_names


class TwoEntries(nn.Module):
    """Entries whose names do not tell that they are entries."""

    @nn.compact
    def __call__(self, x):
        a = dj.Sparsify(name="left")(x)
        b = dj.Conv(3, 3, name="sparsify")(dj.Sparsify(name="right")(x))
        return dj.Densify()(dj.Add(name="sum")(a, b))


FRAME = jnp.zeros((1, 6, 8, 3))


@pytest.fixture(scope="module")
def model_and_variables():
    model = TwoEntries()
    return model, dict(model.init(jax.random.key(0), FRAME))


def test_names_of_a_state(model_and_variables):
    _, variables = model_and_variables
    assert set(update_point_names(variables["delta"])) == {"left", "right", "sparsify", "sum"}
    (name,) = update_point_names(dj.Sparsify().init(jax.random.key(0), FRAME)["delta"])
    assert name == ""


def test_each_update_point_gets_its_own_threshold(model_and_variables):
    model, variables = model_and_variables
    chosen = {"left": 0.5, "right": 3.0, "sparsify": 0.25, "sum": 0.0}
    thresholds = make_thresholds(variables["delta"], lambda name: chosen[name])
    frames = jnp.stack([FRAME, FRAME + 1])
    variables["thresholds"] = thresholds
    recorded = dj.scan_frames(model, variables, frames, collect=("statistics",))[2]["statistics"]
    updated = {name: int(recorded[name]["updated"][1, 0]) for name in chosen}
    assert updated == {"left": 48, "right": 0, "sparsify": 0, "sum": 48}


def test_a_model_that_is_one_layer():
    model = dj.Sparsify(threshold=0.1)
    delta = dj.init_delta(model, {}, FRAME)
    variables = {"thresholds": make_thresholds(delta, lambda name: 2.0)}
    _, state = model.apply({**variables, "delta": delta}, FRAME, mutable=["delta"])
    output, _ = model.apply({**variables, **state}, FRAME + 1, mutable=["delta"])
    assert not output.mask.any()


def test_uniform_thresholds_tell_entries_by_their_layer(model_and_variables):
    model, variables = model_and_variables
    thresholds = uniform_thresholds(model, variables, FRAME, input_threshold=0.5, threshold=0.25)
    values = {name: float(entry["threshold"]) for name, entry in thresholds.items()}
    assert values == {"left": 0.5, "right": 0.5, "sparsify": 0.25, "sum": 0.25}


def test_other_values_compile_nothing(model_and_variables):
    model, variables = model_and_variables
    compiled = []

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    @jax.jit
    def step(thresholds, delta, frame):
        given = {**variables, "thresholds": thresholds, "delta": delta}
        return model.apply(given, frame, mutable=["delta"])

    def run(thresholds):
        return jax.block_until_ready(step(thresholds, variables["delta"], FRAME))

    def thresholds(value):
        return make_thresholds(variables["delta"], lambda name: value)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run(thresholds(0.5))
        assert compiled, "compilations are not seen: the test would show nothing"
        others = [thresholds(value) for value in (0.0, 0.25, 7.0)]
        compiled.clear()
        for other in others:
            run(other)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not compiled


@pytest.mark.parametrize("wrong", [-0.5, float("nan")])
def test_wrong_thresholds_name_the_update_point(model_and_variables, wrong):
    model, variables = model_and_variables
    with pytest.raises(ValueError, match=r"sparsify: threshold is .*zero or positive"):
        make_thresholds(variables["delta"], lambda name: wrong if name == "sparsify" else 0.0)
    with pytest.raises(ValueError, match="left: threshold"):
        uniform_thresholds(model, variables, FRAME, input_threshold=wrong, threshold=0.0)
