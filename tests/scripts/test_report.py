"""scripts/report.py: the page, its numbers, and its errors."""

import base64
import csv
import html
import html.parser
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import report
from matplotlib import image

SMALL = ["--model", "simple_cnn", "--size", "32x48", "--batch-frames", "4"]
EMPTY = {"br", "img", "meta", "link", "input", "hr"}
"""Elements that have no end."""


class Page(html.parser.HTMLParser):
    """Checks that elements end in the order in which they begin, and collects what they name."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in EMPTY:
            self.open.append(tag)
        for key, value in attrs:
            assert value is not None or key in ("controls", "muted", "loop")
            if key == "id":
                self.ids.append(str(value))
            if key in ("src", "href", "poster"):
                self.sources.append(str(value))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With a report on ten frames, its curve on six of them."""
    folder = tmp_path_factory.mktemp("report") / "new"
    arguments = ["--max-frames", "10", "--curve-frames", "6", "--scales", "0", "1"]
    thresholds = ["--input-threshold", "0.1", "--threshold", "0.05"]
    assert report.main([*SMALL, *arguments, *thresholds, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def text(folder) -> str:
    return (folder / "index.html").read_text()


def test_well_formed_and_complete(text):
    page = Page(text)
    assert not page.open
    assert page.ids == ["video", "time", "layers", "heatmaps", "curve", "command"]


def test_self_contained(text):
    sources = Page(text).sources
    assert len(sources) >= 5
    assert all(source.startswith("data:") for source in sources)
    assert not re.search(r"url\(|@import|<script|<link", text)


def test_pictures_and_video(text, folder):
    for source in Page(text).sources:
        kind, contents = source.removeprefix("data:").split(";base64,")
        data = base64.b64decode(contents)
        match kind:
            case "image/svg+xml":
                assert b"<svg" in data
            case "image/png":
                assert image.imread(io.BytesIO(data)).shape[:2] == (32, 48)
            case _:
                assert kind == "video/mp4"
                assert data == (folder / "video.mp4").read_bytes()


def test_numbers_are_those_of_the_json(text, folder):
    contents = json.loads((folder / "report.json").read_text())
    assert contents["frames"] == 10
    assert len(contents["errors_of_frames"]) == 10
    inspection = contents["inspection"]
    assert inspection["frames"] == 9
    assert 0 < inspection["multiplications_share"] < 1
    # The first frame counts in the totals of the run only.
    done = np.array(inspection["multiplications_share_of_frames"])
    assert done[0] == 1
    assert 1 - contents["multiplications_saved"] == pytest.approx(done.mean())
    assert inspection["multiplications_share"] == pytest.approx(done[1:].mean())
    for value in (f"{contents['multiplications_saved']:.1%}", f"{contents['update_rate']:.1%}"):
        assert value in text
    cells = Page(text).cells
    for point in inspection["update_points"]:
        assert point["name"] in cells
        assert f"{point['active']:.1%}" in cells
    with (folder / "inspection.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [p["name"] for p in inspection["update_points"]]


def test_curve(folder):
    exact, usual = json.loads((folder / "report.json").read_text())["curve"]
    assert (exact["scale"], usual["scale"]) == (0, 1)
    assert exact["relative_error"] < 1e-5 < usual["relative_error"]
    assert usual["multiplications_share"] < exact["multiplications_share"]


def test_chosen_heatmaps_and_no_curve(tmp_path):
    """Of layers that are named; a clip too short for a curve has none."""
    options = ["--max-frames", "3", "--heatmaps", "conv2", "--out", str(tmp_path)]
    assert report.main([*SMALL, *options]) == 0
    text = (tmp_path / "index.html").read_text()
    assert "Where conv2 is computed" in text
    assert "Where sparsify is computed" not in text
    assert Page(text).ids == ["video", "time", "layers", "heatmaps", "command"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4"], "nowhere.mp4"),
        (["--heatmaps", "stem"], "no update point is called ['stem']; there are sparsify, conv1"),
        (["--max-frames", "1"], "no frame is left to be counted"),
        (["--curve-frames", "2"], "--curve-frames must be at least 4"),
        (["--scales", "-1"], "--scales must be zero or positive"),
    ],
)
def test_bad_input(arguments, message, capsys, tmp_path):
    assert report.main([*SMALL, *arguments, "--out", str(tmp_path)]) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "index.html").exists()


def test_video_can_be_decoded(text):
    """In the form that browsers play: H.264 with 4:2:0 chroma."""
    (source,) = (each for each in Page(text).sources if each.startswith("data:video/mp4"))
    data = base64.b64decode(source.partition(",")[2])
    with av.open(io.BytesIO(data), "r") as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
    assert len(frames) == 10
    assert all(np.ptp(frame) > 50 for frame in frames)


PROBE = """<script>
const broken = [];
const fail = (event) => broken.push(event.target.tagName ?? event.message);
window.addEventListener("error", fail, true);
window.addEventListener("load", () => setTimeout(() => {
    const images = [...document.images].map((image) => image.naturalWidth);
    const videos = [...document.querySelectorAll("video")].map((video) => [
        video.videoWidth, video.duration, video.error ? video.error.code : 0]);
    document.documentElement.dataset.seen = JSON.stringify({broken, images, videos});
}, 1500));
</script>"""
"""What a page says of itself in an attribute, a while after it was loaded."""


def opened(browser: str, page: Path, profile: Path) -> tuple[str, str, dict[str, list]]:
    """The page as the browser has it in the end, what it logged, and what was loaded."""
    probed = profile / "probed.html"
    probed.write_text(page.read_text().replace("<head>", f"<head>{PROBE}", 1))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    more = ["--enable-logging=stderr", "--timeout=6000", "--virtual-time-budget=4000"]
    done = subprocess.run(
        [browser, *options, *more, "--dump-dom", str(probed)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, "the page did not come to its end"
    return done.stdout, done.stderr, json.loads(html.unescape(seen[1]))


@pytest.fixture
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    return found


def test_opens_in_a_browser_without_an_error(browser, folder, tmp_path):
    dom, log, seen = opened(browser, folder / "index.html", tmp_path)
    assert "Speed against error" in dom
    assert "CONSOLE" not in log
    assert seen["broken"] == []
    assert len(seen["images"]) >= 5
    assert min(seen["images"]) > 0
    ((width, duration, error),) = seen["videos"]
    assert (width > 0, duration > 0, error) == (True, True, 0)


def test_the_browser_notices_what_is_broken(browser, folder, tmp_path):
    """A video that is none, a picture that is not there: the test above would fail."""
    page = tmp_path / "broken.html"
    text = (folder / "index.html").read_text()
    text = re.sub(r"data:video/mp4;base64,.{100}", "data:video/mp4;base64," + "A" * 100, text)
    page.write_text(re.sub(r'src="data:image/png[^"]*"', 'src="nowhere.png"', text, count=1))
    _, _, seen = opened(browser, page, tmp_path)
    assert sorted(seen["broken"]) == ["IMG", "VIDEO"]
    assert 0 in seen["images"]
    assert seen["videos"][0][2] > 0
