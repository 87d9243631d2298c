"""What Keras called the layers of the networks that were published as .tflite files.

It numbers the layers of each kind in the order in which they were made.
"""

from collections.abc import Callable, Mapping, Sequence

from ..blazepose import ENCODER as BLAZEPOSE_ENCODER
from ..blazepose import LANDMARK_BLOCKS
from ..selfie_segmentation import ENCODER as SELFIE_ENCODER
from ..selfie_segmentation import SKIPS
from .layout import TFLITE_CONV, TFLITE_CONV_TRANSPOSE, TFLITE_DEPTHWISE, VECTOR, Layout

DEPTHWISE = "depthwise_conv2d"
TRANSPOSED = ("segment",)
"""The transposed convolutions' names."""


def keras(names: Mapping[str, str]) -> Callable[[tuple[str, ...], int], tuple[str, Layout]]:
    """The keys that `read_tflite` makes, and their layouts, by the names of layers."""

    def stored(path: tuple[str, ...], axes: int) -> tuple[str, Layout]:
        _, *layer, what = path
        name = names["/".join(layer)]
        if what == "bias":
            layout = VECTOR
        elif name in TRANSPOSED:
            layout = TFLITE_CONV_TRANSPOSE
        else:
            layout = TFLITE_DEPTHWISE if name.startswith(DEPTHWISE) else TFLITE_CONV
        return f"{name}/{what}", layout

    return stored


def selfie_segmentation() -> dict[str, str]:
    """By the paths of our layers."""
    convolutions, depthwise = ["stem"], []
    for index, (*_, reduced) in enumerate(SELFIE_ENCODER):
        block = f"block{index}"
        gate = [f"{block}/gate/reduce", f"{block}/gate/expand"] if reduced else []
        convolutions += [f"{block}/expand", *gate, f"{block}/project"]
        depthwise.append(f"{block}/depthwise")
    convolutions += ["pool_mix", "pool_gate"]
    for index in range(len(SKIPS) + 1):
        parts = ("reduce", "gate_reduce", "gate_expand", "mix")
        convolutions += [f"decoder{index}/{part}" for part in parts]
        depthwise.append(f"decoder{index}/depthwise")
    return _numbered("conv2d", convolutions) | _numbered(DEPTHWISE, depthwise) | {"head": "segment"}


def blazepose() -> dict[str, str]:
    """By the paths of our layers."""
    blocks = [
        f"stage{stage + 1}_{index}"
        for stage, stage_blocks in enumerate(BLAZEPOSE_ENCODER)
        for index in range(len(stage_blocks))
    ]
    separable = [
        *(f"lateral{level}" for level in (4, 3, 2, 1)),
        "landmark_reduce",
        *(
            f"landmark{level}_{index}"
            for level, count in enumerate(LANDMARK_BLOCKS)
            for index in range(count + 1)
        ),
        "lateral0",
        "mask_reduce",
        *(f"mask_residual{index}" for index in range(4)),
    ]
    convolutions = [
        "stem",
        "separable/pointwise",
        *(f"{block}/{part}" for block in blocks for part in ("expand", "project")),
        "expand",
        *(f"{name}/pointwise" for name in separable),
    ]
    depthwise = [
        "separable/depthwise",
        *(f"{block}/depthwise" for block in blocks),
        "depthwise",
        *(f"{name}/depthwise" for name in separable),
    ]
    heads = {
        "heatmaps": "output_heatmap",
        "mask": "output_segmentation",
        "landmarks": "convld_3d",
        "world_landmarks": "convworld_3d",
        "presence": "conv_poseflag",
    }
    return _numbered("conv2d", convolutions) | _numbered(DEPTHWISE, depthwise) | heads


def _numbered(kind: str, layers: Sequence[str]) -> dict[str, str]:
    """The first of a kind has no number."""
    return {layer: f"{kind}_{index}" if index else kind for index, layer in enumerate(layers)}
