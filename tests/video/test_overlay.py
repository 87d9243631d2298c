import av
import numpy as np
import pytest

from deltajax.video import (
    OverlayWriter,
    ProceduralClip,
    VideoReader,
    draw_text,
    heat_overlay,
    heatmap_overlay,
    side_by_side,
    tile,
)


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return ProceduralClip(48, 64).frame(0)


def saturation(picture: np.ndarray) -> np.ndarray:
    """Largest less smallest channel, [H, W]."""
    return np.ptp(picture.astype(int), axis=-1)


def test_heat_colours_its_pixels_and_no_other(frame):
    mask = np.zeros((48, 64), bool)
    mask[10:20, 30:50] = True
    plain, heated = heat_overlay(frame, np.zeros((48, 64))), heat_overlay(frame, mask)
    np.testing.assert_array_equal(heated[~mask], plain[~mask])
    distance = np.abs(heated.astype(int) - plain).max(axis=-1)
    assert distance[mask].min() > 60
    assert saturation(heated)[mask].min() > 2 * saturation(plain).mean()


def test_frame_stays_readable_under_the_overlay(frame):
    plain, heated = heat_overlay(frame, np.zeros((1, 1))), heat_overlay(frame, np.ones((1, 1)))
    for picture in (plain, heated):
        correlation = np.corrcoef(frame.mean(axis=-1).ravel(), picture.mean(axis=-1).ravel())
        assert correlation[0, 1] > 0.95
    assert plain.std() > 0.7 * frame.std()


def test_heat_is_stretched_in_blocks(frame):
    heat = np.array([[0.0, 1.0, 0.0], [0.5, 0.0, 0.0]])
    changed = (heat_overlay(frame, heat) != heat_overlay(frame, 0 * heat)).any(axis=-1)
    rows, columns = np.arange(48) * 2 // 48, np.arange(64) * 3 // 64
    np.testing.assert_array_equal(changed, (heat > 0)[rows[:, None], columns])


def test_heat_orders_by_lightness_and_shows_the_smallest():
    black = np.zeros((1, 64, 3), np.uint8)
    picture = heat_overlay(black, np.linspace(0, 1, 64)[None]).astype(float)
    lightness = picture[0] @ (0.299, 0.587, 0.114)
    assert (np.diff(lightness) >= -0.5).all()
    assert lightness[1] > lightness[0] + 5
    tiny = heat_overlay(black, np.full((1, 1), 1e-6))
    assert (tiny != heat_overlay(black, np.zeros((1, 1)))).any()


