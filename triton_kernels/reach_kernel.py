"""Which pixels of a program's share can have changed: device functions that list them."""

import triton
import triton.language as tl

from .device import split_pixel, window_reached


@triton.jit
def _following(previous, current, following, BYTES: tl.constexpr):
    """The eight bytes that start BYTES after those of `current`, which lies between the others."""
    if BYTES > 0:
        result = (current >> (8 * BYTES)) | (following << (64 - 8 * BYTES))
    elif BYTES < 0:
        result = (current << (-8 * BYTES)) | (previous >> (64 + 8 * BYTES))
    else:
        result = current
    return result


@triton.jit
def _even_bytes(word):
    """The bytes 0, 2, 4 and 6, next to each other."""
    word = word & 0x00FF00FF00FF00FF
    word = (word | (word >> 8)) & 0x0000FFFF0000FFFF
    return (word | (word >> 16)) & 0x00000000FFFFFFFF


@triton.jit
def words_reached(
    mask,
    stream,
    row,
    word,
    valid,
    height,
    words,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
):
    """Of eight neighbouring output pixels, a byte each, whether their windows meet the mask.

    The mask [N, height, 8 · words] is read eight pixels at a time, and so is its row of words
    PAD_LEFT before to KERNEL_WIDTH after each pixel put together by shifting. Columns are one or
    two input pixels apart, and the output is as wide as the input, or half as wide.
    """
    before = tl.zeros_like(word).to(tl.int64)
    first = before
    second = before
    after = before
    origin = word * STRIDE_WIDTH
    for i in tl.static_range(KERNEL_HEIGHT):
        r = row * STRIDE_HEIGHT - PAD_TOP + i * DILATION_HEIGHT
        inside = valid & (r >= 0) & (r < height)
        line = mask + (stream * height + r) * words + origin
        first = first | tl.load(line, mask=inside, other=0)
        if STRIDE_WIDTH == 2:
            second = second | tl.load(line + 1, mask=inside, other=0)
        if PAD_LEFT > 0:
            before = before | tl.load(line - 1, mask=inside & (origin > 0), other=0)
        if KERNEL_WIDTH - PAD_LEFT > STRIDE_WIDTH:
            last = origin + STRIDE_WIDTH
            following = tl.load(line + STRIDE_WIDTH, mask=inside & (last < words), other=0)
            after = after | following
    if STRIDE_WIDTH == 1:
        second = after
    low = tl.zeros_like(first)
    high = tl.zeros_like(first)
    for j in tl.static_range(KERNEL_WIDTH):
        low = low | _following(before, first, second, j - PAD_LEFT)
        if STRIDE_WIDTH == 2:
            high = high | _following(first, second, after, j - PAD_LEFT)
    if STRIDE_WIDTH == 2:
        low = _even_bytes(low) | (_even_bytes(high) << 32)
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
    lattice_height,
    lattice_width,
    out_height,
    out_width,
    in_height,
    in_width,
    row_offset,
    column_offset,
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
    """Lists a share's pixels to compute, eight at a time; clears the others' mask.

    Returns:
        How many they are.
    """
    words = candidates.to(tl.pointer_type(tl.int64))
    other_words = other_mask.to(tl.pointer_type(tl.int64))
    bytes_of_word = tl.arange(0, 8)
    count = 0
    for start in range(0, owned // 8, LIST_BLOCK):
        own = start + tl.arange(0, LIST_BLOCK)
        word = ((own // (RUN // 8)) * shares + share) * (RUN // 8) + own % (RUN // 8)
        valid = (own < owned // 8) & (word < pixels // 8)
        stream, row, column = split_pixel(word, lattice_height, lattice_width // 8)
        if CANDIDATES_GIVEN:
            reached = tl.load(words + word, mask=valid, other=0)
        else:
            reached = words_reached(
                words,
                stream,
                row,
                column,
                valid,
                in_height,
                in_width // 8,
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
        pixel = word[:, None] * 8 + bytes_of_word[None, :]
        tl.store(listed + place, pixel, mask=active)
        if leader:
            out_row = (stream * out_height + row * OUT_STRIDE_HEIGHT + row_offset) * out_width
            out_column = (column * 8)[:, None] + bytes_of_word[None, :]
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
    lattice_height,
    lattice_width,
    out_height,
    out_width,
    in_height,
    in_width,
    row_offset,
    column_offset,
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
    return count
