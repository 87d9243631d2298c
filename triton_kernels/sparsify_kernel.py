"""The kernels of the entry: normalise a frame, find the pixels that changed, commit them."""

import triton
import triton.language as tl

from .device import exceeded, exceeding, split_pixel, window_reached


@triton.jit
def _normalised(
    frame,
    factor,
    offset,
    index,
    channel,
    valid,
    both,
    C: tl.constexpr,
    NORMALISE: tl.constexpr,
    DTYPE: tl.constexpr,
):
    """frame · factor − offset at a block of pixels, [pixels, channels], in the map's dtype."""
    pixel = tl.load(frame + (index * C)[:, None] + channel[None, :], mask=both, other=0)
    if NORMALISE:
        f = tl.load(factor + channel, mask=valid, other=0.0)
        o = tl.load(offset + channel, mask=valid, other=0.0)
        result = (pixel.to(tl.float32) * f[None, :] - o[None, :]).to(DTYPE)
    else:
        result = pixel.to(DTYPE)
    return result


@triton.jit
def sparsify_kernel(
    frame,
    factor,
    offset,
    candidates,
    threshold,
    value,
    mask,
    pixels,
    C: tl.constexpr,
    NORMALISE: tl.constexpr,
    HAS_CANDIDATES: tl.constexpr,
    COMMIT: tl.constexpr,
    NORM: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """The pixels that changed, and with COMMIT the map. Grid: blocks of BLOCK_M pixels.

    Shapes: frame and value [N, H, W, C], factor and offset [C], candidates and mask [N, H, W].
    """
    pixel = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    active = pixel < pixels
    inside = active
    if HAS_CANDIDATES:
        active = tl.load(candidates + pixel, mask=inside, other=False)
    index = pixel
    if WIDE:
        index = pixel.to(tl.int64)
    channel = tl.arange(0, BLOCK_C)
    valid = channel < C
    both = active[:, None] & valid[None, :]
    new = _normalised(
        frame, factor, offset, index, channel, valid, both, C, NORMALISE, value.dtype.element_ty
    )
    address = (index * C)[:, None] + channel[None, :]
    old = tl.load(value + address, mask=both, other=0.0)
    tau = tl.load(threshold)
    change = new.to(tl.float32) - old.to(tl.float32)
    passed = active & exceeded(exceeding(change, tau, valid, NORM), tau, C, NORM)
    if COMMIT:
        tl.store(value + address, new, mask=passed[:, None] & valid[None, :])
    tl.store(mask + pixel, passed, mask=inside)


@triton.jit
def _of_three(first, second, third, WORD: tl.constexpr):
    """The word of this number, of three."""
    if WORD == 0:
        result = first
    elif WORD == 1:
        result = second
    else:
        result = third
    return result


@triton.jit
def sparsify_rgb_kernel(
    frame,
    factor,
    offset,
    candidates,
    threshold,
    value,
    mask,
    groups,
    NORMALISE: tl.constexpr,
    HAS_CANDIDATES: tl.constexpr,
    COMMIT: tl.constexpr,
    NORM: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """`sparsify_kernel` for uint8 frames of three channels. Grid: blocks of BLOCK groups of pixels.

    Four pixels are twelve numbers: three words of four bytes in the frame, and as many words of
    four numbers in the map, of eight bytes in half types and of two times eight in float32.
    Number by number a program would wait for its loads to be issued.
    """
    DTYPE: tl.constexpr = value.dtype.element_ty
    HALVES: tl.constexpr = DTYPE.primitive_bitwidth // 16
    group = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = group < groups
    active = tl.full((BLOCK,), 0x01010101, tl.uint32)
    if HAS_CANDIDATES:
        active = tl.load(candidates.to(tl.pointer_type(tl.uint32)) + group, mask=inside, other=0)
    place = group * 3
    if WIDE:
        place = group.to(tl.int64) * 3
    pixels = frame.to(tl.pointer_type(tl.uint32)) + place
    map_words = value.to(tl.pointer_type(tl.uint64)) + place * HALVES
    byte0 = tl.load(pixels, mask=inside, other=0)
    byte1 = tl.load(pixels + 1, mask=inside, other=0)
    byte2 = tl.load(pixels + 2, mask=inside, other=0)
    low0 = tl.load(map_words, mask=inside, other=0)
    low1 = tl.load(map_words + HALVES, mask=inside, other=0)
    low2 = tl.load(map_words + 2 * HALVES, mask=inside, other=0)
    high0, high1, high2 = low0, low1, low2
    if HALVES == 2:
        high0 = tl.load(map_words + 1, mask=inside, other=0)
        high1 = tl.load(map_words + 3, mask=inside, other=0)
        high2 = tl.load(map_words + 5, mask=inside, other=0)
    tau = tl.load(threshold)
    f0, f1, f2, o0, o1, o2 = tau, tau, tau, tau, tau, tau
    if NORMALISE:
        f0, f1, f2 = tl.load(factor), tl.load(factor + 1), tl.load(factor + 2)
        o0, o1, o2 = tl.load(offset), tl.load(offset + 1), tl.load(offset + 2)
    result = tl.zeros((BLOCK,), tl.uint32)
    for p in tl.static_range(4):
        parts = tl.zeros((BLOCK,), tl.float32)
        for c in tl.static_range(3):
            f, o = _of_three(f0, f1, f2, c), _of_three(o0, o1, o2, c)
            new = _rgb_new(byte0, byte1, byte2, f, o, 3 * p + c, NORMALISE, DTYPE)
            old = _rgb_old(low0, low1, low2, high0, high1, high2, 3 * p + c, HALVES, DTYPE)
            change = new.to(tl.float32) - old.to(tl.float32)
            if NORM == "max":
                parts += tl.where(~(tl.abs(change) <= tau), 1.0, 0.0)
            else:
                parts += change * change
        passed = ((active >> (8 * p)) & 1) != 0
        passed = passed & exceeded(parts, tau, 3, NORM)
        result |= passed.to(tl.uint32) << (8 * p)
    tl.store(mask.to(tl.pointer_type(tl.uint32)) + group, result, mask=inside)
    if COMMIT:
        base = value + place * 4
        for p in tl.static_range(4):
            passed = inside & (((result >> (8 * p)) & 1) != 0)
            for c in tl.static_range(3):
                f, o = _of_three(f0, f1, f2, c), _of_three(o0, o1, o2, c)
                new = _rgb_new(byte0, byte1, byte2, f, o, 3 * p + c, NORMALISE, DTYPE)
                tl.store(base + (3 * p + c), new, mask=passed)


@triton.jit
def _rgb_new(
    first,
    second,
    third,
    factor,
    offset,
    NUMBER: tl.constexpr,
    NORMALISE: tl.constexpr,
    DTYPE: tl.constexpr,
):
    """One of twelve numbers of a frame, normalised, in the map's dtype."""
    byte = (_of_three(first, second, third, NUMBER // 4) >> (8 * (NUMBER % 4))) & 255
    result = byte.to(tl.float32)
    if NORMALISE:
        result = result * factor - offset
    return result.to(DTYPE)


@triton.jit
def _rgb_old(
    low0,
    low1,
    low2,
    high0,
    high1,
    high2,
    NUMBER: tl.constexpr,
    HALVES: tl.constexpr,
    DTYPE: tl.constexpr,
):
    """One of twelve numbers of a map."""
    if HALVES == 1:
        word = _of_three(low0, low1, low2, NUMBER // 4)
        bits = (word >> (16 * (NUMBER % 4))).to(tl.uint16)
    else:
        if NUMBER % 4 < 2:
            word = _of_three(low0, low1, low2, NUMBER // 4)
        else:
            word = _of_three(high0, high1, high2, NUMBER // 4)
        bits = (word >> (32 * (NUMBER % 2))).to(tl.uint32)
    return bits.to(DTYPE, bitcast=True)


@triton.jit
def dilate_kernel(
    frame,
    factor,
    offset,
    candidates,
    changed,
    value,
    mask,
    pixels,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    C: tl.constexpr,
    NORMALISE: tl.constexpr,
    HAS_CANDIDATES: tl.constexpr,
    DILATION: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Commits what lies near a changed pixel and differs at all. Grid: blocks of BLOCK_M pixels.

    Shapes: as in `sparsify_kernel`; changed [N, H, W], its outcome.
    """
    pixel = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = pixel < pixels
    stream, row, column = split_pixel(pixel, HEIGHT, WIDTH)
    active = window_reached(
        changed,
        stream,
        row,
        column,
        inside,
        HEIGHT,
        WIDTH,
        DILATION,
        DILATION,
        1,
        1,
        DILATION // 2,
        DILATION // 2,
        1,
        1,
    )
    if HAS_CANDIDATES:
        active = active & tl.load(candidates + pixel, mask=inside, other=False)
    passed = tl.zeros_like(active)
    if tl.max(active.to(tl.int32)) > 0:
        index = pixel
        if WIDE:
            index = pixel.to(tl.int64)
        channel = tl.arange(0, BLOCK_C)
        valid = channel < C
        both = active[:, None] & valid[None, :]
        new = _normalised(
            frame, factor, offset, index, channel, valid, both, C, NORMALISE, value.dtype.element_ty
        )
        address = (index * C)[:, None] + channel[None, :]
        old = tl.load(value + address, mask=both, other=0.0)
        change = new.to(tl.float32) - old.to(tl.float32)
        passed = active & exceeded(exceeding(change, 0.0, valid, "max"), 0.0, C, "max")
        tl.store(value + address, new, mask=passed[:, None] & valid[None, :])
    tl.store(mask + pixel, passed, mask=inside)
