"""Which pixels of a program's share can have changed: device functions that list them."""

import triton
import triton.language as tl

from .device import lattice_pixel, split_pixel, window_reached


@triton.jit
def _following(previous, current, following, BYTES: tl.constexpr):
    """The four bytes that start BYTES after those of `current`, which lies between the others."""
    if BYTES > 0:
        result = (current >> (8 * BYTES)) | (following << (32 - 8 * BYTES))
    elif BYTES < 0:
        result = (current << (-8 * BYTES)) | (previous >> (32 + 8 * BYTES))
    else:
        result = current
    return result


@triton.jit
def _even_bytes(low, high):
    """The bytes 0 and 2 of both words, next to each other."""
    low = low & 0x00FF00FF
    high = high & 0x00FF00FF
    return ((low | (low >> 8)) & 0xFFFF) | ((high | (high >> 8)) << 16)


@triton.jit
def words_reached(
    mask,
    stream,
    row,
    word,
    valid,
    HEIGHT: tl.constexpr,
    WORDS: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    pad_top,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    phase_column,
    PHASE_COLUMNS: tl.constexpr,
    LEFT_STEP: tl.constexpr,
):
    """Of four neighbouring output pixels, a byte each, whether their windows meet the mask.

    The mask [N, HEIGHT, 4 · WORDS] is read four pixels at a time. Windows are put together by
    shifting; their columns are one or two input pixels apart, and the output is as wide as the
    input, or half as wide. Of several columns of phases, the windows of each start LEFT_STEP pixels
    after those of the one before.
    """
    LAST_LEFT: tl.constexpr = PAD_LEFT - (PHASE_COLUMNS - 1) * LEFT_STEP
    before = tl.zeros_like(word).to(tl.uint32)
    first = before
    second = before
    after = before
    origin = word * STRIDE_WIDTH
    top = row * STRIDE_HEIGHT - pad_top
    line = mask + (stream * HEIGHT + top) * WORDS + origin
    has_before = valid & (origin > 0)
    has_after = valid & (origin + STRIDE_WIDTH < WORDS)
    for i in tl.static_range(KERNEL_HEIGHT):
        r = top + i * DILATION_HEIGHT
        on_map = (r >= 0) & (r < HEIGHT)
        first = first | tl.load(line, mask=valid & on_map, other=0)
        if STRIDE_WIDTH == 2:
            second = second | tl.load(line + 1, mask=valid & on_map, other=0)
        if PAD_LEFT > 0 or LAST_LEFT > 0:
            before = before | tl.load(line - 1, mask=has_before & on_map, other=0)
        if KERNEL_WIDTH - PAD_LEFT > STRIDE_WIDTH or KERNEL_WIDTH - LAST_LEFT > STRIDE_WIDTH:
            after = after | tl.load(line + STRIDE_WIDTH, mask=has_after & on_map, other=0)
        line += DILATION_HEIGHT * WORDS
    if STRIDE_WIDTH == 1:
        second = after
    reached = tl.zeros_like(first)
    for phase in tl.static_range(PHASE_COLUMNS):
        low = tl.zeros_like(first)
        high = tl.zeros_like(first)
        for j in tl.static_range(KERNEL_WIDTH):
            low = low | _following(before, first, second, j - PAD_LEFT + phase * LEFT_STEP)
            if STRIDE_WIDTH == 2:
                high = high | _following(first, second, after, j - PAD_LEFT + phase * LEFT_STEP)
        if STRIDE_WIDTH == 2:
            low = _even_bytes(low, high)
        reached = low if PHASE_COLUMNS == 1 else tl.where(phase_column == phase, low, reached)
    return reached


