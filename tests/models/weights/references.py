"""What networks are compared with: outputs of their origins with seeded random weights.

`make_references.py` makes them where PyTorch is; here they are read.
"""

import hashlib
import json
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

FOLDER = Path(__file__).parent / "references"
SEED = 7
NAMES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "pose_resnet50",
    "pose_resnet101",
    "pose_resnet152",
    "pose_hrnet_w32",
    "pose_hrnet_w48",
    "mobilenet_v2",
    "efficientnet_lite0",
)
FRAME_SHAPE = (1, 64, 96, 3)


class Reference(NamedTuple):
    """What an origin made of the frame.

    Attributes:
        shapes: of its state dictionary, by key.
        checksum: of the weights that `random_state_dict` makes of them.
        output: logits [1, classes], or heatmaps [1, h, w, joints].
    """

    shapes: dict[str, tuple[int, ...]]
    checksum: str
    output: np.ndarray


def frame() -> np.ndarray:
    """uint8 [1, 64, 96, 3]."""
    return np.random.default_rng(SEED).integers(0, 256, FRAME_SHAPE, np.uint8)


def random_state_dict(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights and statistics of a seed, with which activations neither vanish nor explode."""
    return {key: _random(key, shape) for key, shape in shapes.items()}


def _random(key: str, shape: tuple[int, ...]) -> np.ndarray:
    if key.endswith("num_batches_tracked"):
        return np.array(0)
    # By key, so that an array in another place has other numbers.
    rng = np.random.default_rng([SEED, zlib.crc32(key.encode())])
    if len(shape) > 1:
        fan_in = math.prod(shape[1:])
        return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / fan_in))
    if key.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if key.endswith("weight"):
        return rng.uniform(0.3, 0.9, shape).astype(np.float32)
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def checksum(weights: dict[str, np.ndarray]) -> str:
    """Of all arrays, in the order of their keys."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        digest.update(key.encode() + np.ascontiguousarray(weights[key]).tobytes())
    return digest.hexdigest()


def write(name: str, reference: Reference) -> None:
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(
        FOLDER / f"{name}.npz",
        shapes=np.array(json.dumps(reference.shapes)),
        checksum=np.array(reference.checksum),
        output=reference.output,
    )


def read(name: str) -> Reference:
    with np.load(FOLDER / f"{name}.npz") as file:
        shapes = json.loads(str(file["shapes"]))
        return Reference(
            {key: tuple(shape) for key, shape in shapes.items()},
            str(file["checksum"]),
            file["output"],
        )
