"""The tuner without a GPU: what it would measure, and what it makes of a profile."""

import dataclasses
import gzip
import json
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import tune_kernels
from _kernel_times import Event, Kernel, Launch, frames_of, read_profile, times_of
from _version import Request

from deltajax.ops import update_triton
from deltajax.triton_kernels.configuration import ConvolutionShape, rule
from tests.triton_kernels.ahead_of_time import output_of

ENTRY = Kernel("sparsify_rgb_kernel", (12, 1, 1), 128, 0)
LIST = Kernel("list_kernel", (4, 1, 1), 128, 1024)
WIDE = Kernel("convolution_kernel", (132, 1, 1), 512, 61440)
NARROW = Kernel("convolution_kernel", (132, 1, 1), 256, 49152)
COPY = Kernel("MemcpyD2D", (0, 0, 0), 0, 0)
KERNELS = [ENTRY, WIDE, NARROW, NARROW]
SHAPE = ConvolutionShape(5000, 64, 64, 1, 9, 2, False, 132, 227 << 10)


def test_shapes_are_those_that_kernels_ask_for():
    """Of a network that is traced as on a GPU, in a configuration other than the rule's."""
    reports = [json.loads(line) for line in output_of("traced", "3").splitlines()]
    convolutions = [report for report in reports if report["name"] == "convolution_kernel"]
    # The loop's alone, and not what is traced to pack weights before it.
    assert [r["name"].startswith("sparsify") for r in reports] == [True] + [False] * (
        len(reports) - 1
    )
    assert len(convolutions) >= 2
    for report in convolutions:
        assert report["grid"] == [report["programs"], 1, 1]
        assert report["threads"] == 32 * report["warps"]
        assert report["block"] == report["compiled_block"]
        assert report["shared_bytes"] > 0


def test_phases_have_a_part_of_the_multiprocessors():
    """Of convolutions that differ in nothing else, those of phases have fewer."""
    shapes = [dataclasses.replace(SHAPE, multiprocessors=n) for n in (22, 33, 132)]
    constants = {
        "GROUPS": 1, "C_IN": 64, "C_OUT": 64, "KERNEL_HEIGHT": 3, "KERNEL_WIDTH": 3,
        "pixels": 5000, "PRECISION": None,
    }  # fmt: skip

    def found(phases: int) -> int:
        source: Any = SimpleNamespace(
            constants=tuple({**constants, "PHASES": phases}.items()),
            pointers=(("weights", "bf16"),),
        )
        launch = Launch(source, (132, 1, 1))
        return tune_kernels.shape_of(launch, shapes).multiprocessors

    assert (found(1), found(4), found(6)) == (132, 33, 22)


def frame_at(start: float, *kernels: tuple[Kernel, float]) -> list[Event]:
    """Kernels that follow each other by one microsecond, with their durations."""
    events = []
    for kernel, duration in kernels:
        events.append(Event(kernel, start, start + duration))
        start += duration + 1
    return events


def test_kernels_that_changed_places():
    frame = frame_at(10, (ENTRY, 3), (NARROW, 5), (WIDE, 9), (COPY, 2), (NARROW, 6))
    # Each from the end of what ran before, the copy on its own account.
    np.testing.assert_allclose(times_of(frame, KERNELS), [3, 10, 6, 7])


def test_frames_begin_with_the_entry():
    frame = [(ENTRY, 3.0), (NARROW, 5.0), (WIDE, 9.0), (NARROW, 6.0)]
    events = [*frame_at(0, (COPY, 4)), *frame_at(9, *frame), *frame_at(99, *frame, (COPY, 1))]
    frames = frames_of(events, KERNELS)
    assert [len(frame) for frame in frames] == [4, 5]


@pytest.mark.parametrize(
    ("kernels", "message"),
    [
        ([(ENTRY, 3.0), (NARROW, 5.0), (WIDE, 9.0)], "lacks a kernel.*256"),
        ([(ENTRY, 3.0), *[(NARROW, 5.0)] * 3, (WIDE, 9.0)], "a kernel too many.*256"),
        ([(ENTRY, 3.0), (LIST._replace(name=WIDE.name), 5.0)], "a kernel too many.*1024"),
    ],
)
def test_a_profile_of_another_program(kernels, message):
    with pytest.raises(ValueError, match=message):
        times_of(frame_at(0, *kernels), KERNELS)


