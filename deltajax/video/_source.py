"""One stream of decoded frames, and every way in which it can go wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ._extent import Extent, declared_seconds, is_last
from ._pyav import import_av

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


class VideoError(OSError):
    """A video that cannot be opened or read on.

    The message names the source and the number of the first frame, from 0, that is not
    available; both are also attributes.
    """

    def __init__(self, message: str, *, source: str = "", frame_number: int = 0) -> None:
        super().__init__(message)
        self.source = source
        self.frame_number = frame_number


class _Damage(Exception):
    """Damage that FFmpeg reports by a flag instead of an error."""


class VideoSource:
    """The frames of one file, device or stream URL, in order of display.

    Files are read strictly: damage ends them with a `VideoError`. Devices and network
    streams lose packets in normal operation: what cannot be decoded is skipped there.

    Attributes:
        name: the source as messages show it, without user name and password.
        height: of the frames handed out, in pixels.
        width: of the frames handed out, in pixels.
        fps: frames per second, on average; None if unknown.
        frame_count: frames in all, an estimate in some formats; None if unknown.
    """

    def __init__(
        self,
        source: str | os.PathLike[str],
        *,
        size: tuple[int, int] | None,
        roi: tuple[int, int, int, int] | None,
        format: str | None,
        options: Mapping[str, str] | None,
        timeout: float | None,
    ) -> None:
        av = import_av()
        self._ffmpeg_error: type[Exception] = av.FFmpegError
        self._to_frame = av.VideoFrame.from_ndarray
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._interpolation = av.video.reformatter.Interpolation
        source = os.fspath(source)
        self.name = _without_credentials(source)
        self._decoded_count = 0
        address = self._address(source, format)
        self._strict = address.startswith("file:")
        if format is None and source.startswith("/dev/"):
            format = "v4l2"
        try:
            self._container: InputContainer = av.open(
                address, format=format, options=dict(options or {}), timeout=timeout
            )
        except (av.FFmpegError, ValueError) as error:
            raise self._error(f"cannot be opened as a video: {_reason(error)}") from error
        try:
            self._open_stream(size, roi, options or {})
        except BaseException:
            self.close()
            raise

    def _address(self, source: str, format: str | None) -> str:
        if "://" in source:
            return source
        path = Path(source)
        if path.is_file():
            return f"file:{source}"  # or else FFmpeg takes "a:b.mp4" for the protocol "a"
        if path.is_dir():
            raise self._error("is a folder, not a video")
        if format is None and not path.exists():
            raise self._error("the file does not exist")
        return source

    def _open_stream(
        self,
        size: tuple[int, int] | None,
        roi: tuple[int, int, int, int] | None,
        options: Mapping[str, str],
    ) -> None:
        if not self._container.streams.video:
            raise self._error("holds no video stream")
        self._stream: VideoStream = self._container.streams.video[0]
        if self._strict:
            # By default a decoder fills damaged areas from their surroundings, silently.
            self._stream.codec_context.options = {"err_detect": "explode", **options}
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else None
        self._frames = self._decode()
        self._first = next(self._frames, None)
        if self._first is None:
            raise self._error("holds zero frames")
        natural = (self._first.height, self._first.width)
        if _quarter_turns(self._first) % 2:
            natural = (natural[1], natural[0])
        self._region = None
        if roi is not None:
            self._region = self._rows_and_columns(roi, natural)
            natural = (roi[3], roi[2])
        self.height, self.width = self._size = size or natural
        shrinks = self.height * self.width < natural[0] * natural[1]
        self._scaling = None
        if self._size != natural:
            # AREA averages all pixels under a smaller one; the others alias there.
            self._scaling = self._interpolation.AREA if shrinks else self._interpolation.BICUBIC
        seconds = declared_seconds(self._container, self._stream)
        if seconds is None and self._container.duration:
            seconds = self._container.duration / 1e6
        self.frame_count: int | None = self._stream.frames or None
        if self.frame_count is None and seconds and self.fps:
            self.frame_count = round(seconds * self.fps)

    def _rows_and_columns(
        self, roi: tuple[int, int, int, int], natural: tuple[int, int]
    ) -> tuple[slice, slice]:
        x, y, width, height = roi
        problem = None
        if min(width, height) < 1:
            problem = "is empty"
        elif min(x, y) < 0 or x + width > natural[1] or y + height > natural[0]:
            problem = "reaches beyond the frame"
        if problem:
            raise ValueError(
                f"the region of interest {roi} (x, y, width, height) {problem}: "
                f"{self.name} is {natural[1]}x{natural[0]} (width x height)"
            )
        return slice(y, y + height), slice(x, x + width)

    def read(self) -> NDArray[np.uint8] | None:
        """Returns the next frame, uint8 [H, W, 3] RGB, or None behind the last.

        Raises:
            VideoError: the next frame is damaged, missing, or of another size.
        """
        frame = self._next()
        if frame is None:
            return None
        turns = _quarter_turns(frame)
        if self._region is not None:
            upright = np.rot90(frame.to_ndarray(format="rgb24"), turns)
            return self._scaled(upright[self._region].astype(np.uint8, copy=False))
        height, width = self._size[::-1] if turns % 2 else self._size
        pixels = frame.to_ndarray(
            format="rgb24", height=height, width=width, interpolation=self._scaling
        )
        return np.rot90(pixels, turns).astype(np.uint8, copy=False)

    def skip(self) -> bool:
        """Drops the next frame without converting it; False behind the last.

        Raises:
            VideoError: as `read`.
        """
        return self._next() is not None

    def close(self) -> None:
        """Closes the file or device."""
        self._container.close()

    def _scaled(self, region: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The region of interest, [h, w, 3], in the size that is handed out."""
        region = np.ascontiguousarray(region)
        if self._scaling is None:
            return region
        frame = self._to_frame(region, format="rgb24")
        height, width = self._size
        frame = self._reformatter.reformat(
            frame, width, height, "rgb24", interpolation=self._scaling
        )
        return frame.to_ndarray()

    def _next(self) -> VideoFrame | None:
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return next(self._frames, None)

    def _decode(self) -> Iterator[VideoFrame]:
        resolution = None
        for frame in self._decode_until_damage():
            resolution = resolution or (frame.height, frame.width)
            if (frame.height, frame.width) != resolution:
                raise self._error(
                    "the resolution (height, width) changes from "
                    f"{resolution} to {(frame.height, frame.width)}"
                )
            # Counted on the way out, so that an error names the frame that is missing.
            yield frame
            self._decoded_count += 1

    def _decode_until_damage(self) -> Iterator[VideoFrame]:
        extent = Extent(self._container, self._stream)
        damaged_at: int | None = None
        tail: list[tuple[VideoFrame, bool]] = []
        try:
            for packet in self._container.demux(self._stream):
                damaged_at = packet.pts
                extent.count(packet)
                if self._strict and packet.is_corrupt:
                    raise _Damage("the file is damaged or cut off here")
                try:
                    frames = packet.decode()
                except self._ffmpeg_error:
                    # A recording may begin between two key frames: nothing is lost yet.
                    begins = self._decoded_count == 0 and not packet.is_keyframe
                    if self._strict and not begins:
                        raise
                    continue
                for frame in frames:
                    if self._strict and frame.is_corrupt:
                        damaged_at = frame.pts
                        raise _Damage("the frame is damaged")
                    follows_gap = extent.cover(frame)
                    if is_last(packet):
                        tail.append((frame, follows_gap))
                    else:
                        yield frame
        except (self._ffmpeg_error, _Damage) as error:
            yield from (frame for frame, _ in tail)
            yield from self._delayed_frames(damaged_at)
            raise self._error(f"cannot be read on: {_reason(error)}") from error
        missing = extent.missing() if self._strict else None
        for frame, follows_gap in tail:
            # Reordered frames behind the cut are read before some that should precede them.
            if missing and follows_gap:
                break
            yield frame
        if missing:
            raise self._error(f"the file is cut off: {missing}")

    def _delayed_frames(self, damaged_at: int | None) -> Iterator[VideoFrame]:
        """The intact frames before time `damaged_at` that the decoder held back to reorder."""
        if damaged_at is None:
            return
        try:
            frames = self._stream.codec_context.decode(None)
        except self._ffmpeg_error:
            return
        for frame in frames:
            if frame.pts is not None and frame.pts < damaged_at and not frame.is_corrupt:
                yield frame

    def _error(self, problem: str) -> VideoError:
        number = self._decoded_count
        return VideoError(
            f"{self.name}, frame {number}: {problem}", source=self.name, frame_number=number
        )


def _quarter_turns(frame: VideoFrame) -> int:
    """Counterclockwise quarter turns that show the frame upright (phones film sideways)."""
    return round(frame.rotation / 90) % 4


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _without_credentials(source: str) -> str:
    if "://" not in source:
        return source
    location = urlsplit(source).netloc
    return source.replace(location, location.rpartition("@")[2], 1)
