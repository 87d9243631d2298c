"""Who is in the parts of Human3.6M, and which of its sequences are known to be bad."""

PROTOCOLS: dict[int, dict[str, tuple[str, ...]]] = {
    1: {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")},
    2: {"train": ("S1", "S5", "S6", "S7", "S8", "S9"), "test": ("S11",)},
}
"""Subjects of each part.

Both take all four cameras. The first is that of una-dinosauria/3d-pose-baseline (Martinez et al.,
ICCV 2017) and facebookresearch/VideoPose3D. mks0601/3DMPPE_POSENET_RELEASE has both and numbers
them the other way round; it tests on every 64th frame, as does anibali/h36m-fetch, which refers to
Sun et al., "Compositional human pose regression" (ICCV 2017). What akanazawa/hmr calls protocol 2
is another: the first with one sequence of each action, of the frontal camera 60457274.
"""

DRIFT = "its joints drift away from the person"

KNOWN_BAD: dict[tuple[str, str], tuple[str | None, str]] = {
    ("S9", "Greeting"): (None, DRIFT),
    ("S9", "SittingDown 1"): (None, DRIFT),
    ("S9", "Waiting 1"): (None, DRIFT),
    ("S11", "Directions"): ("54138969", "its video is damaged"),
}
"""Sequences that are bad as they are distributed: the camera, None for all, and what is wrong.

Those of S9 are the `damaged_actions` Greeting-2, SittingDown-2 and Waiting-1 of
karfly/learnable-triangulation-pytorch, whose `action_to_una_dinosauria.py` has the names of their
files. That of S11 is in the `blacklist` of anibali/h36m-fetch and in akanazawa/hmr.
"""


def known_fault(subject: str, action: str, camera: str) -> str | None:
    """What is known to be wrong with a sequence, None if nothing is."""
    bad_camera, fault = KNOWN_BAD.get((subject, action), (None, None))
    return fault if bad_camera in (None, camera) else None
