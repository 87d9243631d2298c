"""Tuning a small network on a few frames, interrupted and not."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from deltajax.metrics import heatmap_shift
from deltajax.models import SimpleCNN
from deltajax.statistics import read_statistics, total
from deltajax.tuning import Trial, tune_thresholds
from deltajax.video import ProceduralClip
from tests.helpers import dense_frames, random_variables, relative_error

MODEL = SimpleCNN()
BUDGET = 0.03


def clip() -> np.ndarray:
    return ProceduralClip(32, 48, noise=0.004, seed=3).frames(18)[:, None]


def tune(checkpoint: Path | None = None, **options):
    frames = clip()
    variables = random_variables(MODEL, frames[0])
    return tune_thresholds(
        MODEL, variables, frames, budget=BUDGET, passes=1, checkpoint=checkpoint, **options
    )


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A result, the trials that it took, and what was told of them."""
    told = []
    path = tmp_path_factory.mktemp("tuning") / "trials.jsonl"
    return tune(path, progress=told.append), path.read_text(), told


def rerun(thresholds: dj.Thresholds, frames: np.ndarray) -> Trial:
    """What becomes of frames with these thresholds, without the tuner."""
    variables = random_variables(MODEL, frames[0])
    model = MODEL.clone(input_dilation=thresholds.dilations["sparsify"])
    given = {**variables, "thresholds": thresholds.collection(model, variables, frames[0])}
    outputs, _, recorded = dj.scan_frames(model, given, frames, collect=("statistics",))
    later = np.arange(len(frames))[:, None] > 0
    work = total(read_statistics(recorded["statistics"]), later).multiplications_share
    return Trial(relative_error(outputs, dense_frames(MODEL, variables, frames)), work)


def test_the_numbers_are_those_of_the_thresholds(tuned, tmp_path):
    result, _, _ = tuned
    result.thresholds.save(tmp_path / "thresholds.json")
    loaded = dj.Thresholds.load(tmp_path / "thresholds.json")
    for frames, trial in ((clip()[:12], result.tuned_on), (clip()[12:], result.held_out)):
        assert rerun(loaded, frames) == pytest.approx(trial, rel=1e-4)
    assert loaded.found["tuned_on"] == result.tuned_on._asdict()
    assert loaded.found["one_threshold"]["trial"] == result.one.trial._asdict()


def test_how_they_were_found(tuned):
    """The error of keeping the first outputs stands beside that of the thresholds."""
    result, trials, _ = tuned
    found = result.thresholds.found
    frames = clip()[12:]
    dense = np.asarray(dense_frames(MODEL, random_variables(MODEL, frames[0]), frames))
    first = np.broadcast_to(dense[:1], dense.shape)
    assert found["first_output_kept"]["held_out"] == pytest.approx(relative_error(first, dense))
    assert found["trials"] == trials.count("\n") - 1
    assert found["trials_of_the_checkpoint"] == 0
    assert 0 < found["seconds"] < 600


def test_within_the_budget_and_better_than_one_for_all(tuned):
    result, _, _ = tuned
    assert 0 < result.tuned_on.error <= BUDGET
    for alike in (result.one, result.two):
        assert alike.trial.error <= result.held_out.error
        assert result.held_out.work < alike.trial.work <= 1
    assert result.two.trial.work <= result.one.trial.work
    assert result.one.threshold == result.one.input_threshold


def test_progress_never_goes_back(tuned):
    _, trials, told = tuned
    done = [each.done for each in told]
    assert done == sorted(done)
    assert [each.work for each in told] == sorted((each.work for each in told), reverse=True)
    assert told[-1].work == pytest.approx(tuned[0].tuned_on.work)
    assert done[-1] == pytest.approx(trials.count("\n"), rel=0.5)


KILLED = """
import sys
from tests.tuning.test_tune import tune
tune(sys.argv[1])
"""


