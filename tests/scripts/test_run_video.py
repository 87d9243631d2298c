import json

import av
import jax
import numpy as np
import pytest
import run_video
from _overlay import overlay
from _predictions import Classes, Heatmaps, Landmarks, Segmentation

from deltajax.models import BodyPose
from deltajax.models.skeletons import COCO, HUMAN36M
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


def body_pose(rng: np.random.Generator) -> BodyPose:
    """Of two streams: somebody, and nobody."""
    return BodyPose(
        landmarks=rng.uniform(0, 256, (2, 39, 5)).astype(np.float32),
        world_landmarks=np.zeros((2, 39, 3)),
        presence=np.array([0.9, 0.1]),
        segmentation=np.zeros((2, 256, 256, 1)),
        heatmaps=np.zeros((2, 64, 64, 39)),
    )


PREDICTIONS = {
    "classes": (Classes(), lambda rng: rng.normal(size=(2, 7))),
    "classes of ImageNet": (Classes(), lambda rng: rng.normal(size=(2, 1000))),
    "heatmaps": (Heatmaps(False, COCO), lambda rng: rng.uniform(size=(2, 16, 24, 17))),
    "skeleton": (Heatmaps(True, COCO), lambda rng: rng.uniform(size=(2, 16, 24, 17))),
    "another skeleton": (
        Heatmaps(True, HUMAN36M),
        lambda rng: rng.uniform(size=(2, 16, 24, 17)),
    ),
    "mask": (Segmentation(), lambda rng: rng.uniform(size=(2, 64, 96, 1))),
    "landmarks": (Landmarks(), body_pose),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_overlay(name):
    prediction, make = PREDICTIONS[name]
    frames = ProceduralClip(64, 96).frames(2)
    outputs = make(np.random.default_rng(0))
    heat = np.zeros((2, 64, 96), np.float32)
    heat[0, :10] = 1
    work, present = np.array([0.1, 0.0]), np.array([True, False])
    picture = overlay(prediction, frames, outputs, heat, work, present, 7)
    nothing = overlay(prediction, frames, outputs, 0 * heat, work, present, 7)
    assert picture.dtype == np.uint8
    assert (picture != nothing).any(axis=-1).sum() == 10 * 96
    first = jax.tree.map(lambda array: array[0], outputs)
    assert (prediction.draw(frames[0], first) != frames[0]).any()


def test_agreement():
    """Of what was added, by hand: one class of four, a quarter of the mask, 64 of 256 pixels."""
    classes, mask, landmarks = Classes(), Segmentation(), Landmarks()
    assert classes.agreement() is None
    logits = np.eye(4)
    classes.add(logits, logits)
    classes.add(logits, logits[[0, 2, 1, 3]])
    assert classes.agreement() == 6 / 8
    whole = np.ones((1, 4, 4, 1))
    part = whole.copy()
    part[:, :, 0] = 0
    mask.add(part, whole)
    assert mask.agreement() == 12 / 16
    pose = body_pose(np.random.default_rng(0))
    landmarks.add(pose.replace(landmarks=pose.landmarks + np.float32(64)), pose)
    assert landmarks.agreement() == pytest.approx(np.hypot(64, 64) / 256)


def test_region_of_interest(tmp_path, capsys):
    clip = write_clip(tmp_path / "clip.mp4", 3)
    roi = ["--roi", "10", "20", "32", "40", "--size", "own"]
    report, pictures = run(tmp_path, str(clip), *roi)
    assert report["roi"] == [10, 20, 32, 40]
    assert pictures[0].shape[1] == 2 * 32 + 2
    assert run_video.main([*SMALL, str(clip), "--roi", "90", "20", "32", "40"]) == 1
    assert "(90, 20, 32, 40) (x, y, width, height) reaches beyond" in capsys.readouterr().err
    assert run_video.main([*SMALL, "--roi", "0", "0", "8", "8"]) == 1
    assert "--roi is a region of videos, and there are none" in capsys.readouterr().err


def test_weights(tmp_path, capsys):
    """Published ones that there are not, of another network, and calibration of trained ones."""
    clip = str(write_clip(tmp_path / "clip.mp4", 3))
    np.savez(tmp_path / "weights.npz", a=np.zeros(3))
    for arguments, message in (
        (["--weights", "published"], "no published weights are known of simple_cnn, only of effi"),
        (["--weights", "missing.pth"], "missing.pth: No such file or directory"),
        (["--weights", str(tmp_path / "weights.npz")], "how others call the weights of SimpleCNN"),
        (["--weights", "published", "--calibrate"], "--calibrate is for random weights"),
    ):
        assert run_video.main([*SMALL, clip, *arguments]) == 1
        assert message in " ".join(capsys.readouterr().err.split())


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
