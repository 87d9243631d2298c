"""Heatmap targets, their loss, and augmentation that moves pictures and joints together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltajax.models import decode_heatmaps
from deltajax.training import PoseEstimation

TASK = PoseEstimation([(0, 1)])
HEIGHT, WIDTH = 64, 96
POINTS = np.array([[[20.0, 12.0], [71.0, 40.0], [48.0, 50.0]]], np.float32)


def examples(points=POINTS, counts=None):
    """A white dot at each joint, of another colour each."""
    images = np.zeros((len(points), HEIGHT, WIDTH, 3), np.uint8)
    for image, own in zip(images, points, strict=True):
        for channel, (x, y) in enumerate(np.round(own).astype(int)):
            image[y - 2 : y + 3, x - 2 : x + 3, channel] = 255
    known = np.ones(points.shape[:2], bool) if counts is None else counts
    given = {"image": images, "points": points, "counts": known}
    return {name: jnp.asarray(array) for name, array in given.items()}


def test_maps_are_found_again():
    frames, targets = TASK.prepare(examples(), None)
    assert frames.shape == (1, HEIGHT, WIDTH, 3)
    assert targets["maps"].shape == (1, HEIGHT // 4, WIDTH // 4, 3)
    found = decode_heatmaps(targets["maps"], "taylor").points
    np.testing.assert_allclose(4 * found, POINTS, atol=0.5)
    # A pixel of the map that is a joint's own is one; two pixels off it is e^(-1/2).
    assert float(targets["maps"][0, 3, 5, 0]) == pytest.approx(1)
    assert float(targets["maps"][0, 3, 7, 0]) == pytest.approx(np.exp(-0.5), rel=1e-5)


def test_loss_by_hand():
    counts = np.array([[True, False, True]])
    _, targets = TASK.prepare(examples(counts=counts), None)
    outputs = targets["maps"] + jnp.array([0.5, 7.0, -0.25])
    expected = 0.5 * (0.5**2 + 0.25**2) / 3
    np.testing.assert_allclose(TASK.loss(outputs, targets), [expected], rtol=1e-6)
    np.testing.assert_array_equal(TASK.loss(targets["maps"], targets), [0.0])


def test_errors_at_joints_count_for_more():
    task = PoseEstimation([(0, 1)], foreground=10.0)
    _, targets = task.prepare(examples(), None)
    maps = targets["maps"]
    expected = 0.5 * np.mean((1 + 10 * np.asarray(maps)) * 0.25, axis=(1, 2, 3))
    np.testing.assert_allclose(task.loss(maps + 0.5, targets), expected, rtol=1e-5)
    assert float(task.loss(maps * 0, targets)[0]) > 3 * float(TASK.loss(maps * 0, targets)[0])


def test_accuracy():
    _, targets = TASK.prepare(examples(counts=np.array([[True, True, False]])), None)
    outputs = targets["maps"].at[..., 0].set(jnp.roll(targets["maps"][..., 0], 5, axis=2))
    assert float(TASK.metrics(outputs, targets)["accuracy"][0]) == 0.5
    assert float(TASK.metrics(outputs * jnp.nan, targets)["accuracy"][0]) == 0
    nothing = targets | {"counts": jnp.zeros((1, 3), bool)}
    assert float(TASK.metrics(outputs, nothing)["accuracy"][0]) == 1


def middle(image, channel):
    """Of what is bright in a channel."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    weight = np.asarray(image)[..., channel]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def test_pictures_and_joints_move_together():
    points = np.repeat(POINTS, 16, axis=0)
    frames, targets = TASK.prepare(examples(points), jax.random.key(0))
    mirrored = 0
    for frame, own in zip(frames, np.asarray(targets["points"]), strict=True):
        # In a mirror the first two joints have changed their names.
        swapped = own[0, 1] > own[1, 1]
        mirrored += swapped
        for channel, joint in enumerate((1, 0, 2) if swapped else (0, 1, 2)):
            if 8 < own[joint, 0] < WIDTH - 8 and 8 < own[joint, 1] < HEIGHT - 8:
                np.testing.assert_allclose(middle(frame, channel), own[joint], atol=0.2)
    assert 3 <= mirrored <= 13
    distances = np.linalg.norm(targets["points"][:, 0] - targets["points"][:, 1], axis=-1)
    assert np.ptp(distances) > 10


def test_joints_that_leave_the_picture_do_not_count():
    points = np.array([[[20.0, 12.0], [WIDTH + 3.0, 20.0], [40.0, -2.0]]], np.float32)
    given = examples() | {"points": jnp.asarray(points)}
    np.testing.assert_array_equal(TASK.prepare(given, None)[1]["counts"], [[True, False, False]])
