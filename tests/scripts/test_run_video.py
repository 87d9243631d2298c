import json

import av
import numpy as np
import pytest
import run_video
from _overlay import overlay

from deltajax.video import OverlayWriter, ProceduralClip

SMALL = ["--model", "simple_cnn", "--size", "64x96", "--batch-frames", "8"]


def write_clip(path, num_frames: int, seed: int = 0):
    with OverlayWriter(path, fps=10.0) as writer:
        for frame in ProceduralClip(64, 96, noise=0.0, seed=seed).frames(num_frames):
            writer.write(frame)
    return path


def read_pictures(path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def run(tmp_path, *arguments: str, status: int = 0) -> tuple[dict, list[np.ndarray]]:
    """The report and the pictures of the overlay."""
    json_path, mp4 = tmp_path / "new" / "report.json", tmp_path / "new" / "overlay.mp4"
    outputs = ["--json", str(json_path), "--overlay", str(mp4)]
    assert run_video.main([*SMALL, *arguments, *outputs]) == status
    return json.loads(json_path.read_text()), read_pictures(mp4)


def test_a_video_to_its_end(tmp_path, capsys):
    clip = write_clip(tmp_path / "clip.mp4", 11)
    report, pictures = run(tmp_path, str(clip), "--compare")
    assert report["frames"] == len(pictures) == 11
    height, width = pictures[0].shape[:2]
    assert height > 64  # captions
    assert width == 2 * 96 + 2
    assert report["videos"] == [str(clip)]
    assert report["error"] is None
    assert report["speedup"] == pytest.approx(report["dense_ms"] / report["incremental_ms"])
    assert 0 < report["update_rate"] < 1
    assert 0 < report["multiplications_saved"] < 1
    assert 0 < report["relative_error"] < 0.2
    printed = capsys.readouterr().out
    assert printed.count("random weights") == 1
    assert "overlay.mp4" in printed


def test_batches_change_nothing(tmp_path):
    """The state is carried from batch to batch, and filling up the last adds no work."""
    clip = write_clip(tmp_path / "clip.mp4", 11)
    one, _ = run(tmp_path, str(clip), "--batch-frames", "11")
    several, _ = run(tmp_path, str(clip))
    assert several["frames"] == one["frames"]
    assert several["active_fraction"] == one["active_fraction"]


def test_exact_without_thresholds(tmp_path):
    zero = ["--input-threshold", "0", "--threshold", "0"]
    report, _ = run(tmp_path, "--max-frames", "10", "--compare", *zero)
    assert report["videos"] == ["procedural"]
    assert report["relative_error"] <= 1e-5


def test_several_streams_of_different_length(tmp_path):
    clips = [str(write_clip(tmp_path / f"{count}.mp4", count, seed=count)) for count in (3, 5)]
    report, pictures = run(tmp_path, *clips)
    assert report["frames"] == len(pictures) == 5
    assert report["stream_frames"] == 8
    assert report["relative_error"] is None
    assert pictures[0].shape[0] > 2 * 64


@pytest.mark.parametrize("shape", [(2, 16, 24, 17), (2, 1000)])
def test_overlay_of_heatmaps_and_of_classes(shape):
    frames = ProceduralClip(64, 96).frames(2)
    outputs = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    heat = np.zeros((2, 64, 96), np.float32)
    heat[0, :10] = 1
    picture = overlay(frames, outputs, heat, np.array([0.1, 0.0]), np.array([True, False]), 7)
    nothing = overlay(frames, outputs, 0 * heat, np.array([0.1, 0.0]), np.array([True, False]), 7)
    assert picture.dtype == np.uint8
    assert (picture != nothing).any(axis=-1).sum() == 10 * 96


def test_a_video_that_is_cut_off(tmp_path, capsys):
    clip = write_clip(tmp_path / "clip.mp4", 40)
    # With the index in front, what is left can be played.
    whole = tmp_path / "front.mp4"
    with av.open(str(clip)) as source:
        options = {"movflags": "faststart"}
        with av.open(str(whole), "w", options=options) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
    content = whole.read_bytes()
    short = tmp_path / "short.mp4"
    short.write_bytes(content[: int(len(content) * 0.7)])
    report, pictures = run(tmp_path, str(short), status=1)
    assert 0 < report["frames"] < 40
    assert report["frames"] == len(pictures)
    assert "short.mp4, frame" in report["error"]
    assert "short.mp4, frame" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.mp4"], "missing.mp4"),
        (["--max-frames", "0"], "max-frames"),
        (["--batch-frames", "0"], "batch-frames"),
        (["--threshold", "nan"], "threshold is nan"),
    ],
)
def test_wrong_values_say_what_is_wrong(tmp_path, capsys, arguments, message):
    mp4 = tmp_path / "overlay.mp4"
    assert run_video.main([*SMALL, *arguments, "--overlay", str(mp4)]) == 1
    assert message in capsys.readouterr().err
    assert not mp4.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--model", "posenet"], "pose_resnet50"), (["--size", "64x"], "288x384")],
)
def test_wrong_arguments_say_what_is_right(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        run_video.main([*SMALL, *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit) as caught:
        run_video.main(["--help"])
    assert caught.value.code == 0
    assert "--compare" in capsys.readouterr().out
