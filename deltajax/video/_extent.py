"""How much of a file was read, against how much its header promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


class Extent:
    """Counts what is read from a file, and tells at the end what is missing.

    A file that was cut off often ends without any error. Only promises that are exact
    count: the sample table of MP4, the frame count of AVI, the duration of Matroska.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._stream = stream
        self._format = container.format.name.split(",")[0]
        self._declared_seconds = declared_seconds(container, stream)
        self._packets = 0
        self._next_number = 0
        self._start: float | None = None
        self._end = 0.0
        self._longest_interval = 1 / float(stream.average_rate) if stream.average_rate else 0.0

    def count(self, packet: Packet) -> None:
        """Counts a packet as read from the file."""
        if not is_last(packet):
            self._packets += 1
        if packet.dts is not None:
            self._next_number = packet.dts + 1

    def cover(self, frame: VideoFrame) -> bool:
        """Extends the covered time to the end of a frame; True if it comes unusually late."""
        if frame.pts is None or frame.time_base is None:
            return False
        start = float(frame.pts * frame.time_base)
        interval = 0.0 if self._start is None else start - self._start
        late = interval > 1.5 * self._longest_interval
        self._longest_interval = max(self._longest_interval, interval)
        self._start = start
        self._end = start + float((frame.duration or 0) * frame.time_base)
        return late

    def missing(self) -> str | None:
        """What the header promises and the file does not hold, in words."""
        indexed = len(self._stream.index_entries or ())
        if self._format == "mov" and indexed > self._packets:
            return f"its index lists {indexed} frames, it holds {self._packets}"
        # The time stamps of AVI count frames, those included that were dropped in recording.
        held = max(self._next_number, self._packets)
        if self._format == "avi" and self._stream.frames > held:
            return f"its header promises {self._stream.frames} frames, it holds {held}"
        if self._declared_seconds is None or self._start is None:
            return None
        # The last frame may last as long as any other with no word of it in the file.
        if self._declared_seconds - self._end > 1.5 * self._longest_interval:
            promised = f"{self._declared_seconds:.2f} s"
            return f"its header promises {promised}, it holds {self._end:.2f} s"
        return None


def is_last(packet: Packet) -> bool:
    """Whether this is the empty packet at the end, which asks the decoder for what it holds."""
    return packet.pts is None and packet.dts is None and packet.size == 0


def declared_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """The duration of the video stream where a Matroska header states it."""
    if not container.format.name.startswith("matroska"):
        return None
    tag = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        # The duration of the file is that of its longest stream, which may be the sound.
        only = len(container.streams) == 1 and container.duration is not None
        return container.duration / 1e6 if only and container.duration else None
