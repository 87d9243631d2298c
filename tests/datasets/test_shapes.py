"""The hundred classes that are made."""

import numpy as np

from deltajax.datasets import synthetic_cifar100


def test_format_and_classes():
    data = synthetic_cifar100(250, 30)
    assert data.train.images.shape == (250, 32, 32, 3)
    assert data.test.images.shape == (30, 32, 32, 3)
    counts = np.bincount(data.train.labels, minlength=100)
    assert counts.min() == 2
    assert counts.max() == 3
    assert len(set(data.names)) == 100
    assert data.names[17] == "shaded ring"


def test_the_seed_and_the_number_say_what_is_drawn():
    told = []
    data = synthetic_cifar100(8, 8, progress=told.append)
    assert sum(told) == 16
    more = synthetic_cifar100(20, 8)
    np.testing.assert_array_equal(more.train.images[:8], data.train.images)
    other = synthetic_cifar100(8, 8, seed=1)
    for images in (other.train.images, data.test.images):
        assert np.all(np.mean(images != data.train.images, axis=(1, 2, 3)) > 0.8)


def test_colours_say_nothing_of_the_class():
    """A classifier of mean colours is at chance, and pictures are neither black nor white."""
    data = synthetic_cifar100(2000, 500)
    means = [split.images.mean((1, 2)) for split in (data.train, data.test)]
    centres = np.stack([means[0][data.train.labels == label].mean(0) for label in range(100)])
    nearest = np.linalg.norm(means[1][:, None] - centres, axis=-1).argmin(1)
    assert np.mean(nearest == data.test.labels) < 0.05
    assert 60 < data.train.images.mean() < 160
