"""Times versions of deltajax against each other, in turns on one machine.

For those who change deltajax: a few percent are seen only if both versions run at the same time of
the same machine. Each version has a process of its own, of which one at a time runs a compiled call
of the incremental network; in each round another one begins. The versions' outputs are compared as
well. Times are medians over calls, for one frame of all streams, with the frames on the device.

A version is a folder that holds a checkout of the project, or a revision of this one's Git history.
The scripts and the way to measure are those of this checkout for all of them.
"""

import contextlib
import dataclasses
import io
import itertools
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
import tyro
from _common import (
    DEFAULT_UPDATE,
    Dtype,
    NetworkName,
    RegionOptions,
    Size,
    UpdateOptions,
    command_line,
    network_options,
    size_text,
    write_json,
)
from _version import KINDS, Request
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("models", "triton_kernels")
"""Folders that an installation has inside of the package, and a checkout beside it."""


@dataclasses.dataclass(frozen=True)
class Options(RegionOptions):
    """Times versions of deltajax against each other, in turns on one machine.

    Attributes:
        versions: folders or revisions, two or more; the others are compared with the first.
        model: network to run.
        dtype: of the computation.
        update: What makes a network cheap, and its weights.
        clip: video file; a procedural clip if not given.
        size: to which frames are scaled; "own" is the clip's own size.
        streams: independent streams. Stream n is the clip from frame 10 n on, or a procedural clip
            of its own.
        frames_per_call: frames that one compiled call processes. If not given, 1 on a CPU and 10 on
            a GPU.
        calls: timed calls on the clip in each round, one after the other.
        rounds: how often everything is timed.
        json: file to write the results to.
    """

    versions: Annotated[
        tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="VERSION VERSION [...]")
    ]
    model: NetworkName = "resnet50"
    dtype: Dtype = "float32"
    update: Annotated[UpdateOptions, tyro.conf.OmitArgPrefixes] = DEFAULT_UPDATE
    clip: Path | None = None
    size: Size = None
    streams: int = 1
    frames_per_call: int | None = None
    calls: int = 3
    rounds: int = 5
    json: Path | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison; returns the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    console = Console()
    try:
        report = compare(options, console)
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        return 1
    report["command"] = command_line("compare_versions.py", arguments)
    console.print(table(report))
    if options.json:
        write_json(report, options.json)
        console.print(f"results: {options.json}", highlight=False)
    return 0


def compare(options: Options, console: Console) -> dict[str, Any]:
    """The times of all versions.

    Raises:
        ValueError: for options that do not fit, a version that there is not, or one that fails.
    """
    if len(options.versions) < 2 or len(set(options.versions)) < len(options.versions):
        raise ValueError("give two or more versions, folders or revisions, each once")
    if min(options.streams, options.calls, options.rounds, options.frames_per_call or 1) < 1:
        raise ValueError("--streams, --frames-per-call, --calls and --rounds must be at least 1")
    request = Request(
        network=dataclasses.asdict(network_options(options.update, options.model, options.dtype)),
        clip=str(options.clip) if options.clip else None,
        roi=options.roi,
        size=options.size,
        streams=options.streams,
        frames_per_call=options.frames_per_call,
        calls=1 + options.calls,
    )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runners = []
        for number, version in enumerate(options.versions):
            package = make_package(version, folder / str(number))
            runners.append(stack.enter_context(Runner(version, package, request)))
        with console.status("compiling"):
            ready = [runner.answer() for runner in runners]
        times = measure(runners, options.rounds, options.calls, console)
        results = [
            result(runner, compiled["compile_seconds"], runners[0], times)
            for runner, compiled in zip(runners, ready, strict=True)
        ]
    return {
        **{name: ready[0][name] for name in ("device", "jax", "triton", "frames_per_call")},
        **request.network,
        "clip": options.clip.name if options.clip else "procedural",
        "size": size_text(options.size),
        "streams": options.streams,
        "calls": options.calls,
        "rounds": options.rounds,
        "versions": results,
    }


def make_package(version: str, folder: Path) -> Path:
    """A folder to import the version's deltajax from, with links to where its parts are.

    Raises:
        ValueError: if it is neither a checkout nor a revision.
    """
    folder.mkdir()
    source = Path(version).resolve()
    if not source.is_dir():
        source = folder / "source"
        extract(version, source)
    if not (source / "deltajax" / "__init__.py").is_file():
        raise ValueError(f"{version} is a folder, but there is no checkout of deltajax in it")
    package = folder / "deltajax"
    package.mkdir()
    for entry in (source / "deltajax").iterdir():
        if entry.name not in PARTS:
            (package / entry.name).symlink_to(entry)
    for name in PARTS:
        (package / name).symlink_to(source / name)
    return folder


