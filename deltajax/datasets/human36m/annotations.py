"""The joints of Human3.6M, from its CDF files."""

from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import Float32

from ..errors import DatasetError

JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Those of the 32 joints in a file that are `deltajax.datasets.JOINT_NAMES`; of the others some are
in the same places, some on fingers and toes. As in akanazawa/human_dynamics and
una-dinosauria/3d-pose-baseline."""

NUM_JOINTS = 32


def import_cdflib() -> ModuleType:
    """Returns the module `cdflib`.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        import cdflib
    except ImportError as error:
        raise ImportError(
            "reading Human3.6M needs cdflib: pip install deltajax[human36m]"
        ) from error
    return cdflib


def read_points(path: Path | str) -> Float32[np.ndarray, "T 17 2"]:
    """The joints in the picture, x and y in pixels, from a file of D2_Positions.

    Raises:
        DatasetError: for a file that is damaged, or is something else.
        ImportError: cdflib is not installed.
    """
    return _read(Path(path), 2)


def read_positions(path: Path | str) -> Float32[np.ndarray, "T 17 3"]:
    """The joints in the world, in millimetres, from a file of D3_Positions.

    Raises:
        DatasetError: for a file that is damaged, or is something else.
        ImportError: cdflib is not installed.
    """
    return _read(Path(path), 3)


def _read(path: Path, dimensions: int) -> Float32[np.ndarray, "T 17 D"]:
    cdflib = import_cdflib()
    try:
        pose = np.asarray(cdflib.CDF(path).varget("Pose"))
    # cdflib follows offsets in the file without checking them: damage shows as any error at all.
    except Exception as error:
        raise DatasetError(
            f"{path} is damaged or no CDF file with a variable Pose: {error}"
        ) from error
    width = NUM_JOINTS * dimensions
    right = pose.ndim == 3 and pose.shape[0] == 1 and pose.shape[1] > 0 and pose.shape[2] == width
    if not right or pose.dtype.kind != "f":
        raise DatasetError(
            f"{path} is something else: Pose is {pose.dtype} of shape {pose.shape}, and must be "
            f"floating point of shape (1, T, {width}), T > 0"
        )
    joints = pose[0].reshape(-1, NUM_JOINTS, dimensions)[:, JOINTS]
    return joints.astype(np.float32)