def test_heat_out_of_range_is_clipped(frame):
    values = np.array([[np.nan, -1.0, 5.0, np.inf]])
    bounded = np.array([[0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(heat_overlay(frame, values), heat_overlay(frame, bounded))


def peaks(positions: list[tuple[int, int]], height: int = 24, width: int = 32) -> np.ndarray:
    """One map for each (row, column), [h, w, K], a Gaussian of height 1 there."""
    rows, columns = np.mgrid[:height, :width]
    maps = [np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / 4) for r, c in positions]
    return np.stack(maps, axis=-1)


def test_heatmaps_show_at_their_peaks_in_distinct_hues(frame):
    positions = [(6, 8), (6, 24), (18, 8), (18, 24)]
    grey = np.full_like(frame, 128)
    picture = heatmap_overlay(grey, peaks(positions))
    colours = np.array([picture[2 * r + 1, 2 * c + 1] for r, c in positions], int)
    assert (np.ptp(colours, axis=1) > 150).all()
    between = np.abs(colours[:, None] - colours).max(axis=-1)[~np.eye(4, dtype=bool)]
    assert between.min() > 80
    assert saturation(picture)[24, 32] < 10, "colour where no joint is"


def test_heatmaps_are_normalised_by_most_joints(frame):
    maps = peaks([(6, 8), (6, 24), (18, 8), (18, 24), (12, 16)])
    outlier = maps.copy()
    outlier[..., 4] *= 100
    np.testing.assert_array_equal(heatmap_overlay(frame, 50 * maps), heatmap_overlay(frame, maps))
    difference = np.abs(heatmap_overlay(frame, outlier).astype(int) - heatmap_overlay(frame, maps))
    assert difference[:10].max() < 5
    fixed = heatmap_overlay(frame, maps, peak=100.0)
    assert saturation(fixed).max() < saturation(heatmap_overlay(frame, maps)).max() / 2


def test_heatmaps_without_any_peak(frame):
    plain = heat_overlay(frame, np.zeros((1, 1)))
    for value in (0.0, np.nan, -1.0):
        picture = heatmap_overlay(frame, np.full((24, 32, 17), value))
        np.testing.assert_array_equal(picture, plain)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: heat_overlay(f, np.zeros(3)), r"heat must be \[h, w\], got shape \(3,\)"),
        (lambda f: heat_overlay(f, np.zeros((2, 2)), 2.0), r"alpha must be in \[0, 1\], got 2"),
        (lambda f: heat_overlay(f / 255, np.zeros((2, 2))), r"frame must be uint8 .* float64"),
        (lambda f: heat_overlay(f[..., 0], np.zeros((2, 2))), r"frame must be uint8 \[H, W, 3\]"),
        (lambda f: heatmap_overlay(f, np.zeros((2, 2))), r"heatmaps must be \[h, w, joints\]"),
        (
            lambda f: heatmap_overlay(f, np.ones((2, 2, 1)), peak=0.0),
            r"peak must be positive, got 0\.0",
        ),
        (lambda f: draw_text(f, "a", scale=0), "scale must be at least 1"),
        (lambda f: tile([]), "at least one picture"),
        (lambda f: tile([f, f[:9]]), r"one size, got \(48, 64, 3\) and \(9, 64, 3\)"),
        (lambda f: tile([f], columns=0), "columns must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(frame, call, message):
    with pytest.raises(ValueError, match=message):
        call(frame)


def test_every_character_has_its_own_glyph():
    blank = np.zeros((9, 7, 3), np.uint8)
    drawn = {chr(c): draw_text(blank, chr(c), scale=1).tobytes() for c in range(32, 127)}
    assert len(set(drawn.values())) == 95
    assert drawn[" "] == blank.tobytes()
    assert draw_text(blank, "é", scale=1).tobytes() == drawn["?"]


def test_text_shape_and_scale():
    blank = np.zeros((9, 8, 3), np.uint8)
    letter = draw_text(blank, "T", scale=1)[..., 0] > 0
    expected = np.zeros((9, 8), bool)
    expected[1, 1:6] = expected[1:8, 3] = True
    np.testing.assert_array_equal(letter, expected)
    large = draw_text(np.zeros((27, 24, 3), np.uint8), "T", scale=3)[..., 0] > 0
    np.testing.assert_array_equal(large, expected.repeat(3, axis=0).repeat(3, axis=1))


def test_text_leaves_the_rest_and_its_argument_alone(frame):
    original = frame.copy()
    picture = draw_text(
        frame, ["ab", "cd"], position=(10, 20), scale=1, colour=(255, 0, 0), background=(0, 0, 9)
    )
    np.testing.assert_array_equal(frame, original)
    box = np.zeros((48, 64), bool)
    box[10:28, 20:34] = True
    np.testing.assert_array_equal(picture[~box], frame[~box])
    assert {tuple(int(v) for v in c) for c in picture[box]} == {(255, 0, 0), (0, 0, 9)}
    unboxed = draw_text(frame, "ab", background=None, scale=1)
    assert 0.03 < (unboxed != frame).any(axis=-1)[:9, :14].mean() < 0.6


def test_text_is_cut_off_at_the_edges(frame):
    lines = ["a very long line that does not fit"] * 20
    assert draw_text(frame, lines, position=(5, 5), scale=2).shape == frame.shape
    np.testing.assert_array_equal(draw_text(frame, "out", position=(500, 500)), frame)
    np.testing.assert_array_equal(draw_text(frame, []), frame)


def test_side_by_side(frame):
    right = 255 - frame[:40, :50]
    plain = side_by_side(frame, right)
    assert plain.shape == (48, 64 + 2 + 50, 3)
    np.testing.assert_array_equal(plain[:, :64], frame)
    np.testing.assert_array_equal(plain[:40, 66:], right)
    assert not plain[40:, 66:].any()
    titled = side_by_side(frame, right, ("left", "right"))
    np.testing.assert_array_equal(titled[9:], plain)
    assert titled[:9, :64].any()
    assert titled[:9, 66:].any()


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (2, 1, 2), (4, 2, 2), (5, 2, 3)])
def test_tile(count, rows, columns):
    pictures = [np.full((8, 8, 3), 10 + n, np.uint8) for n in range(count)]
    grid = tile(pictures)
    assert grid.shape == (rows * 8, columns * 8, 3)
    places = grid.reshape(rows, 8, columns, 8, 3)[:, 0, :, 0, 0].ravel()
    assert places.tolist() == [10 + n for n in range(count)] + [0] * (rows * columns - count)
    assert tile(pictures, columns=1).shape == (count * 8, 8, 3)


