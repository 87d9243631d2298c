"""Trials on disk: what is read back, and what is refused."""

import pytest

from deltajax.tuning.evaluation import Trial
from deltajax.tuning.search import Candidate
from deltajax.tuning.trials import TrialLog

SUBJECT = {"network": "small", "budget": 0.1, "update_points": ["a", "b"]}
FIRST, SECOND = Candidate(1, (0.1, 1 / 3)), Candidate(3, (0.0, 1e-17))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "trials.jsonl"
    log = TrialLog(path, SUBJECT)
    log.add(FIRST, Trial(0.1, 2 / 3))
    log.add(SECOND, Trial(float("nan"), 0.5))
    return path


def test_trials_are_read_back_exactly(path):
    log = TrialLog(path, SUBJECT)
    assert len(log) == 2
    assert log.get(FIRST) == Trial(0.1, 2 / 3)
    error, work = log.get(SECOND) or (0, 0)
    assert error != error
    assert work == 0.5
    assert log.get(Candidate(3, (0.1, 1 / 3))) is None


def test_a_line_that_was_cut_off_is_dropped(path):
    path.write_text(path.read_text()[:-8])
    log = TrialLog(path, SUBJECT)
    assert len(log) == 1
    log.add(SECOND, Trial(0.2, 0.5))
    assert TrialLog(path, SUBJECT).get(SECOND) == Trial(0.2, 0.5)


def test_without_a_file_nothing_is_kept(tmp_path):
    log = TrialLog(None, SUBJECT)
    log.add(FIRST, Trial(0.1, 0.5))
    assert log.get(FIRST) == Trial(0.1, 0.5)
    assert not list(tmp_path.iterdir())


def test_trials_of_something_else_are_refused(path):
    before = path.read_text()
    with pytest.raises(ValueError, match=r"another tuning, with budget 0\.1 instead of 0\.2"):
        TrialLog(path, {**SUBJECT, "budget": 0.2})
    assert path.read_text() == before


@pytest.mark.parametrize("contents", ["", "no JSON\n", "[1, 2]\n", "{}\n"])
def test_other_files_are_refused_and_left_alone(tmp_path, contents):
    path = tmp_path / "precious.txt"
    path.write_text(contents)
    with pytest.raises(ValueError, match=r"precious\.txt is no file of trials"):
        TrialLog(path, SUBJECT)
    assert path.read_text() == contents
