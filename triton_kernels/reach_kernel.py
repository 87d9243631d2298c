"""Which pixels of a program's share can have changed: device functions that list them."""

import triton
import triton.language as tl

from .device import split_pixel, window_reached


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
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
):
    """Of four neighbouring output pixels, a byte each, whether their windows meet the mask.

    The mask [N, HEIGHT, 4 · WORDS] is read four pixels at a time. Windows are put together by
    shifting; their columns are one or two input pixels apart, and the output is as wide as the
    input, or half as wide.
    """
    before = tl.zeros_like(word).to(tl.uint32)
    first = before
    second = before
    after = before
    origin = word * STRIDE_WIDTH
    top = row * STRIDE_HEIGHT - PAD_TOP
    line = mask + (stream * HEIGHT + top) * WORDS + origin
    has_before = valid & (origin > 0)
    has_after = valid & (origin + STRIDE_WIDTH < WORDS)
    for i in range(KERNEL_HEIGHT):
        r = top + i * DILATION_HEIGHT
        on_map = (r >= 0) & (r < HEIGHT)
        first = first | tl.load(line, mask=valid & on_map, other=0)
        if STRIDE_WIDTH == 2:
            second = second | tl.load(line + 1, mask=valid & on_map, other=0)
        if PAD_LEFT > 0:
            before = before | tl.load(line - 1, mask=has_before & on_map, other=0)
        if KERNEL_WIDTH - PAD_LEFT > STRIDE_WIDTH:
            after = after | tl.load(line + STRIDE_WIDTH, mask=has_after & on_map, other=0)
        line += DILATION_HEIGHT * WORDS
    if STRIDE_WIDTH == 1:
        second = after
    low = tl.zeros_like(first)
    high = tl.zeros_like(first)
    for j in tl.static_range(KERNEL_WIDTH):
        low = low | _following(before, first, second, j - PAD_LEFT)
        if STRIDE_WIDTH == 2:
            high = high | _following(first, second, after, j - PAD_LEFT)
    if STRIDE_WIDTH == 2:
        low = _even_bytes(low, high)
    return low


@triton.jit
def list_words(
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
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    OUT_STRIDE_HEIGHT: tl.constexpr,
    OUT_STRIDE_WIDTH: tl.constexpr,
    CANDIDATES_GIVEN: tl.constexpr,
    HAS_OTHER_MASK: tl.constexpr,
    RUN: tl.constexpr,
    LIST_BLOCK: tl.constexpr,
):
    """Lists a share's pixels to compute, four at a time; clears the others' mask.

    Returns:
        How many they are.
    """
    words = candidates.to(tl.pointer_type(tl.uint32))
    other_words = other_mask.to(tl.pointer_type(tl.uint32))
    bytes_of_word = tl.arange(0, 4)
    count = 0
    for start in range(0, owned // 4, LIST_BLOCK):
        own = start + tl.arange(0, LIST_BLOCK)
        word = ((own // (RUN // 4)) * shares + share) * (RUN // 4) + own % (RUN // 4)
        valid = (own < owned // 4) & (word < pixels // 4)
        stream, row, column = split_pixel(word, LATTICE_HEIGHT, LATTICE_WIDTH // 4)
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
                PAD_TOP,
                PAD_LEFT,
                DILATION_HEIGHT,
            )
        if HAS_OTHER_MASK:
            reached = reached | tl.load(other_words + word, mask=valid, other=0)
        active = ((reached[:, None] >> (8 * bytes_of_word)[None, :]) & 1) != 0
        number = active.to(tl.int32)
        in_word = tl.sum(number, axis=1)
        before = count + tl.cumsum(in_word, 0) - in_word
        place = before[:, None] + tl.cumsum(number, 1) - number
        pixel = word[:, None] * 4 + bytes_of_word[None, :]
        tl.store(listed + place, pixel, mask=active)
        if leader:
            out_row = (stream * OUT_HEIGHT + row * OUT_STRIDE_HEIGHT + row_offset) * OUT_WIDTH
            out_column = (column * 4)[:, None] + bytes_of_word[None, :]
            out_pixel = out_row[:, None] + out_column * OUT_STRIDE_WIDTH + column_offset
            cleared = valid[:, None] & ~active
            tl.store(mask + out_pixel, tl.zeros_like(active), mask=cleared)
        count += tl.sum(in_word)
    return count


@triton.jit
def list_pixels(
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
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
    OUT_STRIDE_HEIGHT: tl.constexpr,
    OUT_STRIDE_WIDTH: tl.constexpr,
    CANDIDATES_GIVEN: tl.constexpr,
    HAS_OTHER_MASK: tl.constexpr,
    RUN: tl.constexpr,
    LIST_BLOCK: tl.constexpr,
):
    """The same one by one, for any width and any window."""
    count = 0
    for start in range(0, owned, LIST_BLOCK):
        own = start + tl.arange(0, LIST_BLOCK)
        pixel = ((own // RUN) * shares + share) * RUN + own % RUN
        valid = (own < owned) & (pixel < pixels)
        stream, row, column = split_pixel(pixel, LATTICE_HEIGHT, LATTICE_WIDTH)
        out_row = row * OUT_STRIDE_HEIGHT + row_offset
        out_column = column * OUT_STRIDE_WIDTH + column_offset
        out_pixel = (stream * OUT_HEIGHT + out_row) * OUT_WIDTH + out_column
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
    return count
