"""Thresholds as a file: what is kept, how they fit a model, and what is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from tests.helpers import random_variables


class Network(nn.Module):
    dilation: int = 3

    @nn.compact
    def __call__(self, x):
        x = dj.Sparsify(dilation=self.dilation, name="entry")(x)
        x = dj.Conv(4, 3, name="first")(x)
        return dj.Densify()(Block(name="block")(x))


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return dj.Conv(2, 1, name="last")(x)


FRAME = np.zeros((1, 6, 8, 3), np.float32)
THRESHOLDS = dj.Thresholds(
    network="small",
    inputs={"entry": 0.1},
    points={"first": 1 / 3, "block/last": 0.0},
    dilations={"entry": 3},
    found={"clip": "a.mp4", "frames": [6, 1]},
)


@pytest.fixture(scope="module")
def variables():
    return random_variables(Network(), FRAME)


def test_read_back_exactly(tmp_path):
    path = tmp_path / "thresholds.json"
    THRESHOLDS.save(path)
    assert dj.Thresholds.load(path) == THRESHOLDS
    assert [each.name for each in tmp_path.iterdir()] == ["thresholds.json"]


def test_a_person_can_read_the_file(tmp_path):
    THRESHOLDS.save(tmp_path / "thresholds.json")
    contents = json.loads((tmp_path / "thresholds.json").read_text())
    assert contents == {
        "format": "deltajax thresholds 1",
        "network": "small",
        "threshold_norm": "max",
        "inputs": {"entry": {"threshold": 0.1, "dilation": 3}},
        "thresholds": {"first": 1 / 3, "block/last": 0.0},
        "found": {"clip": "a.mp4", "frames": [6, 1]},
    }


def test_each_layer_gets_its_own(variables):
    collection = THRESHOLDS.collection(Network(), variables, FRAME)
    assert collection == {
        "entry": {"threshold": jnp.float32(0.1)},
        "first": {"threshold": jnp.float32(1 / 3)},
        "block": {"last": {"threshold": jnp.float32(0)}},
    }
    # A step below the entry's threshold is not seen, one above it is.
    steps = {0.09: 0, 0.11: 48}
    for height, expected in steps.items():
        frames = np.stack([FRAME, FRAME + np.float32(height)])
        given = {**variables, "thresholds": collection}
        recorded = dj.scan_frames(Network(), given, frames, collect=("statistics",))[2]
        assert recorded["statistics"]["entry"]["updated"][1, 0] == expected


def test_scaled():
    twice = THRESHOLDS.scaled(2.0)
    assert twice.values == {"entry": 0.2, "first": 2 / 3, "block/last": 0.0}
    assert twice.dilations == {"entry": 3}
    for factor in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="scale of thresholds"):
            THRESHOLDS.scaled(factor)


def changed(**fields) -> dj.Thresholds:
    entries = {
        name: getattr(THRESHOLDS, name)
        for name in ("network", "inputs", "points", "dilations", "threshold_norm", "found")
    }
    return dj.Thresholds(**(entries | fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": {"first": 0.1, "block/last": 0.0, "second": 0.2}}, "no layer .*'second'"),
        ({"points": {"first": 0.1}}, "layer 'block/last' has no threshold"),
        ({"dilations": {"entry": 1}}, "'entry' has the dilation 3, but .* are for 1"),
        ({"threshold_norm": "l2"}, "'entry' has the norm 'max', but .* are for 'l2'"),
        (
            {"inputs": {"first": 0.1}, "dilations": {"first": 3}, "points": {"entry": 0.1}},
            "'entry' has the dilation 3, but .* for None.*'first' has the dilation None",
        ),
    ],
)
def test_thresholds_that_do_not_fit_name_the_layer(variables, fields, message):
    with pytest.raises(ValueError, match="thresholds of small do not fit this model: .*" + message):
        changed(**fields).collection(Network(), variables, FRAME)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": {"first": -0.1}}, "first: threshold is -0.1"),
        ({"inputs": {"entry": float("nan")}}, "entry: threshold is nan"),
        ({"dilations": {"entry": 2}}, "entry: dilation is 2; it must be odd"),
        ({"dilations": {}}, "dilations are of .*; they must be of the inputs, entry"),
        ({"threshold_norm": "l1"}, "threshold_norm is 'l1'"),
    ],
)
def test_wrong_values_name_the_key(fields, message):
    with pytest.raises(ValueError, match=message):
        changed(**fields)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "thresholds of something else", "this is no file of thresholds"),
        (("network",), None, "network is None; it must be a string"),
        (("thresholds",), [1], r"thresholds is \[1\]; it must be an object"),
        (("thresholds", "first"), "much", "first is 'much'; it must be a number"),
        (("thresholds", "first"), True, "first is True; it must be a number"),
        (("thresholds", "first"), float("nan"), "first: threshold is nan"),
        (("inputs", "entry"), 0.5, r"entry is 0\.5; it must be an object"),
        (("inputs", "entry", "dilation"), 1.5, r"entry/dilation is 1\.5; .* a whole number"),
    ],
)
def test_files_that_were_edited(tmp_path, path, value, message):
    file = tmp_path / "edited.json"
    THRESHOLDS.save(file)
    contents = json.loads(file.read_text())
    inner = contents
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(contents))
    with pytest.raises(ValueError, match=r"edited\.json: " + message):
        dj.Thresholds.load(file)


@pytest.mark.parametrize("contents", ["", "{", "[]", "null", "[" * 100_000])
def test_other_files(tmp_path, contents):
    path = tmp_path / "other.json"
    path.write_text(contents)
    with pytest.raises(ValueError, match=r"other\.json: "):
        dj.Thresholds.load(path)


def test_a_missing_entry_and_a_missing_file(tmp_path):
    path = tmp_path / "thresholds.json"
    THRESHOLDS.save(path)
    contents = json.loads(path.read_text())
    del contents["inputs"]["entry"]["dilation"]
    path.write_text(json.dumps(contents))
    with pytest.raises(ValueError, match="entry/dilation is missing"):
        dj.Thresholds.load(path)
    with pytest.raises(OSError, match=r"nowhere\.json"):
        dj.Thresholds.load(tmp_path / "nowhere.json")
