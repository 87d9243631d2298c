"""What the kernels share, as device functions: pixels, reach, the tail, norms."""

import triton
import triton.language as tl


@triton.jit
def split_pixel(pixel, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """(stream, row, column) of positions in a flattened [N, HEIGHT, WIDTH].

    Sizes are constants, as a division by a number that the compiler does not know takes 25
    instructions, and for a small map a kernel is little else.
    """
    column = pixel % WIDTH
    line = pixel // WIDTH
    return line // HEIGHT, line % HEIGHT, column


@triton.jit
def lattice_pixel(
    stream,
    row,
    column,
    row_offset,
    column_offset,
    OUT_HEIGHT: tl.constexpr,
    OUT_WIDTH: tl.constexpr,
    OUT_STRIDE_HEIGHT: tl.constexpr,
    OUT_STRIDE_WIDTH: tl.constexpr,
):
    """(row, column) in the output of a lattice's pixel, and its place in [N, H, W] flattened."""
    out_row = row * OUT_STRIDE_HEIGHT + row_offset
    out_column = column * OUT_STRIDE_WIDTH + column_offset
    return out_row, out_column, (stream * OUT_HEIGHT + out_row) * OUT_WIDTH + out_column


@triton.jit
def window_reached(
    mask,
    stream,
    row,
    column,
    valid,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    KERNEL_HEIGHT: tl.constexpr,
    KERNEL_WIDTH: tl.constexpr,
    STRIDE_HEIGHT: tl.constexpr,
    STRIDE_WIDTH: tl.constexpr,
    pad_top,
    pad_left,
    DILATION_HEIGHT: tl.constexpr,
    DILATION_WIDTH: tl.constexpr,
):
    """Whether the windows of output pixels meet the mask, bool [N, HEIGHT, WIDTH]."""
    reached = tl.zeros_like(valid)
    first_row = row * STRIDE_HEIGHT - pad_top
    first_column = column * STRIDE_WIDTH - pad_left
    for i in range(KERNEL_HEIGHT):
        r = first_row + i * DILATION_HEIGHT
        line = (stream * HEIGHT + r) * WIDTH
        on_map = valid & (r >= 0) & (r < HEIGHT)
        for j in tl.static_range(KERNEL_WIDTH):
            c = first_column + j * DILATION_WIDTH
            inside = on_map & (c >= 0) & (c < WIDTH)
            reached = reached | tl.load(mask + line + c, mask=inside, other=False)
    return reached


@triton.jit
def unknown(number, COMPILED: tl.constexpr):
    """The number, hidden from the compiler, which would unroll a loop over so many turns."""
    result = number
    if COMPILED:
        result = tl.inline_asm_elementwise(
            "mov.s32 $0, $1;", "=r,r", [number], dtype=tl.int32, is_pure=True, pack=1
        )
    return result


@triton.jit
def fetch_ahead(array, first, last):
    """Asks for an array's lines of 128 bytes, first up to last, into the second-level cache.

    None where last is not above first. Each thread takes a line at a time, in PTX: as a block these
    would cost the kernel registers. Not for the interpreter.
    """
    start = array.to(tl.pointer_type(tl.uint8)) + first * 128
    tl.inline_asm_elementwise(
        """
        {
            .reg .u32 line, threads;
            .reg .u64 address;
            .reg .pred done;
            mov.u32 line, %tid.x;
            mov.u32 threads, %ntid.x;
        more:
            setp.ge.s32 done, line, $2;
            @done bra end;
            mad.wide.u32 address, line, 128, $1;
            prefetch.global.L2 [address];
            add.u32 line, line, threads;
            bra more;
        end:
            mov.s32 $0, 0;
        }
        """,
        "=r,l,r",
        [start.to(tl.int64), last - first],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )


@triton.jit
def nearest_tf32(block):
    """float32 as the nearest numbers of TF32, away from zero if there are two.

    NaN stays NaN, if it is quiet, as arithmetic makes it.

    Tensor cores cut the last 13 bits of their operands off. Each product then is a little too
    small, all of them in the same direction: 2 % after the 53 convolutions of a ResNet-50. What has
    been rounded before loses nothing to them.

    In integers and without a comparison, as the GPU's own instruction has one: then predicates run
    short, loads wait for each other, and all of ResNet-50 takes a tenth longer.
    """
    bits = block.to(tl.int32, bitcast=True)
    nearest = bits + 0x1000
    # Only NaN can overflow into the sign. All bits set are NaN, too.
    overflow = (nearest ^ bits) >> 31
    return ((nearest & -0x2000) | overflow).to(tl.float32, bitcast=True)


@triton.jit
def scaled(block, scale, shift, channel, valid, HAS_SCALE: tl.constexpr, HAS_SHIFT: tl.constexpr):
    """block · scale + shift, of the channels."""
    if HAS_SCALE:
        factor = tl.load(scale + channel, mask=valid, other=0.0)
        block = block * factor.to(tl.float32)[None, :]
    if HAS_SHIFT:
        offset = tl.load(shift + channel, mask=valid, other=0.0)
        block = block + offset.to(tl.float32)[None, :]
    return block


@triton.jit
def exceeding(difference, threshold, channel_valid, NORM: tl.constexpr):
    """What a block of channels adds to the norm of each pixel's change, [pixels] float32.

    Of the norm "max" it is one where a channel differs by more than the threshold, so that NaN,
    which compares with nothing, counts as changed; of the others a sum of squares.
    """
    if NORM == "max":
        # As in `nearest_tf32` no number is compared by itself. Positive numbers have the order of
        # their bits, and NaN is above all of them.
        magnitude = tl.where(channel_valid, 0x7FFFFFFF, 0)[None, :]
        magnitude = magnitude & difference.to(tl.int32, bitcast=True)
        largest = tl.max(magnitude, axis=1).to(tl.float32, bitcast=True)
        parts = tl.where(largest <= threshold, 0.0, 1.0)
    else:
        difference = tl.where(channel_valid[None, :], difference, 0.0)
        parts = tl.sum(difference * difference, axis=1)
    return parts


@triton.jit
def exceeded(parts, threshold, CHANNELS: tl.constexpr, NORM: tl.constexpr):
    """Whether a norm over all channels, from the sum of `exceeding`, exceeds the threshold."""
    if NORM == "max":
        result = parts > 0.0
    elif NORM == "l2":
        result = ~(tl.sqrt(parts) <= threshold)
    else:
        result = ~(tl.sqrt(parts / CHANNELS) <= threshold)
    return result


@triton.jit
def other_block(
    other,
    pixel,
    stream,
    row,
    column,
    channels,
    valid,
    CHANNELS: tl.constexpr,
    FULL: tl.constexpr,
    stream_stride,
    row_stride,
    column_stride,
    channel_stride,
):
    """A block [pixels, channels] of a further input, broadcast along axes of stride zero."""
    if FULL:
        offset = (pixel * CHANNELS)[:, None] + channels[None, :]
    else:
        offset = stream * stream_stride + row * row_stride + column * column_stride
        offset = offset[:, None] + (channels * channel_stride)[None, :]
    return tl.load(other + offset, mask=valid, other=0.0)
