"""Tuning: the search on some frames of a clip, and what it came to on the others."""

import hashlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from jaxtyping import Shaped

from ..inspection import UpdatePointMap, update_points
from ..layers import Sparsify
from ..layers.update_point import DELTA, THRESHOLDS
from ..metrics import heatmap_shift, intersection_over_union, relative_error, top1_agreement
from .evaluation import Evaluator, Objective, Trial, output_scales
from .result import TuningResult, conclude
from .search import Candidate, Points, expected_trials, search
from .trials import TrialLog

OBJECTIVES: dict[str, Objective] = {
    "relative_error": relative_error,
    "top1": lambda outputs, expected: 1 - top1_agreement(outputs, expected),
    "iou": lambda outputs, expected: 1 - intersection_over_union(outputs, expected),
    "keypoints": heatmap_shift,
}


class Progress(NamedTuple):
    """How far a tuning is.

    Attributes:
        stage: what is being done.
        done: trials.
        total: trials; about, as what is tried depends on what was found.
        work: the least so far with an error within the budget: multiplications, as a share of the
            dense network's.
    """

    stage: str
    done: int
    total: int
    work: float


def tune_thresholds(
    model: nn.Module,
    variables: Mapping[str, Any],
    frames: Shaped[np.ndarray, "T N H W C"],
    objective: str | Objective = "relative_error",
    budget: float = 0.02,
    *,
    held_out: float = 1 / 3,
    dilations: Sequence[int] = (1, 3),
    passes: int = 2,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    network: str | None = None,
    record: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> TuningResult:
    """Finds a threshold for each update point that saves work within a budget of accuracy.

    See `deltajax.tuning.search` for how.

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables; "delta" and "thresholds" among them are ignored.
        frames: of the clip; the dense network runs over them once.
        objective: a function of incremental and dense outputs, trees of arrays [T, N, ...], that
            is 0 where they agree; or "relative_error" (‖incremental − dense‖ / ‖dense‖), "top1"
            (the share of frames with another most probable class), "iou" (1 − the intersection
            over union of the pixels above 0.5) or "keypoints" (of heatmaps [T, N, h, w, K]: how far
            those keypoints move that the dense network is sure of, as a share of the picture's
            height, see `deltajax.metrics.heatmap_shift`).
        budget: the largest value of the objective, in its units.
        held_out: share of the frames, the last ones, that nothing is found on. They are run as a
            clip of their own.
        dilations: of the input, to be tried besides the model's own if it has a field
            `input_dilation`, as all of `deltajax.models` have.
        passes: over the update points, front to back; steps of a further one are finer.
        checkpoint: file in which every trial is kept. Called again with the same arguments and
            file, an interrupted tuning goes on where it was.
        progress: is called after every few trials.
        network: its name in the file of thresholds; the model's class if not given.
        record: more facts for that file, such as the clip's name; of JSON values.
        **kwargs: passed to the model.

    Raises:
        ValueError: for an unknown objective, or one that is no number on these frames, a budget
            that is not positive or not kept by thresholds of zero either, frames too few to be
            split, a dilation that is not odd, or a checkpoint of another tuning.
    """
    began = time.monotonic()
    name, objective = resolve_objective(objective)
    cut = split(len(frames), held_out)
    check(budget, dilations, passes)
    maps = update_points(model, variables, frames[0], **kwargs)
    points = points_of(maps, output_scales(model, variables, frames[0], **kwargs))
    models = dilated(model, maps, dilations)
    subject = {
        "network": network or type(model).__name__,
        "objective": name,
        "budget": budget,
        "held_out": held_out,
        "dilations": list(models),
        "passes": passes,
        "frames": list(frames.shape),
        "update_points": list(points.names),
        "digest": digest(repr(model), frames, _weights(variables)),
    }

    def bench(frames: np.ndarray, log: TrialLog) -> Bench:
        return Bench(models, variables, frames, objective, points.names, log, kwargs)

    log = TrialLog(checkpoint, subject)
    known = len(log)
    tuned_on, others = bench(frames[:cut], log), bench(frames[cut:], TrialLog(None, subject))
    # Before anything is searched: an objective may be no number where nothing is to be seen.
    kept = {"tuned_on": tuned_on.first_kept(), "held_out": others.first_kept()}
    if not all(map(math.isfinite, kept.values())):
        raise ValueError(f"the objective {name} is no number on these frames: {kept}")
    least = tuned_on(points.alike(next(iter(models))).scaled(0.0)).error
    if not least <= budget:
        raise ValueError(
            f"the budget is {budget:g}, but with thresholds of zero {name} is {least:.3g} already, "
            "by rounding alone: allow more, or multiply in full float32 "
            "(JAX_DEFAULT_MATMUL_PRECISION=highest)"
        )
    reporter = Reporter(progress, expected_trials(points, tuple(models), passes), budget)
    evaluate = reporter.watching(tuned_on)
    found = search(evaluate, points, budget, tuple(models), passes, reporter.advance)
    reporter.advance("frames held out", 0)
    searched = {
        "first_output_kept": kept,
        "trials": len(log),
        "trials_of_the_checkpoint": known,
        "seconds": round(time.monotonic() - began, 1),
    }
    return conclude(
        found,
        points,
        maps[0].threshold_norm,
        subject["network"],
        others,
        {key: subject[key] for key in ("objective", "budget", "frames", "held_out", "passes")}
        | dict(record or {})
        | searched,
    )


def resolve_objective(objective: str | Objective) -> tuple[str, Objective]:
    """The name and the function of an objective. Raises ValueError for an unknown name."""
    if not isinstance(objective, str):
        return getattr(objective, "__qualname__", type(objective).__name__), objective
    if objective not in OBJECTIVES:
        raise ValueError(
            f"objective is {objective!r}; it must be a function or one of {', '.join(OBJECTIVES)}"
        )
    return objective, OBJECTIVES[objective]


def split(count: int, held_out: float) -> int:
    """The number of frames to tune on. Raises ValueError if one of the parts is too short."""
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; it must be a share between 0 and 1")
    cut = count - round(count * held_out)
    if min(cut, count - cut) < 2:
        raise ValueError(
            f"{count} frames are too few: with held_out {held_out}, {cut} are left to tune on and "
            f"{count - cut} to report on; both need at least 2"
        )
    return cut


def check(budget: float, dilations: Sequence[int], passes: int) -> None:
    """Raises ValueError for numbers that make no sense, before anything is computed."""
    if not (math.isfinite(budget) and budget > 0):
        raise ValueError(f"budget is {budget}; it must be positive")
    if passes < 0:
        raise ValueError(f"passes is {passes}; it must be at least 0")
    if wrong := [each for each in dilations if each < 1 or each % 2 == 0]:
        raise ValueError(f"dilations are {wrong}; they must be odd, 1 for none")


def points_of(maps: Sequence[UpdatePointMap], scales: Mapping[str, float]) -> Points:
    """What the search has to know of the update points.

    A layer that puts out nothing but zeros on the first frame has no scale; it gets the mean one.
    """
    usual = float(np.mean([scale for scale in scales.values() if scale > 0] or [1.0]))
    return Points(
        names=tuple(point.name for point in maps),
        entries=tuple(issubclass(point.layer, Sparsify) for point in maps),
        scales=tuple(scales[point.name] or usual for point in maps),
    )


def dilated(
    model: nn.Module, maps: Sequence[UpdatePointMap], dilations: Sequence[int]
) -> dict[int, nn.Module]:
    """The model by the dilation of its input, its own first."""
    own = max((point.dilation for point in maps if point.dilation is not None), default=1)
    models: dict[int, nn.Module] = {own: model}
    if hasattr(model, "input_dilation"):
        models |= {each: model.clone(input_dilation=each) for each in dilations if each != own}
    return models


class Bench:
    """Tries candidates on some frames, each of them once.

    Args:
        models: by the dilation of the input.
        variables: of all of them.
        frames: [T, N, H, W, C].
        objective: of the outputs.
        names: of the update points.
        log: of the trials.
        kwargs: passed to the model.
    """

    def __init__(
        self,
        models: Mapping[int, nn.Module],
        variables: Mapping[str, Any],
        frames: Shaped[np.ndarray, "T N H W C"],
        objective: Objective,
        names: Sequence[str],
        log: TrialLog,
        kwargs: Mapping[str, Any],
    ) -> None:
        self._models, self._variables, self._frames = models, variables, frames
        self._objective, self._names, self._log, self._kwargs = objective, names, log, kwargs
        self._evaluators: dict[int, Evaluator] = {}

    def __call__(self, candidate: Candidate) -> Trial:
        """What became of a candidate."""
        trial = self._log.get(candidate)
        if trial is None:
            values = dict(zip(self._names, candidate.thresholds, strict=True))
            trial = self._evaluator(candidate.dilation)(values)
            self._log.add(candidate, trial)
        return trial

    def first_kept(self) -> float:
        """The objective of keeping the dense output of each stream's first frame for good.

        What an error is worth is seen beside this one, which costs no work at all.
        """
        expected = self._evaluator(next(iter(self._models))).expected
        first = jax.tree.map(lambda array: np.broadcast_to(array[:1], array.shape), expected)
        return float(self._objective(first, expected))

    def _evaluator(self, dilation: int) -> Evaluator:
        if dilation not in self._evaluators:
            # The dense outputs are those of any dilation.
            known = next((each.expected for each in self._evaluators.values()), None)
            self._evaluators[dilation] = Evaluator(
                self._models[dilation],
                self._variables,
                self._frames,
                self._objective,
                known,
                **self._kwargs,
            )
        return self._evaluators[dilation]


class Reporter:
    """Tells how far a search is.

    Args:
        tell: whom; None for nobody.
        total: trials that are expected.
        budget: the largest error that counts.
    """

    def __init__(self, tell: Callable[[Progress], None] | None, total: int, budget: float) -> None:
        self._tell, self._total, self._budget = tell, total, budget
        self._done, self._work = 0, 1.0

    def watching(self, evaluate: Callable[[Candidate], Trial]) -> Callable[[Candidate], Trial]:
        """The same function, of whose trials the best is told."""

        def watched(candidate: Candidate) -> Trial:
            trial = evaluate(candidate)
            if trial.error <= self._budget:
                self._work = min(self._work, trial.work)
            return trial

        return watched

    def advance(self, stage: str, count: int) -> None:
        """So many of the expected trials are done."""
        self._done += count
        if self._tell is not None:
            self._tell(Progress(stage, self._done, self._total, self._work))


def digest(text: str, *trees: Any) -> str:
    """Of a text and all arrays."""
    found = hashlib.sha256(text.encode())
    for leaf in jax.tree.leaves(trees):
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()[:16]


def _weights(variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tree for name, tree in variables.items() if name not in (DELTA, THRESHOLDS)}
