"""The search for thresholds, on functions whose best answer is known."""

import math

import numpy as np
import pytest

from deltajax.tuning.evaluation import Trial
from deltajax.tuning.search import (
    BISECTIONS,
    Candidate,
    Points,
    expected_trials,
    largest_factor,
    search,
)

BUDGET = 0.1
POINTS = Points(
    names=("entry", "wide", "narrow", "useless"),
    entries=(True, False, False, False),
    scales=(1.0, 2.0, 0.5, 1.0),
)
SAVED_BY = np.array([1.0, 4.0, 4.0, 0.0])
"""How much work the threshold of each update point saves."""
COSTS = np.array([1.0, 1.0, 16.0, 1.0])
"""The square of its share in the error."""


class Network:
    """Work that falls, and an error that grows with each threshold."""

    def __init__(self, best_dilation: int = 1):
        self.tried: list[Candidate] = []
        self._best_dilation = best_dilation

    def __call__(self, candidate: Candidate) -> Trial:
        self.tried.append(candidate)
        thresholds = np.array(candidate.thresholds)
        error = math.sqrt(np.sum(COSTS * thresholds**2))
        work = np.sum(SAVED_BY / (1 + 30 * thresholds)) / SAVED_BY.sum()
        return Trial(error, float(work * (1 if candidate.dilation == self._best_dilation else 1.1)))


def run(network, budget=BUDGET, dilations=(1,), passes=4):
    return search(network, POINTS, budget, dilations, passes, lambda stage, count: None)


def best_of_a_grid(network: Network) -> float:
    """The least work of a fine grid of directions, each scaled to the budget."""
    rng = np.random.default_rng(0)
    directions = np.exp(rng.normal(0, 1.5, (4000, 4)))
    directions[:, 3] = 0
    lengths = np.sqrt(np.sum(COSTS * directions**2, axis=1, keepdims=True))
    return min(
        network(Candidate(1, tuple(map(float, each)))).work
        for each in BUDGET * directions / lengths
    )


def test_near_the_best_that_there_is():
    found = run(Network())
    assert found.trial.error <= BUDGET
    assert found.trial.work <= 1.02 * best_of_a_grid(Network())


def test_better_than_any_one_factor():
    network = Network()
    found = run(network)
    factors = (largest_factor(network, direction, BUDGET) for direction in (
        POINTS.alike(1), POINTS.by_scale(1, 0.1), POINTS.by_scale(1, 0.3), POINTS.by_scale(1, 1.0)
    ))  # fmt: skip
    works = [each.trial.work for each in factors if each is not None]
    assert len(works) == 4
    assert found.trial.work < min(works)


def test_what_saves_nothing_gets_little():
    thresholds = dict(zip(POINTS.names, run(Network()).candidate.thresholds, strict=True))
    assert thresholds["useless"] < 0.2 * thresholds["wide"]
    assert thresholds["narrow"] < 0.6 * thresholds["wide"]


def test_directions_of_many_thresholds():
    names = ("entry", "a/wide", "a/narrow", "b/wide", "b/narrow")
    points = Points(names, (True, False, False, False, False), (1.0,) * 5)
    assert points.together() == {
        "depth": (-1, -0.5, 0, 0.5, 1),
        "both ends": (-1, 0, 1, 0, -1),
        "all wide": (0, 1, 0, 1, 0),
        "all narrow": (0, 0, 1, 0, 1),
    }
    assert points.only(3) == (0, 0, 0, 1, 0)
    assert Candidate(1, (1.0, 2.0, 3.0, 4.0, 5.0)).moved(points.together()["depth"], 4.0) == (
        Candidate(1, (0.25, 1.0, 3.0, 8.0, 20.0))
    )


def test_thresholds_that_save_only_together():
    """Of one kind all have to be high; none of them saves anything by itself."""
    names = tuple(f"block{index}/{kind}" for index in range(4) for kind in ("wide", "narrow"))
    points = Points(names, (False,) * 8, (1.0,) * 8)

    def evaluate(candidate: Candidate) -> Trial:
        thresholds = np.array(candidate.thresholds)
        error = math.sqrt(float(np.sum(thresholds**2)))
        return Trial(error, float(1 / (1 + 30 * thresholds[::2].min())))

    found = search(evaluate, points, BUDGET, (1,), 4, lambda stage, count: None)
    # The whole budget for the four of them.
    assert found.trial.work <= 1.03 / (1 + 30 * BUDGET / 2)
    alike = largest_factor(evaluate, points.alike(1), BUDGET)
    assert alike is not None
    assert found.trial.work < 0.83 * alike.trial.work


def test_the_dilation_that_is_best():
    assert run(Network(best_dilation=3), dilations=(1, 3, 7)).candidate.dilation == 3
    assert run(Network(best_dilation=1), dilations=(1, 3, 7)).candidate.dilation == 1


def test_a_budget_that_nothing_keeps_gives_thresholds_of_zero():
    found = run(Network(), budget=1e-9)
    assert found.candidate.thresholds == (0.0,) * 4
    assert found.trial == Trial(0.0, 1.0)


def test_an_error_that_is_no_number_never_passes():
    def broken(candidate: Candidate) -> Trial:
        trial = Network()(candidate)
        return trial if trial.error < 0.01 else Trial(math.nan, 0.0)

    assert run(broken).trial.error <= 0.01


def test_expected_trials_are_about_those_that_are_made():
    network, told = Network(), []
    search(network, POINTS, BUDGET, (1, 3), 2, lambda stage, count: told.append(count))
    assert sum(told) <= expected_trials(POINTS, (1, 3), 2)
    assert 0.5 < len(network.tried) / expected_trials(POINTS, (1, 3), 2) < 1.5


@pytest.mark.parametrize("budget", [0.002, 0.03, 0.7])
def test_largest_factor(budget):
    found = largest_factor(Network(), Candidate(1, (1.0, 0.0, 0.0, 0.0)), budget)
    assert found is not None
    # Halving the logarithm of the range so many times leaves this.
    finest = (10 / 1e-3) ** (1 / 2**BISECTIONS)
    assert budget / finest <= found.candidate.thresholds[0] <= budget
