"""Checkpoints with Orbax: a step's state is there as a whole, or not at all."""

import errno
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from .trainer import TrainState


class CheckpointError(OSError):
    """A checkpoint cannot be written or read; the message says why, and what there is."""


class Checkpoints:
    """The latest states of a run, in a folder.

    Args:
        folder: a folder of its own; made if there is none.
        keep: how many are kept.

    Raises:
        CheckpointError: if the folder cannot be made.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder.absolute()
        # Saving in the background would put off errors to another step.
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(self.folder, options=options)
        except OSError as error:
            raise CheckpointError(f"no checkpoints in {folder}: {error}") from error

    @property
    def latest(self) -> int | None:
        """The step of the last one; None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState) -> None:
        """Keeps a state; it is on disk when this returns.

        Raises:
            CheckpointError: if it cannot be written, because the disk is full, say. Those that
                were written before are as they were.
        """
        step = int(state.step)
        if step == self.latest:
            return
        try:
            self._manager.save(step, args=ocp.args.StandardSave(state))
            self._manager.wait_until_finished()
        except Exception as error:
            kept = self._kept_apart_from(step)
            last = f"the last good one is of step {kept}" if kept is not None else "there is none"
            raise CheckpointError(
                f"the checkpoint of step {step} could not be written to {self.folder} "
                f"({_reason(error)}); {last}"
            ) from error

    def restore(self, like: TrainState, step: int | None = None) -> TrainState:
        """A state that was saved.

        Args:
            like: a state of the same run, for its shapes, and where its arrays are.
            step: of the state; the latest if not given.

        Raises:
            CheckpointError: if there is none, or it does not fit.
        """
        step = self.latest if step is None else step
        if step is None:
            raise CheckpointError(f"there is no checkpoint in {self.folder}")
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            restored: Any = self._manager.restore(step, args=ocp.args.StandardRestore(wanted))
            return restored
        except Exception as error:
            raise CheckpointError(
                f"the checkpoint of step {step} in {self.folder} cannot be read, or is of another "
                f"network ({_reason(error)})"
            ) from error

    def close(self) -> None:
        """Lets go of the folder."""
        self._manager.close()

    def _kept_apart_from(self, step: int) -> int | None:
        steps = [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]
        return max((kept for kept in steps if kept != step), default=None)


def _reason(error: BaseException) -> str:
    """The first line of what went wrong; a full disk by its name, however deep it is."""
    cause: BaseException | None = error
    while cause is not None:
        full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left on device" in str(cause):
            return "the disk is full"
        cause = cause.__cause__ or cause.__context__
    first, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first}"
