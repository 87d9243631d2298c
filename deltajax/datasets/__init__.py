"""What networks are trained on: read from the files in which it is published, or made."""

from .cifar100 import Cifar100, read_cifar100
from .download import CIFAR100_URL, download_cifar100
from .errors import DatasetError
from .figures import FigureClip
from .poses import PoseScores, pose_scores
from .shapes import synthetic_cifar100

__all__ = [
    "CIFAR100_URL",
    "Cifar100",
    "DatasetError",
    "FigureClip",
    "PoseScores",
    "download_cifar100",
    "pose_scores",
    "read_cifar100",
    "synthetic_cifar100",
]
