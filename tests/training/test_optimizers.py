"""Optimisers against PyTorch's formulas, in float64."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

from deltajax.training import OPTIMIZERS, make_optimizer, make_schedule, with_hyperparameters
from tests.helpers import relative_error

BETA1, BETA2, EPSILON, MOMENTUM = 0.9, 0.999, 1e-8, 0.9


def pytorch(name: str, weights, gradients, rate: float, decay: float):
    """torch.optim.Adam, AdamW and SGD(momentum=0.9), as their documentation has them."""
    weights = np.array(weights, np.float64)
    first = second = np.zeros_like(weights)
    for step, gradient in enumerate(gradients, 1):
        gradient = np.array(gradient, np.float64)
        if name == "adamw":
            weights = weights - rate * decay * weights
        else:
            gradient = gradient + decay * weights
        if name == "sgd":
            first = MOMENTUM * first + gradient
            weights = weights - rate * first
            continue
        first = BETA1 * first + (1 - BETA1) * gradient
        second = BETA2 * second + (1 - BETA2) * gradient**2
        unbiased = first / (1 - BETA1**step), second / (1 - BETA2**step)
        weights = weights - rate * unbiased[0] / (np.sqrt(unbiased[1]) + EPSILON)
    return weights


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("rate", "decay"), [(1e-2, 0.0), (1e-3, 0.1), (0.1, 1.0)])
def test_as_pytorch(name, rate, decay):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 5)).astype(np.float32)
    gradients = rng.normal(size=(20, 3, 5)).astype(np.float32)
    optimizer = make_optimizer(name, rate, decay)
    params: Any = {"w": weights}
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update({"w": gradient}, state, params)
        params = optax.apply_updates(params, updates)
    expected = pytorch(name, weights, gradients, rate, decay)
    assert relative_error(params["w"] - weights, expected - weights) <= 1e-4


def test_other_hyperparameters_compile_nothing():
    made = make_optimizer("adam", 0.0), make_optimizer("adam", 0.25, 0.5)
    params = {"w": np.arange(1.0, 4.0, dtype=np.float32)}
    gradient = {"w": np.ones(3, np.float32)}
    traced = []

    @jax.jit
    def update(gradient: Any, state: Any, params: Any) -> Any:
        traced.append(None)
        return made[0].update(gradient, state, params)

    state = made[0].init(params)
    update(gradient, state, params)
    changed = with_hyperparameters(state, learning_rate=0.25, weight_decay=0.5)
    actual, _ = update(gradient, changed, params)
    expected: Any = made[1].update(gradient, made[1].init(params), params)[0]
    assert len(traced) == 1
    np.testing.assert_allclose(actual["w"], expected["w"], rtol=1e-6)
    assert np.all(np.asarray(actual["w"]) != 0)


def test_schedules():
    def rates(name: str, *steps: int) -> np.ndarray:
        schedule = make_schedule(name, 0.5, 140)
        return np.array([np.asarray(schedule(step)) for step in steps])

    np.testing.assert_array_equal(rates("constant", 0, 139), 0.5)
    found = rates("steps", 0, 89, 90, 119, 120, 139)
    np.testing.assert_allclose(found, [0.5, 0.5, 0.05, 0.05, 0.005, 0.005], rtol=1e-6)
    np.testing.assert_allclose(rates("cosine", 0, 70, 140), [0.5, 0.25, 0], atol=1e-6)


def test_a_schedule_is_followed():
    schedule = make_schedule("steps", 1.0, 14)
    optimizer = make_optimizer("adam", schedule)
    params = {"w": np.zeros(2, np.float32)}
    gradient = {"w": np.ones(2, np.float32)}
    state, sizes = optimizer.init(params), []
    for _ in range(14):
        updates: Any
        updates, state = optimizer.update(gradient, state, params)
        sizes.append(-float(updates["w"][0]))
    # Of equal gradients Adam makes steps of the learning rate.
    expected = [1.0] * 9 + [0.1] * 3 + [0.01] * 2
    np.testing.assert_allclose(sizes, expected, rtol=1e-4)


def test_refusals():
    with pytest.raises(ValueError, match="no schedule 'linear'; known are constant, steps, cosine"):
        make_schedule("linear", 1e-3, 10)
    with pytest.raises(ValueError, match=r"learning_rate is -1\.0 and steps is 10"):
        make_schedule("steps", -1.0, 10)
    with pytest.raises(ValueError, match="steps is 0"):
        make_schedule("steps", 1e-3, 0)
    with pytest.raises(ValueError, match="no optimizer 'lion'; known are adam, adamw, sgd"):
        make_optimizer("lion", 1e-3)
    for values in ({"learning_rate": -1.0}, {"learning_rate": float("nan")}):
        with pytest.raises(ValueError, match="learning_rate is"):
            make_optimizer("adam", **values)
    with pytest.raises(ValueError, match="weight_decay is inf"):
        make_optimizer("adam", 1e-3, float("inf"))
    state = make_optimizer("sgd", 0.1).init({"w": np.ones(2, np.float32)})
    with pytest.raises(ValueError, match="has no beta; it has learning_rate, weight_decay"):
        with_hyperparameters(state, beta=0.5)
