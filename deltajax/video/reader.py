"""Reading video, batch by batch: files, cameras and network streams, through PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ._source import VideoError, VideoSource
from .batch import VideoBatch

__all__ = ["VideoError", "VideoReader"]


class VideoReader:
    """Batches of consecutive frames of one or several independent streams.

    Iterating yields `VideoBatch(frames, present)`, uint8 [T, N, H, W, 3] and bool [T, N],
    with T = `batch_frames` in all batches but the last, and N = the number of sources. A
    reader is read once, like a file. Streams are paired frame by frame, not by time
    stamp; variable frame rates are neither filled up nor thinned out. A rotation noted in
    the file is applied; pixels are taken to be square.

    Args:
        sources: a file, a capture device (`/dev/video0`) or a stream URL (rtsp, http), or
            a sequence of N of them.
        size: (H, W) in pixels that every frame, or its region of interest, is scaled to.
        roi: region of interest (x, y, width, height) in pixels of the upright frame, as
            OpenCV's `selectROI` gives it. Of every frame of every stream only this region
            is handed out; None stands for whole frames.
        batch_frames: T, which bounds the memory that a batch takes.
        max_frames: stop after this many frames of each stream.
        start_frame: drop this many frames first. They are decoded: exact in any format.
        format: FFmpeg's name of the input format, where it does not show from the source
            (`"v4l2"`, `"avfoundation"`, `"lavfi"`).
        options: FFmpeg's options of the input, such as `{"rtsp_transport": "tcp"}`.
        timeout: seconds to wait for a source to open or to deliver; None waits for ever.

    Raises:
        VideoError: a source does not exist, is not a video, or holds no frame. While
            iterating: a file is damaged, cut off, shorter than `start_frame`, or changes
            its resolution; all frames before that one are yielded first.
        ValueError: an argument is out of range, `roi` is empty or reaches beyond the
            frames of a source, or the sources differ in size and neither `size` nor `roi`
            is given.
        ImportError: PyAV is not installed.
    """

    def __init__(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        size: tuple[int, int] | None = None,
        roi: tuple[int, int, int, int] | None = None,
        batch_frames: int = 16,
        max_frames: int | None = None,
        start_frame: int = 0,
        format: str | None = None,
        options: Mapping[str, str] | None = None,
        timeout: float | None = 30.0,
    ) -> None:
        if isinstance(sources, (str, os.PathLike)):
            sources = [sources]
        if not sources:
            raise ValueError("sources is empty; give at least one file, device or URL")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"size must be (height, width) in pixels, got {size}")
        if roi is not None and len(roi) != 4:
            raise ValueError(f"roi must be (x, y, width, height) in pixels, got {roi}")
        if batch_frames < 1:
            raise ValueError(f"batch_frames must be at least 1, got {batch_frames}")
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"max_frames must be at least 1 or None, got {max_frames}")
        if start_frame < 0:
            raise ValueError(f"start_frame must not be negative, got {start_frame}")
        self._batch_frames = batch_frames
        self._max_frames = max_frames
        self._start_frame = start_frame
        self._closed = False
        self._last: NDArray[np.uint8] | None = None
        self._sources: list[VideoSource] = []
        with ExitStack() as opened:
            for source in sources:
                self._sources.append(
                    VideoSource(
                        source,
                        size=size,
                        roi=roi,
                        format=format,
                        options=options,
                        timeout=timeout,
                    )
                )
                opened.callback(self._sources[-1].close)
            self._require_one_size()
            self._open = opened.pop_all()
        self._batches = self._read_batches()

    @property
    def height(self) -> int:
        """H of the frames handed out, in pixels."""
        return self._sources[0].height

    @property
    def width(self) -> int:
        """W of the frames handed out, in pixels."""
        return self._sources[0].width

    @property
    def num_streams(self) -> int:
        """N."""
        return len(self._sources)

    @property
    def fps(self) -> float | None:
        """Frames per second of the first source, on average; None if unknown."""
        return self._sources[0].fps

    @property
    def frame_count(self) -> int | None:
        """Frames that iterating yields per stream, for progress bars; None if unknown.

        An estimate for files that state their duration only, and `max_frames` at most.
        """
        counts = [source.frame_count for source in self._sources]
        if any(count is None for count in counts):
            return self._max_frames
        longest = max(count for count in counts if count is not None) - self._start_frame
        return max(0, longest if self._max_frames is None else min(longest, self._max_frames))

    def __iter__(self) -> Iterator[VideoBatch]:
        return self

    def __next__(self) -> VideoBatch:
        if self._closed:
            raise ValueError("this VideoReader is closed")
        return next(self._batches)

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes all files and devices."""
        self._closed = True
        self._open.close()

    def _require_one_size(self) -> None:
        first = self._sources[0]
        for other in self._sources[1:]:
            if (other.height, other.width) != (first.height, first.width):
                raise ValueError(
                    f"the streams of one reader need one size, but {first.name} is "
                    f"{first.height}x{first.width} and {other.name} is "
                    f"{other.height}x{other.width} (height x width); "
                    "pass size=(height, width) to scale them, or a roi inside all of them"
                )

    def _read_batches(self) -> Iterator[VideoBatch]:
        try:
            for source in self._sources:
                self._skip_to_start(source)
            remaining = self._max_frames
            error = None
            while error is None and remaining != 0:
                wanted = self._batch_frames
                if remaining is not None:
                    wanted = min(wanted, remaining)
                    remaining -= wanted
                batch, error = self._read_batch(wanted)
                if len(batch.frames):
                    yield batch
                if error is None and len(batch.frames) < wanted:
                    return
            if error is not None:
                raise error
        finally:
            self._open.close()

    def _skip_to_start(self, source: VideoSource) -> None:
        for number in range(self._start_frame):
            if not source.skip():
                raise VideoError(
                    f"{source.name}, frame {number}: the video ends here, before "
                    f"start_frame {self._start_frame}",
                    source=source.name,
                    frame_number=number,
                )

    def _read_batch(self, wanted: int) -> tuple[VideoBatch, VideoError | None]:
        """Up to `wanted` frames, and the error that ended them early, if any."""
        shape = (wanted, self.num_streams, self.height, self.width, 3)
        frames = np.zeros(shape, np.uint8)
        present = np.zeros(shape[:2], np.bool_)
        last = frames[0] if self._last is None else self._last
        error = None
        step = 0
        while step < wanted and error is None:
            for stream, source in enumerate(self._sources):
                try:
                    pixels = source.read()
                except VideoError as failure:
                    # The other streams still deliver this step: nothing read is lost.
                    error = error or failure
                    pixels = None
                present[step, stream] = pixels is not None
                frames[step, stream] = last[stream] if pixels is None else pixels
            if not present[step].any():
                break
            last = frames[step]
            step += 1
        self._last = last.copy()  # the caller may write into the batch
        return VideoBatch(frames[:step], present[:step]), error
