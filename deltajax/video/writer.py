"""Writing pictures to an MP4 file that can be played even if writing is interrupted."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._pyav import import_av

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream


class OverlayWriter:
    """Writes pictures of one size to an MP4 file: H.264, or MPEG-4 where FFmpeg lacks x264.

    The file is written in fragments of about two seconds, which players take, so an
    interrupted file plays up to its last fragment. Closing it turns it into an ordinary
    MP4 with one index (FFmpeg's `hybrid_fragmented`; FFmpeg before 7.1 leaves the
    fragments). The file is made by the first picture.

    Args:
        path: of the file; what it held is lost.
        fps: frames per second.
        crf: constant rate factor of x264, 0 (lossless) to 51.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
        ValueError: an argument is out of range.
        ImportError: PyAV is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, fps: float, crf: int = 20) -> None:
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        if not 0 <= crf <= 51:
            raise ValueError(f"crf must be in 0..51, got {crf}")
        self._av = import_av()
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self._path.parent} to write into")
        self._rate = Fraction(fps).limit_denominator(1001)
        self._crf = crf
        self._shape: tuple[int, ...] | None = None
        self._output: tuple[OutputContainer, VideoStream] | None = None
        self._closed = False

    def __enter__(self) -> OverlayWriter:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, picture: NDArray[Any]) -> None:
        """Appends a picture, uint8 [H, W, 3] RGB.

        An odd height or width is padded by repeating the last row or column.

        Raises:
            ValueError: the picture is no such array or differs in size from the first, or
                the writer is closed.
        """
        if self._closed:
            raise ValueError(f"the writer of {self._path} is closed")
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise ValueError(
                f"picture must be uint8 [H, W, 3], got {picture.dtype} with shape {picture.shape}"
            )
        self._shape = self._shape or picture.shape
        if picture.shape != self._shape:
            raise ValueError(
                f"all pictures of {self._path} must have the shape of the first, "
                f"{self._shape}, got {picture.shape}"
            )
        height, width = picture.shape[:2]
        # The chroma of yuv420p has half the resolution, so both sides must be even.
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if self._output is None:
            self._output = self._open(*picture.shape[:2])
        container, stream = self._output
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        container.mux(stream.encode(frame))

    def close(self) -> None:
        """Writes what is pending and closes the file."""
        self._closed = True
        if self._output is None:
            return
        (container, stream), self._output = self._output, None
        try:
            container.mux(stream.encode())
        finally:
            container.close()

    def _open(self, height: int, width: int) -> tuple[OutputContainer, VideoStream]:
        # The hybrid kind came with FFmpeg 7.1, which has libavformat 61.7.
        hybrid = self._av.library_versions["libavformat"] >= (61, 7, 0)
        fragments = (
            "hybrid_fragmented+frag_keyframe"
            if hybrid
            else "frag_keyframe+empty_moov+default_base_moof"
        )
        container = self._av.open(
            str(self._path),
            "w",
            format="mp4",
            # Without the flush a fragment may stay in a buffer of this process.
            options={"movflags": fragments, "flush_packets": "1"},
        )
        h264 = "libx264" in self._av.codecs_available
        # An encoder that looks far ahead would keep as many pictures from the file.
        options = {"crf": str(self._crf), "rc-lookahead": "10"} if h264 else {"qscale": "3"}
        codec = "libx264" if h264 else "mpeg4"
        stream = container.add_stream(codec, rate=self._rate, options=options)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(1, round(2 * self._rate))
        return container, stream
