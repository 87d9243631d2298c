import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from deltajax.video import VideoError, VideoReader, sample_clip


def pictures(num_frames: int, height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Blocks of noise, uint8 [T, H, W, 3], another in every frame."""
    shape = (num_frames, -(-height // 8), -(-width // 8), 3)
    blocks = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width].copy()


def write_clip(
    path: Path,
    frames: np.ndarray,
    codec: str = "png",
    pix_fmt: str = "rgb24",
    times: list[int] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int | None = None,
) -> Path:
    """Writes frames at 10 per second; the default codec is lossless and needs a .mov file."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.time_base = Fraction(1, 10)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index if times is None else times[index]
            frame.time_base = Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut_off(path: Path, share: float) -> Path:
    content = path.read_bytes()
    short = path.with_stem(f"{path.stem}_short")
    short.write_bytes(content[: int(len(content) * share)])
    return short


def read_until_error(reader: VideoReader) -> tuple[np.ndarray, np.ndarray, VideoError]:
    """The frames [T, N, H, W, 3] and flags [T, N] before the error, and the error."""
    batches = []
    with pytest.raises(VideoError) as caught:  # noqa: PT012
        for batch in reader:
            batches.append(batch)
    assert batches, "no batch before the error"
    frames = np.concatenate([batch.frames for batch in batches])
    return frames, np.concatenate([batch.present for batch in batches]), caught.value


def read_all(*arguments, **options) -> np.ndarray:
    """All frames of a reader, [T, N, H, W, 3]."""
    with VideoReader(*arguments, **options) as reader:
        return np.concatenate([batch.frames for batch in reader])


def test_sample_clip_in_batches():
    with av.open(str(sample_clip())) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with VideoReader(sample_clip()) as reader:
        assert (reader.height, reader.width, reader.num_streams) == (576, 768, 1)
        assert (reader.fps, reader.frame_count) == (10.0, 100)
        batches = list(reader)
    assert [len(batch.frames) for batch in batches] == [16] * 6 + [4]
    assert all(batch.frames.dtype == np.uint8 for batch in batches)
    assert all(batch.present.all() for batch in batches)
    frames = np.concatenate([batch.frames for batch in batches])
    np.testing.assert_array_equal(frames[:, 0], expected)


def test_sample_clip_changes_like_the_original():
    frames = read_all(sample_clip())[:, 0].astype(np.int16)
    difference = np.abs(np.diff(frames, axis=0)).max(axis=-1) / 255
    shares = [float((difference > threshold).mean()) for threshold in (0.02, 0.05, 0.1)]
    np.testing.assert_allclose(shares, [0.0370, 0.0190, 0.0125], atol=1e-4)
    assert sample_clip().stat().st_size <= 500_000


def test_frames_are_exact(tmp_path):
    frames = pictures(5)
    path = write_clip(tmp_path / "clip.mov", frames)
    np.testing.assert_array_equal(read_all(path)[:, 0], frames)
    np.testing.assert_array_equal(read_all(str(path))[:, 0], frames)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (1, 1), (33, 48)])
def test_odd_sizes(tmp_path, height, width):
    frames = pictures(3, height, width)
    np.testing.assert_array_equal(read_all(write_clip(tmp_path / "clip.mov", frames))[:, 0], frames)


def test_start_frame_and_max_frames(tmp_path):
    frames = pictures(11)
    path = write_clip(tmp_path / "clip.mov", frames)
    with VideoReader(path, start_frame=3, max_frames=5, batch_frames=2) as reader:
        assert reader.frame_count == 5
        batches = list(reader)
    assert [len(batch.frames) for batch in batches] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([b.frames for b in batches])[:, 0], frames[3:8])
    assert VideoReader(path, start_frame=3).frame_count == 8


def test_start_behind_the_end(tmp_path):
    path = write_clip(tmp_path / "clip.mov", pictures(4))
    with pytest.raises(VideoError, match=r"clip\.mov, frame 4: .* before start_frame 9"):
        next(VideoReader(path, start_frame=9))


