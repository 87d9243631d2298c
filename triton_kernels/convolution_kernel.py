"""The kernel of a convolution's update point: from the input's mask to the committed pixels.

Every program, or every team of programs, owns a share of the output's pixels: short runs, dealt out
so that changes that lie together are spread over all shares. It finds out by itself which of its
pixels can have changed, lists them, and computes them in tiles: gathers their windows (implicit
GEMM), multiplies, applies the tail, compares with the cached map, commits. There is no list for all
programs, and so neither a kernel that makes it nor memory to clear before each frame.

The members of a team take tiles of their own as long as there are enough. Where there are fewer,
several compute one: some of its output channels each, and if the sum over the kernel is long, some
of the sum. A pixel is committed with all its channels or not at all, so the members have to tell
each other: of channels, how much each pixel changed in them, after which each commits its own; of
parts of a sum, the parts, after which each finishes some pixels with all their channels. Who comes
early waits, but not for long: whether all members of a team run at the same time is not ours to
say. The last to come never has to wait, and finishes whatever is left.
"""

import triton
import triton.language as tl

from .device import (
    exceeded,
    exceeding,
    fetch_ahead,
    lattice_pixel,
    nearest_tf32,
    other_block,
    scaled,
    split_pixel,
    unknown,
)
from .reach_kernel import list_active

LEFT = tl.constexpr(1 << 16)


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
    pad_top,
    pad_left,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
    TAPS: tl.constexpr,
    TAP_LENGTH: tl.constexpr,
    TAP_BLOCKS: tl.constexpr,
    RUNS: tl.constexpr,
    RUN_STRIDE: tl.constexpr,
    RUN_LEAD: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Steps first to last of the sum over the kernel, for BLOCK_M pixels: [BLOCK_M, BLOCK_N].

    A tap is one pixel of the window; with RUNS it is a whole row of it, whose numbers follow each
    other in memory, so that few channels fill a block. It starts RUN_STRIDE numbers after that of
    the pixel, or group of pixels, before it, the first one RUN_LEAD numbers before the line.
    """
    first_row = row * STRIDE_HEIGHT - pad_top
    first_column = column * STRIDE_WIDTH - pad_left
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
    line = stream * HEIGHT + first_row
    if WIDE:
        line = line.to(tl.int64)
    if RUNS:
        place = (column * RUN_STRIDE - RUN_LEAD)[:, None] + within[None, :]
        windows = (line * (WIDTH * C_IN))[:, None] + place
    else:
        windows = ((line * WIDTH + first_column) * C_IN)[:, None] + within[None, :]
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
def _computed(
    sums,
    stream,
    row,
    column,
    active,
    channel,
    channel_valid,
    value,
    scale,
    shift,
    other,
    tau,
    row_offset,
    column_offset,
    other_stream_stride,
    other_row_stride,
    other_column_stride,
    other_channel_stride,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    C_OUT: tl.constexpr,
    OUT_STRIDE_HEIGHT: tl.constexpr,
    OUT_STRIDE_WIDTH: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_SHIFT: tl.constexpr,
    OTHER: tl.constexpr,
    POINTWISE: tl.constexpr,
    NORM: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Applies the tail to sums [pixels, channels], and compares with the map.

    Returns:
        The new numbers, where they belong on the map, what their change adds to the norm of each
        pixel (see `exceeding`), and the pixels' places in the mask.
    """
    out_row, out_column, out_pixel = lattice_pixel(
        stream,
        row,
        column,
        row_offset,
        column_offset,
        OUT_HEIGHT,
        OUT_WIDTH,
        OUT_STRIDE_HEIGHT,
        OUT_STRIDE_WIDTH,
    )
    index = out_pixel
    if WIDE:
        index = out_pixel.to(tl.int64)
    both = active[:, None] & channel_valid[None, :]
    address = (index * C_OUT)[:, None] + channel[None, :]
    old = tl.load(value + address, mask=both, other=0.0)
    sums = scaled(sums, scale, shift, channel, channel_valid, HAS_SCALE, HAS_SHIFT)
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
    if PRECISION == "tf32":
        # For the convolutions that will read it.
        sums = nearest_tf32(sums)
    new = sums.to(value.dtype.element_ty)
    change = new.to(tl.float32) - old.to(tl.float32)
    return new, address, exceeding(change, tau, channel_valid, NORM), out_pixel


