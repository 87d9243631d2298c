"""What networks are trained on: read from the files in which it is published, or made."""

from .cifar100 import Cifar100, read_cifar100
from .download import CIFAR100_URL, download_cifar100
from .errors import DatasetError
from .figures import FigureClip, FigurePictures, figure_clips, figure_pictures, still_backgrounds
from .joints import BONES, JOINT_NAMES, MIRRORED
from .pose_pictures import PoseClips, PosePictures
from .poses import PoseScores, pose_scores
from .shapes import synthetic_cifar100

__all__ = [
    "BONES",
    "CIFAR100_URL",
    "JOINT_NAMES",
    "MIRRORED",
    "Cifar100",
    "DatasetError",
    "FigureClip",
    "FigurePictures",
    "PoseClips",
    "PosePictures",
    "PoseScores",
    "download_cifar100",
    "figure_clips",
    "figure_pictures",
    "pose_scores",
    "read_cifar100",
    "still_backgrounds",
    "synthetic_cifar100",
]
