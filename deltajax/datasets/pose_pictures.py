"""Pictures and clips of people with the joints in them: what every reader of poses gives."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float32, UInt8


@dataclasses.dataclass(frozen=True)
class PosePictures:
    """Pictures of one person each, as `deltajax.training.fit` takes them.

    Attributes:
        images: [N, H, W, 3], uint8 RGB; may be a memory map of a file.
        points: [N, K, 2], the joints: x and y in pixels from the middle of the first one.
        counts: [N, K], the joints that are known and in the picture.
        source: where they are from, for reports.
    """

    images: UInt8[np.ndarray, "N H W 3"]
    points: Float32[np.ndarray, "N K 2"]
    counts: Bool[np.ndarray, "N K"]
    source: str

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, numbers: np.ndarray) -> Mapping[str, np.ndarray]:
        """The pictures and joints of these numbers."""
        return {
            "image": self.images[numbers],
            "points": self.points[numbers],
            "counts": self.counts[numbers],
        }

    def first(self, count: int | None) -> "PosePictures":
        """As many, from the first one on; all for None."""
        kept = slice(count)
        return PosePictures(self.images[kept], self.points[kept], self.counts[kept], self.source)


@dataclasses.dataclass(frozen=True)
class PoseClips:
    """Clips of one person each, all of the same length, as streams.

    Attributes:
        frames: [T, N, H, W, 3], uint8 RGB.
        points: [T, N, K, 2], the joints, as in `PosePictures`.
        counts: [T, N, K], the joints that are known and in the picture.
        source: where they are from, for reports.
    """

    frames: UInt8[np.ndarray, "T N H W 3"]
    points: Float32[np.ndarray, "T N K 2"]
    counts: Bool[np.ndarray, "T N K"]
    source: str
