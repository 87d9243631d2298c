"""What each layer of a network does with a clip: how much of it is computed, where, and why."""

import csv
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Bool, Float, Shaped

from .batches import BatchResult, run_batches, split
from .inspection import UpdatePointMap, update_points
from .layers.update_point import THRESHOLDS
from .statistics import (
    Totals,
    UpdatePointStatistics,
    multiplications_share,
    read_statistics,
    total,
    update_rate,
)
from .work import needs_of, work_of

if TYPE_CHECKING:
    from rich.table import Table


class PointInspection(NamedTuple):
    """One update point. Numbers are means over the frames counted, for one stream.

    Attributes:
        name: the layer's path in the model, joined by "/".
        layer: its class.
        shape: [N, H, W, C] of its map.
        threshold: in use, in the units of its output.
        active: share of its pixels that were computed, in [0, 1].
        active_p95: the 95th percentile of that over the frames.
        updated: share of its pixels that were updated, in [0, 1].
        truncated_pixels: that were computed, but not updated.
        dense_multiplications: of the dense layer.
        multiplications: for the pixels computed.
        bytes: read and written, at least: what caches cannot hold comes on top.
        state_bytes: of its map, of all streams.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    threshold: float
    active: float
    active_p95: float
    updated: float
    truncated_pixels: float
    dense_multiplications: float
    multiplications: float
    bytes: float
    state_bytes: int


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a network did with a clip.

    Attributes:
        points: its update points, in the order of computation.
        totals: of the frames counted.
        frames: counted, those of each stream by themselves.
        update_rate: [T, N], the share of all pixels of all maps that were updated, in [0, 1]; of
            all frames, those not counted included.
        multiplications_share: [T, N], multiplications done as a share of the dense network's.
        heatmaps: of the update points asked for: the share of the frames counted in which each
            pixel was computed, [H, W] of its map.
    """

    points: tuple[PointInspection, ...]
    totals: Totals
    update_rate: Float[np.ndarray, "T N"]
    multiplications_share: Float[np.ndarray, "T N"]
    heatmaps: Mapping[str, Float[np.ndarray, "H W"]]

    @property
    def frames(self) -> int:
        """Frames counted, those of each stream by themselves."""
        return self.totals.frames

    @property
    def state_bytes(self) -> int:
        """Of all maps together."""
        return sum(point.state_bytes for point in self.points)

    def to_dict(self) -> dict[str, Any]:
        """All but the heatmaps, of values that JSON knows."""
        return {
            "frames": self.frames,
            "update_rate": self.totals.update_rate,
            "multiplications_share": self.totals.multiplications_share,
            "dense_multiplications": self.totals.dense_multiplications,
            "bytes": sum(point.bytes for point in self.points),
            "state_bytes": self.state_bytes,
            "update_points": [point._asdict() for point in self.points],
            "update_rate_of_frames": self.update_rate.tolist(),
            "multiplications_share_of_frames": self.multiplications_share.tolist(),
        }

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes a row for each update point, under a header with the names of its fields."""
        with Path(path).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(PointInspection._fields)
            for point in self.points:
                shape = "x".join(map(str, point.shape))
                writer.writerow(point._replace(shape=shape))  # pyright: ignore[reportArgumentType]

    def table(self) -> "Table":
        """For a person to read; print it with `rich.print`.

        Raises:
            ImportError: if rich is not installed.
        """
        try:
            from rich.table import Table
        except ImportError as error:
            raise ImportError(
                "tables need rich: pip install 'deltajax[scripts]', or use to_dict()"
            ) from error
        rows = Table(
            title=f"{self.frames} frames: {self.totals.update_rate:.1%} of all pixels updated, "
            f"{self.totals.multiplications_share:.1%} of the multiplications done"
        )
        for column in COLUMNS:
            left = column in ("update point", "layer")
            rows.add_column(column, justify="left" if left else "right", no_wrap=True)
        for point in self.points:
            rows.add_row(*readable(point))
        rows.add_section()
        rows.add_row(*self._sums())
        return rows

    def _sums(self) -> tuple[str, ...]:
        done = sum(point.multiplications for point in self.points)
        return (
            "all", "", "", "", "", "", f"{self.totals.update_rate:.1%}", "",
            f"{self.totals.dense_multiplications / 1e6:,.1f}", f"{done / 1e6:,.1f}",
            f"{sum(point.bytes for point in self.points) / 1e6:,.1f}",
            f"{self.state_bytes / 1e6:,.1f}",
        )  # fmt: skip


COLUMNS = (
    "update point", "layer", "map", "threshold", "active", "95 %", "updated", "truncated",
    "Mmult dense", "Mmult done", "MB", "state MB",
)  # fmt: skip
"""Of tables: fractions are percent, multiplications are millions."""


def readable(point: PointInspection) -> tuple[str, ...]:
    """The cells of an update point in a table of `COLUMNS`."""
    return (
        point.name,
        point.layer,
        "×".join(map(str, point.shape[1:])),
        f"{point.threshold:.3g}",
        f"{point.active:.1%}",
        f"{point.active_p95:.1%}",
        f"{point.updated:.1%}",
        f"{point.truncated_pixels:,.0f}",
        f"{point.dense_multiplications / 1e6:,.1f}",
        f"{point.multiplications / 1e6:,.1f}",
        f"{point.bytes / 1e6:,.2f}",
        f"{point.state_bytes / 1e6:,.2f}",
    )


def inspect(
    model: nn.Module,
    variables: Mapping[str, Any],
    frames: np.ndarray | jax.Array,
    *,
    present: Bool[np.ndarray, "T N"] | None = None,
    heatmaps: Sequence[str] = (),
    skip: int = 1,
    batch_frames: int = 16,
    progress: Callable[[int], None] | None = None,
    **kwargs: Any,
) -> Inspection:
    """Runs a model over a clip incrementally, and says what each update point did.

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables, with a collection "thresholds" if there is one.
        frames: [T, N, H, W, C].
        present: [T, N], which streams have a new frame in which step; None for all.
        heatmaps: names of update points to make heatmaps of.
        skip: frames of each stream, its first ones, that are not counted: the very first is
            computed whole.
        batch_frames: run together; it bounds the memory that masks take.
        progress: is told of frames that are done.
        **kwargs: passed to the model; hashable.

    Raises:
        ValueError: for frames of another layout, an unknown name in `heatmaps`, or if no frame is
            left to be counted.
    """
    frames = np.asarray(frames)
    if frames.ndim != 5 or not len(frames):
        raise ValueError(f"frames have shape {frames.shape}; they must be [T, N, H, W, C]")
    if present is None:
        present = np.ones(frames.shape[:2], bool)
    inspector = Inspector(model, variables, frames[0], heatmaps=heatmaps, skip=skip, **kwargs)
    batches = split(frames, present, batch_frames)
    for result in run_batches(model, variables, batches, batch_frames, **kwargs):
        inspector.add(result)
        if progress is not None:
            progress(len(result.frames))
    return inspector.result()


class Inspector:
    """Adds up what a model does with a clip, batch by batch.

    Args:
        model: the model.
        variables: its variables.
        frame: [N, H, W, C], for its shape and dtype only.
        heatmaps: names of update points to make heatmaps of.
        skip: frames of each stream, its first ones, that are not counted.
        **kwargs: passed to the model.

    Raises:
        ValueError: for an unknown name in `heatmaps`, or a negative `skip`.
    """

    def __init__(
        self,
        model: nn.Module,
        variables: Mapping[str, Any],
        frame: Shaped[np.ndarray, "N H W C"],
        *,
        heatmaps: Sequence[str] = (),
        skip: int = 1,
        **kwargs: Any,
    ) -> None:
        self._maps = update_points(model, variables, frame, **kwargs)
        self._needs = needs_of(model, variables, frame, **kwargs)
        self._thresholds = _thresholds(variables, self._maps)
        names = [point.name for point in self._maps]
        if unknown := [name for name in heatmaps if name not in names]:
            raise ValueError(f"no update point is called {unknown}; there are {', '.join(names)}")
        if skip < 0:
            raise ValueError(f"skip is {skip}; it must be at least 0")
        self._heat = {
            point.name: np.zeros(point.shape[1:3], np.int64)
            for point in self._maps
            if point.name in heatmaps
        }
        self._skip = skip
        self._seen = np.zeros(frame.shape[0], np.int64)
        self._statistics: list[Any] = []
        self._counted: list[np.ndarray] = []

    def add(self, result: BatchResult) -> None:
        """Counts a batch; batches come in the order of the clip."""
        number = self._seen + np.cumsum(result.present, axis=0)
        counted = result.present & (number > self._skip)
        self._seen = number[-1]
        self._statistics.append(result.statistics)
        self._counted.append(counted)
        masks = flatten_dict(result.masks)
        for name, heat in self._heat.items():
            computed = np.asarray(masks[(*_path(name), "computed")])
            heat += np.sum(computed, axis=(0, 1), where=counted[..., None, None])

    def result(self) -> Inspection:
        """Of all batches so far.

        Raises:
            ValueError: if none of their frames counts.
        """
        counted = np.concatenate(self._counted) if self._counted else np.zeros((0, 1), bool)
        if not counted.any():
            raise ValueError(
                f"no frame is left to be counted: the first {self._skip} of each stream are not"
            )
        together = jax.tree.map(lambda *parts: np.concatenate(parts), *self._statistics)
        points = {point.name: point for point in read_statistics(together)}
        in_order = [points[each.name] for each in self._maps]
        totals = total(in_order, counted)
        streams = counted.shape[1]
        moved = {work.name: work.bytes for work in work_of(self._needs, totals, streams)}
        return Inspection(
            points=tuple(
                _inspected(each, points[each.name], counted, self._thresholds[each.name],
                           moved[each.name] / streams)
                for each in self._maps
            ),
            totals=totals,
            update_rate=update_rate(in_order),
            multiplications_share=multiplications_share(in_order),
            heatmaps={name: heat / totals.frames for name, heat in self._heat.items()},
        )  # fmt: skip


def _inspected(
    point: UpdatePointMap,
    statistics: UpdatePointStatistics,
    counted: np.ndarray,
    threshold: float,
    moved: float,
) -> PointInspection:
    active, updated = statistics.active[counted], statistics.updated[counted]
    return PointInspection(
        name=point.name,
        layer=point.layer.__name__,
        shape=point.shape,
        threshold=threshold,
        active=float(active.mean()),
        active_p95=float(np.percentile(active, 95)),
        updated=float(updated.mean()),
        truncated_pixels=float((active - updated).mean() * statistics.pixels),
        dense_multiplications=statistics.dense_multiplications,
        multiplications=float(statistics.multiplications[counted].mean()),
        bytes=moved,
        state_bytes=point.bytes,
    )


def _thresholds(variables: Mapping[str, Any], maps: Sequence[UpdatePointMap]) -> dict[str, float]:
    given: dict[Any, Any] = flatten_dict(variables.get(THRESHOLDS, {}))
    return {
        point.name: float(given.get((*_path(point.name), "threshold"), point.threshold))
        for point in maps
    }


def _path(name: str) -> tuple[str, ...]:
    """Of an update point in a tree; that of a model which is one layer is empty."""
    return tuple(name.split("/")) if name else ()