def test_streams_of_different_lengths(tmp_path):
    short, long = pictures(3), pictures(7, seed=1)
    paths = [write_clip(tmp_path / "short.mov", short), write_clip(tmp_path / "long.mov", long)]
    with VideoReader(paths, batch_frames=2) as reader:
        assert (reader.num_streams, reader.frame_count) == (2, 7)
        batches = []
        for frames, present in reader:
            batches.append((frames.copy(), present))
            frames[:] = 0  # the reader must not depend on what it has handed out
    frames = np.concatenate([batch[0] for batch in batches])
    present = np.concatenate([batch[1] for batch in batches])
    np.testing.assert_array_equal(frames[:, 1], long)
    np.testing.assert_array_equal(frames[:3, 0], short)
    np.testing.assert_array_equal(frames[3:, 0], np.stack([short[-1]] * 4))
    assert present[:, 0].tolist() == [True] * 3 + [False] * 4
    assert present[:, 1].all()


def test_streams_of_different_sizes(tmp_path):
    paths = [
        write_clip(tmp_path / "small.mov", pictures(2)),
        write_clip(tmp_path / "large.mov", pictures(2, 64, 96)),
    ]
    with pytest.raises(ValueError, match=r"small\.mov is 48x64 and .*large\.mov is 64x96"):
        VideoReader(paths)
    assert read_all(paths, size=(32, 40)).shape == (2, 2, 32, 40, 3)


