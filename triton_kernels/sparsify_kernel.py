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
    passed = active & exceeded(exceeding(change, tau, both, NORM), tau, C, NORM)
    if COMMIT:
        tl.store(value + address, new, mask=passed[:, None] & valid[None, :])
    tl.store(mask + pixel, passed, mask=inside)


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
        passed = active & exceeded(exceeding(change, 0.0, both, "max"), 0.0, C, "max")
        tl.store(value + address, new, mask=passed[:, None] & valid[None, :])
    tl.store(mask + pixel, passed, mask=inside)
