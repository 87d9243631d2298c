"""What PyTorch's modules are called that our layers stand for."""

import re
from collections.abc import Callable
from typing import NamedTuple

from .. import efficientnet_lite as efficientnet
from .. import mobilenet_v2 as mobilenet
from ..folding import NORM
from .layout import TORCH_CONV, TORCH_CONV_TRANSPOSE, TORCH_LINEAR, VECTOR, Layout


class Modules(NamedTuple):
    """The modules that one of our layers stands for.

    Attributes:
        layer: a convolution or a linear layer.
        norm: its batch norm; None if it has none.
        transposed: whether the convolution is.
    """

    layer: str
    norm: str | None = None
    transposed: bool = False


Naming = Callable[[tuple[str, ...]], Modules]
"""From the path of a layer in our tree, such as ("backbone", "layer1_0", "conv1")."""

NORM_ARRAYS = {
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def torch(naming: Naming) -> Callable[[tuple[str, ...], int], tuple[str, Layout]]:
    """The keys and layouts of a state dictionary."""

    def stored(path: tuple[str, ...], axes: int) -> tuple[str, Layout]:
        _, *layer, what = path
        if NORM in layer:
            modules = naming(tuple(part for part in layer if part != NORM))
            return f"{modules.norm}.{NORM_ARRAYS[what]}", VECTOR
        modules = naming(tuple(layer))
        if what == "bias":
            return f"{modules.layer}.bias", VECTOR
        convolution = TORCH_CONV_TRANSPOSE if modules.transposed else TORCH_CONV
        return f"{modules.layer}.weight", TORCH_LINEAR if axes == 2 else convolution

    return stored


def resnet(path: tuple[str, ...]) -> Modules:
    """torchvision's ResNet, whose names the pose networks take over."""
    *parts, last = (part for part in path if part != "backbone")
    prefix = "".join(re.sub(r"^layer(\d+)_(\d+)$", r"layer\1.\2.", part) for part in parts)
    if last == "downsample":
        return Modules(f"{prefix}downsample.0", f"{prefix}downsample.1")
    return Modules(prefix + last, prefix + last.replace("conv", "bn"))


def pose_resnet(backbone: str, head: str) -> Naming:
    """PoseResNet, with what stands before the names of its two parts."""

    def name(path: tuple[str, ...]) -> Modules:
        if path == ("head",):
            return Modules(f"{head}final_layer")
        if deconv := re.fullmatch(r"deconv(\d)", path[-1]):
            # A transposed convolution, a batch norm and a ReLU each.
            first = 3 * (int(deconv[1]) - 1)
            layers = f"{head}deconv_layers"
            return Modules(f"{layers}.{first}", f"{layers}.{first + 1}", transposed=True)
        return _within(backbone, resnet(path))

    return name


def pose_hrnet(backbone: str, head: str) -> Naming:
    """HRNet for pose, with what stands before the names of its two parts."""

    def name(path: tuple[str, ...]) -> Modules:
        if path == ("head",):
            return Modules(f"{head}final_layer")
        first, last = path[0], path[-1]
        if branch := re.fullmatch(r"stage(\d)_(\d)_branch(\d)_(\d)", first):
            stage, module, at, block = branch.groups()
            block = f"{backbone}stage{stage}.{module}.branches.{at}.{block}."
            return _within(block, resnet((last,)))
        # Of a sequence of convolutions each is one by itself, with its norm and its ReLU.
        if transition := re.fullmatch(r"transition(\d)_(\d)((?:_\d)*)", first):
            number, at, step = transition.groups()
            return _sequence(f"{backbone}transition{number}.{at}{step.replace('_', '.')}")
        if fuse := re.fullmatch(r"fuse(\d)_(\d)((?:_\d)*)", last):
            stage, module = first.removeprefix("stage").split("_")
            to, at, step = fuse.groups()
            layers = f"{backbone}stage{stage}.{module}.fuse_layers"
            return _sequence(f"{layers}.{to}.{at}{step.replace('_', '.')}")
        return _within(backbone, resnet(path))

    return name


def mobilenet_v2(path: tuple[str, ...]) -> Modules:
    """torchvision's MobileNetV2: all blocks are one sequence, with the stem and the head."""
    if path == ("fc",):
        return Modules("classifier.1")
    blocks = _blocks(mobilenet.STAGES, expansion=0, count=2)
    if path == ("stem",):
        return _sequence("features.0")
    if path == ("head",):
        return _sequence(f"features.{len(blocks) + 1}")
    index, expanded = blocks[path[0]]
    block = f"features.{index + 1}.conv"
    depthwise = 1 if expanded else 0
    match path[1]:
        case "expand":
            return _sequence(f"{block}.0")
        case "depthwise":
            return _sequence(f"{block}.{depthwise}")
        case _:
            return Modules(f"{block}.{depthwise + 1}", f"{block}.{depthwise + 2}")


def efficientnet_lite(path: tuple[str, ...]) -> Modules:
    """efficientnet_lite_pytorch's: norms of a block are counted from the expansion's, 0, on."""
    match path:
        case ("fc",):
            return Modules("_fc")
        case ("stem",):
            return Modules("_conv_stem", "_bn0")
        case ("head",):
            return Modules("_conv_head", "_bn1")
    index, _ = _blocks(efficientnet.STAGES, expansion=0, count=3)[path[0]]
    number = {"expand": 0, "depthwise": 1, "project": 2}[path[1]]
    return Modules(f"_blocks.{index}._{path[1]}_conv", f"_blocks.{index}._bn{number}")


def _blocks(
    stages: tuple[tuple[int, ...], ...], expansion: int, count: int
) -> dict[str, tuple[int, bool]]:
    """Of each block its number in the whole network, and whether it expands.

    Args:
        stages: of the network.
        expansion, count: which of a stage's numbers is its expansion, and how many blocks it has.
    """
    blocks: dict[str, tuple[int, bool]] = {}
    for number, stage in enumerate(stages):
        for index in range(stage[count]):
            blocks[f"stage{number + 1}_{index}"] = (len(blocks), stage[expansion] > 1)
    return blocks


def _within(prefix: str, modules: Modules) -> Modules:
    return modules._replace(layer=prefix + modules.layer, norm=f"{prefix}{modules.norm}")


def _sequence(prefix: str) -> Modules:
    """A convolution and its norm as the first two of a sequence."""
    return Modules(f"{prefix}.0", f"{prefix}.1")
