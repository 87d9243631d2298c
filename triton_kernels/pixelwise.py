"""The call of the kernel for pooling, depthwise convolution, resizing and pointwise operations."""

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp

from .arguments import INT32_LIMIT, Affine, Window, other_strides
from .launch import launch
from .pixelwise_kernel import pixelwise_kernel

Kind = Literal[
    "identity", "concatenation", "max", "average", "average_inside", "depthwise", "nearest",
    "bilinear",
]  # fmt: skip

MAX_INPUTS = 4
MAX_OTHERS = 3
BLOCK = 4096
"""Numbers that a program computes at a time."""


def compute_pixels(
    kind: Kind,
    inputs: tuple[jax.Array, ...],
    weights: jax.Array | None,
    window: Window,
    candidates: jax.Array,
    candidates_given: bool,
    other_mask: jax.Array | None,
    affine: Affine,
    others: tuple[jax.Array, ...],
    pointwise: Any,
    value: jax.Array,
    threshold: jax.Array,
    norm: str,
) -> tuple[jax.Array, jax.Array]:
    """One update.

    Args:
        kind: of the operation; "average_inside" divides by the pixels inside the map.
        inputs: [N, H, W, C]; several for a concatenation.
        weights: [KH, KW, 1, C_out] of a depthwise convolution.
        window: over the input.
        candidates: bool [N, H, W], the input pixels that changed; with `candidates_given`
            [N, Ho, Wo], the output pixels to compute.
        candidates_given: which of the two it is.
        other_mask: [N, Ho, Wo], further pixels to compute.
        affine: scale and shift.
        others: maps that broadcast to the output, the further arguments of `pointwise`.
        pointwise: a Triton device function, or None.
        value: [N, Ho, Wo, C_out], the cached map; overwritten.
        threshold: float32 [1].
        norm: "max", "l2" or "rms".

    Returns:
        The new map and mask.
    """
    streams, out_height, out_width, features = value.shape
    pixels = streams * out_height * out_width
    block_c = min(1 << (features - 1).bit_length(), BLOCK // 2)
    block_m = min(max(BLOCK // block_c, 1), 128)
    padded = (*inputs, *[inputs[0]] * (MAX_INPUTS - len(inputs)))
    channels = [x.shape[3] for x in inputs] + [0] * (MAX_INPUTS - len(inputs))
    operands = {f"x{i}": x for i, x in enumerate(padded)}
    operands |= {
        "weights": inputs[0] if weights is None else weights,
        "candidates": candidates,
        "other_mask": candidates if other_mask is None else other_mask,
        **affine.operands(threshold),
    }
    parameters: dict[str, Any] = {}
    for i in range(MAX_OTHERS):
        other = others[i] if i < len(others) else None
        operands[f"other{i}"] = threshold if other is None else other
        strides, parameters[f"OTHER{i}"] = other_strides(other, value.shape)
        for axis, stride in zip(("stream", "row", "column", "channel"), strides, strict=True):
            parameters[f"other{i}_{axis}_stride"] = stride
    operands |= {"threshold": threshold, "value": value}
    largest = max(math.prod(x.shape) for x in (*inputs, value))
    results = launch(
        pixelwise_kernel,
        (-(-pixels // block_m),),
        operands,
        {"mask": jax.ShapeDtypeStruct(value.shape[:3], jnp.bool_)},
        ("value",),
        parameters
        | {
            "pixels": pixels,
            "IN_HEIGHT": inputs[0].shape[1],
            "IN_WIDTH": inputs[0].shape[2],
            "OUT_HEIGHT": out_height,
            "OUT_WIDTH": out_width,
            "KIND": kind,
            "C_IN": channels[0],
            "C_OUT": features,
            **{f"C{i}": channels[i] for i in range(1, MAX_INPUTS)},
            **window.constants(),
            "CANDIDATES_GIVEN": candidates_given,
            "HAS_OTHER_MASK": other_mask is not None,
            **affine.constants(),
            "POINTWISE": pointwise,
            "NORM": norm,
            "WIDE": largest >= INT32_LIMIT,
            "BLOCK_M": block_m,
            "BLOCK_C": block_c,
        },
        num_warps=4,
        num_stages=1,
    )
    return results["value"], results["mask"]
