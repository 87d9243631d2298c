"""A run: epochs of steps, evaluations, checkpoints, and going on after an interruption."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from .checkpoints import Checkpoints
from .log import MetricsLog
from .trainer import WEIGHT, Trainer, TrainState


@runtime_checkable
class Batches(Protocol):
    """Examples of which batches are made."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def batch(self, numbers: np.ndarray) -> Mapping[str, np.ndarray]:
        """Those of these numbers [N], integers: arrays with an axis of N first, by name."""
        ...


class Progress(NamedTuple):
    """How far a run is.

    Attributes:
        step, steps: updates done, and of the whole run.
        epoch, epochs: the one that is going on, from 1 on, and of the whole run.
        metrics: the latest that are known.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    metrics: Mapping[str, float]


class FitResult(NamedTuple):
    """What became of a run.

    Attributes:
        state: after the last step.
        epochs: of each epoch: "epoch", "step", the means over it of "train_loss" and the task's
            metrics while training, and "test_loss" and so on, of an evaluation after it. None
            stands for what is not finite.
        diverged: the step at which the loss was not finite any more, and the run ended.
    """

    state: TrainState
    epochs: list[dict[str, Any]]
    diverged: int | None


FETCHED = 20
"""Steps whose metrics are fetched from the device together: each fetch waits for the device."""


def fit(
    trainer: Trainer,
    train: Batches,
    test: Batches,
    *,
    epochs: int,
    batch_size: int,
    folder: Path,
    subject: Mapping[str, Any],
    start: Mapping[str, Any] | None = None,
    prepare_state: Callable[[TrainState], TrainState] = lambda state: state,
    checkpoint_steps: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> FitResult:
    """Trains; goes on where a run in the same folder was interrupted.

    Examples are shuffled anew in each epoch, by the trainer's seed; what does not fill a batch is
    left out of that epoch. Order, augmentation and state follow from the step alone, so that a run
    that was interrupted comes to the numbers that it would have come to: on a CPU to the last bit.

    Args:
        trainer: with model, task and optimiser.
        train: examples to learn from.
        test: examples that are evaluated after each epoch.
        epochs: how often all are seen.
        batch_size: examples of a step.
        folder: for "checkpoints" and "metrics.jsonl".
        subject: what is trained and how; a run in the folder that is of another is refused.
        start: variables to start from; random ones if not given.
        prepare_state: applied to the state before the first step.
        checkpoint_steps: steps after which the state is saved; after each epoch it always is.
        progress: called after each step.

    Raises:
        ValueError: for sizes that make no step, or a folder with another run.
        CheckpointError: if a state cannot be written or read.
    """
    per_epoch = len(train) // batch_size if batch_size > 0 else 0
    if min(per_epoch, epochs, len(test)) < 1 or (checkpoint_steps or 1) < 1:
        raise ValueError(
            f"{epochs} epochs of {len(train)} examples in batches of {batch_size}, tested on "
            f"{len(test)}, are no run: there must be at least one epoch, one batch, one example "
            "to test on, and one step from checkpoint to checkpoint"
        )
    checkpoints = Checkpoints(folder / "checkpoints")
    try:
        examples = train.batch(np.arange(batch_size))
        state = trainer.place(prepare_state(trainer.init(examples, start)))
        if checkpoints.latest is not None:
            state = checkpoints.restore(state)
        first = int(state.step)
        log = MetricsLog(folder / "metrics.jsonl", subject, first)
        run = _Run(log, per_epoch, epochs, progress)
        for step in range(first, epochs * per_epoch):
            epoch, place = divmod(step, per_epoch)
            if step == first or place == 0:
                order = np.random.default_rng((trainer.seed, epoch)).permutation(len(train))
            numbers = order[place * batch_size : (place + 1) * batch_size]
            state, metrics = trainer.step(state, train.batch(numbers))
            last = place + 1 == per_epoch
            saving = last or (checkpoint_steps and (step + 1) % checkpoint_steps == 0)
            run.add(step + 1, metrics, wait=bool(saving))
            if run.diverged is not None:
                break
            if last:
                run.evaluated(epoch, evaluate(trainer, state, test, batch_size))
            if saving:
                log.sync()
                checkpoints.save(state)
    finally:
        checkpoints.close()
    return FitResult(state, run.epochs(), run.diverged)


def evaluate(
    trainer: Trainer, state: TrainState, test: Batches, batch_size: int
) -> dict[str, float]:
    """Means over all examples: "loss" and the task's metrics.

    Args:
        trainer: with model and task.
        state: whose parameters and running statistics are used.
        test: the examples, of which the last batch is filled up.
        batch_size: examples of a batch.
    """
    sums: dict[str, float] = {}
    for numbers, weight in _in_batches(len(test), batch_size):
        found = trainer.evaluate(state, {**test.batch(numbers), WEIGHT: weight})
        for name, value in jax.device_get(found).items():
            sums[name] = sums.get(name, 0.0) + float(value)
    count = sums.pop("examples")
    return {name: value / count for name, value in sums.items()}


def _in_batches(count: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, count, batch_size):
        numbers = np.arange(start, start + batch_size)
        yield np.minimum(numbers, count - 1), (numbers < count).astype(np.float32)


class _Run:
    """What is known of a run, part of it still on the device."""

    def __init__(
        self,
        log: MetricsLog,
        per_epoch: int,
        epochs: int,
        progress: Callable[[Progress], None],
    ) -> None:
        self._log, self._per_epoch, self._epochs = log, per_epoch, epochs
        self._progress = progress
        self._waiting: list[tuple[int, dict[str, jax.Array]]] = []
        self._latest: Mapping[str, float] = {}
        self.diverged: int | None = None

    def add(self, step: int, metrics: dict[str, jax.Array], wait: bool) -> None:
        """Takes the metrics of a step; with `wait`, all of them are in the log afterwards."""
        self._waiting.append((step, metrics))
        if wait or len(self._waiting) >= FETCHED:
            for number, values in jax.device_get(self._waiting):
                self._latest = {name: float(value) for name, value in values.items()}
                self._log.add("train", number, self._latest)
                if self.diverged is None and not math.isfinite(self._latest["loss"]):
                    self.diverged = number
            self._waiting.clear()
        epoch = (step - 1) // self._per_epoch + 1
        steps = self._epochs * self._per_epoch
        self._progress(Progress(step, steps, epoch, self._epochs, self._latest))

    def evaluated(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Takes the evaluation after an epoch, from 0 on."""
        self._log.add("test", (epoch + 1) * self._per_epoch, metrics, epoch=epoch + 1)

    def epochs(self) -> list[dict[str, Any]]:
        """See `FitResult`; of whole epochs."""
        train = self._log.of("train")
        found = []
        for line in self._log.of("test"):
            last = line["step"]
            steps = [each for each in train if last - self._per_epoch < each["step"] <= last]
            names = [name for name in line if name not in ("kind", "step", "epoch")]
            means = {name: _mean([each[name] for each in steps]) for name in names}
            found.append(
                {"epoch": line["epoch"], "step": last}
                | {f"train_{name}": means[name] for name in names}
                | {f"test_{name}": line[name] for name in names}
            )
        return found


def _mean(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if len(numbers) == len(values) and numbers else None
