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

from .device import exceeded, exceeding, other_block, split_pixel, window_reached


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
    height,
    width,
    C_IN: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP_BLOCKS: tl.constexpr,
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
    line = stream * height
    within = tl.arange(0, BLOCK_K)
    features = block * BLOCK_N + tl.arange(0, BLOCK_N)
    group_channel = (block // GROUP_BLOCKS) * (C_IN // GROUPS)
    rows_of_weights = weights + features[:, None] * (TAPS * TAP_BLOCKS * BLOCK_K) + within[None, :]
    sums = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for step in range(first, last):
        tap = step // TAP_BLOCKS
        channel = (step % TAP_BLOCKS) * BLOCK_K + within
        if RUNS:
            r = first_row + tap * DILATION_HEIGHT
            on_map = valid & (r >= 0) & (r < height)
            index = (line + r) * width + first_column
            place = first_column[:, None] * C_IN + channel[None, :]
            inside = on_map[:, None] & (place >= 0) & (place < width * C_IN)
            inside = inside & (channel < TAP_LENGTH)[None, :]
        else:
            r = first_row + (tap // KERNEL_WIDTH) * DILATION_HEIGHT
            c = first_column + (tap % KERNEL_WIDTH) * DILATION_WIDTH
            on_map = valid & (r >= 0) & (r < height) & (c >= 0) & (c < width)
            index = (line + r) * width + c
            if TAP_LENGTH % BLOCK_K == 0:
                inside = on_map[:, None]
            else:
                inside = on_map[:, None] & (channel < TAP_LENGTH)[None, :]
        if WIDE:
            index = index.to(tl.int64)
        if GROUPS > 1:
            address = (index * C_IN + group_channel)[:, None] + channel[None, :]
        else:
            address = (index * C_IN)[:, None] + channel[None, :]
        windows = tl.load(x + address, mask=inside, other=0.0)
        kernel = tl.load(rows_of_weights + step * BLOCK_K)
        sums = tl.dot(windows, tl.trans(kernel), sums, input_precision=PRECISION)
    return sums


@triton.jit
def convolution_kernel(
    x,
    weights,
    candidates,
    other_mask,
    scale,
    shift,
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
    lattice_height,
    lattice_width,
    out_height,
    out_width,
    in_height,
    in_width,
    row_offset,
    column_offset,
    shares,
    owned,
    other_stream_stride,
    other_row_stride,
    other_column_stride,
    other_channel_stride,
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
    OTHER: tl.constexpr,
    POINTWISE: tl.constexpr,
    NORM: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCKS: tl.constexpr,
    SPLITS: tl.constexpr,
    SPLIT_TILES: tl.constexpr,
    RUN: tl.constexpr,
    LIST_BLOCK: tl.constexpr,
):
    """One update of a convolution. Grid: shares × SPLITS × BLOCKS, flattened.

    Shapes: x [N, in_height, in_width, C_IN], candidates [N, in_height, in_width] (the input's mask)
    or [N, out_height, out_width] (with CANDIDATES_GIVEN), weights
    [BLOCKS · BLOCK_N, TAPS · TAP_BLOCKS · BLOCK_K], value [N, out_height, out_width, C_OUT], mask
    and other_mask [N, out_height, out_width], pixel_list [shares, owned], partial_sums
    [shares, SPLIT_TILES, SPLITS, BLOCKS, BLOCK_M, BLOCK_N], finished
    [shares, tiles, BLOCKS, BLOCK_M, BLOCK_N], norms [shares, tiles, BLOCKS, BLOCK_M], arrivals
    [shares, tiles, BLOCKS + 1] (zero before and after).

    The pixels computed are those of a lattice of the output: (h · OUT_STRIDE_HEIGHT + row_offset,
    w · OUT_STRIDE_WIDTH + column_offset).
    """
    program = tl.program_id(0)
    block = program % BLOCKS
    split = (program // BLOCKS) % SPLITS
    share = program // (BLOCKS * SPLITS)
    leader = (block == 0) & (split == 0)
    tau = tl.load(threshold)

    # Which of the share's pixels can have changed.
    listed = pixel_list + share * owned
    count = 0
    for start in range(0, owned, LIST_BLOCK):
        own = start + tl.arange(0, LIST_BLOCK)
        pixel = ((own // RUN) * shares + share) * RUN + own % RUN
        valid = (own < owned) & (pixel < pixels)
        stream, row, column = split_pixel(pixel, lattice_height, lattice_width)
        out_row = row * OUT_STRIDE_HEIGHT + row_offset
        out_column = column * OUT_STRIDE_WIDTH + column_offset
        out_pixel = (stream * out_height + out_row) * out_width + out_column
        if CANDIDATES_GIVEN:
            active = tl.load(candidates + out_pixel, mask=valid, other=False)
        else:
            active = window_reached(
                candidates,
                stream,
                row,
                column,
                valid,
                in_height,
                in_width,
                KERNEL_HEIGHT,
                KERNEL_WIDTH,
                STRIDE_HEIGHT,
                STRIDE_WIDTH,
                PAD_TOP,
                PAD_LEFT,
                DILATION_HEIGHT,
                DILATION_WIDTH,
            )
        if HAS_OTHER_MASK:
            active = active | tl.load(other_mask + out_pixel, mask=valid, other=False)
        number = active.to(tl.int32)
        place = count + tl.cumsum(number, 0) - number
        tl.store(listed + place, pixel, mask=active)
        if leader:
            tl.store(mask + out_pixel, tl.zeros_like(active), mask=valid & ~active)
        count += tl.sum(number)
    tl.debug_barrier()

    TAP_BLOCKS: tl.constexpr = (TAP_LENGTH + BLOCK_K - 1) // BLOCK_K
    STEPS: tl.constexpr = TAPS * TAP_BLOCKS
    GROUP_BLOCKS: tl.constexpr = BLOCKS // GROUPS
    tiles = tl.cdiv(count, BLOCK_M)
    all_tiles = tl.cdiv(owned, BLOCK_M)
    # Few tiles: the team splits each one's sum. Many: each member takes tiles of its own.
    splitting = (SPLITS > 1) & (tiles <= SPLIT_TILES)
    if SPLITS > 1:
        first_tile, stride = tl.where(splitting, 0, split), tl.where(splitting, 1, SPLITS)
        first_step = tl.where(splitting, split * STEPS // SPLITS, 0)
        last_step = tl.where(splitting, (split + 1) * STEPS // SPLITS, STEPS)
    else:
        first_tile, stride, first_step, last_step = 0, 1, 0, STEPS
    within_block = (block % GROUP_BLOCKS) * BLOCK_N + tl.arange(0, BLOCK_N)
    channel = (block // GROUP_BLOCKS) * (C_OUT // GROUPS) + within_block
    channel_valid = within_block < C_OUT // GROUPS
    slots = tl.arange(0, BLOCK_M)
    cells = slots[:, None] * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]

    for tile in range(first_tile, tiles, stride):
        slot = tile * BLOCK_M + slots
        valid = slot < count
        pixel = tl.load(listed + slot, mask=valid, other=0)
        stream, row, column = split_pixel(pixel, lattice_height, lattice_width)
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
            in_height,
            in_width,
            C_IN,
            GROUPS,
            GROUP_BLOCKS,
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
        finishing = tile < tiles
        if SPLITS > 1 and splitting:
            part = (share * SPLIT_TILES + tile) * SPLITS
            part_stride = BLOCKS * BLOCK_M * BLOCK_N
            whole = partial_sums + part.to(tl.int64) * part_stride + block * BLOCK_M * BLOCK_N
            tl.store(whole + split * part_stride + cells, sums)
            tl.debug_barrier()
            finishing = tl.atomic_add(tile_arrivals + block, 1, sem="acq_rel") == SPLITS - 1
            tl.debug_barrier()
            if finishing:
                sums = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
                for i in range(SPLITS):
                    sums += tl.load(whole + i * part_stride + cells, cache_modifier=".cg")
                tl.store(tile_arrivals + block, 0)
        if finishing:
            out_row = row * OUT_STRIDE_HEIGHT + row_offset
            out_column = column * OUT_STRIDE_WIDTH + column_offset
            out_pixel = (stream * out_height + out_row) * out_width + out_column
            index = out_pixel
            if WIDE:
                index = out_pixel.to(tl.int64)
            both = valid[:, None] & channel_valid[None, :]
            if HAS_SCALE:
                sums = sums * tl.load(scale + channel, mask=channel_valid, other=0.0).to(tl.float32)
            if HAS_SHIFT:
                sums = sums + tl.load(shift + channel, mask=channel_valid, other=0.0).to(tl.float32)
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
            if BLOCKS == 1:
                passed = valid & exceeded(norm, tau, C_OUT, NORM)
                tl.store(value + address, new, mask=passed[:, None] & channel_valid[None, :])
                tl.store(mask + out_pixel, passed, mask=valid)
            else:
                part = (share * all_tiles + tile) * BLOCKS
                blocks = finished + part.to(tl.int64) * (BLOCK_M * BLOCK_N)
                tl.store(blocks + block * (BLOCK_M * BLOCK_N) + cells, new)
                tl.store(norms + (part + block) * BLOCK_M + slots, norm)
                tl.debug_barrier()
                arrived = tl.atomic_add(tile_arrivals + BLOCKS, 1, sem="acq_rel")
                tl.debug_barrier()
                if arrived == BLOCKS - 1:
                    norm = tl.zeros((BLOCK_M,), tl.float32)
                    for i in range(BLOCKS):
                        part_norms = norms + (part + i) * BLOCK_M + slots
                        norm += tl.load(part_norms, cache_modifier=".cg")
                    passed = valid & exceeded(norm, tau, C_OUT, NORM)
                    for i in range(BLOCKS):
                        inner = (i % GROUP_BLOCKS) * BLOCK_N + tl.arange(0, BLOCK_N)
                        feature = (i // GROUP_BLOCKS) * (C_OUT // GROUPS) + inner
                        stored = blocks + i * (BLOCK_M * BLOCK_N) + cells
                        committed = passed[:, None] & (inner < C_OUT // GROUPS)[None, :]
                        new = tl.load(stored, mask=committed, other=0.0, cache_modifier=".cg")
                        address = (index * C_OUT)[:, None] + feature[None, :]
                        tl.store(value + address, new, mask=committed)
                    tl.store(mask + out_pixel, passed, mask=valid)
                    tl.store(tile_arrivals + BLOCKS, 0)
