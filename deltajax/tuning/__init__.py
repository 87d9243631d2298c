"""Thresholds that cost little accuracy and save much work, found on a clip."""

from .evaluation import Objective, Trial
from .result import OneForAll, TuningResult
from .tune import Progress, tune_thresholds

__all__ = ["Objective", "OneForAll", "Progress", "Trial", "TuningResult", "tune_thresholds"]