@triton.jit
def _commit(
    new,
    address,
    parts,
    out_pixel,
    listed,
    active,
    channel_valid,
    value,
    mask,
    tau,
    C_OUT: tl.constexpr,
    NORM: tl.constexpr,
):
    """Commits of what `_computed` returned, for pixels with all their channels, what changed.

    Of the pixels that are listed, some may have been computed only with their neighbours: those
    that are not active stay as they are.
    """
    passed = active & exceeded(parts, tau, C_OUT, NORM)
    tl.store(value + address, new, mask=passed[:, None] & channel_valid[None, :])
    tl.store(mask + out_pixel, passed, mask=listed)


@triton.jit
def _channels_of(
    block,
    columns,
    C_OUT: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP_BLOCKS: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """The output channels of a block's columns, and which of them there are."""
    within_group = block % GROUP_BLOCKS * BLOCK_N + columns
    channel = block // GROUP_BLOCKS * (C_OUT // GROUPS) + within_group
    return channel, within_group < C_OUT // GROUPS


@triton.jit
def _arrive(counter, members, PATIENCE: tl.constexpr):
    """Waits for the members of a team, at most as long as it takes to look PATIENCE times.

    Returns:
        How many have come, and in the upper half how many left again; and whether this one came
        last. If some have left, the last to come has to finish for all.
    """
    seen = tl.atomic_add(counter, 1, sem="acq_rel") + 1
    came_last = seen % LEFT == members
    looked = 0
    while (seen % LEFT < members) & (looked < PATIENCE):
        seen = tl.atomic_add(counter, 0, sem="acquire")
        looked += 1
    return seen, came_last


@triton.jit
def _fence(counter):
    """What this program has read and written before comes before what it does after."""
    tl.debug_barrier()
    tl.atomic_add(counter, 0, sem="acq_rel")
    tl.debug_barrier()


@triton.jit
def _leave(counter, seen, members):
    """Leaves a team that is not complete, unless it becomes so meanwhile; returns what it saw."""
    leaves = seen < 0
    while (seen % LEFT < members) & ~leaves:
        expected = seen
        seen = tl.atomic_cas(counter, expected, expected + LEFT)
        leaves = seen == expected
    return seen


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
    first_counter,
    given_list,
    value,
    arrivals,
    mask,
    pixel_list,
    partial_sums,
    norms,
    pixels,
    row_offset,
    column_offset,
    shares,
    owned,
    steps,
    blocks,
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
    RUN_STRIDE: tl.constexpr,
    RUN_LEAD: tl.constexpr,
    PACK: tl.constexpr,
    LISTED: tl.constexpr,
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
    TEAM: tl.constexpr,
    WEIGHT_LINES: tl.constexpr,
    LANES: tl.constexpr,
    SUMS: tl.constexpr,
    MAX_WAYS: tl.constexpr,
    PLACES: tl.constexpr,
    TOGETHER: tl.constexpr,
    FINISH_M: tl.constexpr,
    FINISH_N: tl.constexpr,
    AT_ONCE: tl.constexpr,
    PATIENCE: tl.constexpr,
    COMPILED: tl.constexpr,
    RUN: tl.constexpr,
    WORDS: tl.constexpr,
    LIST_BLOCK: tl.constexpr,
    PHASES: tl.constexpr,
    PHASE_COLUMNS: tl.constexpr,
    TOP_STEP: tl.constexpr,
    LEFT_STEP: tl.constexpr,
):
    """One update of a convolution. Grid: PHASES × shares × TEAM, flattened.

    The pixels computed are those of a lattice of the output: (h · OUT_STRIDE_HEIGHT + row_offset,
    w · OUT_STRIDE_WIDTH + column_offset). Of several PHASES, PHASE_COLUMNS are next to each other,
    each one pixel of the output further, with weights of its own, and its padding less by TOP_STEP
    and LEFT_STEP. Shapes, H and W being those of the output:

        x             [N, IN_HEIGHT, IN_WIDTH, C_IN]
        weights       [PHASES · BLOCKS · BLOCK_N, TAPS · TAP_BLOCKS · BLOCK_K]
        candidates    [N, IN_HEIGHT, IN_WIDTH], the input's mask, or [N, H, W] if given
        other_mask    [N, H, W]
        value         [N, H, W, C_OUT]
        first_counter [1]
        given_list    [PHASES, pixels], with LISTED: what `list_kernel` has listed, for one share
        arrivals      of which [PHASES, shares · TEAM + 1] from first_counter on are its own, and
                      zero before; with LISTED the last of a phase is how many are listed
        mask          [N, H, W]
        pixel_list    [PHASES · shares · TEAM, owned]
        partial_sums  [PHASES · shares, PLACES, BLOCK_M, BLOCKS · BLOCK_N], float32 with SUMS, else
                      of the map's type, and only where there are several blocks
        norms         [PHASES · shares, PLACES, 2, BLOCKS, BLOCK_M], likewise

    Of the PLACES, those from TOGETHER on are for tiles that members share.

    Of the weights' WEIGHT_LINES of 128 bytes, each program whose share has anything to compute
    fetches a part ahead.

    FINISH_M pixels with FINISH_N channels, all there are, are finished at a time, and AT_ONCE parts
    of their sums loaded. A member waits for the others as long as it takes to look PATIENCE times.
    """
    program, phase, phase_column = tl.program_id(0), 0, 0
    pad_top, pad_left = PAD_TOP, PAD_LEFT
    if PHASES > 1:
        phase = program // (shares * TEAM)
        program %= shares * TEAM
        phase_column = phase % PHASE_COLUMNS
        pad_top = PAD_TOP - phase // PHASE_COLUMNS * TOP_STEP
        pad_left = PAD_LEFT - phase_column * LEFT_STEP
        row_offset += phase // PHASE_COLUMNS
        column_offset += phase_column
    share = program // TEAM
    member = program % TEAM
    # Of the share's counters, and of its places in memory.
    own_counters, own_places = share * TEAM, share * PLACES
    if PHASES > 1:
        own_counters += phase * (shares * TEAM + 1)
        own_places += phase * shares * PLACES
    tau = tl.load(threshold)

    if LISTED:
        listed = given_list
        if PHASES > 1:
            listed += phase * pixels
        # The last of its counters, in which `list_kernel` has counted.
        count = tl.load(arrivals + tl.load(first_counter) + own_counters + TEAM)
    else:
        # A list for each member: all would write to the same memory at the same time.
        listed = pixel_list + tl.program_id(0) * owned
        count = list_active(
            candidates,
            other_mask,
            mask,
            listed,
            share,
            shares,
            owned,
            pixels,
            member == 0,
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
            pad_top,
            PAD_LEFT,
            DILATION_HEIGHT,
            DILATION_WIDTH,
            OUT_STRIDE_HEIGHT,
            OUT_STRIDE_WIDTH,
            CANDIDATES_GIVEN,
            HAS_OTHER_MASK,
            RUN,
            WORDS,
            PACK,
            LIST_BLOCK,
            phase_column,
            PHASE_COLUMNS,
            LEFT_STEP,
        )

    if COMPILED and WEIGHT_LINES > 0:
        # From main memory, where they are since the frame before, and before any program has found
        # out with which of them it begins.
        part_lines = tl.cdiv(WEIGHT_LINES, tl.num_programs(0))
        first_line = tl.program_id(0) * part_lines
        last_line = tl.minimum(first_line + part_lines, WEIGHT_LINES)
        fetch_ahead(weights, first_line, tl.where(count > 0, last_line, first_line))
    if not LISTED:
        tl.debug_barrier()

    TAP_BLOCKS: tl.constexpr = (TAP_LENGTH + BLOCK_K - 1) // BLOCK_K
    GROUP_BLOCKS: tl.constexpr = BLOCKS // GROUPS
    WIDTH: tl.constexpr = BLOCKS * BLOCK_N
    if PHASES > 1:
        weights += phase * (WIDTH * TAPS * TAP_BLOCKS * BLOCK_K)
    tiles = tl.cdiv(count, BLOCK_M)
    # The loops over steps and blocks are not to be unrolled: a program runs them once or twice,
    # and would wait for its instructions rather than its data.
    all_steps = unknown(steps, COMPILED)
    all_blocks = unknown(blocks, COMPILED)
    # As long as there is a tile for every member, each takes one; what is left they share.
    alone, last_turn = tiles, tiles
    if TEAM > 1:
        rest = tiles % TEAM
        each = TEAM // tl.maximum(rest, 1)
        alone = tiles - rest
        last_turn = alone
        lanes = tl.minimum(each, BLOCKS)
        lane_ways = tl.minimum(tl.maximum(each // BLOCKS, 1), MAX_WAYS)
        if (member // each < rest) & (member % each < lanes * lane_ways):
            last_turn = alone + TEAM
    slots = tl.arange(0, BLOCK_M)
    columns = tl.arange(0, BLOCK_N // PACK)
    # The channels, in the order of the blocks' columns.
    wide = tl.arange(0, FINISH_N)
    channel = wide
    channel_valid = wide < C_OUT
    if GROUPS > 1:
        within = (wide // BLOCK_N) % GROUP_BLOCKS * BLOCK_N + wide % BLOCK_N
        channel = wide // BLOCK_N // GROUP_BLOCKS * (C_OUT // GROUPS) + within
        channel_valid = (within < C_OUT // GROUPS) & (wide < WIDTH)

    for turn in range(member, last_turn, TEAM):
        tile = turn
        members, part, ways, way = 1, 0, 1, 0
        first_block, last_block, first_step, last_step = 0, all_blocks, 0, all_steps
        if TEAM > 1:
            together = turn >= alone
            tile = tl.where(together, alone + member // each, turn)
            members = tl.where(together, lanes * lane_ways, 1)
            part = tl.where(together, member % each, 0)
            ways = tl.where(together, lane_ways, 1)
            way = part % ways
            if together:
                lane = part // ways
                first_block, last_block = lane * BLOCKS // lanes, (lane + 1) * BLOCKS // lanes
                first_step, last_step = way * all_steps // ways, (way + 1) * all_steps // ways
        slot = tile * BLOCK_M + slots
        valid = slot < count
        entry = tl.load(listed + slot, mask=valid, other=0)
        # With a PACK, neighbours are one row of the product, and the lowest bits say which are on.
        position = entry if PACK == 1 else entry >> PACK
        stream, row, column = split_pixel(position, LATTICE_HEIGHT, LATTICE_WIDTH // PACK)
        if not SUMS and BLOCKS == 1:
            sums = _multiply(
                x,
                weights,
                stream,
                row,
                column,
                valid,
                0,
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
                pad_top,
                pad_left,
                DILATION_HEIGHT,
                DILATION_WIDTH,
                TAPS,
                TAP_LENGTH,
                TAP_BLOCKS,
                RUNS,
                RUN_STRIDE,
                RUN_LEAD,
                WIDE,
                PRECISION,
                BLOCK_M,
                BLOCK_N,
                BLOCK_K,
            )
            on = valid
            if PACK > 1:
                sums = tl.reshape(sums, (BLOCK_M * PACK, BLOCK_N // PACK))
                neighbour = tl.arange(0, PACK)[None, :]
                zeros = tl.zeros((BLOCK_M, PACK), tl.int32)
                on = valid[:, None] & (((entry[:, None] >> neighbour) & 1) != 0)
                on = tl.reshape(on, (BLOCK_M * PACK,))
                valid = tl.reshape(valid[:, None] & (zeros == 0), (BLOCK_M * PACK,))
                stream = tl.reshape(stream[:, None] + zeros, (BLOCK_M * PACK,))
                row = tl.reshape(row[:, None] + zeros, (BLOCK_M * PACK,))
                column = tl.reshape(column[:, None] * PACK + neighbour, (BLOCK_M * PACK,))
            new, address, parts, out_pixel = _computed(
                sums,
                stream,
                row,
                column,
                on,
                columns,
                columns < C_OUT,
                value,
                scale,
                shift,
                other,
                tau,
                row_offset,
                column_offset,
                other_stream_stride,
                other_row_stride,
                other_column_stride,
                other_channel_stride,
                OUT_HEIGHT,
                OUT_WIDTH,
                C_OUT,
                OUT_STRIDE_HEIGHT,
                OUT_STRIDE_WIDTH,
                HAS_SCALE,
                HAS_SHIFT,
                OTHER,
                POINTWISE,
                NORM,
                PRECISION,
                WIDE,
            )
            _commit(
                new,
                address,
                parts,
                out_pixel,
                valid,
                on,
                columns < C_OUT,
                value,
                mask,
                tau,
                C_OUT,
                NORM,
            )
        else:
            # With SUMS, members tell each other sums, of which each may have a part. Else each has
            # some of the channels: what has changed in them is committed at once where it is
            # enough. Where it is not, it depends on the others' channels: the last block stays in
            # registers until these are known, the others are kept in memory, and so is the last
            # one if the other members take too long. There is a place in memory for each way of a
            # tile, or for a member that has its own tile.
            place = member
            if TEAM > 1:
                place = tl.where(members > 1, TOGETHER + (tile - alone) * ways, member)
            place = own_places + place
            partials = partial_sums + place.to(tl.int64) * (BLOCK_M * WIDTH)
            lines = (way * BLOCK_M + slots) * WIDTH
            if not SUMS:
                exchange = norms + place * (2 * BLOCKS * BLOCK_M)
                so_far = tl.zeros((BLOCK_M,), tl.float32)
                # The first block, for each pixel, that is not kept.
                at_once = tl.zeros_like(slots) + first_block
                all_lanes = tl.arange(0, LANES)
                counter = arrivals + tl.load(first_counter) + own_counters + tile - alone
                seen = members + 0
                came_last = seen < 0
                _, _, out_pixel = lattice_pixel(
                    stream,
                    row,
                    column,
                    row_offset,
                    column_offset,
                    OUT_HEIGHT,
                    OUT_WIDTH,
                    OUT_STRIDE_HEIGHT,
                    OUT_STRIDE_WIDTH,
                )
                index = out_pixel
                if WIDE:
                    index = out_pixel.to(tl.int64)
            for block in range(first_block, last_block):
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
                    pad_top,
                    pad_left,
                    DILATION_HEIGHT,
                    DILATION_WIDTH,
                    TAPS,
                    TAP_LENGTH,
                    TAP_BLOCKS,
                    RUNS,
                    RUN_STRIDE,
                    RUN_LEAD,
                    WIDE,
                    PRECISION,
                    BLOCK_M,
                    BLOCK_N,
                    BLOCK_K,
                )
                # Sums of parts in this order: the compiler would keep all addresses in registers.
                cells = lines[:, None] + (block * BLOCK_N + columns)[None, :]
                if SUMS:
                    tl.store(partials + cells, sums, mask=valid[:, None])
                else:
                    own_channel, own_valid = _channels_of(
                        block, columns, C_OUT, GROUPS, GROUP_BLOCKS, BLOCK_N
                    )
                    new, address, parts, _ = _computed(
                        sums,
                        stream,
                        row,
                        column,
                        valid,
                        own_channel,
                        own_valid,
                        value,
                        scale,
                        shift,
                        other,
                        tau,
                        row_offset,
                        column_offset,
                        other_stream_stride,
                        other_row_stride,
                        other_column_stride,
                        other_channel_stride,
                        OUT_HEIGHT,
                        OUT_WIDTH,
                        C_OUT,
                        OUT_STRIDE_HEIGHT,
                        OUT_STRIDE_WIDTH,
                        HAS_SCALE,
                        HAS_SHIFT,
                        OTHER,
                        POINTWISE,
                        NORM,
                        PRECISION,
                        WIDE,
                    )
                    so_far += parts
                    enough = valid & exceeded(so_far, tau, C_OUT, NORM)
                    tl.store(value + address, new, mask=enough[:, None] & own_valid[None, :])
                    last = block == last_block - 1
                    if last & (members > 1):
                        told = exchange + part * BLOCK_M + slots
                        told_kept = told + BLOCKS * BLOCK_M
                        tl.store(told, so_far)
                        # Nothing of this member's is for others to commit, unless it leaves.
                        tl.store(told_kept, tl.zeros((BLOCK_M,), tl.float32))
                        tl.debug_barrier()
                        seen, came_last = _arrive(counter, members, PATIENCE)
                        if seen % LEFT < members:
                            tl.store(partials + cells, new, mask=(valid & ~enough)[:, None])
                            # In this order also for who reads it because another one has left.
                            _fence(counter)
                            tl.store(told_kept, tl.where(enough, at_once, block + 1).to(tl.float32))
                            tl.debug_barrier()
                            seen = _leave(counter, seen, members)
                        tl.debug_barrier()
                        norms_of_lanes = tl.load(
                            exchange + all_lanes[:, None] * BLOCK_M + slots[None, :],
                            mask=(all_lanes < members)[:, None] & (slots[None, :] >= 0),
                            other=0.0,
                            volatile=True,
                        )
                        # Not all have come where this member has left: then the others decide.
                        so_far = tl.sum(norms_of_lanes, axis=0)
                        here = tl.zeros_like(slots) + seen % LEFT == members
                        now = valid & ~enough & here & exceeded(so_far, tau, C_OUT, NORM)
                        tl.store(value + address, new, mask=now[:, None] & own_valid[None, :])
                    elif ~last:
                        at_once = tl.where(enough, at_once, block + 1)
                        tl.store(partials + cells, new, mask=(valid & ~enough)[:, None])
            if SUMS:
                tl.debug_barrier()
                groups = tl.cdiv(tl.minimum(count - tile * BLOCK_M, BLOCK_M), FINISH_M)
                group, next_group = 0, 1
                if members > 1:
                    counter = arrivals + tl.load(first_counter) + own_counters + tile - alone
                    seen, came_last = _arrive(counter, members, PATIENCE)
                    seen = _leave(counter, seen, members)
                    # Each finishes its part, or if not all are left, the last to come the whole.
                    if seen == members:
                        group, next_group = part, members
                    elif ~came_last:
                        group = groups
                    tl.debug_barrier()
                for piece in range(group, groups, next_group):
                    own = piece * FINISH_M + tl.arange(0, FINISH_M)
                    own_slot = tile * BLOCK_M + own
                    here = (own < BLOCK_M) & (own_slot < count)
                    own_pixel = tl.load(listed + own_slot, mask=here, other=0)
                    own_stream, own_row, own_column = split_pixel(
                        own_pixel, LATTICE_HEIGHT, LATTICE_WIDTH
                    )
                    own_cells = own[:, None] * WIDTH + wide[None, :]
                    total = tl.zeros((FINISH_M, FINISH_N), tl.float32)
                    # Several at a time, so that they are loaded together; if never many, all.
                    for first_way in range(0, ways if MAX_WAYS > AT_ONCE else 1, AT_ONCE):
                        for i in tl.static_range(AT_ONCE):
                            there = here & (tl.zeros_like(own) + first_way + i < ways)
                            total += tl.load(
                                partials + (first_way + i) * (BLOCK_M * WIDTH) + own_cells,
                                mask=there[:, None] & (wide < WIDTH)[None, :],
                                other=0.0,
                                volatile=True,
                            )
                    new, address, parts, out_pixel = _computed(
                        total,
                        own_stream,
                        own_row,
                        own_column,
                        here,
                        channel,
                        channel_valid,
                        value,
                        scale,
                        shift,
                        other,
                        tau,
                        row_offset,
                        column_offset,
                        other_stream_stride,
                        other_row_stride,
                        other_column_stride,
                        other_channel_stride,
                        OUT_HEIGHT,
                        OUT_WIDTH,
                        C_OUT,
                        OUT_STRIDE_HEIGHT,
                        OUT_STRIDE_WIDTH,
                        HAS_SCALE,
                        HAS_SHIFT,
                        OTHER,
                        POINTWISE,
                        NORM,
                        PRECISION,
                        WIDE,
                    )
                    _commit(
                        new,
                        address,
                        parts,
                        out_pixel,
                        here,
                        here,
                        channel_valid,
                        value,
                        mask,
                        tau,
                        C_OUT,
                        NORM,
                    )
            else:
                here = tl.zeros_like(slots) + seen % LEFT == members
                passed = valid & here & exceeded(so_far, tau, C_OUT, NORM)
                tl.store(mask + out_pixel, passed, mask=valid & here)
                tl.debug_barrier()
                # Its own blocks before the last; if some have left, the last to come does theirs.
                finishes, finished = first_block, last_block - 1
                if came_last & (seen >= LEFT):
                    finishes, finished = 0, BLOCKS
                for block in range(finishes, finished):
                    lane_of = ((block + 1) * members - 1) // BLOCKS
                    late = at_once > block
                    if lane_of != part:
                        theirs = exchange + (BLOCKS + lane_of) * BLOCK_M + slots
                        late = tl.load(theirs, volatile=True) > block
                        _fence(counter)
                    own_channel, own_valid = _channels_of(
                        block, columns, C_OUT, GROUPS, GROUP_BLOCKS, BLOCK_N
                    )
                    cells = lines[:, None] + (block * BLOCK_N + columns)[None, :]
                    new = tl.load(partials + cells, mask=passed[:, None], volatile=True)
                    tl.store(
                        value + (index * C_OUT)[:, None] + own_channel[None, :],
                        new,
                        mask=(passed & late)[:, None] & own_valid[None, :],
                    )
            tl.debug_barrier()
