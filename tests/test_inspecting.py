"""What an inspection says of a network and a clip, counted by hand."""

import csv
import functools
import io
import json
from typing import Any

import numpy as np
import pytest
from flax import linen as nn
from rich.console import Console

import deltajax as dj
from deltajax.ops.update import Implementation
from tests.helpers import random_variables

HEIGHT, WIDTH = 8, 12


class Network(nn.Module):
    """Two convolutions; behind the second nothing passes but large changes."""

    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, x):
        shared: Any = {"implementation": self.implementation}
        x = dj.Sparsify(name="entry", **shared)(x)
        x = dj.Conv(4, 3, name="wide", **shared)(x)
        x = dj.Conv(5, 1, threshold=1e6, name="narrow", **shared)(x)
        return dj.Densify()(x)


def clip(streams: int = 1) -> np.ndarray:
    """float32 [4, N, 8, 12, 3]: nothing, then one pixel changes, then nothing, then two do."""
    frames = np.zeros((4, streams, HEIGHT, WIDTH, 3), np.float32)
    frames[1:, :, 3, 4] = 1.0
    # In a corner, where a 3 x 3 convolution reaches four pixels, and in the middle.
    frames[3:, :, 0, 0] = 2.0
    frames[3:, :, 5, 8] = 2.0
    return frames


@functools.cache
def variables():
    return random_variables(Network(), clip()[0])


def inspected(implementation: Implementation = "xla", frames=None, **options) -> dj.Inspection:
    frames = clip() if frames is None else frames
    return dj.inspect(Network(implementation), variables(), frames, **options)


@pytest.fixture(scope="module")
def inspection() -> dj.Inspection:
    return inspected(heatmaps=("entry", "wide"))


def test_counted_by_hand(inspection):
    """Frames 1 to 3 count: 1, 0 and 2 pixels change, of which 9, 0 and 4 + 9 are computed."""
    entry, wide, narrow = inspection.points
    pixels = HEIGHT * WIDTH
    assert inspection.frames == 3
    assert [each.name for each in inspection.points] == ["entry", "wide", "narrow"]
    assert [each.layer for each in inspection.points] == ["Sparsify", "Conv", "Conv"]
    assert [each.shape for each in inspection.points] == [(1, 8, 12, c) for c in (3, 4, 5)]
    assert [each.threshold for each in inspection.points] == [0, 0, 1e6]

    assert entry.active == pytest.approx(3 / 3 / pixels)
    assert wide.active == pytest.approx(22 / 3 / pixels)
    assert wide.updated == pytest.approx(22 / 3 / pixels)
    assert wide.active_p95 == pytest.approx(np.percentile([9, 0, 13], 95) / pixels)
    assert wide.truncated_pixels == 0
    assert wide.dense_multiplications == pixels * 9 * 3 * 4
    assert wide.multiplications == pytest.approx(22 / 3 * 9 * 3 * 4)
    assert wide.state_bytes == pixels * 4 * 4

    assert narrow.active == pytest.approx(22 / 3 / pixels)
    assert narrow.updated == 0
    assert narrow.truncated_pixels == pytest.approx(22 / 3)
    assert narrow.multiplications == pytest.approx(22 / 3 * 4 * 5)
    # Both masks, the weights; of each pixel computed four channels in, and five that are compared.
    assert narrow.bytes == pytest.approx(2 * pixels + 4 * 5 * 4 + 22 / 3 * (4 * 4 + 5 * 4))

    dense = pixels * (9 * 3 * 4 + 4 * 5)
    done = np.array([[dense], [9 * 128], [0], [13 * 128]])
    np.testing.assert_allclose(inspection.multiplications_share, done / dense)
    np.testing.assert_allclose(
        inspection.update_rate, np.array([[3 * 96], [1 + 9], [0], [2 + 13]]) / (3 * 96)
    )
    assert inspection.totals.multiplications_share == pytest.approx(22 * 128 / 3 / dense)


def test_heatmaps(inspection):
    expected = np.zeros((HEIGHT, WIDTH))
    expected[3, 4] = expected[0, 0] = expected[5, 8] = 1 / 3
    np.testing.assert_allclose(inspection.heatmaps["entry"], expected)
    wide = np.zeros((HEIGHT, WIDTH))
    wide[2:5, 3:6] += 1 / 3
    wide[:2, :2] += 1 / 3
    wide[4:7, 7:10] += 1 / 3
    np.testing.assert_allclose(inspection.heatmaps["wide"], wide)
    assert set(inspection.heatmaps) == {"entry", "wide"}


