"""The kernel of a convolution's update point: from the input's mask to the committed pixels.

Every program, or every team of programs where the output channels or the sum over the kernel are
split between several, owns a share of the output's pixels: short runs, dealt out so that changes
that lie together are spread over all shares. It finds out by itself which of its pixels can have
changed, lists them, and computes them in tiles: gathers their windows (implicit GEMM), multiplies,
applies the tail, compares with the cached map, commits. There is no list for all programs, and so
neither a kernel that makes it nor memory to clear before each frame.

A pixel is committed with all its channels or not at all. Where a team computes a tile together, the
last to arrive has what the others stored: first the partial sums of one block of channels, then the
finished blocks of the tile. Nobody waits for anybody.
"""

import triton
import triton.language as tl

from .device import exceeded, exceeding, other_block, scaled, split_pixel
from .reach_kernel import list_active


@triton.jit
def _multiply(
    x,
    weights,
    stream,
    row,
    column,
    valid,
    block,
    first,
    last,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    C_IN: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP_BLOCKS: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
    TAPS: tl.constexpr,
    TAP_LENGTH: tl.constexpr,
    TAP_BLOCKS: tl.constexpr,
    RUNS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Steps first to last of the sum over the kernel, for BLOCK_M pixels: [BLOCK_M, BLOCK_N].

    A tap is one pixel of the window; with RUNS it is a whole row of it, whose numbers follow each
    other in memory, so that few channels fill a block.
    """
    first_row = row * STRIDE_HEIGHT - PAD_TOP
    first_column = column * STRIDE_WIDTH - PAD_LEFT
    # Which rows and columns of the window lie on the map, a bit each: the loop has no time to ask.
    rows_on_map = tl.zeros_like(row)
    for i in tl.static_range(KERNEL_HEIGHT):
        r = first_row + i * DILATION_HEIGHT
        rows_on_map += (valid & (r >= 0) & (r < HEIGHT)).to(tl.int32) << i
    columns_on_map = tl.zeros_like(row)
    if not RUNS:
        for j in tl.static_range(KERNEL_WIDTH):
            c = first_column + j * DILATION_WIDTH
            columns_on_map += ((c >= 0) & (c < WIDTH)).to(tl.int32) << j
    within = tl.arange(0, BLOCK_K)
    origin = (stream * HEIGHT + first_row) * WIDTH + first_column
    if WIDE:
        origin = origin.to(tl.int64)
    windows = (origin * C_IN)[:, None] + within[None, :]
    place = first_column[:, None] * C_IN + within[None, :]
    if GROUPS > 1:
        x += (block // GROUP_BLOCKS) * (C_IN // GROUPS)
    features = block * BLOCK_N + tl.arange(0, BLOCK_N)
    rows_of_weights = features[:, None] * (TAPS * TAP_BLOCKS * BLOCK_K) + within[None, :]
    sums = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for step in range(first, last):
        tap = step // TAP_BLOCKS
        channel = (step % TAP_BLOCKS) * BLOCK_K
        if RUNS:
            inside = (((rows_on_map >> tap) & 1) != 0)[:, None]
            inside = inside & (place + channel >= 0) & (place + channel < WIDTH * C_IN)
            start = x + tap * DILATION_HEIGHT * WIDTH * C_IN + channel
        else:
            down, across = tap // KERNEL_WIDTH, tap % KERNEL_WIDTH
            inside = (((rows_on_map >> down) & (columns_on_map >> across) & 1) != 0)[:, None]
            start = x + (down * DILATION_HEIGHT * WIDTH + across * DILATION_WIDTH) * C_IN + channel
        if TAP_LENGTH % BLOCK_K != 0:
            inside = inside & (channel + within < TAP_LENGTH)[None, :]
        pixels = tl.load(start + windows, mask=inside, other=0.0)
        kernel = tl.load(weights + step * BLOCK_K + rows_of_weights)
        sums = tl.dot(pixels, tl.trans(kernel), sums, input_precision=PRECISION)
    return sums


@triton.jit
def convolution_kernel(
    x,
    weights,
    candidates,
    other_mask,
    scale,
    shift,
    mean,
    variance,
    other,
    threshold,
    value,
    arrivals,
    mask,
    pixel_list,
    partial_sums,
    finished,
    norms,
    pixels,
    row_offset,
    column_offset,
    shares,
    owned,
    steps,
    other_stream_stride,
    other_row_stride,
    other_column_stride,
    other_channel_stride,
    LATTICE_HEIGHT: tl.constexpr,
    LATTICE_WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    IN_HEIGHT: tl.constexpr,
    IN_WIDTH: tl.constexpr,
    C_IN: tl.constexpr,
    C_OUT: tl.constexpr,
    GROUPS: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
    OUT_STRIDE_HEIGHT: tl.constexpr,
    OUT_STRIDE_WIDTH: tl.constexpr,
    TAPS: tl.constexpr,
    TAP_LENGTH: tl.constexpr,
    RUNS: tl.constexpr,
    CANDIDATES_GIVEN: tl.constexpr,
    HAS_OTHER_MASK: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_SHIFT: tl.constexpr,
    EPSILON: tl.constexpr,
    OTHER: tl.constexpr,
    POINTWISE: tl.constexpr,
    NORM: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCKS: tl.constexpr,
    PADDED_BLOCKS: tl.constexpr,
    SPLITS: tl.constexpr,
    RUN: tl.constexpr,
    WORDS: tl.constexpr,
    LIST_BLOCK: tl.constexpr,
):
    """One update of a convolution. Grid: shares × SPLITS × BLOCKS, flattened.

    The pixels computed are those of a lattice of the output: (h · OUT_STRIDE_HEIGHT + row_offset,
    w · OUT_STRIDE_WIDTH + column_offset). Shapes, H and W being those of the output:

        x             [N, IN_HEIGHT, IN_WIDTH, C_IN]
        weights       [BLOCKS · BLOCK_N, TAPS · TAP_BLOCKS · BLOCK_K]
        candidates    [N, IN_HEIGHT, IN_WIDTH], the input's mask, or [N, H, W] if given
        other_mask    [N, H, W]
        value         [N, H, W, C_OUT]
        arrivals      [shares, tiles, BLOCKS + 1], zero before and after
        mask          [N, H, W]
        pixel_list    [shares, owned]
        partial_sums  [shares, SPLITS, BLOCKS, BLOCK_M, BLOCK_N]
        finished      [shares, tiles, BLOCKS, BLOCK_M, BLOCK_N]
        norms         [shares, tiles, BLOCKS, BLOCK_M]
    """
    program = tl.program_id(0)
    block = program % BLOCKS
    split = (program // BLOCKS) % SPLITS
    share = program // (BLOCKS * SPLITS)
    leader = (block == 0) & (split == 0)
    tau = tl.load(threshold)

    listed = pixel_list + share * owned
    count = list_active(
        candidates,
        other_mask,
        mask,
        listed,
        share,
        shares,
        owned,
        pixels,
        leader,
        row_offset,
        column_offset,
        LATTICE_HEIGHT,
        LATTICE_WIDTH,
        OUT_HEIGHT,
        OUT_WIDTH,
        IN_HEIGHT,
        IN_WIDTH,
        KERNEL_HEIGHT,
        KERNEL_WIDTH,
        STRIDE_HEIGHT,
        STRIDE_WIDTH,
        PAD_TOP,
        PAD_LEFT,
        DILATION_HEIGHT,
        DILATION_WIDTH,
        OUT_STRIDE_HEIGHT,
        OUT_STRIDE_WIDTH,
        CANDIDATES_GIVEN,
        HAS_OTHER_MASK,
        RUN,
        WORDS,
        LIST_BLOCK,
    )
    tl.debug_barrier()

    TAP_BLOCKS: tl.constexpr = (TAP_LENGTH + BLOCK_K - 1) // BLOCK_K
    GROUP_BLOCKS: tl.constexpr = BLOCKS // GROUPS
    tiles = tl.cdiv(count, BLOCK_M)
    all_tiles = tl.cdiv(owned, BLOCK_M)
    # Few tiles: members of the team share each one's sum. Many: each takes tiles of its own.
    # The steps are not a constant, lest the compiler unroll the loop over them: a program runs it
    # once or twice, and would wait for its instructions rather than its data.
    first_tile, first_step, last_step = 0, 0, steps
    if SPLITS > 1:
        ways = tl.maximum(SPLITS // tl.maximum(tiles, 1), 1)
        first_tile = split // ways
        first_step = (split % ways) * steps // ways
        last_step = (split % ways + 1) * steps // ways
    within_block = (block % GROUP_BLOCKS) * BLOCK_N + tl.arange(0, BLOCK_N)
    channel = (block // GROUP_BLOCKS) * (C_OUT // GROUPS) + within_block
    channel_valid = within_block < C_OUT // GROUPS
    slots = tl.arange(0, BLOCK_M)
    cells = slots[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]

    for tile in range(first_tile, tiles, SPLITS):
        slot = tile * BLOCK_M + slots
        valid = slot < count
        pixel = tl.load(listed + slot, mask=valid, other=0)
        stream, row, column = split_pixel(pixel, LATTICE_HEIGHT, LATTICE_WIDTH)
        sums = _multiply(
            x,
            weights,
            stream,
            row,
            column,
            valid,
            block,
            first_step,
            last_step,
            IN_HEIGHT,
            IN_WIDTH,
            C_IN,
            GROUPS,
            GROUP_BLOCKS,
            KERNEL_HEIGHT,
            KERNEL_WIDTH,
            STRIDE_HEIGHT,
            STRIDE_WIDTH,
            PAD_TOP,
            PAD_LEFT,
            DILATION_HEIGHT,
            DILATION_WIDTH,
            TAPS,
            TAP_LENGTH,
            TAP_BLOCKS,
            RUNS,
            WIDE,
            PRECISION,
            BLOCK_M,
            BLOCK_N,
            BLOCK_K,
        )
        tile_arrivals = arrivals + (share * all_tiles + tile) * (BLOCKS + 1)
        finishing = tile < tiles  # always, unless others compute parts of this tile, too
        if SPLITS > 1 and ways > 1:
            size = BLOCK_M * BLOCK_N
            team = partial_sums + (share * SPLITS).to(tl.int64) * BLOCKS * size + block * size
            tl.store(team + split * BLOCKS * size + cells, sums)
            tl.debug_barrier()
            finishing = tl.atomic_add(tile_arrivals + block, 1, sem="acq_rel") == ways - 1
            tl.debug_barrier()
            if finishing:
                sums = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
                for i in range(ways):
                    partial = team + (tile * ways + i) * BLOCKS * size
                    sums += tl.load(partial + cells, cache_modifier=".cg")
                tl.store(tile_arrivals + block, 0)
        if finishing:
            out_row = row * OUT_STRIDE_HEIGHT + row_offset
            out_column = column * OUT_STRIDE_WIDTH + column_offset
            out_pixel = (stream * OUT_HEIGHT + out_row) * OUT_WIDTH + out_column
            index = out_pixel
            if WIDE:
                index = out_pixel.to(tl.int64)
            both = valid[:, None] & channel_valid[None, :]
            sums = scaled(
                sums,
                scale,
                shift,
                mean,
                variance,
                channel,
                channel_valid,
                HAS_SCALE,
                HAS_SHIFT,
                EPSILON,
            )
            if OTHER != "none":
                further = other_block(
                    other,
                    index,
                    stream,
                    out_row,
                    out_column,
                    channel,
                    both,
                    C_OUT,
                    OTHER == "full",
                    other_stream_stride,
                    other_row_stride,
                    other_column_stride,
                    other_channel_stride,
                )
                sums = POINTWISE(sums, further)
            elif POINTWISE is not None:
                sums = POINTWISE(sums)
            new = sums.to(value.dtype.element_ty)
            address = (index * C_OUT)[:, None] + channel[None, :]
            old = tl.load(value + address, mask=both, other=0.0)
            change = new.to(tl.float32) - old.to(tl.float32)
            norm = exceeding(change, tau, both, NORM)
            # With several blocks, this is what the channels of this one alone decide. The rest of
            # the pixels wait for the norm of all channels, which the last block to finish has.
            passed = valid & exceeded(norm, tau, C_OUT, NORM)
            tl.store(value + address, new, mask=passed[:, None] & channel_valid[None, :])
            if BLOCKS == 1:
                tl.store(mask + out_pixel, passed, mask=valid)
            else:
                part = (share * all_tiles + tile) * BLOCKS
                blocks = finished + part.to(tl.int64) * (BLOCK_M * BLOCK_N)
                open_rows = (valid & ~passed)[:, None]
                tl.store(blocks + block * (BLOCK_M * BLOCK_N) + cells, new, mask=open_rows)
                tl.store(norms + (part + block) * BLOCK_M + slots, norm)
                tl.debug_barrier()
                arrived = tl.atomic_add(tile_arrivals + BLOCKS, 1, sem="acq_rel")
                tl.debug_barrier()
                if arrived == BLOCKS - 1:
                    numbers = tl.arange(0, PADDED_BLOCKS)
                    parts = norms + ((part + numbers) * BLOCK_M)[:, None] + slots[None, :]
                    there = (numbers < BLOCKS)[:, None] & valid[None, :]
                    parts = tl.load(parts, mask=there, other=0.0, cache_modifier=".cg")
                    passed = valid & exceeded(tl.sum(parts, axis=0), tau, C_OUT, NORM)
                    late_parts = there & passed[None, :] & ~exceeded(parts, tau, C_OUT, NORM)
                    late_parts = late_parts.to(tl.int32)
                    for i in range(BLOCKS):
                        late = tl.sum(tl.where((numbers == i)[:, None], late_parts, 0), axis=0) > 0
                        if tl.max(late.to(tl.int32)) > 0:
                            inner = (i % GROUP_BLOCKS) * BLOCK_N + tl.arange(0, BLOCK_N)
                            feature = (i // GROUP_BLOCKS) * (C_OUT // GROUPS) + inner
                            stored = blocks + i * (BLOCK_M * BLOCK_N) + cells
                            committed = late[:, None] & (inner < C_OUT // GROUPS)[None, :]
                            new = tl.load(stored, mask=committed, other=0.0, cache_modifier=".cg")
                            address = (index * C_OUT)[:, None] + feature[None, :]
                            tl.store(value + address, new, mask=committed)
                    tl.store(mask + out_pixel, passed, mask=valid)
                    tl.store(tile_arrivals + BLOCKS, 0)
