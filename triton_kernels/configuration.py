"""How kernels are cut up: a pure function of shapes, dtype and GPU."""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

TABLE_VARIABLE = "DELTAJAX_KERNEL_TABLE"
"""The environment variable that names a table of measured configurations."""

MIN_STEPS = 4
"""Steps of a sum that a program takes at least, where several share it."""

LARGE, HUGE = 200, 1200
"""Pixels for each multiprocessor from which on a map is called so."""

SOME = 5_000_000
"""Products for each multiprocessor from which on there is more than one tile for a program."""


@dataclasses.dataclass(frozen=True)
class ConvolutionShape:
    """What the configuration of a convolution depends on.

    Attributes:
        pixels: N · H · W of the output, or of the lattice of it that one call, or one of its
            phases, computes.
        group_channels: input channels of a group.
        group_features: output channels of a group.
        groups: of channels that do not mix.
        taps: of the kernel, KH · KW.
        itemsize: bytes of a number of the map.
        exact: whether products are exact float32.
        multiprocessors: of the GPU, or those that a phase has of them.
        shared_bytes: of shared memory that a program can have.
    """

    pixels: int
    group_channels: int
    group_features: int
    groups: int
    taps: int
    itemsize: int
    exact: bool
    multiprocessors: int
    shared_bytes: int

    @property
    def length(self) -> int:
        """Terms of a sum."""
        return self.taps * self.group_channels

    @property
    def pixels_each(self) -> float:
        """Pixels for each multiprocessor."""
        return self.pixels / self.multiprocessors

    @property
    def products_each(self) -> float:
        """Products for each multiprocessor, if all pixels are computed."""
        return self.pixels_each * self.length * self.group_features * self.groups

    @property
    def key(self) -> str:
        """In a table."""
        return "_".join(str(int(value)) for value in dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class ConvolutionConfig:
    """How a convolution is computed.

    Attributes:
        block_m: pixels of a tile.
        block_n: output channels that a program computes together.
        block_k: of the sum over the kernel, in one step.
        shares: into which the output's pixels are divided.
        team: programs that compute a share together.
        listed: whether a kernel of its own lists the pixels, for one share that all compute.
        split: whether programs that share a tile tell each other sums, of which each may have a
            part; else norms, of the channels that each has.
        run: neighbouring pixels that belong to one share, a multiple of eight.
        num_warps: of a program.
        num_stages: of the software pipeline.
    """

    block_m: int
    block_n: int
    block_k: int
    shares: int
    team: int
    listed: bool
    split: bool
    run: int
    num_warps: int
    num_stages: int


def choose_convolution_config(shape: ConvolutionShape) -> ConvolutionConfig:
    """The configuration of a convolution: a measured one if there is a table, else the rule's.

    Raises:
        ValueError: for a table that does not exist or is none.
    """
    path = os.environ.get(TABLE_VARIABLE)
    return (read_table(path).get(shape.key) if path else None) or rule(shape)


@functools.cache
def read_table(path: str) -> Mapping[str, ConvolutionConfig]:
    """The configurations that scripts/tune_kernels.py wrote, by `ConvolutionShape.key`."""
    try:
        entries = json.loads(Path(path).read_text())["convolutions"]
        return {key: ConvolutionConfig(**entry) for key, entry in entries.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{TABLE_VARIABLE} names {path}, which is no table of kernel configurations "
            f"(scripts/tune_kernels.py writes one): {error}"
        ) from error


def rule(shape: ConvolutionShape) -> ConvolutionConfig:
    """A configuration that is good for a few to a quarter of the pixels, and works for any.

    Large tiles read less: a step reads BLOCK_M + BLOCK_N rows for BLOCK_M · BLOCK_N products, and
    what the second-level cache delivers is the limit. But few tiles, or tiles that are not full,
    leave multiprocessors idle; and two programs of four warps hide each other's waiting. Where one
    becomes more than the other was measured, kernel by kernel, in ResNet-50 as it runs, and for
    transposed convolutions and heads in PoseResNet-50.
    """
    features = _power_of_two(shape.group_features)
    if shape.group_channels < 16:
        # Pairs of pixels, if they can be, which teams cannot compute unless they are listed.
        tile = Tile(64 if shape.exact else 256, min(features, 64), 8, 1)
        return cut(shape, tile, 0, shape.pixels_each >= 4096)
    share_pixels = _share(shape, 1024 if _much(shape) else 256)
    if shape.exact or shape.groups > 1:
        # Three products of split operands take more registers than large tiles leave.
        return cut(shape, Tile(64, min(features, 64), 8, 1), share_pixels)
    if shape.group_features <= 32 and shape.pixels_each >= LARGE:
        # Little is computed with what is read: programs, rather than long ones, hide the waiting.
        if shape.taps > 1 or shape.length < 256:
            return cut(shape, Tile(64, features, 4, 4), share_pixels)
        programs = 3 if shape.itemsize == 4 else 4
        return cut(shape, Tile(64, features, 4, programs), share_pixels, shape.pixels_each >= HUGE)
    if shape.pixels_each >= LARGE and max(features, 2 * shape.length) <= 256 and shape.taps == 1:
        return _shallow(shape, features)
    if features <= 128 and shape.length * features <= 40_000 and shape.pixels_each >= HUGE:
        listed = shape.pixels_each >= 4096
        return cut(shape, Tile(64, features, 4, 2), 0, listed, split=False)
    if _is_phase(shape, features):
        return _phase(shape, features)
    if not _much(shape):
        return _small(shape, features)
    if shape.taps > 1:
        return _large(shape, features)
    return _wide(shape, features) if _is_wide(shape) else _narrow(shape, features)


def _is_wide(shape: ConvolutionShape) -> bool:
    """Whether there are more output channels than terms in a sum, and enough to be shared."""
    return shape.group_features > shape.length and shape.group_features >= 512


def _much(shape: ConvolutionShape) -> bool:
    """Whether there is enough to do for large tiles."""
    return shape.products_each >= (20_000_000 if shape.taps == 1 else 48_000_000)


def _short(shape: ConvolutionShape) -> bool:
    """Whether a sum is too short to be shared, as who shares one has to wait for the others."""
    return shape.length * shape.itemsize < 3072


def _share(shape: ConvolutionShape, pixels: int) -> int:
    """Pixels of a share: so many, or all, where shares would be few."""
    return shape.pixels if shape.pixels <= 4 * pixels else pixels


def _pairs(shape: ConvolutionShape) -> int:
    """Pixels of a share that has a team of two programs."""
    return min(1024, -(-2 * shape.pixels // shape.multiprocessors))


def _shallow(shape: ConvolutionShape, features: int) -> ConvolutionConfig:
    """Short sums for many pixels: what is read and written counts."""
    listed = shape.pixels_each >= HUGE
    if features == 256:
        return cut(shape, Tile(64, 256, 16, 1), 0, listed)
    return cut(shape, Tile(128 if listed else 64, features, 8, 1), 0, listed)


def _is_phase(shape: ConvolutionShape, features: int) -> bool:
    """Whether it is as a phase of the transposed convolutions of PoseResNet, and has enough to do.

    A phase has a quarter of the multiprocessors, and four times the pixels for each.
    """
    return 1 < shape.taps <= 4 and features == 256 and _middling(shape)


def _phase(shape: ConvolutionShape, features: int) -> ConvolutionConfig:
    """Tiles of all channels if they can be."""
    columns = _columns(shape)
    if shape.length <= 1024:
        # Whole sums: programs have nothing to tell each other.
        listed = shape.pixels_each >= 800
        return cut(shape, Tile(64, columns, 8, 1), min(1024, shape.pixels // 8), listed, False)
    if _much(shape):
        return _large(shape, features)
    rows = 128 if shape.itemsize == 4 else 64
    return cut(shape, Tile(rows, columns, 8, 1), _share(shape, 1024))


def _small(shape: ConvolutionShape, features: int) -> ConvolutionConfig:
    """Few pixels, of which there is a tile for each program at most."""
    large = shape.pixels_each >= LARGE
    wide = _is_wide(shape)
    middling = _middling(shape)
    some = shape.products_each >= SOME or (wide and shape.length >= 512)
    if shape.taps == 1 and some and not large and not middling:
        return cut(shape, Tile(64, 64, 4, 2), 512, split=not _short(shape) if wide else None)
    if middling and wide and large and shape.itemsize == 2:
        return cut(shape, Tile(64, 256, 16, 1), _pairs(shape))
    if shape.taps > 1 and middling and features >= 128 and shape.itemsize == 4:
        return cut(shape, Tile(128, 128, 8, 1), _share(shape, 1024))
    tile = Tile(64, min(features, 128), 8, 1)
    split = False if middling and _short(shape) else None
    return cut(shape, tile, _small_share(shape), False, split, _long_steps(shape, features))


def _middling(shape: ConvolutionShape) -> bool:
    """Whether there is more to do than most programs have one tile for."""
    return shape.products_each >= 12_000_000


def _small_share(shape: ConvolutionShape) -> int:
    """Pixels of a share where there are few."""
    large = shape.pixels_each >= LARGE
    if _middling(shape):
        return _pairs(shape) if large else _share(shape, 1024)
    if shape.taps > 1 and shape.length * shape.itemsize >= 4096:
        return 512
    if shape.taps == 1 and large and shape.products_each >= SOME:
        return 1024
    return _share(shape, 256)


def _long_steps(shape: ConvolutionShape, features: int) -> int | None:
    """The terms of a step of 256 bytes, where it is better than one of 128; else None."""
    sum_bytes = shape.length * shape.itemsize
    large, middling = shape.pixels_each >= LARGE, _middling(shape)
    if shape.taps > 1 and not large:
        longer = sum_bytes >= 9216 and not middling
    elif features <= 64:
        longer = large and shape.itemsize == 4 and sum_bytes >= 1024
    else:
        longer = features <= 128 and 1024 <= sum_bytes <= (2048 if middling else 1024)
    return 256 // shape.itemsize if longer else None


def _wide(shape: ConvolutionShape, features: int) -> ConvolutionConfig:
    """More output channels than terms in a sum, for many pixels."""
    share_pixels = _share(shape, 1024)
    one_share = share_pixels == shape.pixels
    listed = shape.pixels_each >= 80 and not one_share
    if shape.itemsize == 4:
        if one_share or shape.length >= 1024:
            return cut(shape, Tile(128, 128, 8, 1), share_pixels, listed, split=one_share)
        return cut(shape, Tile(64, 64, 4, 2), share_pixels, listed, split=False)
    if features == 512 and shape.pixels_each >= LARGE:
        tile = Tile(64, 256, 16 if shape.length <= 128 else 8, 1)
        return cut(shape, tile, _pairs(shape), shape.pixels_each >= HUGE, split=False)
    if features >= 4 * shape.length:
        tile = Tile(128, 128, 8, 1) if shape.length >= 512 else Tile(64, 128, 4, 2)
        return cut(shape, tile, share_pixels, listed, split=False)
    listed = shape.pixels_each >= 120 and not one_share
    return cut(shape, Tile(64, 256, 8, 1), share_pixels, listed, split=False)


def _narrow(shape: ConvolutionShape, features: int) -> ConvolutionConfig:
    """Not more output channels than terms in a sum, 1 × 1, for many pixels."""
    share_pixels = _share(shape, 1024)
    one_share = share_pixels == shape.pixels
    if _short(shape):
        rows = 128 if shape.pixels_each >= HUGE and features <= 128 else 64
        listed = features >= 512 and shape.pixels_each >= 80 and not one_share
        pixels = _pairs(shape) if shape.pixels_each >= LARGE else 1024
        longer = rows == 64 and features <= 128 and shape.length * shape.itemsize >= 1024
        block_k = 256 // shape.itemsize if longer else None
        return cut(shape, Tile(rows, min(features, 256), 8, 1), pixels, listed, False, block_k)
    listed = shape.pixels_each * shape.group_features >= 50_000 and not one_share
    if (shape.itemsize == 2 or one_share) and not (listed and features >= 512):
        return cut(shape, Tile(128, min(features, 128), 8, 1), 1024)
    return cut(shape, Tile(128, min(features, _columns(shape)), 8, 1), share_pixels, listed)


def _large(shape: ConvolutionShape, features: int) -> ConvolutionConfig:
    """Several taps, for many pixels."""
    share_pixels = _share(shape, 1024)
    listed = shape.pixels_each * shape.group_features >= 50_000 and share_pixels != shape.pixels
    many = shape.pixels_each >= HUGE
    if 64 < features <= 128 and (_short(shape) or many):
        return cut(shape, Tile(128 if many else 64, features, 8, 1), share_pixels, many, False)
    if 1024 <= shape.length >= shape.group_features:
        return cut(shape, Tile(128, min(features, _columns(shape)), 8, 1), share_pixels, listed)
    return cut(shape, Tile(128, min(features, 128), 8, 1), share_pixels)


def _columns(shape: ConvolutionShape) -> int:
    """Output channels of the largest tiles.

    Before Hopper, which has 227 KiB, operands go through registers that 256 wide tiles fill.
    """
    return 256 if shape.shared_bytes >= 200 << 10 else 128


def candidates(shape: ConvolutionShape) -> list[ConvolutionConfig]:
    """The configurations that are worth measuring, those first that were good most often."""
    features = _power_of_two(shape.group_features)
    found: dict[ConvolutionConfig, None] = {}
    for listed, share_pixels, split, steps in WAYS:
        for tile in TILES:
            if shape.exact and tile.block_m * tile.block_n > 64 * 64:
                continue
            if tile.block_n > max(features, 64):
                continue
            if steps > 1 and (shape.exact or tile.block_n > 128):
                continue
            tile = tile._replace(block_n=min(tile.block_n, features))
            block_k = steps * 128 // shape.itemsize if steps > 1 else None
            found[cut(shape, tile, share_pixels, listed, split, block_k)] = None
    return list(found)


class Tile(NamedTuple):
    """What a program computes at a time, and how many programs a multiprocessor has room for.

    Attributes:
        block_m: pixels.
        block_n: output channels.
        num_warps: of the program.
        programs: on a multiprocessor at a time: a second round of them would double the time.
    """

    block_m: int
    block_n: int
    num_warps: int
    programs: int


TILES = (
    Tile(64, 128, 8, 1), Tile(64, 64, 4, 2), Tile(128, 128, 8, 1), Tile(64, 128, 4, 2),
    Tile(64, 256, 8, 1), Tile(64, 64, 8, 1), Tile(128, 256, 8, 1), Tile(128, 64, 8, 1),
    Tile(64, 256, 16, 1), Tile(64, 64, 4, 3), Tile(32, 128, 4, 2),
)  # fmt: skip
"""That are worth measuring."""
WAYS = (
    (False, 1024, None, 1), (False, 1024, False, 1), (True, 0, False, 1), (False, 256, None, 1),
    (False, 1024, False, 2), (True, 0, None, 1), (False, 1024, None, 2), (False, 256, False, 1),
)  # fmt: skip
"""To share the work: `listed`, `share_pixels` and `split` of `cut`, and a step in 128 bytes."""


def cut(
    shape: ConvolutionShape,
    tile: Tile,
    share_pixels: int,
    listed: bool = False,
    split: bool | None = None,
    block_k: int | None = None,
) -> ConvolutionConfig:
    """Such tiles, and as many programs as the GPU has room for at a time.

    Args:
        shape: of the convolution.
        tile: of a program.
        share_pixels: about how many pixels make a share. All members of a team look at all of
            them; but large shares have few tiles that are not full.
        listed: whether the pixels are listed before, for all programs, in one share.
        split: whether programs tell each other sums; if not given, where each can have a part.
        block_k: of the sum, in one step; if not given, 128 bytes of it.
    """
    if block_k is None:
        block_k = 32 if shape.itemsize == 4 or shape.group_channels < 16 else 64
    if shape.groups > 1:
        block_k = min(block_k, _power_of_two(shape.group_channels))
    # Triton 3.6 fails to compile some loops of a single step.
    while block_k > 16 and shape.length <= block_k:
        block_k //= 2
    programs = tile.programs * shape.multiprocessors
    team = min(max(programs * share_pixels // shape.pixels, 1), programs)
    if listed or programs // team == 1:
        # Of the programs none is without a share.
        team = programs
    step_bytes = (tile.block_m + tile.block_n) * block_k * shape.itemsize
    # More stages bring nothing: the second-level cache has no more to give.
    num_stages = 4 if step_bytes <= 16 << 10 else 3
    num_stages = max(1, min(num_stages, shape.shared_bytes // tile.programs // step_bytes))
    owned = team * shape.pixels // programs
    # Where there are many output channels, programs share these instead of the sum.
    blocks = shape.groups * -(-shape.group_features // tile.block_n)
    parts = min(shape.length // (MIN_STEPS * block_k), team // blocks)
    return ConvolutionConfig(
        block_m=tile.block_m,
        block_n=tile.block_n,
        block_k=block_k,
        shares=programs // team,
        team=team,
        listed=listed,
        split=shape.group_features <= shape.length and parts > 2 if split is None else split,
        # Long runs are read in one go, short ones spread what has changed more evenly.
        run=32 if owned >= 4096 else 8,
        num_warps=tile.num_warps,
        num_stages=num_stages,
    )


def _power_of_two(features: int) -> int:
    """At least 16, as a tile's sides must be."""
    return max(16, 1 << (features - 1).bit_length())
