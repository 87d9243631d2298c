"""The call of the convolution kernel."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .arguments import INT32_LIMIT, Affine, Window, other_strides
from .configuration import MIN_STEPS, ConvolutionConfig
from .convolution_kernel import convolution_kernel
from .interpreter import interpreting
from .launch import launch
from .reach_kernel import list_kernel

MAX_KERNEL = 31
"""Rows and columns of a kernel: a program keeps a bit for each of them."""
FINISHED = 32
"""Numbers that a thread finishes at a time, of a tile that a team computed."""
LOADED = 128
"""Parts of their sums that it loads for them at a time, at most."""
LISTED_WORDS = 256
"""Words of four pixels that a program lists, where a kernel of its own does it."""
LINE = 128
"""Bytes of a line of the second-level cache."""
MIN_FETCHED = 256 << 10
"""Bytes of weights from which on they are fetched ahead: fewer are there in no time."""
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


@dataclasses.dataclass(frozen=True)
class Phases:
    """Lattices between each other's pixels, which one call computes.

    Attributes:
        number: (rows, columns) of them. Each is offset by one pixel of the output from the one
            before it.
        steps: by which its padding is less, of (rows, columns).
    """

    number: tuple[int, int] = (1, 1)
    steps: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        """How many there are."""
        return math.prod(self.number)


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


@dataclasses.dataclass(frozen=True)
class Part:
    """The convolution that one call computes, as far as it is known without arrays.

    The layout of packed weights depends on this alone.

    Attributes:
        shape: of the kernel, [KH, KW, C_in / groups, C_out]; of one of the phases.
        dtype: of the kernel.
        window: over the input, of the lattice's pixels.
        groups: of channels that do not mix.
        in_width: columns of the input.
        lattice: the output pixels that the call computes, or those of the first phase.
        phases: that it computes, if several; `window` is that of the first.
        of_output: whether there are masks of the output's pixels, given or of another map.
        precision: of float32 products, as `tl.dot` has it: "tf32" or "tf32x3".
        config: how to compute it.
    """

    shape: tuple[int, ...]
    dtype: jnp.dtype
    window: Window
    groups: int
    in_width: int
    lattice: Lattice
    phases: Phases
    of_output: bool
    precision: str
    config: ConvolutionConfig


def convolve(
    x: jax.Array,
    weights: jax.Array,
    part: Part,
    candidates: jax.Array,
    candidates_given: bool,
    other_mask: jax.Array | None,
    epilogue: Epilogue,
    value: jax.Array,
    mask: jax.Array | None,
    counters: Counters,
    threshold: jax.Array,
    norm: str,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One update of a convolution.

    Args:
        x: [N, H, W, C_in].
        weights: of `pack_weights`.
        part: what is computed, and how.
        candidates: bool [N, H, W], the input pixels that changed; with `candidates_given`
            [N, Ho, Wo], the output pixels to compute.
        candidates_given: which of the two it is.
        other_mask: [N, Ho, Wo], further pixels to compute.
        epilogue: what follows the sum.
        value: [N, Ho, Wo, C_out], the cached map; overwritten.
        mask: [N, Ho, Wo], the mask that earlier calls for other lattices made; overwritten.
        counters: zeros in which its teams count; overwritten.
        threshold: float32 [1].
        norm: "max", "l2" or "rms".

    Returns:
        The new map and mask, and the array of the counters.
    """
    window, groups, lattice, config = part.window, part.groups, part.lattice, part.config
    phases = part.phases.count
    streams, in_height, in_width, channels = x.shape
    _, out_height, out_width, features = value.shape
    pixels = streams * math.prod(lattice.size)
    words, run = _reading(part)
    taps, tap_length = _taps(part.shape, run)
    pack = run.pack if run else 1
    block_m, block_n = config.block_m // pack, config.block_n * pack
    blocks = weights.shape[0] // phases // block_n
    owned = -(-pixels // (config.shares * config.run)) * config.run
    steps = taps * -(-tap_length // config.block_k)
    width = blocks * block_n
    max_ways = max(min(steps // MIN_STEPS, config.team // blocks), 1) if config.split else 1
    # One block of channels, and one part of each sum: nothing to tell.
    sums = config.split and max(max_ways, blocks) > 1
    places, together = _places(-(-owned // block_m), config.team, blocks)
    told = (phases * config.shares, places)
    partial_sums = (*told, block_m, width) if sums or blocks > 1 else (1,)
    norms = (*told, 2, blocks, block_m) if blocks > 1 and not sums else (1,)
    shapes = {
        "pixel_list": jax.ShapeDtypeStruct(
            (1,) if config.listed else (phases * config.shares * config.team, owned), jnp.int32
        ),
        "partial_sums": jax.ShapeDtypeStruct(partial_sums, jnp.float32 if sums else value.dtype),
        "norms": jax.ShapeDtypeStruct(norms, jnp.float32),
    }
    arrivals, first_counter, own = counters.array, counters.first, True
    if config.team > 1 or config.listed:
        needed = phases * (config.shares * config.team + (config.listed or phases > 1))
        if needed > counters.number:
            arrivals, first_counter, own = jnp.zeros(needed, jnp.int32), 0, False
    finish_n = 1 << (width - 1).bit_length()
    threads = 32 * config.num_warps
    finish_m = max(min(block_m // 8, FINISHED * threads // finish_n), 1)
    at_once = max(min(LOADED * threads // (finish_m * finish_n), max_ways), 1)
    where = {
        "pixels": pixels,
        "LATTICE_HEIGHT": lattice.size[0],
        "LATTICE_WIDTH": lattice.size[1],
        "OUT_HEIGHT": out_height,
        "OUT_WIDTH": out_width,
        "IN_HEIGHT": in_height,
        "IN_WIDTH": in_width,
        "row_offset": lattice.offset[0],
        "column_offset": lattice.offset[1],
        **window.constants(),
        "OUT_STRIDE_HEIGHT": lattice.strides[0],
        "OUT_STRIDE_WIDTH": lattice.strides[1],
        "CANDIDATES_GIVEN": candidates_given,
        "HAS_OTHER_MASK": other_mask is not None,
        "WORDS": words,
        "PACK": pack,
        "PHASES": phases,
        "PHASE_COLUMNS": part.phases.number[1],
        "TOP_STEP": part.phases.steps[0],
        "LEFT_STEP": part.phases.steps[1],
    }
    # An array, so that all updates of one shape have the same kernels.
    first = jnp.array([first_counter], jnp.int32)
    given_list = candidates
    if config.listed:
        block = LISTED_WORDS if words else 4 * LISTED_WORDS
        listing = {
            "candidates": candidates,
            "other_mask": candidates if other_mask is None else other_mask,
            "first_counter": first,
            "arrivals": arrivals,
        }
        made = {"pixel_list": jax.ShapeDtypeStruct((phases * pixels,), jnp.int32)}
        if mask is None:
            made = {"mask": jax.ShapeDtypeStruct(value.shape[:3], jnp.bool_), **made}
        else:
            listing["mask"] = mask
        results = launch(
            list_kernel,
            (phases * -(-pixels // (4 * LISTED_WORDS)),),
            listing,
            made,
            ("arrivals",) if mask is None else ("arrivals", "mask"),
            where | {"counter": config.team, "LIST_BLOCK": block},
            num_warps=4,
            num_stages=1,
        )
        arrivals, mask, given_list = results["arrivals"], results["mask"], results["pixel_list"]
    operands = {
        "x": x,
        "weights": weights,
        "candidates": candidates,
        "other_mask": candidates if other_mask is None else other_mask,
        **epilogue.affine.operands(threshold),
        "other": threshold if epilogue.other is None else epilogue.other,
        "threshold": threshold,
        "first_counter": first,
        "given_list": given_list,
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
        (phases * config.shares * config.team,),
        operands,
        shapes,
        updated,
        where
        | {
            "LISTED": config.listed,
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
            "TAPS": taps,
            "TAP_LENGTH": tap_length,
            "RUNS": run is not None,
            "RUN_STRIDE": run.stride if run else 0,
            "RUN_LEAD": run.lead if run else 0,
            **epilogue.affine.constants(),
            "OTHER": other_kind,
            "POINTWISE": epilogue.pointwise,
            "NORM": norm,
            "PRECISION": part.precision if x.dtype == jnp.float32 else None,
            "WIDE": max(x.size, value.size) >= INT32_LIMIT,
            "BLOCK_M": block_m,
            "BLOCK_N": block_n,
            "BLOCK_K": config.block_k,
            "BLOCKS": blocks,
            "TEAM": config.team,
            "WEIGHT_LINES": _lines_ahead(weights, config),
            "LANES": 1 << (blocks - 1).bit_length(),
            "SUMS": sums,
            "MAX_WAYS": max_ways,
            "PLACES": places,
            "TOGETHER": together,
            "FINISH_M": finish_m,
            "FINISH_N": finish_n,
            "AT_ONCE": at_once,
            "PATIENCE": 0 if interpreting() else PATIENCE,
            "COMPILED": not interpreting(),
            "RUN": config.run,
            "LIST_BLOCK": _list_block(owned, words, config.num_warps),
        },
        config.num_warps,
        config.num_stages,
    )
    arrivals = results.get("arrivals", arrivals)
    return results["value"], results["mask"], arrivals if own else counters.array


def pack_weights(kernels: Sequence[jax.Array], part: Part) -> jax.Array:
    """The weights as the kernel takes them, [phases · output channels, sum].

    They depend on no frame. Where many frames have the same weights they should be packed once:
    XLA does not move this out of a loop on a GPU, beyond the transposition.

    Args:
        kernels: [KH, KW, C_in / groups, C_out], of each phase.
        part: that takes them.
    """
    _, run = _reading(part)
    # All phases together, as XLA would keep each one's weights beside those of all.
    packed = jax.vmap(lambda kernel: _packed(kernel, part.groups, run, part.config))
    weights = packed(jnp.stack(kernels))
    weights = weights.reshape(-1, weights.shape[-1])
    if part.precision == "tf32" and weights.dtype == jnp.float32:
        # As `device.nearest_tf32` does, but for ties, with what is committed: or else tensor cores
        # would cut.
        weights = lax.reduce_precision(weights, exponent_bits=8, mantissa_bits=10)
    return weights


def _lines_ahead(weights: jax.Array | jax.ShapeDtypeStruct, config: ConvolutionConfig) -> int:
    """Lines of the weights that are fetched before programs have their first tiles.

    Where programs work in teams there are few pixels for many weights.
    """
    size = weights.size * weights.dtype.itemsize
    return size // LINE if config.team > 1 and size >= MIN_FETCHED else 0


def _places(tiles: int, team: int, blocks: int) -> tuple[int, int]:
    """Tiles of partial sums that a share can need, and the first of those for tiles shared.

    Args:
        tiles: of a share, at most.
        team: programs that compute them.
        blocks: of channels, each of which has a program before any has several.
    """
    if tiles <= team:
        return min(team, max(tiles, team // blocks)), 0
    # Some may share a tile while others have not finished their own: at most half as many tiles.
    return team + max(team // 2, team // blocks), team


def _list_block(owned: int, words: bool, num_warps: int) -> int:
    """Pixels, or words of four, that a program looks at together: all, or four for each thread."""
    each = 4 if words else 1
    return min(128 * num_warps, max(16, 1 << (owned // each - 1).bit_length()))


def _in_words(part: Part) -> bool:
    """Whether masks can be read four pixels at a time."""
    window, lattice, phases = part.window, part.lattice, part.phases
    paddings = [window.padding[1] - i * phases.steps[1] for i in range(phases.number[1])]
    return (
        lattice.size[1] % 4 == 0
        and window.strides[1] in (1, 2)
        and part.in_width == window.strides[1] * lattice.size[1]
        and window.dilation[1] == 1
        and all(0 <= before < 4 and window.size[1] - 1 - before < 4 for before in paddings)
        # Masks of the whole output have other pixels between those of a lattice.
        and (lattice.strides == (1, 1) or not part.of_output)
    )


class _Run(NamedTuple):
    """Rows of a window as runs of numbers, for few channels.

    Attributes:
        length: numbers of a row, and of what lies between the rows of several pixels.
        stride: numbers from one to the next.
        lead: numbers before the line at which the first one starts.
        pack: neighbouring pixels that share one.
        shift: numbers of the run before the window of the first of them.
    """

    length: int
    stride: int
    lead: int
    pack: int = 1
    shift: int = 0


def _reading(part: Part) -> tuple[bool, _Run | None]:
    """Whether masks are read in words, and how rows of windows are."""
    config = part.config
    words = _in_words(part)
    return words, _run(part, words and (config.team == 1 or config.listed))


def in_runs(shape: tuple[int, ...], window: Window, groups: int) -> bool:
    """Whether rows of windows are read as runs, for kernels [KH, KW, C_in / groups, C_out]."""
    _, columns, channels, _ = shape
    return columns > 1 and window.dilation[1] == 1 and groups == 1 and channels % 16 != 0


def _run(part: Part, pairs: bool) -> _Run | None:
    """How the rows of a window are read; None to read it pixel by pixel.

    Tensor cores want their operands in pieces of four numbers, and three channels start anywhere.
    But the windows of every other pixel of a row start four numbers apart if the stride is two:
    pairs of pixels share a row of the product, in which each has zeros for weights where its window
    is not.

    Args:
        pairs: whether pixels can be listed in pairs.
    """
    _, columns, channels, features = part.shape
    window, config = part.window, part.config
    if not in_runs(part.shape, window, part.groups):
        return None
    stride, lead = window.strides[1] * channels, window.padding[1] * channels
    shift = -lead % 4
    length = shift + stride + columns * channels
    if (
        pairs
        and 2 * stride % 4 == 0
        and part.in_width * channels % 4 == 0
        and length <= config.block_k
        and features == config.block_n
        and config.block_m >= 32
    ):
        return _Run(config.block_k, 2 * stride, lead + shift, 2, shift)
    return _Run(columns * channels, stride, lead)


def _taps(shape: tuple[int, ...], run: _Run | None) -> tuple[int, int]:
    """Taps of a kernel of this shape, or rows of it, and the numbers of each."""
    rows, columns, channels, _ = shape
    return (rows, run.length) if run else (rows * columns, channels)


def _packed(
    kernel: jax.Array, groups: int, run: _Run | None, config: ConvolutionConfig
) -> jax.Array:
    """The weights as [output channels, sum].

    The sum is the inner axis, as tensor cores take float32 in no other layout. Both axes are
    filled up with zeros to whole blocks, that of the channels group by group.
    """
    rows, columns, channels, features = kernel.shape
    taps, tap_length = _taps(kernel.shape, run)
    if run:
        row = kernel.reshape(rows, columns * channels, features)
        stride = run.stride // run.pack
        starts = [run.shift + i * stride for i in range(run.pack)]
        fills = [(start, run.length - start - row.shape[1]) for start in starts]
        kernel = jnp.concatenate([jnp.pad(row, ((0, 0), fill, (0, 0))) for fill in fills], axis=-1)
        features *= run.pack
    weights = kernel.reshape(taps, tap_length, groups, features // groups)
    weights = weights.transpose(2, 3, 0, 1)
    block_n = config.block_n * (run.pack if run else 1)
    fill = (-(features // groups) % block_n, -tap_length % config.block_k)
    weights = jnp.pad(weights, ((0, 0), (0, fill[0]), (0, 0), (0, fill[1])))
    return weights.reshape(-1, math.prod(weights.shape[2:]))