def read(path) -> np.ndarray:
    with VideoReader(path) as reader:
        return np.concatenate([batch.frames for batch in reader])[:, 0]


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63)])
def test_writer_round_trip(tmp_path, height, width):
    pictures = ProceduralClip(height, width, noise=0.0).frames(25)
    path = tmp_path / "overlay.mp4"
    with OverlayWriter(path, fps=12.5, crf=5) as writer:
        for picture in pictures:
            writer.write(picture)
    with VideoReader(path) as reader:
        assert (reader.height, reader.width) == (48, 64)
        assert (reader.fps, reader.frame_count) == (12.5, 25)
    frames = read(path)[:, :height, :width].astype(int)
    # The chroma has half the resolution; the lightness must survive.
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs(frames @ luma - pictures @ luma).mean() < 3
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_crf_trades_size_for_quality(tmp_path):
    pictures = ProceduralClip(96, 128).frames(10)
    for crf in (10, 40):
        with OverlayWriter(tmp_path / f"{crf}.mp4", fps=10.0, crf=crf) as writer:
            for picture in pictures:
                writer.write(picture)
    assert (tmp_path / "10.mp4").stat().st_size > 2 * (tmp_path / "40.mp4").stat().st_size


def test_interrupted_file_plays(tmp_path):
    path = tmp_path / "overlay.mp4"
    pictures = ProceduralClip(48, 64).frames(60)
    with OverlayWriter(path, fps=10.0) as writer:
        for picture in pictures:
            writer.write(picture)
        interrupted = tmp_path / "interrupted.mp4"
        interrupted.write_bytes(path.read_bytes())
    assert len(read(path)) == 60
    assert 20 <= len(read(interrupted)) < 60


def test_error_inside_the_block_keeps_what_was_written(tmp_path):
    path = tmp_path / "overlay.mp4"
    with pytest.raises(KeyError), OverlayWriter(path, fps=10.0) as writer:  # noqa: PT012
        for picture in ProceduralClip(48, 64).frames(7):
            writer.write(picture)
        raise KeyError
    assert len(read(path)) == 7


def test_without_x264(tmp_path, monkeypatch):
    path = tmp_path / "overlay.mp4"
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    with OverlayWriter(path, fps=10.0) as writer:
        for picture in ProceduralClip(48, 64).frames(5):
            writer.write(picture)
    assert len(read(path)) == 5
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"


def test_writer_without_pictures_makes_no_file(tmp_path):
    with OverlayWriter(tmp_path / "overlay.mp4", fps=10.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_writer_errors(tmp_path, frame):
    path = tmp_path / "overlay.mp4"
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        OverlayWriter(tmp_path / "nowhere" / "overlay.mp4", fps=10.0)
    with pytest.raises(ValueError, match=r"fps must be positive, got 0\.0"):
        OverlayWriter(path, fps=0.0)
    with pytest.raises(ValueError, match=r"crf must be in 0\.\.51, got 60"):
        OverlayWriter(path, fps=10.0, crf=60)
    with OverlayWriter(path, fps=10.0) as writer:
        writer.write(frame)
        with pytest.raises(ValueError, match=r"\(48, 64, 3\), got \(40, 64, 3\)"):
            writer.write(frame[:40])
        with pytest.raises(ValueError, match=r"must be uint8 .* got float64"):
            writer.write(frame / 255)
    with pytest.raises(ValueError, match=r"overlay\.mp4 is closed"):
        writer.write(frame)
