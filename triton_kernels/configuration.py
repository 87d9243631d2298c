"""How kernels are cut up: a pure function of shapes, dtype and GPU."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ConvolutionConfig:
    """How a convolution is computed.

    Attributes:
        block_m: pixels of a tile.
        block_n: output channels that a program computes together.
        block_k: of the sum over the kernel, in one step.
        shares: into which the output's pixels are divided.
        splits: programs that may divide one tile's sum.
        run: neighbouring pixels that belong to one share.
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


ACTIVE = 0.1
"""The share of pixels that configurations are made for; all work at any."""


def choose_convolution_config(
    pixels: int,
    group_channels: int,
    group_features: int,
    groups: int,
    steps_of_32: int,
    itemsize: int,
    multiprocessors: int,
) -> ConvolutionConfig:
    """The configuration of a convolution.

    Wide maps have enough tiles for all multiprocessors, and one program computes all channels of
    its pixels. Deep maps have few: the channels of a tile are divided between programs, and where
    those are still too few, so is the sum.

    Args:
        pixels: N · H · W of the output.
        group_channels: input channels of a group.
        group_features: output channels of a group.
        groups: of channels that do not mix.
        steps_of_32: numbers that one output sums up, in blocks of 32.
        itemsize: bytes of a number of the map.
        multiprocessors: of the GPU.
    """
    active = max(int(pixels * ACTIVE), 1)
    features = max(16, 1 << (group_features - 1).bit_length())
    block_m = 64 if active > 16 * multiprocessors or group_features > 64 else 32
    block_k = 32 if itemsize == 4 else 64
    if groups > 1:
        block_n = min(features, 64)
    elif features <= 64:
        block_n = features
        if active > 128 * multiprocessors:
            block_m = 128
    elif active > 64 * multiprocessors // 2:
        block_n = min(features, 256)
    else:
        block_n = 64 if features <= 1024 else 128
    blocks = groups * -(-group_features // block_n)
    programs = 2 * multiprocessors if block_m * block_n <= 128 * 64 else multiprocessors
    tiles = -(-active // block_m)
    shares = max(1, min(programs // blocks, 2 * tiles if blocks > 1 else programs))
    splits = 1
    while splits < 8 and shares * blocks * splits * 2 <= programs and steps_of_32 >= 16 * splits:
        splits *= 2
    run = 8
    while run < 32 and pixels >= 16 * run * shares:
        run *= 2
    num_warps = 8 if block_m * block_n > 128 * 64 else 4
    stages = 4 if (block_m + block_n) * block_k * itemsize <= 24 << 10 else 3
    return ConvolutionConfig(block_m, block_n, block_k, shares, splits, run, num_warps, stages)
