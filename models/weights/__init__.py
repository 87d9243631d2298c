"""Weights that others have trained, from the files in which they publish them."""

from .errors import WeightsError
from .files import read_weights
from .loading import load_weights

__all__ = ["WeightsError", "load_weights", "read_weights"]
