"""Runs the networks of other projects on seeded random weights, and keeps what they put out.

Not part of the tests, which have no PyTorch: it is run by hand, and its outputs are committed.

    pip install torch torchvision efficientnet_lite_pytorch
    python tests/models/weights/make_references.py FOLDER

FOLDER holds two files of Microsoft's, both lib/models/ of their repositories: pose_resnet.py of
github.com/microsoft/human-pose-estimation.pytorch and pose_hrnet.py of
github.com/leoxiaobin/deep-high-resolution-net.pytorch. Both are MIT-licensed.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import references
import torch  # pyright: ignore[reportMissingImports]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
EFFICIENTNET_LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


class Config(dict):
    """A dictionary whose entries are attributes, too, as Microsoft's configurations are."""

    __getattr__ = dict.__getitem__


def torchvision_model(name: str) -> Any:
    import torchvision  # pyright: ignore[reportMissingImports]

    return getattr(torchvision.models, name)(weights=None)


def pose_resnet(depth: int) -> Any:
    import pose_resnet as origin  # pyright: ignore[reportMissingImports]

    extra = Config(
        DECONV_WITH_BIAS=False,
        NUM_DECONV_LAYERS=3,
        NUM_DECONV_FILTERS=[256] * 3,
        NUM_DECONV_KERNELS=[4] * 3,
        FINAL_CONV_KERNEL=1,
        NUM_LAYERS=depth,
    )
    config = Config(MODEL=Config(EXTRA=extra, NUM_JOINTS=17, STYLE="pytorch"))
    return origin.get_pose_net(config, is_train=False)


def pose_hrnet(width: int) -> Any:
    import pose_hrnet as origin  # pyright: ignore[reportMissingImports]

    def stage(modules: int, branches: int) -> Config:
        return Config(
            NUM_MODULES=modules,
            NUM_BRANCHES=branches,
            NUM_BLOCKS=[4] * branches,
            NUM_CHANNELS=[width << branch for branch in range(branches)],
            BLOCK="BASIC",
            FUSE_METHOD="SUM",
        )

    extra = Config(
        STAGE2=stage(1, 2),
        STAGE3=stage(4, 3),
        STAGE4=stage(3, 4),
        FINAL_CONV_KERNEL=1,
        PRETRAINED_LAYERS=["*"],
    )
    config = Config(MODEL=Config(EXTRA=extra, NUM_JOINTS=17))
    return origin.get_pose_net(config, is_train=False)


def efficientnet_lite0() -> Any:
    from efficientnet_lite_pytorch import EfficientNet  # pyright: ignore[reportMissingImports]
    from efficientnet_lite_pytorch.utils import (  # pyright: ignore[reportMissingImports]
        get_model_params,
    )

    # Its paddings are made for a size.
    size = {"image_size": references.FRAME_SHAPE[1:3]}
    return EfficientNet(*get_model_params("efficientnet-lite0", size))


ORIGINS: dict[str, Callable[[], Any]] = {
    **{
        f"resnet{depth}": lambda depth=depth: torchvision_model(f"resnet{depth}")
        for depth in (18, 34, 50, 101, 152)
    },
    **{f"pose_resnet{depth}": lambda depth=depth: pose_resnet(depth) for depth in (50, 101, 152)},
    **{f"pose_hrnet_w{width}": lambda width=width: pose_hrnet(width) for width in (32, 48)},
    "mobilenet_v2": lambda: torchvision_model("mobilenet_v2"),
    "efficientnet_lite0": efficientnet_lite0,
}


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    for name in references.NAMES:
        model = ORIGINS[name]().eval()
        shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
        weights = references.random_state_dict(shapes)
        model.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
        mean, std = EFFICIENTNET_LITE if name == "efficientnet_lite0" else IMAGENET
        x = (references.frame() / 255 - np.array(mean)) / np.array(std)
        with torch.no_grad():
            output = model.double()(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
        if output.ndim == 4:
            output = output.transpose(0, 2, 3, 1)
        output = output.astype(np.float32)
        kept = references.Reference(shapes, references.checksum(weights), output)
        references.write(name, kept)
        print(f"{name}: {len(shapes)} arrays, outputs of size {np.abs(output).mean():.3g}")


if __name__ == "__main__":
    main()
