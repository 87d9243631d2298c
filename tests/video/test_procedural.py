import numpy as np
import pytest

from deltajax.video import JOINT_NAMES, ProceduralClip

ANKLES = [JOINT_NAMES.index("left_ankle"), JOINT_NAMES.index("right_ankle")]
HIPS = [JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]


@pytest.fixture(scope="module")
def clean() -> ProceduralClip:
    return ProceduralClip(96, 160, noise=0.0)


def test_frames_are_a_function_of_arguments_and_number():
    clip, again = ProceduralClip(48, 64, seed=3), ProceduralClip(48, 64, seed=3)
    frames = clip.frames(4, start=5)
    assert frames.shape == (4, 48, 64, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(again.frame(7), frames[2])
    assert (ProceduralClip(48, 64, seed=4).frame(7) != frames[2]).mean() > 0.5


def test_without_noise_nothing_changes_outside_the_figures(clean):
    for number in (0, 17, 60):
        before, after = clean.frame(number), clean.frame(number + 1)
        covered = clean.foreground(number) | clean.foreground(number + 1)
        assert 0.02 < covered.mean() < 0.5
        np.testing.assert_array_equal(before[~covered], after[~covered])
        assert (before != after).any(axis=-1)[covered].mean() > 0.3


def test_without_figures_only_the_noise_changes():
    clip = ProceduralClip(48, 64, figures=0, noise=0.0)
    np.testing.assert_array_equal(clip.frame(0), clip.frame(9))
    assert not clip.foreground(0).any()
    assert clip.joints(0).shape == (0, 17, 2)


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_noise_has_its_standard_deviation_and_is_fresh(noise):
    options = {"figures": 0, "seed": 1}
    background = ProceduralClip(96, 128, noise=0.0, **options).frame(0) / 255
    frames = ProceduralClip(96, 128, noise=noise, **options).frames(8) / 255
    inside = (background > 0.15) & (background < 0.85)  # away from clipping
    errors = (frames - background)[:, inside]
    np.testing.assert_allclose(errors.std(), noise, rtol=0.02)
    np.testing.assert_allclose(errors.mean(), 0, atol=noise / 50)
    correlation = np.corrcoef(errors) - np.eye(8)
    assert np.abs(correlation).max() < 0.05


def test_background_has_texture_at_every_scale(clean):
    grey = ProceduralClip(96, 160, figures=0, noise=0.0).frame(0).mean(axis=-1)
    differences = np.abs(np.diff(grey, axis=1))
    assert (differences > 0).mean() > 0.7, "smooth areas"
    assert (differences > 40).mean() > 0.005, "no hard edges"


def test_joints_lie_on_the_figures(clean):
    for number in range(0, 100, 20):
        joints = clean.joints(number)
        assert joints.shape == (3, len(JOINT_NAMES), 2)
        assert joints.dtype == np.float32
        columns, rows = np.rint(joints).astype(int).transpose(2, 0, 1)
        inside = (rows >= 0) & (rows < 96) & (columns >= 0) & (columns < 160)
        assert inside.mean() > 0.9
        assert clean.foreground(number)[rows[inside], columns[inside]].all()


def test_figures_stay_in_view_and_walk(clean):
    joints = np.stack([clean.joints(number) for number in range(400)])
    hips = joints[:, :, HIPS].mean(axis=2)
    assert (hips >= 0).all()
    assert (hips < (160, 96)).all()
    assert (np.ptp(hips[..., 0], axis=0) > 80).all(), "a figure does not cross the picture"
    stride = joints[:, :, ANKLES, 0]
    passes = np.sign(stride[..., 0] - stride[..., 1])
    assert ((np.diff(passes, axis=0) != 0).sum(axis=0) > 40).all(), "the legs do not alternate"


def test_figures_stand_on_the_ground(clean):
    lowest = np.stack([clean.joints(number)[:, ANKLES, 1].max(axis=1) for number in range(100)])
    assert (np.ptp(lowest, axis=0) < 1e-3).all()
    assert np.unique(lowest[0]).size == 3, "no two figures stand at one depth"


def test_figures_come_in_order_of_depth():
    clip = ProceduralClip(96, 160, noise=0.0, seed=2)
    for number in range(200):
        joints = clip.joints(number)
        lowest = joints[:, :, 1].max(axis=1)
        assert (np.diff(lowest) > 0).all()


def test_fps_sets_the_speed():
    slow, fast = ProceduralClip(48, 64, fps=20.0), ProceduralClip(48, 64, fps=10.0)
    np.testing.assert_allclose(slow.joints(10), fast.joints(5))


def test_batches_look_like_those_of_the_reader():
    clip = ProceduralClip(24, 32, seed=5)
    batches = list(clip.batches(10, batch_frames=4, streams=2))
    assert [batch.frames.shape for batch in batches] == [(t, 2, 24, 32, 3) for t in (4, 4, 2)]
    assert all(
        batch.present.all() and batch.present.shape == (len(batch.frames), 2) for batch in batches
    )
    frames = np.concatenate([batch.frames for batch in batches])
    np.testing.assert_array_equal(frames[:, 0], clip.frames(10))
    np.testing.assert_array_equal(frames[:, 1], ProceduralClip(24, 32, seed=6).frames(10))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 90), (90, 2), (17, 23)])
def test_any_size(height, width):
    clip = ProceduralClip(height, width)
    assert clip.frames(3).shape == (3, height, width, 3)
    assert clip.foreground(2).shape == (height, width)
    assert np.isfinite(clip.joints(2)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 0}, "height and width must be positive, got 0 and 8"),
        ({"figures": -1}, "figures and seed must be at least 0, got -1 and 0"),
        ({"seed": -2}, "figures and seed must be at least 0, got 3 and -2"),
        ({"noise": -0.1}, r"noise must be in \[0, 1\], got -0.1"),
        ({"noise": float("nan")}, r"noise must be in \[0, 1\], got nan"),
        ({"fps": 0.0}, r"fps must be positive, got 0\.0"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        ProceduralClip(**{"height": 8, "width": 8, **options})


def test_numbers_out_of_range(clean):
    with pytest.raises(ValueError, match="numbered from 0, got -1"):
        clean.frame(-1)
    with pytest.raises(ValueError, match="at least 1, got 16 and 0"):
        next(clean.batches(4, streams=0))
