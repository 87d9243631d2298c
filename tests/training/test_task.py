"""Classification: what is prepared, and what outputs are worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltajax.training import Classification

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 4, 6, 3)).astype(np.uint8)
EXAMPLES = {"image": jnp.asarray(IMAGES), "label": jnp.zeros(64, jnp.int32)}


def test_without_a_key_images_are_as_they_are():
    frames, labels = Classification().prepare(EXAMPLES, None)
    np.testing.assert_allclose(frames, IMAGES / 255, rtol=1e-6)
    assert labels is EXAMPLES["label"]


def test_about_half_are_flipped():
    frames, _ = Classification().prepare(EXAMPLES, jax.random.key(0))
    frames = np.round(255 * np.asarray(frames)).astype(np.uint8)
    flipped = np.array([(a == b[:, ::-1]).all() for a, b in zip(frames, IMAGES, strict=True)])
    same = np.array([(a == b).all() for a, b in zip(frames, IMAGES, strict=True)])
    assert np.all(flipped ^ same)
    assert 16 <= flipped.sum() <= 48
    again, _ = Classification(flip=False).prepare(EXAMPLES, jax.random.key(0))
    np.testing.assert_allclose(again, IMAGES / 255, rtol=1e-6)


def test_scaled():
    frames, _ = Classification((8, 12)).prepare(EXAMPLES, None)
    assert frames.shape == (64, 8, 12, 3)
    # Bilinear interpolation keeps the mean but for the borders.
    assert float(jnp.mean(frames)) == pytest.approx(float(IMAGES.mean()) / 255, abs=0.01)


def test_loss_and_accuracy_by_hand():
    logits = jnp.array([[0.0, 2.0, 1.0, -1, -2, -3], [3.0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5]])
    labels = jnp.array([1, 2, 0])
    task = Classification()
    log_sum = np.log(np.exp(np.asarray(logits, np.float64)).sum(axis=1))
    expected = log_sum - np.array([2.0, 0.0, 0.0])
    np.testing.assert_allclose(task.loss(logits, labels), expected, rtol=1e-6)
    metrics = task.metrics(logits, labels)
    np.testing.assert_array_equal(metrics["accuracy"], [1, 0, 0])
    np.testing.assert_array_equal(metrics["top5_accuracy"], [1, 1, 0])


def test_what_is_not_finite_is_never_right():
    logits = jnp.full((1, 6), jnp.nan)
    assert all(value == 0 for value in Classification().metrics(logits, jnp.array([0])).values())