def test_size_averages_the_pixels_under_a_smaller_one(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    scaled = read_all(write_clip(tmp_path / "clip.mov", frames), size=(16, 24))[0, 0]
    means = frames[0].reshape(16, 4, 24, 4, 3).mean(axis=(1, 3))
    # Scaling passes through YUV with halved chroma, which changes colours but not lightness.
    luma = np.array([0.299, 0.587, 0.114])
    error = scaled @ luma - means @ luma
    assert np.abs(error).mean() < 2
    assert (means @ luma).std() > 8


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(tmp_path, rotation):
    frames = pictures(2)
    path = write_clip(tmp_path / "clip.mov", frames, rotation=rotation)
    upright = np.rot90(frames, rotation // 90, axes=(1, 2))
    np.testing.assert_array_equal(read_all(path)[:, 0], upright)
    height, width = upright.shape[1:3]
    assert read_all(path, size=(height // 2, width // 2)).shape[2:4] == (height // 2, width // 2)


def scale(picture: np.ndarray, size: tuple[int, int], how: Interpolation) -> np.ndarray:
    """PyAV's scaling of one picture, [H, W, 3]."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    height, width = size
    return frame.to_ndarray(format="rgb24", height=height, width=width, interpolation=how)


@pytest.mark.parametrize("roi", [(8, 5, 31, 20), (0, 0, 64, 48), (63, 47, 1, 1), (0, 3, 64, 1)])
def test_region_is_exact(tmp_path, roi):
    frames = pictures(3)
    path = write_clip(tmp_path / "clip.mov", frames)
    x, y, width, height = roi
    with VideoReader(path, roi=roi) as reader:
        assert (reader.height, reader.width) == (height, width)
        (batch,) = reader
    np.testing.assert_array_equal(batch.frames[:, 0], frames[:, y : y + height, x : x + width])


def test_region_of_the_sample_clip():
    region = read_all(sample_clip(), roi=(561, 201, 159, 75), max_frames=4)
    whole = read_all(sample_clip(), max_frames=4)
    np.testing.assert_array_equal(region, whole[:, :, 201:276, 561:720])


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_region_is_of_the_upright_frame(tmp_path, rotation):
    frames = pictures(2)
    path = write_clip(tmp_path / "clip.mov", frames, rotation=rotation)
    upright = np.rot90(frames, rotation // 90, axes=(1, 2))
    region = upright[:, 7:37, 20:33]
    np.testing.assert_array_equal(read_all(path, roi=(20, 7, 13, 30))[:, 0], region)
    with VideoReader(path, roi=(20, 7, 13, 30), size=(60, 26)) as reader:
        assert (reader.height, reader.width) == (60, 26)
        (batch,) = reader
    expected = [scale(picture, (60, 26), Interpolation.BICUBIC) for picture in region]
    np.testing.assert_array_equal(batch.frames[:, 0], expected)


@pytest.mark.parametrize(
    ("size", "how"),
    [
        ((15, 11), Interpolation.AREA),
        ((40, 22), Interpolation.AREA),  # higher, but smaller on the whole
        ((60, 66), Interpolation.BICUBIC),
        ((30, 33), None),
    ],
)
def test_region_is_cut_out_first_and_scaled_then(tmp_path, size, how):
    frames = pictures(3)
    path = write_clip(tmp_path / "clip.mov", frames)
    regions = [frame[10:40, 20:53] for frame in frames]
    scaled = read_all(path, roi=(20, 10, 33, 30), size=size)[:, 0]
    expected = regions if how is None else [scale(region, size, how) for region in regions]
    np.testing.assert_array_equal(scaled, expected)


def test_nothing_outside_the_region_shows(tmp_path):
    frames = np.full((2, 48, 64, 3), 255, np.uint8)
    frames[:, 16:32, 16:48] = 0
    path = write_clip(tmp_path / "clip.mov", frames)
    for size in [(8, 16), (32, 64)]:
        assert not read_all(path, roi=(16, 16, 32, 16), size=size).any()


def test_region_of_streams_of_different_sizes(tmp_path):
    small, large = pictures(2), pictures(2, 64, 96, seed=1)
    paths = [write_clip(tmp_path / "a.mov", small), write_clip(tmp_path / "b.mov", large)]
    frames = read_all(paths, roi=(30, 20, 34, 28))
    np.testing.assert_array_equal(frames[:, 0], small[:, 20:48, 30:64])
    np.testing.assert_array_equal(frames[:, 1], large[:, 20:48, 30:64])
    with pytest.raises(ValueError, match=r"beyond the frame: .*a\.mov is 64x48 \(width x height\)"):
        VideoReader(paths[::-1], roi=(30, 20, 35, 28), size=(8, 8))


@pytest.mark.parametrize(
    ("roi", "problem"),
    [
        ((5, 5, 0, 9), "is empty"),
        ((0, 0, 0, 0), "is empty"),  # what selectROI gives when it is cancelled
        ((5, 5, 9, -1), "is empty"),
        ((-1, 0, 9, 9), "reaches beyond the frame"),
        ((0, -1, 9, 9), "reaches beyond the frame"),
        ((40, 0, 9, 9), "reaches beyond the frame"),
        ((0, 56, 9, 9), "reaches beyond the frame"),
    ],
)
def test_region_outside_the_frame(tmp_path, roi, problem):
    """The file is 64 pixels wide and 48 high, its upright frames 48 and 64."""
    path = write_clip(tmp_path / "clip.mov", pictures(1), rotation=90)
    with pytest.raises(ValueError, match=problem) as caught:
        VideoReader(path, roi=roi)
    assert str(caught.value) == (
        f"the region of interest {roi} (x, y, width, height) {problem}: "
        f"{path} is 48x64 (width x height)"
    )


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("clip.mp4", "libx264", "yuv420p", {}),
        ("clip.mp4", "libx264", "yuv420p", {"movflags": "frag_keyframe+empty_moov"}),
        ("clip.avi", "mpeg4", "yuv420p", {}),
        ("clip.avi", "mjpeg", "yuvj420p", {}),
        ("clip.mkv", "libx264", "yuv420p", {}),
        ("clip.mkv", "ffv1", "yuv420p", {}),
        ("clip.ts", "libx264", "yuv420p", {}),
    ],
)
def test_intact_files_raise_no_alarm(tmp_path, name, codec, pix_fmt, options):
    path = write_clip(tmp_path / name, pictures(30), codec, pix_fmt, container_options=options)
    with VideoReader(path) as reader:
        assert reader.frame_count == 30
        assert sum(len(batch.frames) for batch in reader) == 30


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.avi"])
def test_variable_frame_rate(tmp_path, name):
    times = [0, 1, 2, 5, 6, 14, 15, 30]
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_clip(tmp_path / name, pictures(len(times)), codec, "yuv420p", times)
    assert len(read_all(path)) == len(times)


def test_sound_longer_than_the_picture(tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for picture in pictures(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        silence = np.zeros((1, 8000 * 5), np.int16)
        sound = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    assert len(read_all(path)) == 10


def test_missing_file(tmp_path):
    with pytest.raises(VideoError, match=r"none\.mp4, frame 0: the file does not exist"):
        VideoReader(tmp_path / "none.mp4")
    with pytest.raises(VideoError, match="frame 0: is a folder"):
        VideoReader(tmp_path)


def test_file_that_is_no_video(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("not a video\n" * 1000)
    with pytest.raises(VideoError, match=r"notes\.mp4, frame 0: cannot be opened as a video"):
        VideoReader(path)


def test_file_without_a_video_stream(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = np.zeros((1, 800), np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(VideoError, match=r"sound\.wav, frame 0: holds no video stream"):
        VideoReader(path)


def test_zero_frames(tmp_path):
    path = tmp_path / "empty.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=r"empty\.avi, frame 0: holds zero frames"):
        VideoReader(path)


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("clip.mp4", "libx264", "yuv420p", {"movflags": "faststart"}),
        ("clip.mp4", "libx264", "yuv420p", {"movflags": "frag_keyframe+empty_moov"}),
        ("clip.avi", "mjpeg", "yuvj420p", {}),
        ("clip.mkv", "libx264", "yuv420p", {}),
    ],
)
def test_truncated_file(tmp_path, name, codec, pix_fmt, options, share):
    path = write_clip(tmp_path / name, pictures(40), codec, pix_fmt, container_options=options)
    intact = read_all(path)
    frames, present, error = read_until_error(VideoReader(cut_off(path, share)))
    assert 5 < len(frames) < 40
    assert present.all()
    np.testing.assert_array_equal(frames, intact[: len(frames)])
    assert error.frame_number == len(frames)
    assert f"clip_short{path.suffix}, frame {len(frames)}: " in str(error)
    assert "cut off" in str(error)


def test_truncated_sample_clip(tmp_path):
    path = tmp_path / "vtest.mp4"
    path.write_bytes(sample_clip().read_bytes())
    frames, _, error = read_until_error(VideoReader(cut_off(path, 0.5)))
    intact = read_all(sample_clip(), max_frames=len(frames))
    np.testing.assert_array_equal(frames, intact)
    assert f"frame {len(frames)}: cannot be read on: the file is damaged or cut off" in str(error)


def test_truncation_between_two_frames(tmp_path):
    """No packet is incomplete here: only the header tells that frames are missing."""
    path = write_clip(tmp_path / "clip.avi", pictures(20), "mjpeg", "yuvj420p")
    content = path.read_bytes()
    with av.open(str(path)) as container:
        twelfth = [packet.pos for packet in container.demux(video=0) if packet.size][12]
    assert twelfth is not None
    # The position is that of the chunk's header or of its content, 8 bytes behind.
    start = content.rindex(b"00dc", 0, twelfth + 4)
    path.write_bytes(content[:start])
    frames, _, error = read_until_error(VideoReader(path))
    assert len(frames) == 12
    assert "frame 12: the file is cut off: its header promises 20 frames, it holds 12" in str(error)


def test_corrupt_frame(tmp_path):
    path = write_clip(tmp_path / "clip.avi", pictures(20), "mjpeg", "yuvj420p")
    intact = read_all(path)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][12]
    content = bytearray(path.read_bytes())
    start = content.index(bytes(packet))
    content[start : start + packet.size] = b"\x55" * packet.size
    path.write_bytes(content)
    frames, _, error = read_until_error(VideoReader(path, batch_frames=5))
    np.testing.assert_array_equal(frames, intact[:12])
    assert "clip.avi, frame 12: cannot be read on: " in str(error)


def write_two_resolutions(path: Path) -> Path:
    """Five frames of 48x64, then five of 32x64, in one stream of JPEG pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuvj420p"
        for index, height in enumerate([48] * 5 + [32] * 5):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width, encoder.pix_fmt = height, 64, "yuvj420p"
            encoder.time_base = Fraction(1, 10)
            frame = av.VideoFrame.from_ndarray(pictures(1, height)[0], format="rgb24")
            for packet in [*encoder.encode(frame.reformat(format="yuvj420p")), *encoder.encode()]:
                packet.stream = stream
                packet.time_base = Fraction(1, 10)
                packet.pts = packet.dts = index
                container.mux(packet)
    return path


def test_resolution_changes(tmp_path):
    path = write_two_resolutions(tmp_path / "changing.avi")
    for size in (None, (24, 32)):
        frames, _, error = read_until_error(VideoReader(path, size=size))
        assert len(frames) == 5
        assert "changing.avi, frame 5: the resolution (height, width) changes" in str(error)
        assert str(error).endswith("from (48, 64) to (32, 64)")


def test_one_stream_fails_and_no_frame_of_the_other_is_lost(tmp_path):
    failing = write_two_resolutions(tmp_path / "changing.avi")
    other = pictures(9, seed=1)
    intact = write_clip(tmp_path / "intact.mov", other)
    frames, present, error = read_until_error(VideoReader([failing, intact]))
    assert error.source == str(failing)
    np.testing.assert_array_equal(frames[:, 1], other[:6])
    assert present.tolist() == [[True, True]] * 5 + [[False, True]]


def test_after_an_error_the_reader_is_exhausted(tmp_path):
    reader = VideoReader(write_two_resolutions(tmp_path / "changing.avi"))
    read_until_error(reader)
    assert list(reader) == []


def test_closed_reader():
    with VideoReader(sample_clip()) as reader:
        next(reader)
    with pytest.raises(ValueError, match="closed"):
        next(reader)


def test_live_source():
    source = "testsrc=size=64x48:rate=10"
    with VideoReader(source, format="lavfi") as reader:
        assert (reader.height, reader.width, reader.fps) == (48, 64, 10.0)
        assert reader.frame_count is None
        assert len(next(reader).frames) == 16
    with VideoReader(source, format="lavfi", max_frames=20) as reader:
        assert reader.frame_count == 20
        assert [len(batch.frames) for batch in reader] == [16, 4]


def test_options_reach_the_input(tmp_path):
    path = tmp_path / "clip.rgb"
    frames = pictures(4)
    path.write_bytes(frames.tobytes())
    options = {"video_size": "64x48", "pixel_format": "rgb24"}
    read = read_all(path, format="rawvideo", options=options)
    np.testing.assert_array_equal(read[:, 0], frames)


def test_messages_hide_credentials():
    with pytest.raises(VideoError, match=r"http://127\.0\.0\.1:1/stream, frame 0") as caught:
        VideoReader("http://user:secret@127.0.0.1:1/stream")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_frames": 0}, "batch_frames must be at least 1, got 0"),
        ({"max_frames": 0}, "max_frames must be at least 1 or None, got 0"),
        ({"start_frame": -1}, "start_frame must not be negative, got -1"),
        ({"size": (0, 4)}, r"size must be \(height, width\) in pixels, got \(0, 4\)"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        VideoReader(sample_clip(), **options)
    with pytest.raises(ValueError, match="sources is empty"):
        VideoReader([])


def test_without_pyav(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install deltajax\[video\]"):
        VideoReader(sample_clip())
