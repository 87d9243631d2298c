"""Training of networks that then run incrementally: they are ordinary Flax modules."""

from .checkpoints import CheckpointError, Checkpoints
from .fit import Batches, FitResult, Progress, fit
from .log import MetricsLog
from .optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    Optimizer,
    Schedule,
    make_optimizer,
    make_schedule,
    with_hyperparameters,
)
from .pose import PoseEstimation
from .task import Classification, Task
from .trainer import Trainer, TrainState

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Batches",
    "CheckpointError",
    "Checkpoints",
    "Classification",
    "FitResult",
    "MetricsLog",
    "Optimizer",
    "PoseEstimation",
    "Progress",
    "Schedule",
    "Task",
    "TrainState",
    "Trainer",
    "fit",
    "make_optimizer",
    "make_schedule",
    "with_hyperparameters",
]
