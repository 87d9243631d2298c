"""The joints of a person, as Human3.6M has them."""

JOINT_NAMES = (
    "pelvis", "right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle",
    "spine", "thorax", "nose", "head top", "left shoulder", "left elbow", "left wrist",
    "right shoulder", "right elbow", "right wrist",
)  # fmt: skip
"""The 17 joints of Human3.6M, in its order."""

MIRRORED = ((1, 4), (2, 5), (3, 6), (11, 14), (12, 15), (13, 16))
"""Pairs of them that change places in a mirror."""

BONES = (
    *((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10)),
    *((8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)),
)
"""Pairs of them that are joined."""
