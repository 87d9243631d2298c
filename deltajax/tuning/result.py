"""What a tuning came to: thresholds, and how they do on frames that they were not found on."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..threshold_file import Thresholds
from .evaluation import Trial
from .search import Candidate, Found, Points, better, largest_factor

INPUT_FACTORS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Of the input threshold, relative to that of all other layers."""
BISECTIONS = 10
"""Of (LOWEST, HIGHEST), to one hundredth of the factor."""
FURTHER = (1.02, 1.05, 1.1, 1.2, 1.4, 2.0)
"""Factors beyond the one found: an error need not grow with the thresholds."""


class OneForAll(NamedTuple):
    """The same threshold for all layers, at the error of the tuned ones.

    Attributes:
        input_threshold: of the entries.
        threshold: of all other update points.
        trial: what became of it.
    """

    input_threshold: float
    threshold: float
    trial: Trial


@dataclasses.dataclass(frozen=True)
class TuningResult:
    """Thresholds, and what they cost and save.

    Attributes:
        thresholds: of every update point.
        tuned_on: what became of the frames that they were found on.
        held_out: of the frames that were held out.
        one: of the latter, with one threshold for everything, the input included: the largest that
            costs no more there than the tuned ones do. The dilation is that of the tuned ones.
        two: the same with one for the input and one for everything else, whose ratio is the best.
    """

    thresholds: Thresholds
    tuned_on: Trial
    held_out: Trial
    one: OneForAll
    two: OneForAll

    @property
    def work_of_one(self) -> float:
        """The multiplications of the tuned thresholds, as a share of those with one for all."""
        return self.held_out.work / self.one.trial.work


def conclude(
    found: Found,
    points: Points,
    norm: Any,
    network: str,
    evaluate: Callable[[Candidate], Trial],
    record: Mapping[str, Any],
) -> TuningResult:
    """Tries the thresholds, and what they have to beat, on frames that were held out.

    Args:
        found: by the search.
        points: of the model.
        norm: of the model's layers.
        network: its name.
        evaluate: tries a candidate on the frames that were held out.
        record: how the thresholds were found, for their file.
    """
    held_out = evaluate(found.candidate)
    alike = [
        against(held_out.error, points.alike(found.candidate.dilation, factor), points, evaluate)
        for factor in INPUT_FACTORS
    ]
    one = alike[INPUT_FACTORS.index(1.0)]
    two = min(alike, key=lambda each: each.trial.work)
    values = dict(zip(points.names, found.candidate.thresholds, strict=True))
    entries = [name for name, entry in zip(points.names, points.entries, strict=True) if entry]
    results = {
        "tuned_on": found.trial._asdict(),
        "held_out": held_out._asdict(),
        "one_threshold": one._replace(trial=one.trial._asdict())._asdict(),
        "two_thresholds": two._replace(trial=two.trial._asdict())._asdict(),
    }
    thresholds = Thresholds(
        network=network,
        inputs={name: values[name] for name in entries},
        points={name: value for name, value in values.items() if name not in entries},
        dilations=dict.fromkeys(entries, found.candidate.dilation),
        threshold_norm=norm,
        found={**record, **results},
    )
    return TuningResult(thresholds, found.trial, held_out, one, two)


def against(
    error: float, direction: Candidate, points: Points, evaluate: Callable[[Candidate], Trial]
) -> OneForAll:
    """The thresholds in this direction that save the most at no larger an error.

    They are chosen on the very frames on which they are compared, which the tuned ones never saw.
    """
    nothing = direction.scaled(0.0)
    best = Found(nothing, evaluate(nothing))
    found = largest_factor(evaluate, direction, error, bisections=BISECTIONS)
    if found is not None:
        best = better(best, found)
        for factor in FURTHER:
            further = found.candidate.scaled(factor)
            trial = evaluate(further)
            if trial.error <= error:
                best = better(best, Found(further, trial))
    pairs = list(zip(best.candidate.thresholds, points.entries, strict=True))
    return OneForAll(
        max((value for value, entry in pairs if entry), default=math.nan),
        max((value for value, entry in pairs if not entry), default=math.nan),
        best.trial,
    )
