"""The call of the convolution kernel."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .arguments import INT32_LIMIT, Affine, Window, other_strides
from .configuration import ConvolutionConfig
from .convolution_kernel import convolution_kernel
from .launch import launch

MAX_KERNEL = 31
"""Rows and columns of a kernel: a program keeps a bit for each of them."""
ARRIVALS = 16384
"""Counters that are enough for most convolutions; others clear some of their own."""


@dataclasses.dataclass(frozen=True)
class Lattice:
    """Every so-many-th output pixel, which one call computes.

    Attributes:
        size: (rows, columns) of the lattice.
        strides: in output pixels.
        offset: of the first one.
    """

    size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    offset: tuple[int, int] = (0, 0)


class Epilogue(NamedTuple):
    """What follows the sum: scale and shift, then a pointwise function of it and another map.

    Attributes:
        affine: scale and shift.
        other: a map that broadcasts to the output, or None.
        pointwise: a Triton device function of the sum and the other, or None.
    """

    affine: Affine = Affine()
    other: jax.Array | None = None
    pointwise: Any = None


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    window: Window,
    groups: int,
    candidates: jax.Array,
    candidates_given: bool,
    other_mask: jax.Array | None,
    epilogue: Epilogue,
    value: jax.Array,
    mask: jax.Array | None,
    arrivals: jax.Array,
    lattice: Lattice,
    threshold: jax.Array,
    norm: str,
    precision: str,
    config: ConvolutionConfig,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One update of a convolution.

    Args:
        x: [N, H, W, C_in].
        kernel: [KH, KW, C_in / groups, C_out].
        window: over x, of the lattice's pixels.
        groups: of channels that do not mix.
        candidates: bool [N, H, W], the input pixels that changed; with `candidates_given`
            [N, Ho, Wo], the output pixels to compute.
        candidates_given: which of the two it is.
        other_mask: [N, Ho, Wo], further pixels to compute.
        epilogue: what follows the sum.
        value: [N, Ho, Wo, C_out], the cached map; overwritten.
        mask: [N, Ho, Wo], the mask that earlier calls for other lattices made; overwritten.
        arrivals: int32 [ARRIVALS], zeros; overwritten, but zeros again.
        lattice: the output pixels that this call computes.
        threshold: float32 [1].
        norm: "max", "l2" or "rms".
        precision: of float32 products, as `tl.dot` has it: "tf32" or "tf32x3".
        config: how to compute it.

    Returns:
        The new map, mask and arrivals.
    """
    streams, in_height, in_width, channels = x.shape
    _, out_height, out_width, features = value.shape
    pixels = streams * math.prod(lattice.size)
    weights, taps, tap_length, runs = _packed(kernel, window, groups, config)
    blocks = weights.shape[0] // config.block_n
    words = _in_words(window, lattice, in_width, candidates_given or other_mask is not None)
    owned = -(-pixels // (config.shares * config.run)) * config.run
    tiles = -(-owned // config.block_m)
    block_pixels = config.block_m * config.block_n
    fresh = {
        "pixel_list": (config.shares, owned),
        "partial_sums": (config.shares, config.splits, blocks, block_pixels)
        if config.splits > 1
        else (1,),
        "finished": (config.shares, tiles, blocks, block_pixels) if blocks > 1 else (1,),
        "norms": (config.shares, tiles, blocks, config.block_m) if blocks > 1 else (1,),
    }
    dtypes = {"pixel_list": jnp.int32, "finished": value.dtype}
    shapes = {
        name: jax.ShapeDtypeStruct(shape, dtypes.get(name, jnp.float32))
        for name, shape in fresh.items()
    }
    team = blocks * config.splits
    counters = jnp.zeros(1, jnp.int32)
    if team > 1:
        needed = config.shares * tiles * (blocks + 1)
        counters = arrivals if needed <= arrivals.size else jnp.zeros(needed, jnp.int32)
    operands = {
        "x": x,
        "weights": weights,
        "candidates": candidates,
        "other_mask": candidates if other_mask is None else other_mask,
        **epilogue.affine.operands(threshold),
        "other": threshold if epilogue.other is None else epilogue.other,
        "threshold": threshold,
        "value": value,
        "arrivals": counters,
    }
    updated = ("value",) if team == 1 else ("value", "arrivals")
    if mask is None:
        shapes = {"mask": jax.ShapeDtypeStruct(value.shape[:3], jnp.bool_), **shapes}
    else:
        operands["mask"] = mask
        updated = (*updated, "mask")
    strides, other_kind = other_strides(epilogue.other, value.shape)
    results = launch(
        convolution_kernel,
        (config.shares * team,),
        operands,
        shapes,
        updated,
        {
            "pixels": pixels,
            "LATTICE_HEIGHT": lattice.size[0],
            "LATTICE_WIDTH": lattice.size[1],
            "OUT_HEIGHT": out_height,
            "OUT_WIDTH": out_width,
            "IN_HEIGHT": in_height,
            "IN_WIDTH": in_width,
            "row_offset": lattice.offset[0],
            "column_offset": lattice.offset[1],
            "shares": config.shares,
            "owned": owned,
            "steps": taps * -(-tap_length // config.block_k),
            "other_stream_stride": strides[0],
            "other_row_stride": strides[1],
            "other_column_stride": strides[2],
            "other_channel_stride": strides[3],
            "C_IN": channels,
            "C_OUT": features,
            "GROUPS": groups,
            **window.constants(),
            "OUT_STRIDE_HEIGHT": lattice.strides[0],
            "OUT_STRIDE_WIDTH": lattice.strides[1],
            "TAPS": taps,
            "TAP_LENGTH": tap_length,
            "RUNS": runs,
            "CANDIDATES_GIVEN": candidates_given,
            "HAS_OTHER_MASK": other_mask is not None,
            **epilogue.affine.constants(),
            "OTHER": other_kind,
            "POINTWISE": epilogue.pointwise,
            "NORM": norm,
            "PRECISION": precision if x.dtype == jnp.float32 else None,
            "WIDE": max(x.size, value.size) >= INT32_LIMIT,
            "BLOCK_M": config.block_m,
            "BLOCK_N": config.block_n,
            "BLOCK_K": config.block_k,
            "BLOCKS": blocks,
            "PADDED_BLOCKS": 1 << (blocks - 1).bit_length(),
            "SPLITS": config.splits,
            "RUN": config.run,
            "WORDS": words,
            "LIST_BLOCK": _list_block(owned, words),
        },
        config.num_warps,
        config.num_stages,
    )
    kept = counters is arrivals
    return results["value"], results["mask"], results["arrivals"] if kept else arrivals


def _list_block(owned: int, words: bool) -> int:
    """Pixels, or words of four, that a program looks at together: all it owns, up to 1024."""
    each = 4 if words else 1
    return min(1024 // each, max(16, 1 << (owned // each - 1).bit_length()))


def _in_words(window: Window, lattice: Lattice, in_width: int, whole: bool) -> bool:
    """Whether masks can be read four pixels at a time.

    Args:
        whole: whether masks of the whole output are among them.
    """
    before, after = window.padding[1], window.size[1] - 1 - window.padding[1]
    return (
        lattice.size[1] % 4 == 0
        and window.strides[1] in (1, 2)
        and in_width == window.strides[1] * lattice.size[1]
        and window.dilation[1] == 1
        and 0 <= before < 4
        and after < 4
        and (lattice.strides == (1, 1) or not whole)
    )


def _packed(
    kernel: jax.Array, window: Window, groups: int, config: ConvolutionConfig
) -> tuple[jax.Array, int, int, bool]:
    """The weights as [output channels, sum], and the taps, the numbers of a tap, whether it is a
    row.

    The sum is the inner axis, as tensor cores take float32 in no other layout. Both axes are
    filled up with zeros to whole blocks, that of the channels group by group.
    """
    rows, columns, channels, features = kernel.shape
    runs = groups == 1 and window.dilation[1] == 1 and columns > 1 and channels % 16 != 0
    taps, tap_length = (rows, columns * channels) if runs else (rows * columns, channels)
    weights = kernel.reshape(taps, tap_length, groups, features // groups)
    weights = weights.transpose(2, 3, 0, 1)
    fill = (-(features // groups) % config.block_n, -tap_length % config.block_k)
    weights = jnp.pad(weights, ((0, 0), (0, fill[0]), (0, 0), (0, fill[1])))
    return weights.reshape(-1, math.prod(weights.shape[2:])), taps, tap_length, runs
