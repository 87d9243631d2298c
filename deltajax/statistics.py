"""How much work the frames of a video took, from the collections "statistics" and "masks".

Work is counted in multiplications of the convolutions at the pixels that had to be computed. An
implementation may do more, where computing a whole map is faster than picking most of it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class UpdatePointStatistics:
    """What one update point did in T steps of N streams.

    Attributes:
        name: the layer's path in the model, joined by "/".
        pixels: of its map, H · W.
        computed_pixels: [T, N], pixels that were computed.
        updated_pixels: [T, N], pixels whose change exceeded the threshold, and was kept.
        multiplications_per_pixel: that one of its output pixels costs.
    """

    name: str
    pixels: int
    computed_pixels: Int[np.ndarray, "T N"]
    updated_pixels: Int[np.ndarray, "T N"]
    multiplications_per_pixel: float

    @property
    def active(self) -> Float[np.ndarray, "T N"]:
        """The share of the map's pixels that were computed, in [0, 1]."""
        return self.computed_pixels / self.pixels

    @property
    def updated(self) -> Float[np.ndarray, "T N"]:
        """The share of the map's pixels that were updated, in [0, 1]."""
        return self.updated_pixels / self.pixels

    @property
    def multiplications(self) -> Float[np.ndarray, "T N"]:
        """Multiplications for the computed pixels."""
        return self.computed_pixels * self.multiplications_per_pixel

    @property
    def dense_multiplications(self) -> float:
        """Multiplications of the dense layer, for one frame of one stream."""
        return self.pixels * self.multiplications_per_pixel


def read_statistics(collection: Mapping[str, Any]) -> tuple[UpdatePointStatistics, ...]:
    """The statistics of each update point.

    Args:
        collection: what `scan_frames(..., collect=("statistics",))` returns under that name.
    """
    points = []
    for path, entries in _by_update_point(collection).items():
        array = {name: np.asarray(value) for name, value in entries.items()}
        points.append(
            UpdatePointStatistics(
                name=path,
                pixels=int(array["pixels"][0]),
                computed_pixels=array["active"],
                updated_pixels=array["updated"],
                multiplications_per_pixel=float(array["multiplications"][0]),
            )
        )
    return tuple(points)


@dataclasses.dataclass(frozen=True)
class Totals:
    """The work of a number of frames, added up. Those of two parts of a video can be added.

    Attributes:
        frames: counted, those of each stream by themselves.
        pixels: of each update point's map.
        computed_pixels: of each update point, in all frames together.
        updated_pixels: the same.
        multiplications_per_pixel: of each update point.
    """

    frames: int
    pixels: dict[str, int]
    computed_pixels: dict[str, int]
    updated_pixels: dict[str, int]
    multiplications_per_pixel: dict[str, float]

    def __add__(self, other: "Totals") -> "Totals":
        """The totals of both. Raises ValueError unless they are of the same update points."""
        if self.pixels != other.pixels:
            raise ValueError("these totals are of different models or sizes: they cannot be added")
        return dataclasses.replace(
            self,
            frames=self.frames + other.frames,
            computed_pixels=_sum(self.computed_pixels, other.computed_pixels),
            updated_pixels=_sum(self.updated_pixels, other.updated_pixels),
        )

    @property
    def active_fraction(self) -> dict[str, float]:
        """The mean share of each update point's pixels that were computed, in [0, 1]."""
        frames = max(self.frames, 1)
        return {
            name: count / (frames * self.pixels[name])
            for name, count in self.computed_pixels.items()
        }

    @property
    def update_rate(self) -> float:
        """The share of all pixels of all maps, entry included, that were updated, in [0, 1]."""
        pixels = self.frames * sum(self.pixels.values())
        return sum(self.updated_pixels.values()) / max(pixels, 1)

    @property
    def dense_multiplications(self) -> float:
        """Of all update points, in one frame of the dense network."""
        cost = self.multiplications_per_pixel
        return sum(count * cost[name] for name, count in self.pixels.items())

    @property
    def multiplications_share(self) -> float:
        """Multiplications done, as a share of the dense network's; 1 minus it is saved."""
        cost = self.multiplications_per_pixel
        done = sum(count * cost[name] for name, count in self.computed_pixels.items())
        dense = self.frames * self.dense_multiplications
        return done / dense if dense else 0.0


