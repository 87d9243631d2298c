"""How kernels are cut up: a pure function of shapes, dtype and GPU."""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from pathlib import Path

TABLE_VARIABLE = "DELTAJAX_KERNEL_TABLE"
"""Names a table of measured configurations, in place of the one that comes with the package."""
SHIPPED_TABLE = Path(__file__).parent / "tuned.json"


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
        multiprocessors: of the GPU.
    """

    pixels: int
    group_channels: int
    group_features: int
    groups: int
    taps: int
    itemsize: int
    multiprocessors: int

    @property
    def key(self) -> str:
        """In a table."""
        return "_".join(str(value) for value in dataclasses.astuple(self))


@dataclasses.dataclass(frozen=True)
class ConvolutionConfig:
    """How a convolution is computed.

    Attributes:
        block_m: pixels of a tile.
        block_n: output channels that a program computes together.
        block_k: of the sum over the kernel, in one step.
        shares: into which the output's pixels are divided.
        splits: programs that may divide one tile's sum.
        run: neighbouring pixels that belong to one share, a multiple of eight.
        num_warps: of a program.
        num_stages: of the software pipeline.
    """

    block_m: int
    block_n: int
    block_k: int
    shares: int
    splits: int
    run: int
    num_warps: int
    num_stages: int


def choose_convolution_config(shape: ConvolutionShape) -> ConvolutionConfig:
    """The configuration of a convolution: a measured one if the table has it, else a rule's."""
    measured = _table(os.environ.get(TABLE_VARIABLE, str(SHIPPED_TABLE))).get(shape.key)
    return measured or rule(shape)


@functools.cache
def _table(path: str) -> Mapping[str, ConvolutionConfig]:
    file = Path(path)
    if not file.exists():
        return {}
    entries = json.loads(file.read_text())["convolutions"]
    return {key: ConvolutionConfig(**entry) for key, entry in entries.items()}


def rule(shape: ConvolutionShape) -> ConvolutionConfig:
    """A configuration that is good for a tenth to a quarter of the pixels, and works for any.

    Wide maps have enough tiles for all multiprocessors, and one program computes all channels of
    its pixels. Deep maps have few: the channels of a tile are divided between programs, and where
    those are still too few, so is the sum.
    """
    features = max(16, 1 << (shape.group_features - 1).bit_length())
    active = max(shape.pixels // 8, 1)
    block_k = 32 if shape.itemsize == 4 else 64
    block_n = min(features, 128 if shape.groups == 1 else 64)
    block_m = 128 if active > 64 * shape.multiprocessors and block_n <= 64 else 64
    blocks = shape.groups * -(-shape.group_features // block_n)
    return with_teams(shape, block_m, block_n, block_k, blocks)


def with_teams(
    shape: ConvolutionShape, block_m: int, block_n: int, block_k: int, blocks: int
) -> ConvolutionConfig:
    """The configuration of these tiles with as many shares and splits as fill the GPU."""
    active = max(shape.pixels // 8, 1)
    programs = (2 if block_m * block_n <= 128 * 64 else 1) * shape.multiprocessors
    steps = shape.taps * -(-shape.group_channels // block_k)
    tiles = -(-active // block_m)
    shares = max(1, min(programs // blocks, tiles if blocks > 1 else programs))
    splits = 1
    while splits < 8 and shares * blocks * splits * 2 <= programs and steps >= 8 * splits:
        splits *= 2
    run = 8
    while run < 32 and shape.pixels >= 16 * run * shares:
        run *= 2
    num_warps = 8 if block_m * block_n > 128 * 64 else 4
    num_stages = 4 if (block_m + block_n) * block_k * shape.itemsize <= 16 << 10 else 3
    return ConvolutionConfig(block_m, block_n, block_k, shares, splits, run, num_warps, num_stages)


def candidates(shape: ConvolutionShape) -> list[ConvolutionConfig]:
    """The configurations that are worth measuring."""
    features = max(16, 1 << (shape.group_features - 1).bit_length())
    wide = 32 if shape.itemsize == 4 else 64
    found = []
    for block_m in (32, 64, 128):
        for block_n in (32, 64, 128, 256):
            for block_k in (wide, 2 * wide):
                if block_n > features or block_m * block_n > 128 * 128:
                    continue
                if (block_n < 64 < features) or (block_k > wide and shape.group_channels % block_k):
                    continue
                blocks = shape.groups * -(-shape.group_features // block_n)
                config = with_teams(shape, block_m, block_n, block_k, blocks)
                if blocks <= 32 and config not in found:
                    found.append(config)
    return found
