"""The kernel of update points without a matrix product: pooling, depthwise, resize, pointwise.

A program takes a block of output pixels, finds out which can have changed, and leaves at once if
none has. Otherwise it computes them over all channels, so that the norm of a pixel is its own
affair: in one block of channels if they fit, in two passes over several if not.
"""

import triton
import triton.language as tl

from .device import exceeded, exceeding, other_block, scaled, split_pixel, window_reached


@triton.jit
def _sample(position, SIZE: tl.constexpr, OUT_SIZE: tl.constexpr, BILINEAR: tl.constexpr):
    """The input positions that an output position samples along one axis, and the second's weight.

    Pixels are squares: output o of O lies at (o + ½) I / O − ½ of the I input positions.
    """
    if BILINEAR:
        # Twice O times the position, plus 2 O so that it is not negative.
        scaled = (2 * position + 1) * SIZE + OUT_SIZE
        lower = scaled // (2 * OUT_SIZE) - 1
        weight = (scaled % (2 * OUT_SIZE)).to(tl.float32) / (2.0 * OUT_SIZE)
        first = tl.maximum(lower, 0)
        second = tl.minimum(lower + 1, SIZE - 1)
    else:
        first = (2 * position + 1) * SIZE // (2 * OUT_SIZE)
        second = first
        weight = tl.zeros_like(position).to(tl.float32)
    return first, second, weight


@triton.jit
def _value(
    x0,
    x1,
    x2,
    x3,
    weights,
    pixel,
    stream,
    row,
    column,
    channel,
    active,
    channel_valid,
    IN_HEIGHT: tl.constexpr,
    IN_WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    KIND: tl.constexpr,
    C_IN: tl.constexpr,
    C_OUT: tl.constexpr,
    C1: tl.constexpr,
    C2: tl.constexpr,
    C3: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
):
    """The neighbourhood operation, float32 [pixels, channels]."""
    both = active[:, None] & channel_valid[None, :]
    line = stream * IN_HEIGHT
    if WIDE:
        line = line.to(tl.int64)
    if KIND == "identity":
        result = tl.load(x0 + (pixel * C_IN)[:, None] + channel[None, :], mask=both, other=0.0)
        result = result.to(tl.float32)
    elif KIND == "concatenation":
        END0: tl.constexpr = C_IN
        END1: tl.constexpr = C_IN + C1
        END2: tl.constexpr = C_IN + C1 + C2
        inside = both & (channel < END0)[None, :]
        address = (pixel * C_IN)[:, None] + channel[None, :]
        result = tl.load(x0 + address, mask=inside, other=0.0).to(tl.float32)
        if C1 > 0:
            inside = both & ((channel >= END0) & (channel < END1))[None, :]
            address = (pixel * C1)[:, None] + (channel - END0)[None, :]
            part = tl.load(x1 + address, mask=inside, other=0.0).to(tl.float32)
            result = tl.where((channel < END0)[None, :], result, part)
        if C2 > 0:
            inside = both & ((channel >= END1) & (channel < END2))[None, :]
            address = (pixel * C2)[:, None] + (channel - END1)[None, :]
            part = tl.load(x2 + address, mask=inside, other=0.0).to(tl.float32)
            result = tl.where((channel < END1)[None, :], result, part)
        if C3 > 0:
            inside = both & (channel >= END2)[None, :]
            address = (pixel * C3)[:, None] + (channel - END2)[None, :]
            part = tl.load(x3 + address, mask=inside, other=0.0).to(tl.float32)
            result = tl.where((channel < END2)[None, :], result, part)
    elif KIND == "nearest" or KIND == "bilinear":
        upper, lower, down = _sample(row, IN_HEIGHT, OUT_HEIGHT, KIND == "bilinear")
        left, right, across = _sample(column, IN_WIDTH, OUT_WIDTH, KIND == "bilinear")
        base = x0 + channel[None, :]
        above = ((line + upper) * IN_WIDTH) * C_IN
        result = tl.load(base + (above + left * C_IN)[:, None], mask=both, other=0.0)
        result = result.to(tl.float32)
        if KIND == "bilinear":
            # Rounded to the map's dtype between the axes, as the specification does.
            below = ((line + lower) * IN_WIDTH) * C_IN
            d = down[:, None]
            other = tl.load(base + (below + left * C_IN)[:, None], mask=both, other=0.0)
            result = result + (other.to(tl.float32) - result) * d
            result = result.to(x0.dtype.element_ty).to(tl.float32)
            first = tl.load(base + (above + right * C_IN)[:, None], mask=both, other=0.0)
            first = first.to(tl.float32)
            second = tl.load(base + (below + right * C_IN)[:, None], mask=both, other=0.0)
            first = first + (second.to(tl.float32) - first) * d
            first = first.to(x0.dtype.element_ty).to(tl.float32)
            result = result + (first - result) * across[:, None]
    else:
        first_row = row * STRIDE_HEIGHT - PAD_TOP
        first_column = column * STRIDE_WIDTH - PAD_LEFT
        source = channel
        if KIND == "depthwise":
            source = channel // (C_OUT // C_IN)
        if KIND == "max":
            result = tl.full(both.shape, float("-inf"), tl.float32)
        else:
            result = tl.zeros(both.shape, tl.float32)
        number = tl.zeros_like(row)
        for i in range(KERNEL_HEIGHT):
            r = first_row + i * DILATION_HEIGHT
            on_map = active & (r >= 0) & (r < IN_HEIGHT)
            start = (line + r) * IN_WIDTH
            for j in tl.static_range(KERNEL_WIDTH):
                c = first_column + j * DILATION_WIDTH
                inside = on_map & (c >= 0) & (c < IN_WIDTH)
                address = ((start + c) * C_IN)[:, None] + source[None, :]
                loaded = inside[:, None] & channel_valid[None, :]
                if KIND == "max":
                    part = tl.load(x0 + address, mask=loaded, other=float("-inf"))
                    result = tl.maximum(
                        result, part.to(tl.float32), propagate_nan=tl.PropagateNan.ALL
                    )
                elif KIND == "depthwise":
                    part = tl.load(x0 + address, mask=loaded, other=0.0).to(tl.float32)
                    tap = (i * KERNEL_WIDTH + j) * C_OUT + channel
                    weight = tl.load(weights + tap, mask=channel_valid, other=0.0)
                    result += part * weight.to(tl.float32)[None, :]
                else:
                    result += tl.load(x0 + address, mask=loaded, other=0.0).to(tl.float32)
                    number += inside.to(tl.int32)
        if KIND == "average":
            result = result / (KERNEL_HEIGHT * KERNEL_WIDTH)
        elif KIND == "average_inside":
            result = result / tl.maximum(number, 1).to(tl.float32)[:, None]
    return result


