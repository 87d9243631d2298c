"""The search for thresholds, whatever it is that says what they cost and save.

Front to back over the update points, as in the DeltaCNN paper (Parger et al., CVPR 2022, section
4): one threshold is changed, those behind it keep theirs. There each layer may use up its share of
the budget. Here it has to pay its way instead: a threshold is raised as long as the work that it
saves is worth the error that it adds, and lowered where the work it saves is not, at the price at
which one factor of all thresholds would trade the two. A layer behind which there is nothing to
save then keeps a threshold of nearly zero, and its share goes to those that need it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .evaluation import Trial

LOWEST, HIGHEST = 1e-3, 10.0
"""Of a factor of the scales of the outputs, where the search for a first one begins and ends."""
ENTRY_FACTORS = (0.1, 0.3, 1.0)
"""Of the entries' thresholds, relative to all others: noise of a camera asks for either."""
BISECTIONS = 8
"""Of (LOWEST, HIGHEST), to four hundredths of the factor."""
RESCALINGS = 6
"""Of (1/2, 2), to two hundredths of the factor."""
TRIALS_OF_A_POINT = 3
"""About as many as one update point takes in a pass, for the time that is left."""
OVERDRAFT = 1.3
"""Times the budget: no step of a pass may take the error beyond it."""


class Candidate(NamedTuple):
    """Thresholds to try.

    Attributes:
        dilation: of the entries.
        thresholds: of the update points, in the order of computation.
    """

    dilation: int
    thresholds: tuple[float, ...]

    def scaled(self, factor: float) -> "Candidate":
        """All thresholds times a factor."""
        return self._replace(thresholds=tuple(factor * value for value in self.thresholds))

    def with_factor(self, index: int, factor: float) -> "Candidate":
        """One threshold times a factor."""
        values = list(self.thresholds)
        values[index] *= factor
        return self._replace(thresholds=tuple(values))


class Found(NamedTuple):
    """A candidate, and what became of it."""

    candidate: Candidate
    trial: Trial


class Points(NamedTuple):
    """The update points, in the order of computation.

    Attributes:
        names: their paths in the model.
        entries: which of them are entries of frames.
        scales: the root mean square of their outputs.
    """

    names: tuple[str, ...]
    entries: tuple[bool, ...]
    scales: tuple[float, ...]

    def alike(self, dilation: int, entry_factor: float = 1.0) -> Candidate:
        """One threshold for all, times a factor for entries."""
        return Candidate(dilation, tuple(entry_factor if entry else 1.0 for entry in self.entries))

    def by_scale(self, dilation: int, entry_factor: float) -> Candidate:
        """Thresholds in proportion to the scales, times a factor for entries."""
        alike = self.alike(dilation, entry_factor).thresholds
        return Candidate(dilation, tuple(a * b for a, b in zip(alike, self.scales, strict=True)))


Evaluate = Callable[[Candidate], Trial]
Advance = Callable[[str, int], None]
"""Is told what is being done, and how many trials of the expected number that has taken."""


def expected_trials(points: Points, dilations: Sequence[int], passes: int) -> int:
    """About as many as `search` takes."""
    starts = 2 * len(ENTRY_FACTORS) + len(dilations) - 1
    of_a_pass = len(points.names) * TRIALS_OF_A_POINT + RESCALINGS + 1
    return starts * BISECTIONS + passes * of_a_pass


def search(
    evaluate: Evaluate,
    points: Points,
    budget: float,
    dilations: Sequence[int],
    passes: int,
    advance: Advance,
) -> Found:
    """The thresholds with the least work found whose error is within the budget.

    Args:
        evaluate: tries a candidate.
        points: of the model.
        budget: the largest error.
        dilations: to be tried at the entries; the first is that of the model.
        passes: front to back over the update points.
        advance: is told of progress.
    """
    best = start(evaluate, points, budget, dilations, advance)
    step = 2.0
    for number in range(1, passes + 1):
        price = price_of_error(evaluate, best, budget)
        moved = best
        for index, name in enumerate(points.names):
            moved = settle_point(evaluate, moved, index, step, price, budget)
            advance(f"pass {number} of {passes}: {name}", TRIALS_OF_A_POINT)
        rescaled = largest_factor(evaluate, moved.candidate, budget, 0.5, 2.0, RESCALINGS)
        advance(f"pass {number} of {passes}: rescaling", RESCALINGS + 1)
        if rescaled is None or rescaled.trial.work >= best.trial.work:
            break
        best = rescaled
        step = math.sqrt(step)
    return best


def start(
    evaluate: Evaluate,
    points: Points,
    budget: float,
    dilations: Sequence[int],
    advance: Advance,
) -> Found:
    """The best of what has one or two parameters: where the passes begin."""
    nothing = points.alike(dilations[0]).scaled(0.0)
    best = Found(nothing, evaluate(nothing))
    for factor in ENTRY_FACTORS:
        for direction in (points.alike, points.by_scale):
            candidate = direction(dilations[0], factor)
            best = better(best, largest_factor(evaluate, candidate, budget))
            advance("one factor for all", BISECTIONS)
    for dilation in dilations[1:]:
        # The rest of the candidate stays: with another dilation its best scale is near.
        wider = best.candidate._replace(dilation=dilation)
        best = better(best, largest_factor(evaluate, wider, budget, 0.5, 2.0, RESCALINGS))
        advance(f"input dilation {dilation}", BISECTIONS)
    return best


def better(best: Found, other: Found | None) -> Found:
    """The one with less work."""
    return other if other is not None and other.trial.work < best.trial.work else best


def largest_factor(
    evaluate: Evaluate,
    candidate: Candidate,
    budget: float,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    bisections: int = BISECTIONS,
) -> Found | None:
    """The candidate times the largest factor within the budget; None if there is none."""
    found = None
    for _ in range(bisections):
        middle = math.sqrt(lowest * highest)
        scaled = candidate.scaled(middle)
        trial = evaluate(scaled)
        if trial.error <= budget:
            lowest, found = middle, Found(scaled, trial)
        else:
            highest = middle
    return found


def price_of_error(evaluate: Evaluate, found: Found, budget: float) -> float:
    """How much of the logarithm of the work all thresholds together trade for the whole budget."""
    less = evaluate(found.candidate.scaled(0.8))
    error = (found.trial.error - less.error) / budget
    saved = math.log(max(less.work, 1e-9) / max(found.trial.work, 1e-9))
    return max(saved, 0.0) / max(error, 1e-3)


def settle_point(
    evaluate: Evaluate, found: Found, index: int, step: float, price: float, budget: float
) -> Found:
    """The threshold of one update point, raised or lowered while that pays."""
    if found.candidate.thresholds[index] == 0:
        return found

    def loss(trial: Trial) -> float:
        if not trial.error <= OVERDRAFT * max(budget, found.trial.error):
            return math.inf
        return math.log(max(trial.work, 1e-9)) + price * trial.error / budget

    for factor in (step, 1 / step):
        moved = found
        # Nothing is gained by going on for ever where a threshold no longer matters.
        for _ in range(8):
            candidate = moved.candidate.with_factor(index, factor)
            trial = evaluate(candidate)
            if not loss(trial) < loss(moved.trial) - 1e-4:
                break
            moved = Found(candidate, trial)
        if moved is not found:
            return moved
    return found
