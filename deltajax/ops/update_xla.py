"""The update in plain XLA: changed pixels in chunks, and everything where most of it changed.

Both are `lax.while_loop`s with a data-dependent number of turns that carry the cached map, so that
XLA updates it in place. There is no `lax.cond`: its branches would copy the map.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from ..norms import ThresholdNorm, exceeds
from ..tensor import value_of
from .compaction import active_pixels
from .neighbourhood import Pixels, gather
from .update import Function, Updated

CHUNK_BYTES = 5 << 19
"""What the gathered windows of one chunk may take: they should stay in a second-level cache."""


@dataclasses.dataclass(frozen=True)
class Config:
    """How one update point is computed.

    Attributes:
        chunk: pixels gathered and multiplied together.
        dense_above: the active share of a stream's pixels above which all are computed.
    """

    chunk: int
    dense_above: float


def choose_config(pixels: int, window_bytes: int, multiplications: float) -> Config:
    """The configuration for maps of so many pixels, as measured on two cores.

    Chunks should be few, but not much longer than the lists that they cut. A gathered pixel costs
    more than one of a dense convolution, the more so the fewer multiplications it has to hide its
    gathering behind: 3 × 3 convolutions of 64, 128, 256 and 512 channels break even at 0.3, 0.5,
    0.7 and 0.9 of the pixels.

    Args:
        pixels: H · W of the output.
        window_bytes: what one output pixel gathers.
        multiplications: of one output pixel.
    """
    chunk = 512
    while chunk > 128 and (chunk * window_bytes > CHUNK_BYTES or chunk * 6 > pixels):
        chunk //= 2
    while chunk > 8 and chunk // 2 >= pixels:
        chunk //= 2
    doublings = math.log2(max(multiplications, 1) / (9 * 64 * 64))
    return Config(chunk, dense_above=min(max(0.3 + 0.1 * doublings, 0.15), 0.85))


class _Carry(NamedTuple):
    turn: Int[Array, ""]
    value: Shaped[Array, "N H W C"]
    mask: Bool[Array, "N H W"]


def update_xla(
    function: Function,
    cached: Shaped[Array, "N H W C"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
) -> Updated:
    """See `update`."""
    streams, height, width, _ = cached.shape
    pixel = sum(x.shape[3] * x.dtype.itemsize for x in function.inputs)
    config = choose_config(
        height * width,
        function.neighbourhood.taps * pixel,
        function.neighbourhood.multiplications(function.shapes),
    )
    computed = function.reach()
    active = jnp.sum(computed, axis=(1, 2), dtype=jnp.int32)
    mostly = active > config.dense_above * height * width
    few = computed & ~mostly[:, None, None]

    carry = _Carry(jnp.int32(0), cached, jnp.zeros((streams, height, width), bool))
    carry = _update_streams(function, carry, computed, mostly, threshold, norm)
    rows, columns = function.neighbourhood.phases
    for row in range(rows):
        for column in range(columns):
            carry = _update_pixels(
                function, carry, few, (row, column), threshold, norm, config.chunk
            )
    return Updated(carry.value, carry.mask, computed)


def _update_streams(
    function: Function,
    carry: _Carry,
    computed: Bool[Array, "N H W"],
    mostly: Bool[Array, " N"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
) -> _Carry:
    """All pixels of the streams in which most of them may have changed, a stream a turn."""
    streams = mostly.shape[0]
    order = jnp.argsort(~mostly) if streams > 1 else jnp.zeros(1, jnp.int32)

    def turn(carry: _Carry) -> _Carry:
        stream = order[carry.turn]

        def of_stream(x):
            if streams == 1 or x.shape[0] != streams:
                return x
            return lax.dynamic_slice_in_dim(x, stream, 1)

        def tensor_of_stream(x):
            return jax.tree.map(of_stream, x)

        tail = dataclasses.replace(
            function.tail, others=tuple(tensor_of_stream(x) for x in function.tail.others)
        )
        # Tied to the turn: XLA would otherwise compute what depends on no turn before the loop,
        # and so in every frame.
        inputs, _ = lax.optimization_barrier((function.inputs, carry.turn))
        inputs = tuple(tensor_of_stream(x) for x in inputs)
        z = Function(function.neighbourhood, tail, inputs).dense()
        old = of_stream(carry.value)
        mask = of_stream(computed) & exceeds(z, old, threshold, norm)
        new = jnp.where(mask[..., None], z, old)
        if streams == 1:
            return _Carry(carry.turn + 1, new, mask)
        return _Carry(
            carry.turn + 1,
            lax.dynamic_update_slice_in_dim(carry.value, new, stream, 0),
            lax.dynamic_update_slice_in_dim(carry.mask, mask, stream, 0),
        )

    turns = jnp.sum(mostly, dtype=jnp.int32)
    return lax.while_loop(lambda carry: carry.turn < turns, turn, carry)


def _update_pixels(
    function: Function,
    carry: _Carry,
    few: Bool[Array, "N H W"],
    phase: tuple[int, int],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
    chunk: int,
) -> _Carry:
    """The listed pixels of one phase, a chunk a turn."""
    rows, columns = function.neighbourhood.phases
    lattice = few[:, phase[0] :: rows, phase[1] :: columns]
    _, lattice_height, lattice_width = lattice.shape
    if lattice.size == 0:
        return carry
    listed = active_pixels(lattice.reshape(-1))
    streams, height, width, channels = carry.value.shape

    def turn(carry: _Carry) -> _Carry:
        rank = carry.turn * chunk + jnp.arange(chunk, dtype=jnp.int32)
        position = jnp.minimum(listed.at(rank), lattice.size - 1)
        across = position // lattice_width
        pixels = Pixels(
            stream=across // lattice_height,
            row=across % lattice_height * rows + phase[0],
            column=position % lattice_width * columns + phase[1],
        )
        others = [gather(value_of(x), pixels) for x in function.tail.others]
        z = function.tail(function.neighbourhood.at(function.values, pixels, phase), others)
        index = (pixels.stream * height + pixels.row) * width + pixels.column
        flat = carry.value.reshape(-1, channels)
        old = flat.at[index].get(mode="promise_in_bounds")
        passed = (rank < listed.count) & exceeds(z, old, threshold, norm)
        nowhere = streams * height * width + jnp.arange(chunk)
        target = jnp.where(passed, index, nowhere)
        value = flat.at[target].set(z, mode="drop", unique_indices=True)
        mask = carry.mask.reshape(-1).at[target].set(True, mode="drop", unique_indices=True)
        return _Carry(
            carry.turn + 1, value.reshape(carry.value.shape), mask.reshape(carry.mask.shape)
        )

    turns = -(-listed.count // chunk)
    carry = carry._replace(turn=jnp.int32(0))
    return lax.while_loop(lambda carry: carry.turn < turns, turn, carry)