@triton.jit
def pixelwise_kernel(
    x0,
    x1,
    x2,
    x3,
    weights,
    candidates,
    other_mask,
    scale,
    shift,
    other0,
    other1,
    other2,
    threshold,
    value,
    mask,
    pixels,
    other0_stream_stride,
    other0_row_stride,
    other0_column_stride,
    other0_channel_stride,
    other1_stream_stride,
    other1_row_stride,
    other1_column_stride,
    other1_channel_stride,
    other2_stream_stride,
    other2_row_stride,
    other2_column_stride,
    other2_channel_stride,
    IN_HEIGHT: tl.constexpr,
    IN_WIDTH: tl.constexpr,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    KIND: tl.constexpr,
    C_IN: tl.constexpr,
    C_OUT: tl.constexpr,
    C1: tl.constexpr,
    C2: tl.constexpr,
    C3: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    PAD_TOP: tl.constexpr,
    PAD_LEFT: tl.constexpr,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
    CANDIDATES_GIVEN: tl.constexpr,
    HAS_OTHER_MASK: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_SHIFT: tl.constexpr,
    OTHER0: tl.constexpr,
    OTHER1: tl.constexpr,
    OTHER2: tl.constexpr,
    POINTWISE: tl.constexpr,
    NORM: tl.constexpr,
    WIDE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One update. Grid: blocks of BLOCK_M output pixels.

    Shapes: x0 [N, IN_HEIGHT, IN_WIDTH, C_IN], and for a concatenation x1 to x3 with C1 to C3,
    weights [KERNEL_HEIGHT · KERNEL_WIDTH, C_OUT] (depthwise), candidates
    [N, IN_HEIGHT, IN_WIDTH] (the input's mask) or [N, OUT_HEIGHT, OUT_WIDTH] (with
    CANDIDATES_GIVEN), other_mask [N, OUT_HEIGHT, OUT_WIDTH], value
    [N, OUT_HEIGHT, OUT_WIDTH, C_OUT], mask [N, OUT_HEIGHT, OUT_WIDTH].
    """
    pixel = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    valid = pixel < pixels
    stream, row, column = split_pixel(pixel, OUT_HEIGHT, OUT_WIDTH)
    if CANDIDATES_GIVEN:
        active = tl.load(candidates + pixel, mask=valid, other=False)
    elif KIND == "nearest" or KIND == "bilinear":
        upper, lower, _ = _sample(row, IN_HEIGHT, OUT_HEIGHT, KIND == "bilinear")
        left, right, _ = _sample(column, IN_WIDTH, OUT_WIDTH, KIND == "bilinear")
        line = stream * IN_HEIGHT
        active = tl.load(candidates + (line + upper) * IN_WIDTH + left, mask=valid, other=False)
        if KIND == "bilinear":
            above, below = (line + upper) * IN_WIDTH, (line + lower) * IN_WIDTH
            active = active | tl.load(candidates + above + right, mask=valid, other=False)
            active = active | tl.load(candidates + below + left, mask=valid, other=False)
            active = active | tl.load(candidates + below + right, mask=valid, other=False)
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
        active = active | tl.load(other_mask + pixel, mask=valid, other=False)
    passed = tl.zeros_like(active)
    if tl.max(active.to(tl.int32)) > 0:
        tau = tl.load(threshold)
        index = pixel
        if WIDE:
            index = pixel.to(tl.int64)
        norm = tl.zeros((BLOCK_M,), tl.float32)
        PASSES: tl.constexpr = 1 if BLOCK_C >= C_OUT else 2
        for turn in tl.static_range(PASSES):
            for start in range(0, C_OUT, BLOCK_C):
                channel = start + tl.arange(0, BLOCK_C)
                channel_valid = channel < C_OUT
                both = active[:, None] & channel_valid[None, :]
                new = _value(
                    x0,
                    x1,
                    x2,
                    x3,
                    weights,
                    index,
                    stream,
                    row,
                    column,
                    channel,
                    active,
                    channel_valid,
                    IN_HEIGHT,
                    IN_WIDTH,
                    OUT_HEIGHT,
                    OUT_WIDTH,
                    KIND,
                    C_IN,
                    C_OUT,
                    C1,
                    C2,
                    C3,
                    KERNEL_HEIGHT,
                    KERNEL_WIDTH,
                    STRIDE_HEIGHT,
                    STRIDE_WIDTH,
                    PAD_TOP,
                    PAD_LEFT,
                    DILATION_HEIGHT,
                    DILATION_WIDTH,
                    WIDE,
                )
                if KIND != "concatenation":
                    # The specification rounds to the input's dtype before the tail.
                    new = new.to(x0.dtype.element_ty).to(tl.float32)
                new = scaled(new, scale, shift, channel, channel_valid, HAS_SCALE, HAS_SHIFT)
                if OTHER0 != "none":
                    further0 = other_block(
                        other0,
                        index,
                        stream,
                        row,
                        column,
                        channel,
                        both,
                        C_OUT,
                        OTHER0 == "full",
                        other0_stream_stride,
                        other0_row_stride,
                        other0_column_stride,
                        other0_channel_stride,
                    )
                if OTHER1 != "none":
                    further1 = other_block(
                        other1,
                        index,
                        stream,
                        row,
                        column,
                        channel,
                        both,
                        C_OUT,
                        OTHER1 == "full",
                        other1_stream_stride,
                        other1_row_stride,
                        other1_column_stride,
                        other1_channel_stride,
                    )
                if OTHER2 != "none":
                    further2 = other_block(
                        other2,
                        index,
                        stream,
                        row,
                        column,
                        channel,
                        both,
                        C_OUT,
                        OTHER2 == "full",
                        other2_stream_stride,
                        other2_row_stride,
                        other2_column_stride,
                        other2_channel_stride,
                    )
                if POINTWISE is not None:
                    if OTHER2 != "none":
                        new = POINTWISE(new, further0, further1, further2)
                    elif OTHER1 != "none":
                        new = POINTWISE(new, further0, further1)
                    elif OTHER0 != "none":
                        new = POINTWISE(new, further0)
                    else:
                        new = POINTWISE(new)
                new = new.to(value.dtype.element_ty)
                address = (index * C_OUT)[:, None] + channel[None, :]
                if turn == 0:
                    old = tl.load(value + address, mask=both, other=0.0)
                    change = new.to(tl.float32) - old.to(tl.float32)
                    norm += exceeding(change, tau, channel_valid, NORM)
                    if PASSES == 1:
                        passed = active & exceeded(norm, tau, C_OUT, NORM)
                if turn == PASSES - 1:
                    committed = passed[:, None] & channel_valid[None, :]
                    tl.store(value + address, new, mask=committed)
            if turn == 0:
                passed = active & exceeded(norm, tau, C_OUT, NORM)
    tl.store(mask + pixel, passed, mask=valid)
