"""The calls of the kernels of the entry."""

import jax
import jax.numpy as jnp

from .arguments import INT32_LIMIT
from .launch import launch
from .sparsify_kernel import dilate_kernel, sparsify_kernel, sparsify_rgb_kernel

BLOCK = 1024
"""Numbers that a program looks at."""
GROUPS = 128
"""Groups of four pixels that a program looks at, of uint8 frames of three channels."""


def enter_frame(
    frame: jax.Array,
    factor: jax.Array | None,
    offset: jax.Array | None,
    candidates: jax.Array | None,
    value: jax.Array,
    threshold: jax.Array,
    norm: str,
    dilation: int,
) -> tuple[jax.Array, jax.Array]:
    """The entry's map and mask after a frame: in one pass, or two if changes are dilated.

    Args:
        frame: [N, H, W, C], uint8 or floating.
        factor, offset: float32 [C]; the map is frame · factor − offset. None for the frame itself.
        candidates: [N, H, W], the pixels that can have changed; None for all.
        value: [N, H, W, C], the map; overwritten.
        threshold: float32 [1].
        norm: "max", "l2" or "rms".
        dilation: side of the square by which changes are dilated, odd.
    """
    channels = frame.shape[3]
    pixels = frame.size // channels
    block_c = 1 << (channels - 1).bit_length()
    block_m = max(BLOCK // block_c, 1)
    grid = (-(-pixels // block_m),)
    entry = {
        "frame": frame,
        "factor": threshold if factor is None else factor,
        "offset": threshold if offset is None else offset,
        "candidates": threshold if candidates is None else candidates,
    }
    mask = {"mask": jax.ShapeDtypeStruct(frame.shape[:3], jnp.bool_)}
    common = {
        "pixels": pixels,
        "C": channels,
        "NORMALISE": factor is not None,
        "HAS_CANDIDATES": candidates is not None,
        "WIDE": frame.size >= INT32_LIMIT,
        "BLOCK_M": block_m,
        "BLOCK_C": block_c,
    }
    operands = {**entry, "threshold": threshold, "value": value}
    how = {"NORM": norm, "COMMIT": dilation == 1}
    if frame.dtype == jnp.uint8 and channels == 3 and pixels % 4 == 0:
        groups = pixels // 4
        shared = ("NORMALISE", "HAS_CANDIDATES", "WIDE")
        found = launch(
            sparsify_rgb_kernel,
            (-(-groups // GROUPS),),
            operands,
            mask,
            ("value",),
            {**{name: common[name] for name in shared}, **how, "groups": groups, "BLOCK": GROUPS},
            num_warps=4,
            num_stages=1,
        )
    else:
        found = launch(
            sparsify_kernel, grid, operands, mask, ("value",), {**common, **how}, 4, num_stages=1
        )
    if dilation == 1:
        return found["value"], found["mask"]
    dilated = launch(
        dilate_kernel,
        grid,
        {**entry, "changed": found["mask"], "value": found["value"]},
        mask,
        ("value",),
        {**common, "HEIGHT": frame.shape[1], "WIDTH": frame.shape[2], "DILATION": dilation},
        num_warps=4,
        num_stages=1,
    )
    return dilated["value"], dilated["mask"]