def total(
    points: Sequence[UpdatePointStatistics], counted: Bool[np.ndarray, "T N"] | None = None
) -> Totals:
    """Adds up what the update points did.

    Args:
        points: from `read_statistics`.
        counted: [T, N], the frames to count: `present` of a video batch; None for all.
    """
    if counted is None:
        counted = np.ones(points[0].computed_pixels.shape, bool)
    return Totals(
        frames=int(counted.sum()),
        pixels={point.name: point.pixels for point in points},
        computed_pixels={
            point.name: int(point.computed_pixels.sum(where=counted, dtype=np.int64))
            for point in points
        },
        updated_pixels={
            point.name: int(point.updated_pixels.sum(where=counted, dtype=np.int64))
            for point in points
        },
        multiplications_per_pixel={point.name: point.multiplications_per_pixel for point in points},
    )


def multiplications_share(
    points: Sequence[UpdatePointStatistics],
) -> Float[np.ndarray, "T N"]:
    """Multiplications done in each frame, as a share of the dense network's, in [0, 1]."""
    done = sum(point.multiplications for point in points)
    dense = sum(point.dense_multiplications for point in points)
    return np.asarray(done / max(dense, 1))


def update_rate(points: Sequence[UpdatePointStatistics]) -> Float[np.ndarray, "T N"]:
    """The share of all pixels of all maps, entry included, updated in each frame, in [0, 1]."""
    updated = sum(point.updated_pixels for point in points)
    return np.asarray(updated / max(sum(point.pixels for point in points), 1))


def work_heat(
    masks: Mapping[str, Any],
    points: Sequence[UpdatePointStatistics],
    height: int,
    width: int,
) -> Float[np.ndarray, "*T N H W"]:
    """Where the work was done: a picture for each frame, at the input's size.

    The mask of each update point is enlarged to the input (nearest), and weighted by its share of
    the network's multiplications. The mean of a picture is that frame's share of multiplications,
    exactly where the sizes of the maps divide the input's.

    Args:
        masks: what `scan_frames(..., collect=("masks",))` returns under that name: for each
            update point "computed", bool [N, H, W] or [T, N, H, W].
        points: from `read_statistics`, of the same model.
        height: of the input, in pixels.
        width: of the input, in pixels.

    Returns:
        float32 in [0, 1]: at each pixel the share of the multiplications that was redone there.
    """
    computed = {
        name: np.asarray(entry["computed"]) for name, entry in _by_update_point(masks).items()
    }
    dense = max(sum(point.dense_multiplications for point in points), 1)
    # Maps of one size are added before they are enlarged: a network has few sizes.
    by_size: dict[tuple[int, ...], np.ndarray] = {}
    for point in points:
        mask = computed[point.name]
        share = np.float32(point.dense_multiplications / dense)
        heat = by_size.setdefault(mask.shape, np.zeros(mask.shape, np.float32))
        np.add(heat, share, out=heat, where=mask)
    enlarged = [_enlarged(heat, height, width) for heat in by_size.values()]
    return np.minimum(np.sum(enlarged, axis=0, dtype=np.float32), np.float32(1))


def _enlarged(heat: np.ndarray, height: int, width: int) -> np.ndarray:
    """[..., h, w] to [..., height, width], nearest."""
    rows = np.arange(height) * heat.shape[-2] // height
    columns = np.arange(width) * heat.shape[-1] // width
    return heat[..., rows[:, None], columns]


def _by_update_point(collection: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of each update point, by its path joined by "/"."""
    points: dict[str, dict[str, Any]] = {}
    for path, value in flatten_dict(collection).items():
        points.setdefault("/".join(path[:-1]), {})[path[-1]] = value
    return points


def _sum(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    return {name: count + b[name] for name, count in a.items()}
