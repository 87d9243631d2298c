"""Metrics on disk, a line of JSON each, so that a run that goes on has one curve."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class MetricsLog:
    """A file of JSON lines: what is trained, then what was measured at which step.

    Args:
        path: of the file.
        subject: what is trained and how, of JSON values.
        step: from which the run goes on; lines of later steps are dropped. 0 begins anew.

    Raises:
        ValueError: if the file is of something else; the message says in what they differ.
    """

    def __init__(self, path: Path, subject: Mapping[str, Any], step: int = 0) -> None:
        self.path = path
        subject = json.loads(json.dumps(dict(subject)))
        self.lines: list[dict[str, Any]] = []
        if step and path.exists():
            header, *lines = list(_whole_lines(path)) or [{}]
            known = header.get("subject", {})
            if differing := [
                f"{name} was {known.get(name)!r}, and is {subject.get(name)!r}"
                for name in sorted(known.keys() | subject.keys())
                if known.get(name) != subject.get(name)
            ]:
                raise ValueError(f"{path} is of another run: {'; '.join(differing)}")
            self.lines = [line for line in lines if line["step"] <= step]
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".unfinished")
        header = {"subject": subject}
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in (header, *self.lines)))
        unfinished.replace(path)

    def add(self, kind: str, step: int, values: Mapping[str, float], **more: Any) -> None:
        """Keeps values; what is not finite becomes null, as JSON has no NaN."""
        numbers = {name: float(value) for name, value in values.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        self.lines.append({"kind": kind, "step": step, **more, **finite})
        with self.path.open("a") as file:
            file.write(json.dumps(self.lines[-1]) + "\n")

    def sync(self) -> None:
        """Returns when all lines are on disk."""
        with self.path.open("a") as file:
            os.fsync(file.fileno())

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The lines of a kind."""
        return [line for line in self.lines if line["kind"] == kind]


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """What was written before the run ended; the last line may have been cut off."""
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return
