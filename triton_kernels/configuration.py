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


@dataclasses.dataclass(frozen=True)
class ConvolutionShape:
    """What the configuration of a convolution depends on.

    Attributes:
        pixels: N · H · W of the output, or of the lattice of it that one call computes.
        group_channels: input channels of a group.
        group_features: output channels of a group.
        groups: of channels that do not mix.
        taps: of the kernel, KH · KW.
        itemsize: bytes of a number of the map.
        exact: whether products are exact float32.
        multiprocessors: of the GPU.
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
    what the second-level cache delivers is the limit.
    """
    features = _power_of_two(shape.group_features)
    multiprocessors = shape.multiprocessors
    if shape.group_channels < 16:
        # Pairs of pixels, if they can be, which teams cannot compute unless they are listed.
        listed = shape.pixels >= 4096 * multiprocessors
        return cut(shape, Tile(64 if shape.exact else 256, min(features, 64), 8, 1), 0, listed)
    # Small maps are deep ones, in which more has changed: about as much as they are narrow.
    narrow = min(shape.group_channels, shape.group_features) * shape.groups
    products = shape.pixels * shape.length * shape.group_features
    tall = shape.pixels * narrow**2 >= 1024 * 2048 * multiprocessors
    tall = tall or (shape.taps > 1 and products >= 32_000_000 * multiprocessors)
    share_pixels = 1024 if tall else 256
    one_share = shape.pixels <= 4 * share_pixels
    if one_share:
        share_pixels = shape.pixels
    if shape.exact or shape.groups > 1:
        # Three products of split operands take more registers than large tiles leave.
        return cut(shape, Tile(64, min(features, 64), 8, 1), share_pixels)
    large = shape.pixels >= 200 * multiprocessors
    wide = shape.group_features > shape.length
    if shape.group_features <= 32 and large:
        # Little is computed with what is read: programs, rather than long ones, hide the waiting.
        return cut(shape, Tile(64, features, 4, 4), share_pixels)
    # A share has fewer changed pixels than a large tile has rows.
    if features == 256 and shape.length <= 128 and large:
        return cut(shape, Tile(64, 256, 16, 1), 0)
    if features == 512 and wide and large and shape.itemsize == 2:
        return cut(shape, Tile(64, 256, 16, 1), 1024)
    if tall and wide and features >= 512:
        # Of float32, what programs compare takes more registers than what they add up.
        split = shape.itemsize == 4
        return cut(shape, Tile(128, 128, 8, 1), share_pixels, not one_share, split)
    if tall and 1024 <= shape.length >= shape.group_features:
        listed = shape.pixels * shape.group_features >= 50_000 * multiprocessors and not one_share
        if shape.itemsize == 2 and shape.taps == 1 and not (listed and features >= 512):
            return cut(shape, Tile(128, min(features, 128), 8, 1), 1024)
        # Before Hopper, which has 227 KiB, operands go through registers that 256 wide tiles fill.
        columns = 256 if shape.shared_bytes >= 200 << 10 else 128
        return cut(shape, Tile(128, min(features, columns), 8, 1), share_pixels, listed)
    return cut(shape, Tile(128 if tall else 64, min(features, 128), 8, 1), share_pixels)


def candidates(shape: ConvolutionShape) -> list[ConvolutionConfig]:
    """The configurations that are worth measuring."""
    features = _power_of_two(shape.group_features)
    found: dict[ConvolutionConfig, None] = {}
    for tile in TILES:
        if shape.exact and tile.block_m * tile.block_n > 64 * 64:
            continue
        if tile.block_n > max(features, 64):
            continue
        tile = tile._replace(block_n=min(tile.block_n, features))
        for share_pixels in (512, 2048, 8192):
            found[cut(shape, tile, share_pixels)] = None
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
    Tile(64, 64, 4, 3), Tile(64, 64, 8, 2), Tile(128, 64, 8, 1), Tile(64, 128, 8, 1),
    Tile(128, 128, 8, 1), Tile(64, 256, 8, 1), Tile(128, 256, 8, 1), Tile(128, 256, 16, 1),
)  # fmt: skip


def cut(
    shape: ConvolutionShape,
    tile: Tile,
    share_pixels: int,
    listed: bool = False,
    split: bool | None = None,
) -> ConvolutionConfig:
    """Such tiles, and as many programs as the GPU has room for at a time.

    Args:
        shape: of the convolution.
        tile: of a program.
        share_pixels: about how many pixels make a share. All members of a team look at all of
            them; but large shares have few tiles that are not full.
        listed: whether the pixels are listed before, for all programs, in one share.
        split: whether programs tell each other sums; if not given, where each can have a part.
    """
    block_k = 32 if shape.itemsize == 4 or shape.group_channels < 16 else 64
    if shape.groups > 1:
        block_k = min(block_k, _power_of_two(shape.group_channels))
    # Triton 3.6 fails to compile some loops of a single step.
    while block_k > 16 and shape.length <= block_k:
        block_k //= 2
    programs = tile.programs * shape.multiprocessors
    team = min(max(programs * share_pixels // shape.pixels, 1), programs)
    if listed:
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
        split=shape.group_features <= shape.length and parts > 1 if split is None else split,
        # Long runs are read in one go, short ones spread what has changed more evenly.
        run=32 if owned >= 4096 else 8,
        num_warps=tile.num_warps,
        num_stages=num_stages,
    )


def _power_of_two(features: int) -> int:
    """At least 16, as a tile's sides must be."""
    return max(16, 1 << (features - 1).bit_length())
