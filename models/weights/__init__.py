"""Weights that others have trained, from the files in which they publish them."""

from .errors import FetchError, WeightsError
from .files import read_weights
from .loading import load_weights
from .published import PUBLISHED, SHIPPED, cache_folder, fetch_weights
from .saving import save_weights

__all__ = [
    "PUBLISHED",
    "SHIPPED",
    "FetchError",
    "WeightsError",
    "cache_folder",
    "fetch_weights",
    "load_weights",
    "read_weights",
    "save_weights",
]
