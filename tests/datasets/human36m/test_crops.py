"""Boxes around people, and what is cut out by them."""

import numpy as np
import pytest

from deltajax.datasets.human36m.crops import Box, box_around, crop, in_picture, to_crop

from . import fake

POINTS = np.array([[100.0, 50.0], [140.0, 130.0], [120.0, 60.0]])


@pytest.mark.parametrize("size", [(64, 64), (128, 96), (48, 96)])
@pytest.mark.parametrize("margin", [1.0, 1.25])
def test_boxes_hold_the_points_in_their_middle(size, margin):
    box = box_around(POINTS, size, margin)
    assert box.width >= 40 * margin
    assert box.height >= 80 * margin
    # As tight as it can be, of whole pixels.
    assert box.width <= 40 * margin + 2 or box.height <= 80 * margin + 2
    assert abs(box.width / box.height - size[1] / size[0]) < 0.02
    points = to_crop(POINTS, box, size)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    pixel = size[1] / box.width
    np.testing.assert_allclose(middle, [(size[1] - 1) / 2, (size[0] - 1) / 2], atol=0.51 * pixel)
    assert in_picture(points, size).all()


def test_a_single_point_has_a_box():
    box = box_around(np.full((17, 2), 31.0), (32, 32), 1.25)
    assert box == (31, 31, 1, 1)


@pytest.mark.parametrize("size", [(40, 30), (96, 72), (300, 225)])
@pytest.mark.parametrize("dot", [(70.0, 90.0), (70.4, 90.7), (88.25, 61.5)])
def test_points_are_where_the_pictures_show_them(size, dot):
    picture = fake.picture(np.array(dot), side=160)
    box = Box(41, 37, 60, 80)
    image = crop(picture, box, size)
    assert image.shape == (*size, 3)
    expected = to_crop(np.array([dot]), box, size)[0]
    np.testing.assert_allclose(fake.middle_of_dot(image), expected, atol=0.25)


def test_nothing_is_scaled_that_fits():
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    np.testing.assert_array_equal(crop(picture, Box(3, 4, 20, 10), (10, 20)), picture[4:14, 3:23])


def test_beyond_the_picture_is_black():
    picture = np.full((30, 40, 3), 200, np.uint8)
    image = crop(picture, Box(-5, 20, 20, 20), (20, 20))
    assert (image[:10, 5:] == 200).all()
    assert not image[10:].any()
    assert not image[:, :5].any()
    image = crop(picture, Box(-5, 20, 20, 20), (10, 10))
    assert image[:5, 3:].min() > 190
    assert image[6:].max() < 10
    assert not crop(picture, Box(100, 100, 20, 20), (20, 20)).any()


def test_which_points_are_in_the_picture():
    points = np.array([[-0.5, 0], [-0.6, 0], [39.4, 29.4], [39.5, 3], [3, 29.5], [0, 0]])
    assert in_picture(points, (30, 40)).tolist() == [True, False, True, False, False, True]
