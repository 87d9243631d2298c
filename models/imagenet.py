"""The classes of ImageNet's challenge (Russakovsky et al., IJCV 2015)."""

import functools
from importlib.resources import files


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1000 classes, in the order in which networks have them.

    They are torchvision's (BSD-3-Clause), the first word that WordNet has for each.
    """
    text = files(__package__).joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