@pytest.mark.parametrize("implementation", ["dense", "triton"])
def test_equal_over_implementations(inspection, implementation):
    other = inspected(implementation, heatmaps=("entry", "wide"))
    assert other.to_dict() == inspection.to_dict()
    for name, heat in inspection.heatmaps.items():
        np.testing.assert_array_equal(other.heatmaps[name], heat)


def test_batches_change_nothing(inspection):
    other = inspected(heatmaps=("wide",), batch_frames=3)
    assert other.to_dict() == inspection.to_dict()
    np.testing.assert_array_equal(other.heatmaps["wide"], inspection.heatmaps["wide"])


def test_streams_and_frames_that_are_not_there():
    """The second stream begins a step later: its first frame is not counted either."""
    frames = clip(streams=2)
    present = np.ones((4, 2), bool)
    present[0, 1] = False
    told = []
    found = inspected(frames=frames, present=present, progress=told.append, heatmaps=("entry",))
    assert sum(told) == 4
    assert found.frames == 3 + 2
    # Of the second stream, the frame with one pixel was its first.
    assert found.points[1].active == pytest.approx((9 + 0 + 13 + 0 + 13) / 5 / (HEIGHT * WIDTH))
    assert found.heatmaps["entry"][3, 4] == pytest.approx(1 / 5)
    assert found.heatmaps["entry"][0, 0] == pytest.approx(2 / 5)
    assert found.multiplications_share[:, 1] == pytest.approx([0, 1, 0, 13 / 96])


def test_thresholds_of_the_collection_are_in_use():
    thresholds = dj.Thresholds("net", {"entry": 1.5}, {"wide": 0.0, "narrow": 0.25}, {"entry": 1})
    collection = thresholds.collection(Network(), variables(), clip()[0])
    found = dj.inspect(Network(), {**variables(), "thresholds": collection}, clip())
    assert [each.threshold for each in found.points] == [1.5, 0.0, 0.25]
    # The steps of one are not seen, those of two are.
    assert found.points[0].active == pytest.approx(2 / 3 / (HEIGHT * WIDTH))


def test_forms(inspection, tmp_path):
    contents = json.loads(json.dumps(inspection.to_dict()))
    assert contents["frames"] == 3
    assert contents["update_points"][1]["multiplications"] == inspection.points[1].multiplications
    assert contents["state_bytes"] == HEIGHT * WIDTH * 4 * (3 + 4 + 5)

    inspection.write_csv(tmp_path / "points.csv")
    with (tmp_path / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["entry", "wide", "narrow"]
    assert rows[1]["shape"] == "1x8x12x4"
    assert float(rows[1]["active"]) == inspection.points[1].active

    text = io.StringIO()
    Console(file=text, width=160).print(inspection.table())
    for expected in ("wide", "8×12×4", "7.6%", "1e+06", "3 frames"):
        assert expected in text.getvalue()
    # All multiplications and bytes of the layers together, in millions.
    sums = next(line for line in text.getvalue().splitlines() if line.split()[1:2] == ["all"])
    dense = HEIGHT * WIDTH * (9 * 3 * 4 + 4 * 5) / 1e6
    done = 22 / 3 * 128 / 1e6
    moved = sum(point.bytes for point in inspection.points) / 1e6
    cells = [cell.strip() for cell in sums.strip("│").split("│")]
    # Of 3 x 96 pixels those of the entry and of the first convolution are sent on.
    assert cells == [
        "all", "", "", "", "", "", f"{(3 + 22) / 3 / (3 * 96):.1%}", "", f"{dense:.1f}",
        f"{done:.1f}", f"{moved:.1f}", f"{contents['state_bytes'] / 1e6:.1f}",
    ]  # fmt: skip


def test_bad_input():
    with pytest.raises(ValueError, match=r"no update point is called \['stem'\]; there are entry"):
        inspected(heatmaps=("stem",))
    with pytest.raises(ValueError, match="no frame is left to be counted: the first 4"):
        inspected(skip=4)
    with pytest.raises(ValueError, match="skip is -1"):
        inspected(skip=-1)
    with pytest.raises(ValueError, match=r"frames have shape \(1, 8, 12, 3\)"):
        inspected(frames=clip()[0])
