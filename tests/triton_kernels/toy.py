"""Small kernels that use between them what the kernels of deltajax use of Triton."""

import triton
import triton.language as tl

from deltajax.triton_kernels.device import exceeded, exceeding


@triton.jit
def double(x):
    return x * 2


@triton.jit
def masked_map(x, mask, positive, size, BLOCK: tl.constexpr, FUNCTION: tl.constexpr):
    """Where `mask`, replaces x by FUNCTION(x); elsewhere by 0. `positive` is x > 0 afterwards."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = index < size
    chosen = tl.load(mask + index, mask=inside, other=0)
    values = FUNCTION(tl.load(x + index, mask=inside & chosen, other=0.0))
    tl.store(x + index, values, mask=inside)
    tl.store(positive + index, values > 0, mask=inside)


@triton.jit
def matmul(a, b, c, depth, BLOCK: tl.constexpr, PRECISION: tl.constexpr):
    """c [BLOCK, BLOCK] = a [BLOCK, depth] · b [depth, BLOCK]."""
    index = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, depth, BLOCK):
        left = tl.load(a + index[:, None] * depth + start + index[None, :])
        right = tl.load(b + (start + index[:, None]) * BLOCK + index[None, :])
        total = tl.dot(left, right, total, input_precision=PRECISION)
    tl.store(c + index[:, None] * BLOCK + index[None, :], total.to(c.dtype.element_ty))


@triton.jit
def compact(mask, indices, count, size, BLOCK: tl.constexpr):
    """The indices where `mask` is not 0, in any order of blocks, and how many there are."""
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    chosen = (tl.load(mask + index, mask=index < size, other=0) != 0).to(tl.int32)
    start = tl.atomic_add(count, tl.sum(chosen), sem="relaxed")
    position = start + tl.cumsum(chosen, 0) - chosen
    tl.store(indices + position, index, mask=chosen != 0)


@triton.jit
def control_flow(out, size, STEPS: tl.constexpr):
    """out[:3]: the first power of two from size on, the sum of range(STEPS), out[0] plus it;
    out[4:8]: the sums of the columns of a [4, 4] matrix of 0 to 15."""
    power = 1
    while power < size:
        power *= 2
    total = 0
    for step in tl.static_range(STEPS):  # pyright: ignore[reportGeneralTypeIssues]
        total += step
    tl.store(out, power)
    tl.store(out + 1, total)
    tl.debug_barrier()
    tl.store(out + 2, tl.load(out) + total)
    rows = tl.trans(tl.reshape(tl.arange(0, 16), (4, 4)))
    tl.store(out + 4 + tl.arange(0, 4), tl.sum(rows, axis=1))


@triton.jit
def narrow(x, y, BLOCK: tl.constexpr):
    """y = x in the type of y, plus 1 in that type."""
    index = tl.arange(0, BLOCK)
    values = tl.load(x + index).to(y.dtype.element_ty)
    one = tl.full((BLOCK,), 1, y.dtype.element_ty)
    tl.store(y + index, tl.where(values > one, values + one, values))


@triton.jit
def fill(x, BLOCK: tl.constexpr):
    tl.store(x + tl.arange(0, BLOCK), 1.0)


@triton.jit
def changes(
    difference, passed, threshold, ROWS: tl.constexpr, COLUMNS: tl.constexpr, NORM: tl.constexpr
):
    """Whether the norms of rows of difference, [ROWS, COLUMNS], exceed a threshold.

    In two blocks of four channels, of which the last are beyond COLUMNS.
    """
    row = tl.arange(0, ROWS)
    tau = tl.load(threshold)
    parts = tl.zeros((ROWS,), tl.float32)
    for half in tl.static_range(2):  # pyright: ignore[reportGeneralTypeIssues]
        column = half * 4 + tl.arange(0, 4)
        valid = column < COLUMNS
        # Beyond the last channel is what must not count.
        index = row[:, None] * COLUMNS + column[None, :]
        block = tl.load(difference + index, mask=valid[None, :], other=1e30)
        parts += exceeding(block, tau, valid, NORM)
    tl.store(passed + row, exceeded(parts, tau, COLUMNS, NORM))