def extract(revision: str, folder: Path) -> None:
    """The sources of a revision of this project."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision, "deltajax", *PARTS],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        reason = archive.stderr.decode(errors="replace").strip()
        raise ValueError(f"{revision} is neither a folder nor a revision of this project: {reason}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")


class Runner:
    """The process of one version; a context that ends it."""

    def __init__(self, version: str, package: Path, request: Request) -> None:
        self.version = version
        self._outputs = package / "outputs.npy"
        # Processes share the GPU, and none may take all of its memory.
        environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ
        path = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "_version.py")],
            env=environment | {"PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask(dataclasses.asdict(request))

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, kind: str, number: int) -> float:
        """Milliseconds a frame of one call."""
        self._ask({"kind": kind, "number": number})
        return self.answer()["ms"]

    def outputs(self) -> np.ndarray:
        """Of the last call on the clip, as one list of numbers."""
        self._ask({"save": str(self._outputs)})
        self.answer()
        return np.load(self._outputs)

    def answer(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise ValueError(f"{self.version} failed, see above")
        return json.loads(line)

    def _ask(self, request: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the answer tells
            pipe = _pipe(self._process.stdin)
            pipe.write(json.dumps(request) + "\n")
            pipe.flush()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


Times = dict[str, dict[str, list[float]]]
"""Milliseconds of each call, by version and kind of frames."""


def measure(runners: Sequence[Runner], rounds: int, calls: int, console: Console) -> Times:
    """All versions in turns, each round begun by the next one."""
    times: Times = {runner.version: {kind: [] for kind in KINDS} for runner in runners}
    with Progress(console=console) as progress:
        task = progress.add_task("rounds", total=rounds)
        for number in range(rounds):
            start = number % len(runners)
            order = [*runners[start:], *runners[:start]]
            for (kind, call, counts), runner in itertools.product(steps(calls), order):
                milliseconds = runner.run(kind, call)
                if counts:
                    times[runner.version][kind].append(milliseconds)
            progress.advance(task)
    return times


def steps(calls: int) -> Iterator[tuple[str, int, bool]]:
    """The calls of a round: the frames' kind, which call of them, and whether its time counts.

    It does not where the frames before were others: of the clip's end, or those that all change.
    """
    for call in range(1 + calls):
        yield "steady", call, call > 0
    for call in range(3):
        yield "static", call, call > 0
    for call in range(2):
        yield "full_change", call, True


def result(runner: Runner, compile_seconds: float, first: Runner, times: Times) -> dict[str, Any]:
    """Of one version, as numbers for the report."""
    outputs, expected = runner.outputs(), first.outputs()
    found: dict[str, Any] = {
        "version": runner.version,
        "compile_seconds": compile_seconds,
        "difference": float(np.linalg.norm(outputs - expected) / np.linalg.norm(expected)),
    }
    for kind in KINDS:
        own, base = (np.array(times[some.version][kind]) for some in (runner, first))
        found |= {
            f"{kind}_ms": float(np.median(own)),
            f"{kind}_ms_p10_p90": [float(ms) for ms in np.percentile(own, (10, 90))],
            f"{kind}_speedup": float(np.median(base) / np.median(own)),
        }
    return found


def table(report: dict[str, Any]) -> Table:
    """The results for a person to read."""
    title = (
        f"{report['model']}, {report['clip']}, {report['size']}, {report['streams']} stream(s), "
        f"{report['dtype']}, {report['device']}"
    )
    caption = (
        f"milliseconds a frame, and how many times as fast as the first version; medians of "
        f"{report['rounds']} rounds, {report['frames_per_call']} frame(s) per call"
    )
    rows = Table(title=title, caption=caption)
    rows.add_column("version")
    for heading in ("steady", "nothing changes", "everything changes", "difference"):
        rows.add_column(heading, justify="right")
    for version in report["versions"]:
        times = (f"{version[f'{k}_ms']:.4g} ({version[f'{k}_speedup']:.3f} ×)" for k in KINDS)
        rows.add_row(version["version"], *times, f"{version['difference']:.2g}")
    return rows


if __name__ == "__main__":
    sys.exit(main())