def test_a_profile_is_read(tmp_path):
    def named(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
        return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}

    def ran(pid: int, tid: int, name: str, ts: float, details: str | None = None) -> dict[str, Any]:
        args = {"kernel_details": details} if details else {}
        return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": ts, "dur": 2, "args": args}

    details = "regs:82 static_shared:0 dynamic_shared:61440 grid:132,1,1 block:512,1,1 occ_pct:25"
    entries = [
        named("process_name", 1, 0, "/device:GPU:0"),
        named("process_name", 2, 0, "/host:CPU"),
        named("thread_name", 1, 7, "Stream #7(Compute)"),
        named("thread_name", 1, 8, "XLA Ops"),
        named("thread_name", 2, 7, "Stream of thoughts"),
        ran(1, 7, "MemcpyD2D", 9),
        ran(1, 7, "convolution_kernel", 4, details),
        ran(1, 8, "while", 1),
        ran(2, 7, "python", 1),
    ]
    folder = tmp_path / "plugins" / "profile" / "now"
    folder.mkdir(parents=True)
    text = json.dumps({"traceEvents": entries}).encode()
    (folder / "host.trace.json.gz").write_bytes(gzip.compress(text))
    assert read_profile(tmp_path) == [Event(WIDE, 4, 6), Event(COPY, 9, 11)]


def test_no_profile_of_a_gpu(tmp_path):
    with pytest.raises(ValueError, match="has no profile of a GPU"):
        read_profile(tmp_path)


def timed(index: int, steady: float, full: float = 10.0, case: int = 0) -> tune_kernels.Timed:
    config = tune_kernels.configurations_of(SHAPE)[index]
    times = {"steady": steady, "static": 1.0, "full_change": full}
    return tune_kernels.Timed(SHAPE.key, config, index == 0, case, times)


@pytest.mark.parametrize(
    ("results", "index"),
    [
        ([timed(0, 4.0), timed(1, 3.0), timed(2, 3.5)], 1),
        # Not clearly better.
        ([timed(0, 4.0), timed(1, 3.97)], 0),
        # A median: one of three was disturbed.
        ([timed(0, 4.0), timed(1, 3.0), timed(2, 3.1), timed(1, 9.0), timed(1, 2.9)], 1),
        # Five times as slow where everything changes.
        ([timed(0, 4.0), timed(1, 3.0, full=50.0)], 0),
        # Best in one network, worst in the other.
        ([timed(i, t, case=c) for c, i, t in ((0, 0, 4), (0, 1, 2), (1, 0, 40), (1, 1, 50))], 0),
        # Measured in one of them only.
        ([timed(0, 4.0), timed(1, 1.0), timed(0, 4.0, case=1)], 0),
    ],
)
def test_the_best(results, index):
    best = tune_kernels.best_of(results, static_weight=0.1, full_weight=0.1)
    assert best == {SHAPE.key: tune_kernels.configurations_of(SHAPE)[index]}


def traced(monkeypatch, index: int, compiles: bool) -> tune_kernels.Program:
    """A network of one convolution, of which the rule's configuration compiles, or none."""
    asked = []

    def trace() -> SimpleNamespace:
        asked.append(update_triton._choose(SHAPE))
        return SimpleNamespace(jaxpr=None)

    def refuse(_launch: Any) -> str | None:
        return None if asked[-1] == rule(SHAPE) and compiles else "out of registers"

    monkeypatch.setattr(tune_kernels, "launches_of", lambda _jaxpr: ["a launch"])
    monkeypatch.setattr(tune_kernels, "shape_of", lambda _launch, _shapes: SHAPE)
    monkeypatch.setattr(tune_kernels, "_why_not_compiled", refuse)
    network: Any = SimpleNamespace(trace=trace)
    return tune_kernels._trace(network, index)


def test_the_rules_stand_in_for_what_does_not_compile(monkeypatch):
    program = traced(monkeypatch, 2, compiles=True)
    assert program.chosen == {SHAPE: rule(SHAPE)}
    assert program.refused == ["out of registers"]


@pytest.mark.parametrize("index", [0, 2])
def test_not_even_the_rules_compile(index, monkeypatch):
    with pytest.raises(RuntimeError, match=r"not even the rule's kernels.*out of registers"):
        traced(monkeypatch, index, compiles=False)


def test_what_fails_is_one_result_among_others():
    request = Request({"unknown": 1}, None, None, (32, 48), 1, 2, 1)
    jobs = [tune_kernels.Job(0, request, index) for index in range(2)]
    results = list(tune_kernels.measure_all(jobs, workers=1))
    assert len(results) == 2
    for result in results:
        assert result.error
        assert "unexpected keyword argument 'unknown'" in result.error
        assert not result.convolutions


def test_configurations_begin_with_the_rules():
    configurations = tune_kernels.configurations_of(SHAPE)
    assert configurations[0] == rule(SHAPE)
    assert len(set(configurations)) == len(configurations) > 10


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="there is a GPU: it would tune")
def test_needs_a_gpu(capsys):
    assert tune_kernels.main([]) == 1
    assert "there is no GPU to measure on" in capsys.readouterr().err


def test_nothing_to_do(capsys):
    assert tune_kernels.main(["--configurations", "0"]) == 1
    assert "--configurations, --frames-per-call and" in capsys.readouterr().err
