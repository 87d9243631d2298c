"""Thresholds as a file: those of every update point, and how they were found."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Shaped

from .inspection import update_points
from .layers.update_point import check_threshold
from .norms import check_threshold_norm
from .thresholds import threshold_collection

FORMAT = "deltajax thresholds 1"


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The thresholds of a network, and what they belong to.

    Attributes:
        network: that they are for, such as "resnet50".
        inputs: of each `Sparsify`, by its path in the model joined by "/", in the units of its
            output (normalised).
        points: of every other update point, by the same, in the units of its output.
        dilations: of each `Sparsify`: side of the square by which changed pixels are dilated.
        threshold_norm: of a difference, over the channels of a pixel: "max", "l2" or "rms".
        found: how they were found, and on what; anything that JSON knows.
    """

    network: str
    inputs: Mapping[str, float]
    points: Mapping[str, float]
    dilations: Mapping[str, int]
    threshold_norm: str = "max"
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, threshold in self.values.items():
            check_threshold(name, threshold)
        check_threshold_norm("threshold_norm", self.threshold_norm)
        if self.dilations.keys() != self.inputs.keys():
            raise ValueError(
                f"dilations are of {', '.join(self.dilations)}; they must be of the inputs, "
                f"{', '.join(self.inputs)}"
            )
        for name, dilation in self.dilations.items():
            if dilation < 1 or dilation % 2 == 0:
                raise ValueError(f"{name}: dilation is {dilation}; it must be odd, 1 for none")

    @property
    def values(self) -> dict[str, float]:
        """Of every update point, entries included."""
        return {**self.inputs, **self.points}

    def scaled(self, factor: float) -> "Thresholds":
        """The same thresholds, all of them times a factor.

        Raises:
            ValueError: for a negative or NaN factor.
        """
        if not math.isfinite(factor) or factor < 0:
            raise ValueError(f"the scale of thresholds is {factor}; it must be zero or positive")
        return dataclasses.replace(
            self,
            inputs={name: factor * value for name, value in self.inputs.items()},
            points={name: factor * value for name, value in self.points.items()},
        )

    def collection(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        frame: Shaped[Array, "N H W C"] | Shaped[np.ndarray, "N H W C"] | jax.ShapeDtypeStruct,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The collection "thresholds" of a model: give it as one of its variables.

        Values are inputs of the compiled step: others compile nothing.

        Args:
            model: any Flax module built of deltajax layers.
            variables: its variables.
            frame: [N, H, W, C], for its shape and dtype only.
            **kwargs: passed to the model.

        Raises:
            ValueError: unless there is exactly one threshold for each update point, and dilations
                and norms are those of the model's layers; the message names what does not fit.
        """
        layers = {point.name: point for point in update_points(model, variables, frame, **kwargs)}
        problems = [f"no layer is called {name!r}" for name in self.values if name not in layers]
        problems += [f"layer {name!r} has no threshold" for name in layers.keys() - self.values]
        for name, point in layers.items():
            if name in self.values and point.dilation != self.dilations.get(name):
                problems.append(
                    f"{name!r} has the dilation {point.dilation}, but the thresholds are for "
                    f"{self.dilations.get(name)}"
                )
            if point.threshold_norm != self.threshold_norm:
                problems.append(
                    f"{name!r} has the norm {point.threshold_norm!r}, but the thresholds are for "
                    f"{self.threshold_norm!r}"
                )
        if problems:
            raise ValueError(
                f"thresholds of {self.network} do not fit this model: {'; '.join(sorted(problems))}"
            )
        return threshold_collection(self.values)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file; one that is there is replaced as a whole, or not at all."""
        contents = {
            "format": FORMAT,
            "network": self.network,
            "threshold_norm": self.threshold_norm,
            "inputs": {
                name: {"threshold": value, "dilation": self.dilations[name]}
                for name, value in self.inputs.items()
            },
            "thresholds": dict(self.points),
            "found": dict(self.found),
        }
        path = Path(path)
        unfinished = path.with_name(path.name + ".unfinished")
        unfinished.write_text(json.dumps(contents, indent=2, allow_nan=False) + "\n")
        unfinished.replace(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Thresholds":
        """Reads what `save` wrote.

        Raises:
            OSError: for a file that cannot be read.
            ValueError: for one that holds anything else; the message names the file and the key.
        """
        try:
            return cls._of(json.loads(Path(path).read_bytes()))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def _of(cls, contents: Any) -> "Thresholds":
        if not isinstance(contents, dict) or contents.get("format") != FORMAT:
            raise ValueError(f'this is no file of thresholds: it has no "format": "{FORMAT}"')
        inputs = _entry(contents, "inputs", dict)
        entries = {name: _entry(inputs, name, dict) for name in inputs}
        points = _entry(contents, "thresholds", dict)
        return cls(
            network=_entry(contents, "network", str),
            inputs={
                name: _entry(entry, "threshold", float, name) for name, entry in entries.items()
            },
            points={name: _entry(points, name, float) for name in points},
            dilations={
                name: _entry(entry, "dilation", int, name) for name, entry in entries.items()
            },
            threshold_norm=_entry(contents, "threshold_norm", str),
            found=_entry(contents, "found", dict),
        )


def _entry(contents: dict[str, Any], key: str, kind: type, of: str = "") -> Any:
    """An entry of a JSON object. Raises ValueError if it is missing, or of another kind."""
    named = f"{of}/{key}" if of else key
    if key not in contents:
        raise ValueError(f"{named} is missing")
    value = contents[key]
    kinds = (int, float) if kind is float else kind
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"{named} is {value!r}; it must be {KINDS[kind]}")
    return value


KINDS = {dict: "an object", str: "a string", float: "a number", int: "a whole number"}