@triton.jit
def _active(
    candidates,
    other_mask,
    word,
    valid,
    row_offset,
    column_offset,
    LATTICE_HEIGHT: tl.constexpr,
    LATTICE_WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    IN_HEIGHT: tl.constexpr,
    IN_WIDTH: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    pad_top,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
    OUT_STRIDE_HEIGHT: tl.constexpr,
    OUT_STRIDE_WIDTH: tl.constexpr,
    CANDIDATES_GIVEN: tl.constexpr,
    HAS_OTHER_MASK: tl.constexpr,
    WORDS: tl.constexpr,
    PACK: tl.constexpr,
    phase_column,
    PHASE_COLUMNS: tl.constexpr,
    LEFT_STEP: tl.constexpr,
):
    """Which of these pixels, or words of four pixels, can have changed.

    With a PACK of two, which needs WORDS, pairs of neighbours are listed of which one can have
    changed, and with each, in the two lowest bits, which of them.

    Returns:
        For each pixel, or pair: what to list, whether to list it, and its place among those of the
        block; how many each word has; and the pixels' places in the mask, and which are not
        computed.
    """
    WORD: tl.constexpr = 4 if WORDS else 1
    stream, row, column = split_pixel(word, LATTICE_HEIGHT, LATTICE_WIDTH // WORD)
    _, _, out_pixel = lattice_pixel(
        stream,
        row,
        column * WORD,
        row_offset,
        column_offset,
        OUT_HEIGHT,
        OUT_WIDTH,
        OUT_STRIDE_HEIGHT,
        OUT_STRIDE_WIDTH,
    )
    if WORDS:
        words = candidates.to(tl.pointer_type(tl.uint32))
        if CANDIDATES_GIVEN:
            reached = tl.load(words + word, mask=valid, other=0)
        else:
            reached = words_reached(
                words,
                stream,
                row,
                column,
                valid,
                IN_HEIGHT,
                IN_WIDTH // 4,
                KERNEL_HEIGHT,
                KERNEL_WIDTH,
                STRIDE_HEIGHT,
                STRIDE_WIDTH,
                pad_top,
                PAD_LEFT,
                DILATION_HEIGHT,
                phase_column,
                PHASE_COLUMNS,
                LEFT_STEP,
            )
        if HAS_OTHER_MASK:
            other_words = other_mask.to(tl.pointer_type(tl.uint32))
            reached = reached | tl.load(other_words + word, mask=valid, other=0)
        bytes_of_word = tl.arange(0, 4)
        active = ((reached[:, None] >> (8 * bytes_of_word)[None, :]) & 1) != 0
        entry = word[:, None] * 4 + bytes_of_word[None, :]
        if PACK == 2:
            pairs = tl.arange(0, 2)
            pair = (reached[:, None] >> (16 * pairs)[None, :]).to(tl.int32)
            pair = (pair & 1) | ((pair >> 7) & 2)
            entry = (word[:, None] * 2 + pairs[None, :]) << 2 | pair
            active = pair != 0
            reached = (reached | (reached >> 8)) & 0x00010001
            reached = reached | (reached << 8)
        cleared = ((reached[:, None] >> (8 * bytes_of_word)[None, :]) & 1) == 0
        in_word = tl.cumsum(active.to(tl.int32), 1) - active.to(tl.int32)
        number = tl.sum(active.to(tl.int32), axis=1)
        place = (tl.cumsum(number, 0) - number)[:, None] + in_word
        out_pixel = out_pixel[:, None] + (bytes_of_word * OUT_STRIDE_WIDTH)[None, :]
        cleared = cleared & valid[:, None]
    else:
        if CANDIDATES_GIVEN:
            active = tl.load(candidates + out_pixel, mask=valid, other=False)
        else:
            active = window_reached(
                candidates,
                stream,
                row,
                column,
                valid,
                IN_HEIGHT,
                IN_WIDTH,
                KERNEL_HEIGHT,
                KERNEL_WIDTH,
                STRIDE_HEIGHT,
                STRIDE_WIDTH,
                pad_top,
                PAD_LEFT - phase_column * LEFT_STEP,
                DILATION_HEIGHT,
                DILATION_WIDTH,
            )
        if HAS_OTHER_MASK:
            active = active | tl.load(other_mask + out_pixel, mask=valid, other=False)
        number = active.to(tl.int32)
        place = tl.cumsum(number, 0) - number
        entry = word
        cleared = valid & ~active
    return entry, active, place, number, out_pixel, cleared


@triton.jit
def list_active(
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
    LATTICE_HEIGHT: tl.constexpr,
    LATTICE_WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    IN_HEIGHT: tl.constexpr,
    IN_WIDTH: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    pad_top,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
    OUT_STRIDE_HEIGHT: tl.constexpr,
    OUT_STRIDE_WIDTH: tl.constexpr,
    CANDIDATES_GIVEN: tl.constexpr,
    HAS_OTHER_MASK: tl.constexpr,
    RUN: tl.constexpr,
    WORDS: tl.constexpr,
    PACK: tl.constexpr,
    LIST_BLOCK: tl.constexpr,
    phase_column,
    PHASE_COLUMNS: tl.constexpr,
    LEFT_STEP: tl.constexpr,
):
    """Lists a share's pixels to compute, and clears the mask of the others.

    With WORDS four neighbours at a time, else one by one, for any width and any window. With a
    PACK, pairs of neighbours (see `_active`).

    Returns:
        How many are listed.
    """
    WORD: tl.constexpr = 4 if WORDS else 1
    OWN_RUN: tl.constexpr = RUN // WORD
    count = 0
    for start in range(0, owned // WORD, LIST_BLOCK):
        own = start + tl.arange(0, LIST_BLOCK)
        # In each turn of the deal another share comes first: one whose runs lay below each other
        # would have all of what changes in these columns.
        turn = own // OWN_RUN
        word = (turn * shares + (share + turn) % shares) * OWN_RUN + own % OWN_RUN
        valid = (own < owned // WORD) & (word < pixels // WORD)
        entry, active, place, number, out_pixel, cleared = _active(
            candidates,
            other_mask,
            word,
            valid,
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
            WORDS,
            PACK,
            phase_column,
            PHASE_COLUMNS,
            LEFT_STEP,
        )
        tl.store(listed + count + place, entry, mask=active)
        if leader:
            tl.store(mask + out_pixel, tl.zeros_like(cleared), mask=cleared)
        count += tl.sum(number)
    return count


@triton.jit
def list_kernel(
    candidates,
    other_mask,
    first_counter,
    arrivals,
    mask,
    pixel_list,
    pixels,
    row_offset,
    column_offset,
    counter,
    LATTICE_HEIGHT: tl.constexpr,
    LATTICE_WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    IN_HEIGHT: tl.constexpr,
    IN_WIDTH: tl.constexpr,
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
    CANDIDATES_GIVEN: tl.constexpr,
    HAS_OTHER_MASK: tl.constexpr,
    WORDS: tl.constexpr,
    PACK: tl.constexpr,
    LIST_BLOCK: tl.constexpr,
    PHASES: tl.constexpr,
    PHASE_COLUMNS: tl.constexpr,
    TOP_STEP: tl.constexpr,
    LEFT_STEP: tl.constexpr,
):
    """Lists all pixels to compute, for all programs of a convolution, and clears the others' mask.

    Grid: PHASES × blocks of LIST_BLOCK pixels, or words of four. Shapes: candidates
    [N, IN_HEIGHT, IN_WIDTH] or [N, H, W] if given, other_mask and mask [N, H, W], first_counter
    [1], arrivals, of whose numbers from first_counter on the last of (counter + 1) of each phase,
    zero before, becomes its count, and pixel_list [PHASES, pixels].
    """
    WORD: tl.constexpr = 4 if WORDS else 1
    block, phase, phase_column, pad_top = tl.program_id(0), 0, 0, PAD_TOP
    if PHASES > 1:
        blocks = tl.num_programs(0) // PHASES
        phase = block // blocks
        block %= blocks
        phase_column = phase % PHASE_COLUMNS
        pad_top = PAD_TOP - phase // PHASE_COLUMNS * TOP_STEP
        row_offset += phase // PHASE_COLUMNS
        column_offset += phase_column
        pixel_list += phase * pixels
        counter += phase * (counter + 1)
    word = block * LIST_BLOCK + tl.arange(0, LIST_BLOCK)
    valid = word < pixels // WORD
    entry, active, place, number, out_pixel, cleared = _active(
        candidates,
        other_mask,
        word,
        valid,
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
        WORDS,
        PACK,
        phase_column,
        PHASE_COLUMNS,
        LEFT_STEP,
    )
    tl.store(mask + out_pixel, tl.zeros_like(cleared), mask=cleared)
    total = tl.sum(number)
    if total > 0:
        start = tl.atomic_add(arrivals + tl.load(first_counter) + counter, total, sem="relaxed")
        tl.store(pixel_list + start + place, entry, mask=active)
