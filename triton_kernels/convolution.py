"""The call of the convolution kernel."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .arguments import INT32_LIMIT, Affine, Window, other_strides
from .configuration import ConvolutionConfig
from .convolution_kernel import convolution_kernel
from .interpreter import interpreting
from .launch import launch

MAX_KERNEL = 31
"""Rows and columns of a kernel: a program keeps a bit for each of them."""
MIN_STEPS = 4
"""Steps of the sum that a program takes at least, where several share it."""
FINISHED = 32
"""Numbers that a thread finishes at a time, of a tile that a team computed."""
PATIENCE = 256
"""Looks, of a microsecond each, that a program takes at whether its team is complete."""


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


class Counters(NamedTuple):
    """Zeros in which teams count who has come.

    Attributes:
        array: int32 [any].
        first: the first one that is for this call.
        number: how many are.
    """

    array: jax.Array
    first: int
    number: int


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
    counters: Counters,
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
        counters: zeros in which its teams count; overwritten.
        lattice: the output pixels that this call computes.
        threshold: float32 [1].
        norm: "max", "l2" or "rms".
        precision: of float32 products, as `tl.dot` has it: "tf32" or "tf32x3".
        config: how to compute it.

    Returns:
        The new map and mask, and the array of the counters.
    """
    streams, in_height, in_width, channels = x.shape
    _, out_height, out_width, features = value.shape
    pixels = streams * math.prod(lattice.size)
    weights, taps, tap_length, runs = _packed(kernel, window, groups, config)
    blocks = weights.shape[0] // config.block_n
    words = _in_words(window, lattice, in_width, candidates_given or other_mask is not None)
    owned = -(-pixels // (config.shares * config.run)) * config.run
    steps = taps * -(-tap_length // config.block_k)
    width = blocks * config.block_n
    # One program, one block of channels: a tile never leaves its registers.
    alone = config.team == 1 and blocks == 1
    partial_sums = (1,) if alone else (config.shares, config.team, config.block_m, width)
    shapes = {
        "pixel_list": jax.ShapeDtypeStruct((config.shares, owned), jnp.int32),
        "partial_sums": jax.ShapeDtypeStruct(partial_sums, jnp.float32),
    }
    arrivals, first_counter = counters.array, counters.first
    if config.team > 1:
        needed = config.shares * config.team
        if needed > counters.number:
            arrivals, first_counter = jnp.zeros(needed, jnp.int32), 0
    finish_n = 1 << (width - 1).bit_length()
    finish_m = min(config.block_m // 8, FINISHED * 32 * config.num_warps // finish_n)
    operands = {
        "x": x,
        "weights": weights,
        "candidates": candidates,
        "other_mask": candidates if other_mask is None else other_mask,
        **epilogue.affine.operands(threshold),
        "other": threshold if epilogue.other is None else epilogue.other,
        "threshold": threshold,
        "value": value,
        "arrivals": arrivals,
    }
    updated = ("value",) if config.team == 1 else ("value", "arrivals")
    if mask is None:
        shapes = {"mask": jax.ShapeDtypeStruct(value.shape[:3], jnp.bool_), **shapes}
    else:
        operands["mask"] = mask
        updated = (*updated, "mask")
    strides, other_kind = other_strides(epilogue.other, value.shape)
    results = launch(
        convolution_kernel,
        (config.shares * config.team,),
        operands,
        shapes,
        updated,
        {
            "first_counter": first_counter,
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
            "steps": steps,
            "blocks": blocks,
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
            "TEAM": config.team,
            "MAX_WAYS": max(steps // MIN_STEPS, 1),
            "FINISH_M": max(finish_m, 1),
            "FINISH_N": finish_n,
            "PATIENCE": 0 if interpreting() else PATIENCE,
            "RUN": config.run,
            "WORDS": words,
            "LIST_BLOCK": _list_block(owned, words),
        },
        config.num_warps,
        config.num_stages,
    )
    kept = arrivals is counters.array and config.team > 1
    return results["value"], results["mask"], results["arrivals"] if kept else counters.array


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