def test_killed_and_resumed_without_loss(tuned, tmp_path):
    """SIGKILL after some trials; the rest is done in another process, and all is as without."""
    expected, trials, _ = tuned
    path = tmp_path / "trials.jsonl"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)]) as process:
        while process.poll() is None and (not path.exists() or lines(path) < 8):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = path.read_text()
    assert 8 <= lines(path) < trials.count("\n")
    # A line that was cut off is all that may be lost.
    whole = kept[: kept.rindex("\n") + 1]
    result = tune(path)
    assert path.read_text().startswith(whole)
    assert candidates(path.read_text()) == candidates(trials)
    assert result.thresholds.values == expected.thresholds.values
    assert result.held_out == pytest.approx(expected.held_out)
    found = result.thresholds.found
    assert 8 <= found["trials_of_the_checkpoint"] + 1 <= lines(path) - 1 == found["trials"]


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def candidates(trials: str) -> list[list]:
    return [json.loads(line)[:2] for line in trials.splitlines()[1:]]


def test_a_callable_objective_on_a_tree_of_outputs(tuned):
    """The largest difference of any logit, of a model without the field input_dilation."""

    def largest(outputs, expected) -> float:
        return float(np.abs(outputs["logits"] - expected["logits"]).max())

    class Tree(SimpleCNN):
        def __call__(self, x):
            return {"logits": super().__call__(x)}

    frames = clip()[:6]
    variables = random_variables(MODEL, frames[0])
    limit = 0.5 * float(np.abs(np.diff(dense_frames(MODEL, variables, frames), axis=0)).max())
    result = tune_thresholds(Tree(), variables, frames, largest, limit, passes=0, dilations=())
    assert 0 < result.tuned_on.error <= limit
    assert result.thresholds.found["objective"].endswith("largest")
    assert result.thresholds.network == "Tree"


class Maps(nn.Module):
    """Heatmaps of two joints."""

    @nn.compact
    def __call__(self, x):
        x = dj.Sparsify(mean=(0.5,) * 3, std=(0.25,) * 3, name="sparsify")(x)
        return dj.Densify()(dj.Conv(2, (5, 5), name="maps")(x))


def test_heatmaps():
    """The error that is told is that of the keypoints, as the metric has it."""
    frames = clip()[:9]
    variables = random_variables(Maps(), frames[0])
    result = tune_thresholds(Maps(), variables, frames, "keypoints", 0.02, passes=0)
    assert result.thresholds.found["objective"] == "keypoints"
    assert 0 < result.tuned_on.error <= 0.02
    collection = result.thresholds.collection(Maps(), variables, frames[0])
    outputs, _ = dj.scan_frames(Maps(), {**variables, "thresholds": collection}, frames[:6])
    error = heatmap_shift(outputs, dense_frames(Maps(), variables, frames[:6]))
    assert result.tuned_on.error == pytest.approx(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "accuracy"}, "objective is 'accuracy'.*top1, iou, keypoints"),
        ({"budget": 0.0}, r"budget is 0\.0; it must be positive"),
        ({"budget": float("nan")}, "budget is nan"),
        (
            {"objective": lambda *_: 0.5, "budget": 0.25},
            r"0\.25, but with thresholds of zero <lambda> is 0\.5 already",
        ),
        ({"held_out": 1.0}, r"held_out is 1\.0; it must be a share"),
        ({"held_out": 0.05}, "18 frames are too few: .*17 are left to tune on and 1 to report on"),
        ({"dilations": (1, 4)}, r"dilations are \[4\]; they must be odd"),
        ({"passes": -1}, "passes is -1"),
        ({"objective": lambda *_: np.nan}, "the objective .* is no number on these frames"),
    ],
)
def test_bad_input(options, message):
    frames = clip()
    variables = random_variables(MODEL, frames[0])
    with pytest.raises(ValueError, match=message):
        tune_thresholds(MODEL, variables, frames, **options)


def test_a_checkpoint_of_other_frames(tuned, tmp_path):
    _, trials, _ = tuned
    path = tmp_path / "trials.jsonl"
    path.write_text(trials)
    frames = clip()[::-1]
    variables = random_variables(MODEL, frames[0])
    with pytest.raises(ValueError, match="trials of another tuning, with digest"):
        tune_thresholds(MODEL, variables, frames, budget=BUDGET, passes=1, checkpoint=path)
