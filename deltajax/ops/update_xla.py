"""The update in plain XLA: changed pixels in chunks, or everything where most of it changed.

Both are `lax.while_loop`s with a data-dependent number of turns that carry the cached map, so that
XLA updates it in place. There is no `lax.cond`: its branches would copy the map.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Shaped

from ..norms import ThresholdNorm, exceeds
from ..tensor import value_of
from .compaction import active_pixels
from .function import Function, Updated
from .neighbourhood import Pixels, gather

CHUNK_BYTES = 5 << 19
"""What the gathered windows of one chunk may take: they should stay in a second-level cache."""


@dataclasses.dataclass(frozen=True)
class Config:
    """How one update point is computed.

    Attributes:
        chunk: tiles computed together, or a quarter of this for the rest of a list.
        tile: (rows, columns) of output pixels that are computed as one; (1, 1) for single pixels.
        dense_above: the share of a stream's pixels in tiles above which all are computed.
    """

    chunk: int
    tile: tuple[int, int]
    dense_above: float


def choose_config(pixels: int, window_bytes: int, multiplications: float, tileable: bool) -> Config:
    """The configuration for maps of so many pixels, as measured on two cores.

    Chunks should be few, but not much longer than the lists that they cut: a chunk costs the same
    whether it is full or not. Tiles share what their windows have in common, and waste what they
    hold of unchanged pixels: they pay where gathering costs more than multiplying, up to 128
    channels of a 3 × 3 convolution. A gathered pixel costs more than one of a dense convolution,
    the more so the fewer multiplications it has to hide its gathering behind: 3 × 3 convolutions
    of 64, 128, 256 and 512 channels break even at 0.3, 0.5, 0.7 and 0.9 of the pixels, and 0.2
    later with tiles.

    Args:
        pixels: H · W of the output.
        window_bytes: what one output pixel gathers.
        multiplications: of one output pixel.
        tileable: whether the operation can be computed for tiles.
    """
    chunk = 512
    while chunk > 128 and (chunk * window_bytes > CHUNK_BYTES or chunk * 6 > pixels):
        chunk //= 2
    while chunk > 8 and chunk // 2 >= pixels:
        chunk //= 2
    doublings = math.log2(max(multiplications, 1) / (9 * 64 * 64))
    dense_above = 0.3 + 0.1 * doublings
    tile = (1, 1)
    if tileable and doublings <= 2 and chunk >= 128:
        tile = (4, 4)
        chunk //= 16
        dense_above += 0.2
    return Config(chunk, tile, min(max(dense_above, 0.15), 0.85))


Changed = Callable[[jax.Array, jax.Array], jax.Array]
"""Of new and old rows [..., C]: which of them differ by more than the threshold."""


class _Carry(NamedTuple):
    turn: Int[Array, ""]
    value: Shaped[Array, "N H W C"]
    mask: Bool[Array, "N H W"]


@functools.partial(jax.jit, static_argnames="norm")
def update_xla(
    function: Function,
    cached: Shaped[Array, "N H W C"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
) -> Updated:
    """See `update`.

    Jitted for the cache of its trace: networks repeat their blocks.
    """
    streams, height, width, _ = cached.shape
    operation = function.neighbourhood
    pixel = sum(x.shape[3] * x.dtype.itemsize for x in function.inputs)
    config = choose_config(
        height * width,
        operation.taps * pixel,
        operation.multiplications(function.shapes),
        operation.tileable,
    )
    changed = functools.partial(exceeds, threshold=threshold, norm=norm)
    computed = function.reach()
    tiles = _any_of_tile(computed, config.tile)
    active = jnp.sum(tiles, axis=(1, 2), dtype=jnp.int32) * math.prod(config.tile)
    mostly = active > config.dense_above * height * width

    carry = _Carry(jnp.int32(0), cached, jnp.zeros((streams, height, width), bool))
    carry = _update_streams(function, carry, computed, mostly, changed)
    few = computed & ~mostly[:, None, None]
    for row in range(operation.phases[0]):
        for column in range(operation.phases[1]):
            carry = _update_tiles(function, carry, few, (row, column), changed, config)
    return Updated(carry.value, carry.mask, computed)


def _update_streams(
    function: Function,
    carry: _Carry,
    computed: Bool[Array, "N H W"],
    mostly: Bool[Array, " N"],
    changed: Changed,
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
        mask = of_stream(computed) & changed(z, old)
        new = jnp.where(mask[..., None], z, old)
        if streams == 1:
            return _Carry(carry.turn + 1, new, mask)
        return _Carry(
            carry.turn + 1,
            lax.dynamic_update_slice_in_dim(carry.value, new, stream, 0),
            lax.dynamic_update_slice_in_dim(carry.mask, mask, stream, 0),
        )

    return _repeat(jnp.sum(mostly, dtype=jnp.int32), turn, carry)


def _update_tiles(
    function: Function,
    carry: _Carry,
    few: Bool[Array, "N H W"],
    phase: tuple[int, int],
    changed: Changed,
    config: Config,
) -> _Carry:
    """The tiles of one phase's lattice that hold a pixel to compute, a chunk a turn."""
    rows, columns = function.neighbourhood.phases
    lattice = few[:, phase[0] :: rows, phase[1] :: columns]
    if lattice.size == 0:
        return carry
    _, lattice_height, lattice_width = lattice.shape
    tiles = _any_of_tile(lattice, config.tile)
    _, tiles_down, tiles_across = tiles.shape
    listed = active_pixels(tiles.reshape(-1))
    streams, height, width, channels = carry.value.shape
    tile_row, tile_column = np.divmod(
        np.arange(math.prod(config.tile), dtype=np.int32), config.tile[1]
    )

    def turn(start: jax.Array, chunk: int, carry: _Carry) -> _Carry:
        rank = start + carry.turn * chunk + jnp.arange(chunk, dtype=jnp.int32)
        # Once: XLA would compute it again in each of the many kernels that it is used in.
        position = lax.optimization_barrier(jnp.minimum(listed.at(rank), tiles.size - 1))
        across = position // tiles_across
        corners = Pixels(
            stream=across // tiles_down,
            row=across % tiles_down * config.tile[0],
            column=position % tiles_across * config.tile[1],
        )
        lattice_row = (corners.row[:, None] + tile_row).reshape(-1)
        lattice_column = (corners.column[:, None] + tile_column).reshape(-1)
        pixels = Pixels(
            stream=jnp.repeat(corners.stream, len(tile_row)),
            row=jnp.minimum(lattice_row, lattice_height - 1) * rows + phase[0],
            column=jnp.minimum(lattice_column, lattice_width - 1) * columns + phase[1],
        )
        index = (pixels.stream * height + pixels.row) * width + pixels.column
        wanted = jnp.repeat(rank < listed.count, len(tile_row))
        if config.tile == (1, 1):
            z = function.neighbourhood.at(function.values, pixels, phase)
        else:
            z = function.neighbourhood.at_tiles(function.values, corners, config.tile)
            z = z.reshape(-1, z.shape[-1])
            wanted &= (lattice_row < lattice_height) & (lattice_column < lattice_width)
            wanted &= few.reshape(-1).at[index].get(mode="promise_in_bounds")
        z = function.tail(z, [gather(value_of(x), pixels) for x in function.tail.others])
        flat = carry.value.reshape(-1, channels)
        passed = wanted & changed(z, flat.at[index].get(mode="promise_in_bounds"))
        nowhere = streams * height * width + jnp.arange(len(index), dtype=jnp.int32)
        target = jnp.where(passed, index, nowhere)
        value = flat.at[target].set(z, mode="drop", unique_indices=True)
        mask = carry.mask.reshape(-1).at[target].set(True, mode="drop", unique_indices=True)
        return _Carry(
            carry.turn + 1, value.reshape(carry.value.shape), mask.reshape(carry.mask.shape)
        )

    # The rest of a list, if it is less than half a chunk, is cut smaller.
    turns = (listed.count + config.chunk // 2) // config.chunk
    carry = _repeat(turns, functools.partial(turn, jnp.int32(0), config.chunk), carry)
    done = turns * config.chunk
    rest = jnp.maximum(listed.count - done, 0)
    small = max(config.chunk // 4, 1)
    return _repeat(-(-rest // small), functools.partial(turn, done, small), carry)


def _repeat(turns: jax.Array, turn: Callable[[_Carry], _Carry], carry: _Carry) -> _Carry:
    """So many turns, numbered from zero."""
    carry = carry._replace(turn=jnp.int32(0))
    return lax.while_loop(lambda carry: carry.turn < turns, turn, carry)


def _any_of_tile(
    mask: Bool[Array, "N H W"], tile: tuple[int, int]
) -> Bool[Array, "N tiles_down tiles_across"]:
    """The tiles that hold a pixel of the mask; the last ones may hang over the border."""
    if tile == (1, 1):
        return mask
    streams, height, width = mask.shape
    mask = jnp.pad(mask, ((0, 0), (0, -height % tile[0]), (0, -width % tile[1])))
    _, height, width = mask.shape
    mask = mask.reshape(streams, height // tile[0], tile[0], width // tile[1], tile[1])
    return mask.any(axis=(2, 4))
