"""What was read of Human3.6M, and what was not, and why."""

import dataclasses
import enum
from collections import Counter
from typing import NamedTuple


class Fault(enum.StrEnum):
    """What can be wrong with a sequence."""

    KNOWN = "known to be bad in the distribution"
    NAME = "a file of another name"
    NO_ANNOTATION = "a video without annotation"
    NO_VIDEO = "an annotation without video"
    ANNOTATION = "a damaged annotation"
    VIDEO = "a damaged video"
    LENGTH = "an annotation much longer or shorter than its video"
    NUMBERS = "numbers that no joint can have"
    BONES = "bones that change their lengths"
    PROJECTION = "joints that are not where the camera sees them"


class Problem(NamedTuple):
    """Something wrong with a sequence.

    Attributes:
        subject: "S1", for example.
        action: "Directions 1", for example: the name of the file.
        camera: its id, empty for what concerns all cameras.
        fault: what kind of thing it is.
        what: in words.
    """

    subject: str
    action: str
    camera: str
    fault: Fault
    what: str

    def __str__(self) -> str:
        name = " ".join(part for part in (self.subject, self.action, self.camera) if part)
        return f"{name}: {self.what}"


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found in the dataset's folders. As text, `str(report)`.

    Attributes:
        sequences: how many were read: videos of one camera.
        pictures: how many were taken from them.
        problems: what was passed over; of a video that is damaged in the middle what is before is
            read.
        notes: what was not there, and what could not be checked for that.
    """

    sequences: int
    pictures: int
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[Fault, int]:
        """Problems of each kind that there is."""
        return dict(Counter(problem.fault for problem in self.problems))

    def __str__(self) -> str:
        lines = [f"{self.pictures} pictures from {self.sequences} sequences"]
        for fault in Fault:
            if fault in self.counts:
                lines.append(f"{fault}: {self.counts[fault]}")
                lines += [f"  {problem}" for problem in self.problems if problem.fault == fault]
        return "\n".join([*lines, *self.notes])
