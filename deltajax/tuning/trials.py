"""Trials on disk, so that an interrupted search goes on where it was."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .evaluation import Trial
from .search import Candidate


class TrialLog:
    """A file of JSON lines: what is being tuned, then a trial each.

    The search is a function of its trials alone. Begun again, it makes the same choices without
    evaluating anything up to the place where it was interrupted.

    Args:
        path: of the file, which is made if there is none; None keeps nothing.
        subject: what is being tuned, of JSON values.

    Raises:
        ValueError: if the file is of something else; the message says in what they differ.
    """

    def __init__(self, path: str | os.PathLike[str] | None, subject: Mapping[str, Any]) -> None:
        self._path = None if path is None else Path(path)
        self._known: dict[Candidate, Trial] = {}
        if self._path is None:
            return
        whole = self._read(subject) if self._path.exists() else []
        # Rewritten, so that a line that was cut off is not continued.
        unfinished = self._path.with_name(self._path.name + ".unfinished")
        header = json.dumps({"subject": dict(subject)})
        unfinished.write_text("".join(f"{line}\n" for line in (header, *whole)))
        unfinished.replace(self._path)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, candidate: Candidate) -> Trial | None:
        """What became of a candidate; None if it was not tried."""
        return self._known.get(candidate)

    def add(self, candidate: Candidate, trial: Trial) -> None:
        """Keeps a trial; it is on disk when this returns."""
        self._known[candidate] = trial
        if self._path is None:
            return
        with self._path.open("a") as file:
            file.write(json.dumps([candidate.dilation, candidate.thresholds, *trial]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _read(self, subject: Mapping[str, Any]) -> list[str]:
        """The lines of the trials that are whole."""
        assert self._path
        header, *lines = self._path.read_text().splitlines() or [""]
        try:
            written = json.loads(header)["subject"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{self._path} is no file of trials of a tuning") from error
        differing = [key for key in subject if written.get(key) != subject[key]]
        if differing:
            raise ValueError(
                f"{self._path} has trials of another tuning, with "
                + ", ".join(f"{key} {written.get(key)!r}" for key in differing)
                + " instead of "
                + ", ".join(repr(subject[key]) for key in differing)
                + "; remove it to begin anew, or name another file"
            )
        whole = []
        for line in lines:
            try:
                dilation, thresholds, error, work = json.loads(line)
            except ValueError:
                break
            self._known[Candidate(dilation, tuple(thresholds))] = Trial(error, work)
            whole.append(line)
        return whole
