"""The search for thresholds, whatever it is that says what they cost and save.

Front to back over the update points, as in the DeltaCNN paper (Parger et al., CVPR 2022, section
4): one threshold is changed, those behind it keep theirs. There each layer may use up its share of
the budget. Here it has to pay its way instead: a threshold is raised as long as the work that it
saves is worth the error that it adds, and lowered where the work it saves is not, at the price at
which one factor of all thresholds would trade the two. A layer behind which there is nothing to
save then keeps a threshold of nearly zero, and its share goes to those that need it.

In a deep network one layer of fifty changes the work by a percent, less than its neighbours make
of the same pixels. Each pass therefore begins with directions in which many thresholds move at
once: the deeper the higher, the middle against both ends, all layers of a kind.
"""

import math
from collections.abc import Callable, Sequence
from operator import mul
from typing import NamedTuple

import numpy as np

from .evaluation import Trial

LOWEST, HIGHEST = 1e-3, 10.0
"""Of a factor of the scales of the outputs, where the search for a first one begins and ends."""
ENTRY_FACTORS = (0.1, 0.3, 1.0)
"""Of the entries' thresholds, relative to all others: noise of a camera asks for either."""
BISECTIONS = 8
"""Of (LOWEST, HIGHEST), to four hundredths of the factor."""
RESCALINGS = 6
"""Of (1/2, 2), to two hundredths of the factor."""
TRIALS_OF_A_DIRECTION = 3
"""About as many as one takes in a pass, for the time that is left."""
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

    def moved(self, direction: Sequence[float], factor: float) -> "Candidate":
        """Each threshold times a power of a factor: the direction has the exponents."""
        pairs = zip(self.thresholds, direction, strict=True)
        return self._replace(thresholds=tuple(value * factor**power for value, power in pairs))


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

    def only(self, index: int) -> tuple[float, ...]:
        """The direction of one threshold."""
        return tuple(float(index == other) for other in range(len(self.names)))

    def together(self) -> dict[str, tuple[float, ...]]:
        """Directions in which many thresholds move, by what they are called."""
        depths = np.linspace(-1, 1, len(self.names)) if len(self.names) > 1 else np.zeros(1)
        found = {
            "depth": tuple(depths.tolist()),
            "both ends": tuple((1 - 2 * np.abs(depths)).tolist()),
        }
        kinds = [name.rpartition("/")[2] for name in self.names]
        for kind in dict.fromkeys(kinds):
            if 1 < kinds.count(kind) < len(kinds):
                found[f"all {kind}"] = tuple(float(kind == other) for other in kinds)
        return found


Evaluate = Callable[[Candidate], Trial]
Advance = Callable[[str, int], None]
"""Is told what is being done, and how many trials of the expected number that has taken."""


def expected_trials(points: Points, dilations: Sequence[int], passes: int) -> int:
    """About as many as `search` takes."""
    starts = 2 * len(ENTRY_FACTORS) + len(dilations) - 1
    directions = len(points.names) + len(points.together())
    of_a_pass = directions * TRIALS_OF_A_DIRECTION + 2 * (RESCALINGS + 1)
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
    single = {name: points.only(index) for index, name in enumerate(points.names)}
    step = 2.0
    for number in range(1, passes + 1):
        before = best
        for directions in (points.together(), single):
            price = price_of_error(evaluate, best, budget)
            moved = best
            for name, direction in directions.items():
                moved = settle(evaluate, moved, direction, step, price, budget)
                advance(f"pass {number} of {passes}: {name}", TRIALS_OF_A_DIRECTION)
            rescaled = largest_factor(evaluate, moved.candidate, budget, 0.5, 2.0, RESCALINGS)
            advance(f"pass {number} of {passes}: rescaling", RESCALINGS + 1)
            # The price is that of small steps: what large ones came to may be worse.
            best = better(best, rescaled)
        if best is before:
            break
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


def settle(
    evaluate: Evaluate,
    found: Found,
    direction: Sequence[float],
    step: float,
    price: float,
    budget: float,
) -> Found:
    """The thresholds, moved to and fro in a direction while that pays."""
    if not any(map(mul, found.candidate.thresholds, direction)):
        return found

    def loss(trial: Trial) -> float:
        if not trial.error <= OVERDRAFT * max(budget, found.trial.error):
            return math.inf
        return math.log(max(trial.work, 1e-9)) + price * trial.error / budget

    for factor in (step, 1 / step):
        moved = found
        # Nothing is gained by going on for ever where a threshold no longer matters.
        for _ in range(8):
            candidate = moved.candidate.moved(direction, factor)
            trial = evaluate(candidate)
            if not loss(trial) < loss(moved.trial) - 1e-4:
                break
            moved = Found(candidate, trial)
        if moved is not found:
            return moved
    return found
