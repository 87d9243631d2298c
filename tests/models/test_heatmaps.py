"""Keypoints of heatmaps, against where the Gaussians in them are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltajax.models import decode_heatmaps
from deltajax.models.skeletons import BLAZEPOSE, COCO

HEIGHT, WIDTH = 48, 64


def gaussians(points: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """[N, H, W, K] heatmaps of points [N, K, 2]."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    x, y = points[:, None, None, :, 0], points[:, None, None, :, 1]
    distance = (columns[..., None] - x) ** 2 + (rows[..., None] - y) ** 2
    return np.exp(-distance / (2 * sigma**2)).astype(np.float32)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform((3, 3), (WIDTH - 4, HEIGHT - 4), (2, 40, 2))


@pytest.mark.parametrize(
    ("refinement", "largest", "mean"),
    [("none", 0.5, 0.3), ("quarter", 0.25, 0.15), ("taylor", 0.05, 0.01)],
)
def test_finer_than_pixels(points, refinement, largest, mean):
    """Halves of pixels, quarters of pixels, and nearly exact."""
    found, scores = jax.jit(decode_heatmaps, static_argnums=1)(gaussians(points), refinement)
    error = np.abs(np.asarray(found) - points)
    assert error.max() <= largest + 1e-3
    assert error.mean() <= mean
    assert (np.asarray(scores) > 0.9).all()


def test_the_quarter_goes_to_the_larger_neighbour():
    heatmap = np.zeros((1, 5, 7, 1), np.float32)
    heatmap[0, 2, 3:5, 0] = (1, 0.5)
    heatmap[0, 1, 3, 0] = 0.2
    (point,), _ = decode_heatmaps(heatmap, "quarter")
    np.testing.assert_allclose(point[0], (3.25, 1.75))


@pytest.mark.parametrize("refinement", ["quarter", "taylor"])
def test_borders_and_flat_heatmaps(refinement):
    heatmaps = np.zeros((1, 6, 8, 3), np.float32)
    heatmaps[0, 0, 5, 0] = 1
    heatmaps[0, 5, 7, 1] = 1
    found, scores = decode_heatmaps(heatmaps, refinement)
    np.testing.assert_array_equal(found[0], [(5, 0), (7, 5), (0, 0)])
    np.testing.assert_array_equal(scores[0], [1, 1, 0])
    tiny, _ = decode_heatmaps(heatmaps[:, :2, :2], refinement)
    assert np.isfinite(tiny).all()


def test_unknown_refinement():
    with pytest.raises(ValueError, match="refinement is 'half'; it must be"):
        decode_heatmaps(jnp.zeros((1, 4, 4, 1)), "half")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("skeleton", "joints"), [(COCO, 17), (BLAZEPOSE, 33)])
def test_skeletons(skeleton, joints):
    assert len(skeleton.names) == len(set(skeleton.names)) == joints
    assert skeleton.sides.count(-1) == skeleton.sides.count(1) == (joints - 1) // 2
    assert len(set(skeleton.edges)) == len(skeleton.edges)
    assert {index for edge in skeleton.edges for index in edge} <= set(range(joints))
