"""Human3.6M (Ionescu et al., PAMI 2014), from the files that its registered users have.

Facts about them that are not published by its authors are those on which well-known code relies;
the docstrings name it.
"""

from .cameras import Camera, project, read_cameras
from .reader import read_human36m
from .report import Report

__all__ = ["Camera", "Report", "project", "read_cameras", "read_human36m"]
