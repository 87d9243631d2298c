"""A map of more numbers than 32 bits can count: run by hand, `pytest -m gpu -n 0` and this file.

By itself, as it needs more memory than one of six processes has.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from deltajax.ops.convolution import Convolution
from deltajax.ops.function import Function
from deltajax.ops.tail import Tail
from deltajax.ops.update import Implementation, update
from deltajax.ops.windows import Window
from deltajax.tensor import DeltaTensor
from tests.helpers import relative_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="there is no GPU"),
]

SHAPE = (1, 4160, 4096, 128)
"""2.18 · 10⁹ numbers; row 4096 starts with number 2³¹."""
NEEDED_BYTES = 20 << 30
"""Of memory: two such maps of two bytes a number, a copy of one, and lists of pixels."""
CACHED = 7.0
BFLOAT16 = 5e-3


def test_a_convolution_of_more_than_two_to_the_31_numbers():
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", 0)
    if limit < NEEDED_BYTES:
        pytest.skip(f"needs {NEEDED_BYTES >> 30} GiB of GPU memory, but has {limit >> 30}")
    check(SHAPE, (0, 4092, 4152), "triton")


def check(shape: tuple[int, int, int, int], rows: tuple[int, ...], implementation: Implementation):
    """Changes a few rectangles of a map, from these rows on, and looks at the rows around them."""
    _, height, width, channels = shape
    lines, columns = jax.random.split(jax.random.key(0))
    # Different everywhere, so that no wrong place has the right numbers.
    lines = jax.random.normal(lines, (1, height, 1, channels), jnp.bfloat16)
    columns = jax.random.normal(columns, (1, 1, width, channels), jnp.bfloat16)
    kernel = jax.random.normal(jax.random.key(1), (3, 3, channels, channels), jnp.bfloat16)
    changed = np.zeros(shape[:3], bool)
    for row, column in zip(rows, (0, width // 2, width - 8), strict=True):
        changed[:, row : row + 8, column : column + 8] = True

    @jax.jit
    def run(changed: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        operation = Convolution(kernel, Window((3, 3), (1, 1), ((1, 1), (1, 1))))
        x = lines * columns
        function = Function(operation, Tail(), (DeltaTensor(x, changed),))
        cached = jnp.full(shape, CACHED, jnp.bfloat16)
        updated = update(function, cached, 0.0, "max", implementation)
        return x, updated.value, updated.mask

    x, value, mask = run(changed)
    reached = np.asarray(_dilated(changed))
    np.testing.assert_array_equal(mask, reached)
    for row in rows:
        first, last = max(row - 2, 0), min(row + 10, height)
        around = x[:, max(first - 1, 0) : last + 1].astype(jnp.float32)
        above, below = int(first == 0), int(last == height)
        expected = lax.conv_general_dilated(
            around, kernel.astype(jnp.float32), (1, 1), ((above, below), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest",
        )  # fmt: skip
        found, on = np.asarray(value[:, first:last], np.float32), reached[:, first:last]
        assert on.any()
        assert (found[~on] == CACHED).all()
        assert relative_error(found[on], np.asarray(expected)[on]) <= BFLOAT16


def _dilated(mask: np.ndarray) -> jax.Array:
    """The pixels that see one of the mask in a window of 3 × 3."""
    return lax.reduce_window(mask, False, lax.bitwise_or, (1, 3, 3), (1, 1, 1), "SAME")
