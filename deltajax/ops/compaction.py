"""The pixels of a mask that are on, a few at a time, at a cost that follows their number."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

WORD = 32


class ActivePixels(NamedTuple):
    """The pixels of a mask that are on, in order, without a list of them.

    Attributes:
        words: the mask, 32 pixels to a word, the first in the lowest bit.
        through: how many pixels are on in the words up to and including each.
        count: how many are on in all.
    """

    words: UInt32[Array, " words"]
    through: Int[Array, " words"]
    count: Int[Array, ""]

    def at(self, rank: Int[Array, " P"]) -> Int[Array, " P"]:
        """The positions in the flattened mask of the rank-th active pixels, counted from zero.

        Ranks of `count` and above give meaningless positions within the mask's words.
        """
        index = jnp.zeros_like(rank)
        step = 1 << (self.words.shape[0] - 1).bit_length()
        last = self.words.shape[0] - 1
        while step := step // 2:
            probe = jnp.minimum(index + (step - 1), last)
            below = self.through.at[probe].get(mode="promise_in_bounds") <= rank
            index = jnp.where(below, index + step, index)
        index = jnp.minimum(index, last)
        word = self.words.at[index].get(mode="promise_in_bounds")
        through = self.through.at[index].get(mode="promise_in_bounds")
        rank = rank - (through - jax.lax.population_count(word).astype(rank.dtype))
        return index * WORD + _position_of_bit(word, rank)


def active_pixels(mask: Bool[Array, " pixels"]) -> ActivePixels:
    """Counts and packs a flattened mask."""
    pixels = mask.shape[0]
    bits = jnp.pad(mask, (0, -pixels % WORD)).reshape(-1, WORD).astype(jnp.uint32)
    words = jnp.sum(bits << jnp.arange(WORD, dtype=jnp.uint32), axis=1, dtype=jnp.uint32)
    through = _cumulative_sum(jax.lax.population_count(words).astype(jnp.int32))
    return ActivePixels(words, through, through[-1])


def _position_of_bit(word: UInt32[Array, " P"], rank: Int[Array, " P"]) -> Int[Array, " P"]:
    """The position of the rank-th bit that is on, by halving the word five times."""
    position = jnp.zeros_like(rank)
    for width in (16, 8, 4, 2, 1):
        low = jax.lax.population_count(word & jnp.uint32((1 << width) - 1)).astype(rank.dtype)
        above = rank >= low
        rank = jnp.where(above, rank - low, rank)
        word = jnp.where(above, word >> width, word)
        position = jnp.where(above, position + width, position)
    return position


def _cumulative_sum(counts: Int[Array, " n"], dtype=jnp.float32) -> Int[Array, " n"]:
    """Inclusive prefix sums, in blocks of 64: XLA's own take log₂ n passes on a CPU.

    The sums inside a block are a product with a triangle of ones: in float32, exact for sums of 64
    words' counts, and in int32 for the sums of such blocks.
    """
    n, block = counts.shape[0], 64
    triangle = jnp.triu(jnp.ones((block, block), dtype))
    blocks = jnp.pad(counts, (0, -n % block)).reshape(-1, block).astype(dtype)
    inside = jnp.matmul(blocks, triangle, precision=jax.lax.Precision.HIGHEST).astype(jnp.int32)
    if n > block:
        before = _cumulative_sum(inside[:, -1], jnp.int32) - inside[:, -1]
        inside += before[:, None]
    return inside.reshape(-1)[:n]
