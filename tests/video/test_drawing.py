import numpy as np
import pytest

from deltajax.video import ProceduralClip, heat_overlay, mask_overlay, skeleton_overlay

GREY = np.full((48, 64, 3), 128, np.uint8)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return ProceduralClip(48, 64).frame(0)


def changed(picture: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Pixels of another colour, bool [H, W]."""
    return (picture != frame).any(axis=-1)


def is_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == np.array(colour)).all(axis=-1)


def test_mask_keeps_and_tints_what_is_selected(frame):
    ones = np.ones((3, 5))
    np.testing.assert_array_equal(mask_overlay(frame, ones, alpha=0.0), frame)
    half = mask_overlay(frame, ones, RED, alpha=0.5)
    np.testing.assert_allclose(half, 0.5 * frame + 0.5 * np.array(RED), atol=0.51)


def test_mask_darkens_the_rest(frame):
    rest = mask_overlay(frame, np.zeros((1, 1)))
    plain = heat_overlay(frame, np.zeros((1, 1)))
    np.testing.assert_allclose(rest, 0.6 * plain, atol=1)
    correlation = np.corrcoef(frame.mean(axis=-1).ravel(), rest.mean(axis=-1).ravel())
    assert correlation[0, 1] > 0.95


def test_mask_has_an_outline(frame):
    selected = np.zeros((48, 64), bool)
    selected[10:30, 20:50] = True
    picture = mask_overlay(frame, selected, GREEN, alpha=0.0)
    plain = np.where(selected[..., None], frame, mask_overlay(frame, np.zeros((1, 1))))
    # The line is 1.5 pixels wide, half of it on each side of the edge between two pixels.
    line = np.zeros((48, 64), bool)
    line[9:31, 19:51] = True
    line[11:29, 21:49] = False
    np.testing.assert_array_equal(picture[~line], plain[~line])
    line[[9, 10, 29, 30], 19:22] = line[[9, 10, 29, 30], 48:51] = False  # rounded
    expected = 0.75 * np.array(GREEN) + 0.25 * plain
    np.testing.assert_allclose(picture[line], expected[line], atol=1)


def test_mask_outline_runs_along_one_half():
    """A ramp from 0 to 1 over the width crosses 0.5 in the middle, whatever its size."""
    frame = np.full((256, 256, 3), 128, np.uint8)
    for width in (2, 64, 256, 300):
        picture = mask_overlay(frame, np.linspace(0, 1, width)[None], RED)
        # 2 pixels wide, centred between the pixels 127 and 128.
        for row in (0, 100, 255):
            assert np.flatnonzero(is_colour(picture, RED)[row]).tolist() == [127, 128]


def test_mask_outline_is_wider_in_larger_pictures():
    probability = np.array([[0.0, 0.0, 1.0, 1.0]])
    widths = []
    for size in (128, 512, 1024):
        picture = mask_overlay(np.full((size, size, 3), 128, np.uint8), probability, RED)
        widths.append(int(is_colour(picture, RED)[size // 2].sum()))
    assert widths == [0, 4, 8], "a line of 1.5 pixels covers no pixel in full"


def test_mask_out_of_range_is_clipped(frame):
    values = np.array([[np.nan, -1.0, 5.0, np.inf]])
    bounded = np.array([[0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(mask_overlay(frame, values), mask_overlay(frame, bounded))
    flat = mask_overlay(frame, np.full((2, 2), 0.5), RED)
    assert not is_colour(flat, RED).any(), "an outline where nothing is crossed"


def test_line_and_dots_are_exact():
    points = np.array([[10.0, 20.0], [50.0, 20.0]])
    picture = skeleton_overlay(GREY, points, [(0, 1)], colours=(RED, GREEN, BLUE), line_width=3.0)
    # The line covers what is less than 2 pixels from its middle, the rim what is less than 3.
    column = picture[:, 30].tolist()
    assert column[19:22] == [list(GREEN)] * 3
    assert column[18] == column[22] == [51] * 3, "the rim takes 0.6 of the light"
    assert column[:18] == [[128] * 3] * 18
    assert column[23:] == [[128] * 3] * 25
    for x in (10, 50):
        assert picture[20, x].tolist() == [255] * 3
        assert picture[18, x].tolist() == list(GREEN)
        assert picture[17, x].tolist() == [26, 153, 26], "half dot, half rim"
    touched = changed(picture, GREY)
    rows, columns = np.nonzero(touched)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 24, 6, 54)


def test_lines_are_antialiased():
    black = np.zeros((48, 64, 3), np.uint8)
    points = np.array([[8.0, 8.0], [56.0, 29.0]])
    picture = skeleton_overlay(black, points, [(0, 1)], colours=(RED, GREEN, BLUE), line_width=3.0)
    assert len(np.unique(picture[..., 1])) > 20
    # The sum over a column is the length of the cut through the line.
    across = 3 / np.cos(np.arctan2(21, 48))
    np.testing.assert_allclose(picture[:, 16:48, 1].sum(axis=0) / 255, across, atol=0.1)


def test_sides_have_their_own_colours():
    points = np.array([[32, 6], [10, 24], [54, 24], [10, 42], [54, 42]], float)
    edges = [(0, 1), (0, 2), (1, 3), (2, 4), (3, 4)]
    options = {"colours": (RED, GREEN, BLUE), "line_width": 3.0}
    picture = skeleton_overlay(GREY, points, edges, sides=[0, -1, 1, -1, 1], **options)
    assert picture[15, 21].tolist() == list(RED), "from the middle to the left"
    assert picture[15, 43].tolist() == list(BLUE), "from the middle to the right"
    assert picture[33, 10].tolist() == list(RED)
    assert picture[33, 54].tolist() == list(BLUE)
    assert picture[42, 32].tolist() == list(GREEN), "from left to right"
    assert picture[3, 32].tolist() != picture[21, 10].tolist() != picture[21, 54].tolist()
    plain = skeleton_overlay(GREY, points, edges, **options)
    assert is_colour(plain, GREEN).any()
    assert not is_colour(plain, RED).any()
    assert not is_colour(plain, BLUE).any()
    default = skeleton_overlay(GREY, points, edges, sides=[0, -1, 1, -1, 1])
    hues = {tuple(default[y, x].tolist()) for x, y in ((10, 33), (54, 33), (32, 42))}
    assert len(hues) == 3


def test_hidden_points_take_their_lines_along():
    points = np.array([[10, 10], [50, 10], [50, 40]], float)
    edges = [(0, 1), (1, 2)]
    shown = skeleton_overlay(GREY, points, edges, np.array([True, True, False]))
    np.testing.assert_array_equal(shown, skeleton_overlay(GREY, points[:2], edges[:1]))
    for value in (np.nan, np.inf, -np.inf, 1e300):
        broken = points.copy()
        broken[2, 1] = value
        np.testing.assert_array_equal(skeleton_overlay(GREY, broken, edges), shown)
    for nothing in (np.zeros(3, bool), np.array([False, False, True])):
        alone = skeleton_overlay(GREY, points, edges, nothing)
        assert not changed(alone, GREY)[:35].any()
    assert not changed(skeleton_overlay(GREY, np.zeros((0, 2)), []), GREY).any()


def test_lines_are_cut_off_at_the_edges(frame):
    large = np.zeros((148, 164, 3), np.uint8)
    large[50:98, 50:114] = frame
    points = np.array([[-20, 10], [90, 40], [30, -30], [31, 70], [63, 47]], float)
    edges = [(0, 1), (2, 3), (4, 4), (0, 4)]
    picture = skeleton_overlay(frame, points, edges, line_width=2.0)
    whole = skeleton_overlay(large, points + 50, edges, line_width=2.0)
    np.testing.assert_array_equal(picture, whole[50:98, 50:114])
    assert changed(picture, frame).any()


def test_points_far_outside(frame):
    far = np.array([[-1e9, 20.0], [1e9, 20.0]])
    crossing = skeleton_overlay(GREY, far, [(0, 1)], line_width=3.0)
    assert changed(crossing, GREY).any(axis=1).nonzero()[0].tolist() == [18, 19, 20, 21, 22]
    np.testing.assert_array_equal(crossing, np.broadcast_to(crossing[:, :1], crossing.shape))
    for beyond in ([[-1000, 10], [10, -1000]], [[100, 5], [1e9, 5]], [[5, -9], [60, -8]]):
        np.testing.assert_array_equal(skeleton_overlay(frame, beyond, [(0, 1)]), frame)


def test_one_pixel_and_equal_points():
    for height, width in ((1, 1), (1, 9), (9, 1)):
        frame = np.full((height, width, 3), 7, np.uint8)
        points = np.zeros((2, 2))
        assert changed(skeleton_overlay(frame, points, [(0, 1), (1, 1)]), frame)[0, 0]
        assert mask_overlay(frame, np.eye(2)).shape == frame.shape


def test_arguments_are_left_alone(frame):
    original = frame.copy()
    probability = np.random.default_rng(0).normal(0.5, 1, (12, 16)).astype(np.float32)
    points = np.array([[5, 5], [np.nan, 5], [60, 40]])
    visible, sides = np.array([True, True, True]), np.array([-1.0, 0.0, 1.0])
    copies = [probability.copy(), points.copy(), visible.copy(), sides.copy()]
    mask_overlay(frame, probability)
    skeleton_overlay(frame, points, [(0, 1), (0, 2)], visible, sides=sides)
    np.testing.assert_array_equal(frame, original)
    for array, copy in zip((probability, points, visible, sides), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: mask_overlay(f / 255, np.ones((2, 2))), r"frame must be uint8 .* float64"),
        (lambda f: mask_overlay(f, np.ones(3)), r"probability must be \[h, w\], got shape \(3,\)"),
        (lambda f: mask_overlay(f, np.ones((0, 2))), r"probability must be \[h, w\], got shape"),
        (lambda f: mask_overlay(f, np.ones((2, 2)), alpha=1.5), r"alpha must be in \[0, 1\], got"),
        (lambda f: skeleton_overlay(f[0], np.ones((2, 2)), []), r"frame must be uint8 \[H, W, 3\]"),
        (lambda f: skeleton_overlay(f, np.ones((2, 3)), []), r"points must be \[joints, 2\], got"),
        (
            lambda f: skeleton_overlay(f, np.ones((2, 2)), [(0, 1), (1, 2)]),
            r"edges must be pairs of indices below 2, got \(1, 2\)",
        ),
        (lambda f: skeleton_overlay(f, np.ones((2, 2)), [(-1, 0)]), r"below 2, got \(-1, 0\)"),
        (
            lambda f: skeleton_overlay(f, np.ones((2, 2)), [], np.ones(3, bool)),
            r"visible must be bool \[2\], got bool with shape \(3,\)",
        ),
        (
            lambda f: skeleton_overlay(f, np.ones((2, 2)), [], np.array([0.2, 0.9])),
            r"visible must be bool \[2\], got float64",
        ),
        (
            lambda f: skeleton_overlay(f, np.ones((2, 2)), [], sides=[0, 2]),
            r"sides must be \[2\] of -1, 0 and 1, got \[0, 2\]",
        ),
        (lambda f: skeleton_overlay(f, np.ones((2, 2)), [], sides=[0]), r"sides must be \[2\] of"),
        (
            lambda f: skeleton_overlay(f, np.ones((2, 2)), [], line_width=0.0),
            r"line_width must be positive, got 0\.0",
        ),
    ],
)
def test_wrong_arguments(frame, call, message):
    with pytest.raises(ValueError, match=message):
        call(frame)
