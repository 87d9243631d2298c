"""What update points need: bytes, operations, and the least time for them."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from deltajax.layers import Conv, Sparsify
from deltajax.statistics import read_statistics, total
from deltajax.work import Work, needs_of, work_of
from tests.helpers import random_variables


def test_needs_of_each_update_point():
    frame = np.zeros((2, 8, 12, 3), np.uint8)

    class Network(nn.Module):
        @nn.compact
        def __call__(self, frame):
            x = Sparsify(mean=(0.5,), std=(0.2,), dtype=jnp.float32, name="entry")(frame)
            x = Conv(8, (3, 3), name="first")(x)
            residual = Conv(16, (1, 1), (2, 2), name="short")(x)
            return Conv(16, (3, 3), (2, 2), name="long")(x, residual)

    network = Network()
    variables = random_variables(network, frame)
    entry, first, short, long = needs_of(network, variables, frame)
    pixels, quarter = 2 * 8 * 12, 2 * 4 * 6
    assert entry.bytes == pixels * (3 + 12 + 1)
    assert (entry.bytes_per_computed_pixel, entry.bytes_per_updated_pixel) == (0, 12)
    assert first.bytes == 2 * pixels + 9 * 3 * 8 * 4
    assert first.bytes_per_computed_pixel == 4 * (3 + 8)
    assert short.bytes_per_computed_pixel == 4 * (8 + 16)  # a 1 × 1 sees one pixel of four
    assert long.bytes_per_computed_pixel == 4 * (4 * 8 + 16 + 16)
    assert long.bytes == pixels + quarter + 9 * 8 * 16 * 4
    assert long.bytes_per_updated_pixel == 64


def test_work_of_a_changed_pixel():
    """One pixel of a map changes: nine are computed."""

    class Network(nn.Module):
        @nn.compact
        def __call__(self, frame):
            return dj.Densify()(Conv(4, (3, 3), name="conv")(Sparsify(name="entry")(frame)))

    network = Network()
    frames = np.zeros((2, 1, 8, 12, 3), np.float32)
    frames[1, 0, 4, 5] = 1
    variables = random_variables(network, frames[0])
    recorded = dj.scan_frames(network, variables, frames, collect=("statistics",))[2]
    points = read_statistics(recorded["statistics"])
    needs = needs_of(network, variables, frames[0])
    work = work_of(needs, total(points), streams=1)
    # The first frame is computed in full, the second at nine pixels of 96.
    assert work[1].active == pytest.approx((1 + 9 / 96) / 2)
    assert work[1].operations == pytest.approx(2 * (96 + 9) / 2 * 9 * 3 * 4)


def test_the_floor_is_the_larger_time():
    work = Work("a layer", active=0.1, operations=4e9, bytes=3e6)
    assert work.floor_us(tflops=400, bandwidth=3000) == pytest.approx(10)
    assert work.floor_us(tflops=4000, bandwidth=300) == pytest.approx(10)
    assert work.floor_us(tflops=8000, bandwidth=300) == pytest.approx(10)
