"""People who are made: bodies keep their lengths, joints lie where they are painted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from deltajax.datasets.figures import (
    JOINT_NAMES,
    FigureClip,
    FigurePictures,
    figure_clips,
    figure_pictures,
    sample_scene,
    still_backgrounds,
)
from deltajax.datasets.figures.body import Angles, joints_of, sample_lengths, usual_lengths
from deltajax.datasets.figures.scene import pose_at
from deltajax.video import OverlayWriter, VideoError

SIZE = (96, 128)
BONES = ((1, 2), (2, 3), (4, 5), (5, 6), (11, 12), (12, 13), (14, 15), (15, 16), (0, 8))


def angles(**some) -> Angles:
    zero = {name: jnp.zeros(() if name == "turn" else 2) for name in Angles._fields}
    return Angles(**{**zero, **{name: jnp.asarray(value) for name, value in some.items()}})


def joint(points, name):
    return np.asarray(points)[JOINT_NAMES.index(name)]


def test_a_body_that_stands():
    points = joints_of(usual_lengths(), angles())
    usual = {name: float(value) for name, value in usual_lengths()._asdict().items()}
    tall = usual["torso"] + 1.08 * usual["head"]
    assert joint(points, "head top")[1] == pytest.approx(tall, abs=1e-6)
    leg = usual["thigh"] + usual["shank"]
    assert joint(points, "left ankle")[1] == pytest.approx(-leg, abs=1e-6)
    # Facing the camera the person's left is on the right of the picture, the nose in front.
    assert joint(points, "left shoulder")[0] > 0.1 > -0.1 > joint(points, "right shoulder")[0]
    assert joint(points, "nose")[2] > 0
    back = joints_of(usual_lengths(), angles(turn=jnp.pi))
    assert joint(back, "left shoulder")[0] < -0.1
    assert joint(back, "nose")[2] < 0


def test_angles_turn_what_they_say():
    points = joints_of(usual_lengths(), angles(hip=[0.5, 0.0], knee=[0.9, 0.0], elbow=[0.0, 1.0]))
    assert joint(points, "left knee")[2] > 0.1
    assert joint(points, "right knee")[2] == pytest.approx(0, abs=1e-6)
    assert joint(points, "left ankle")[2] < joint(points, "left knee")[2]
    assert joint(points, "right wrist")[2] > 0.1 > joint(points, "left wrist")[2]
    points = joints_of(
        usual_lengths(), angles(shoulder=[0.8, 0.0], lift=[0.0, 0.8], lean=[0.3, 0.0])
    )
    assert joint(points, "left elbow")[2] > 0.1
    assert joint(points, "right elbow")[0] < joint(points, "right shoulder")[0] - 0.1
    assert joint(points, "thorax")[2] > 0.05


def test_bones_keep_their_lengths():
    scene = sample_scene(jax.random.key(3), SIZE)
    times = jnp.linspace(0, 10, 50)
    points = np.asarray(jax.vmap(lambda time: pose_at(scene, time)[1])(times))
    for start, end in BONES:
        length = np.linalg.norm(points[:, start] - points[:, end], axis=-1)
        np.testing.assert_allclose(length, length[0], rtol=1e-4)
    assert np.ptp(points[:, JOINT_NAMES.index("left wrist")], axis=0).max() > 1
    lengths = np.stack([jnp.stack(sample_lengths(jax.random.key(seed))) for seed in range(50)])
    assert np.all(lengths.std(axis=0) / lengths.mean(axis=0) > 0.04)


def test_joints_lie_where_they_are_painted():
    """Between two times, pictures differ where the joints were or are, and nowhere far off."""
    clip = FigureClip(*SIZE, seed=5, noise=0.0)
    frames, joints = clip.frames(40), clip.joints(40)
    moved = np.linalg.norm(joints.points[0] - joints.points[-1], axis=-1)
    changed = (frames[0] != frames[-1]).any(-1)
    seen = joints.visible[0] & joints.visible[-1]
    assert moved.max() > 5
    for number in np.flatnonzero((moved > 6) & seen):
        x, y = np.round(joints.points[0, number]).astype(int)
        assert changed[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].any()
    rows, columns = np.nonzero(changed)
    places = np.concatenate([joints.points[0], joints.points[-1]])
    away = np.hypot(columns[:, None] - places[:, 0], rows[:, None] - places[:, 1]).min(axis=1)
    assert away.max() < 0.2 * float(clip.scene.tall)


def test_the_background_stands_still():
    clip = FigureClip(*SIZE, seed=1, noise=0.0)
    frames = clip.frames(30)
    still = (frames == frames[0]).all(axis=(0, 3))
    assert still.mean() > 0.4
    noisy = FigureClip(*SIZE, seed=1, noise=0.02).frames(2).astype(int)
    difference = (noisy[0] - noisy[1])[still] / 255
    assert difference.std() == pytest.approx(0.02 * 2**0.5, rel=0.15)


def test_frames_are_functions_of_their_numbers():
    clip = FigureClip(*SIZE, seed=2)
    frames = clip.frames(6)
    np.testing.assert_array_equal(clip.frames(2, start=3), frames[3:5])
    np.testing.assert_array_equal(clip.joints(2, start=3).points, clip.joints(6).points[3:5])
    batches = list(clip.batches(6, batch_frames=4))
    np.testing.assert_array_equal(np.concatenate([b.frames for b in batches])[:, 0], frames)
    assert not np.array_equal(FigureClip(*SIZE, seed=3).frames(1), frames[:1])


def test_occlusion():
    """Behind a thing a joint is not seen, and the picture shows the thing."""
    clip = FigureClip(*SIZE, seed=2, noise=0.0)
    before = clip.joints(1)
    points = before.points[0]
    number = int(np.flatnonzero(before.visible[0])[0])
    scene = clip.scene
    half = scene.occluders.half.at[0].set(jnp.array([4.0, 3.0]))
    middle = scene.occluders.middle.at[0].set(points[number])
    clip.scene = scene._replace(occluders=scene.occluders._replace(half=half, middle=middle))
    assert not clip.joints(1).visible[0, number]
    x, y = np.round(points[number]).astype(int)
    colour = np.round(255 * np.asarray(scene.occluders.colour[0]))
    np.testing.assert_allclose(clip.frames(1)[0, y, x], colour, atol=1)


def test_pictures():
    stills = np.zeros((2, 120, 160, 3), np.float32)
    painted = []
    pictures = figure_pictures(
        40, SIZE, seed=3, backgrounds=stills, tall=(0.3, 0.4), progress=painted.append
    )
    assert pictures.images.shape == (40, *SIZE, 3)
    assert (len(pictures), sum(painted)) == (40, 40)
    assert 0.8 < pictures.counts.mean() < 1
    # Half of the backgrounds are the black stills: a corner of them is black but for the noise.
    dark = (pictures.images[:, :6, :6] < 30).all(axis=(1, 2, 3)).mean()
    assert 0.25 < dark < 0.8
    tall = np.ptp(pictures.points[..., 1], axis=1)
    assert tall.max() < 0.4 * SIZE[0] * 1.2
    batch = pictures.batch(np.array([4, 1]))
    np.testing.assert_array_equal(batch["image"], pictures.images[[4, 1]])
    np.testing.assert_array_equal(batch["points"], pictures.points[[4, 1]])
    np.testing.assert_array_equal(batch["counts"], pictures.counts[[4, 1]])
    assert len(pictures.first(3)) == 3
    anew = FigurePictures(40, SIZE, seed=3, backgrounds=stills, tall=(0.3, 0.4))
    assert (len(anew), anew.source) == (40, pictures.source)
    for name, array in anew.batch(np.arange(100)).items():
        np.testing.assert_array_equal(array[:40], pictures.batch(np.arange(40))[name])
    # A picture is a function of its number: of more there are the same first ones.
    fewer = figure_pictures(2, SIZE, seed=3, backgrounds=stills, tall=(0.3, 0.4))
    np.testing.assert_array_equal(fewer.images, pictures.images[:2])


def test_clips():
    clips = figure_clips(2, 3, SIZE, seed=4, tall=(0.3, 0.4))
    assert clips.frames.shape == (3, 2, *SIZE, 3)
    assert clips.points.shape == (3, 2, 17, 2)
    second = FigureClip(*SIZE, seed=5, tall=(0.3, 0.4))
    np.testing.assert_array_equal(clips.frames[:, 1], second.frames(3))
    np.testing.assert_array_equal(clips.points[:, 1], second.joints(3).points)
    np.testing.assert_array_equal(clips.counts[:, 1], second.joints(3).visible)


def test_still_backgrounds(tmp_path):
    """Who walks by is in no pixel for half of the frames."""
    path = tmp_path / "walk.mp4"
    with OverlayWriter(path, fps=10.0) as writer:
        for number in range(9):
            frame = np.full((48, 64, 3), 100, np.uint8)
            frame[:, 7 * number : 7 * number + 8] = 255
            writer.write(frame)
    (still,) = still_backgrounds([path], (48, 64))
    np.testing.assert_allclose(still, 100 / 255, atol=0.03)
    assert still_backgrounds([path], (24, 32)).shape == (1, 24, 32, 3)
    with pytest.raises(VideoError, match="nothing"):
        still_backgrounds([tmp_path / "nothing.mp4"], SIZE)
    with pytest.raises(ValueError, match="at least one"):
        still_backgrounds([], SIZE)


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [((0, 10), {}), ((10, 10), {"fps": 0.0}), ((10, 10), {"seed": -1}), ((9, 9), {"noise": 2.0})],
)
def test_refusals(arguments, settings):
    with pytest.raises(ValueError, match="must be"):
        FigureClip(*arguments, **settings)
    with pytest.raises(ValueError, match="numbered from 0, and there must be one, got 2 from -1"):
        FigureClip(8, 8).frames(2, -1)
