"""Which keypoints are joined, for pictures."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from deltajax.datasets.joints import BONES, JOINT_NAMES


class Skeleton(NamedTuple):
    """The keypoints of a person.

    Attributes:
        names: of the keypoints, in the network's order.
        edges: pairs of their numbers that are joined in a picture.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]

    @property
    def sides(self) -> tuple[int, ...]:
        """Of each keypoint: −1 on the person's left, 1 on the right, 0 in the middle."""
        sides = {"left": -1, "right": 1}
        return tuple(sides.get(name.partition(" ")[0], 0) for name in self.names)


def _both(*names: str) -> tuple[str, ...]:
    return tuple(f"{side} {name}" for name in names for side in ("left", "right"))


COCO = Skeleton(
    ("nose", *_both("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")),
    (
        *((0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),
        *((5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16)),
    ),
)
"""The 17 keypoints of COCO (Lin et al., ECCV 2014)."""

HUMAN36M = Skeleton(JOINT_NAMES, BONES)
"""The 17 joints of Human3.6M (Ionescu et al., PAMI 2014)."""

Joints = Literal["coco", "human36m"]
SKELETONS: Mapping[Joints, Skeleton] = {"coco": COCO, "human36m": HUMAN36M}
"""Of networks with a heatmap for each joint."""

BLAZEPOSE = Skeleton(
    (
        "nose",
        *(f"left eye {part}" for part in ("inner", "middle", "outer")),
        *(f"right eye {part}" for part in ("inner", "middle", "outer")),
        *_both("ear", "mouth", "shoulder", "elbow", "wrist", "pinky", "index", "thumb"),
        *_both("hip", "knee", "ankle", "heel", "foot"),
    ),
    (
        *((0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10)),
        *((11, 12), (11, 13), (13, 15), (15, 17), (15, 19), (15, 21), (17, 19)),
        *((12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20)),
        *((11, 23), (12, 24), (23, 24), (23, 25), (25, 27), (27, 29), (27, 31), (29, 31)),
        *((24, 26), (26, 28), (28, 30), (28, 32), (30, 32)),
    ),
)
"""The 33 landmarks of BlazePose (Bazarevsky et al., 2020, figure 3)."""
