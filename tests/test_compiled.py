"""What the compiled loop over frames holds, and that it is compiled once."""

import collections
import functools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from deltajax import frames as frames_module
from deltajax.layers.update_point import UpdatePoint
from deltajax.models import PoseResNet, ResNet, SimpleCNN
from deltajax.ops.convolution import Convolution
from tests.helpers import random_variables

HEIGHT, WIDTH, STEPS = 40, 56, 5

INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (?P<type>\(.*?\)|\S+) (?P<op>[\w\-]+)\(")
COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.\-]+) .*\{$")
CALLED = re.compile(
    r"(?:body|condition|to_apply|calls|called_computations|branch_computations)="
    r"(\{[^}]*\}|%?[\w.\-]+)"
)
ARRAY = re.compile(r"\b(f32|f16|bf16)\[([\d,]*)\]")


class Instruction:
    """A line of HLO: its operation, the sizes of its floating outputs, what it calls."""

    def __init__(self, line: str, match: re.Match[str]):
        self.line = line.strip()
        self.operation = match["op"]
        self.sizes = {
            math.prod(map(int, dims.split(","))) if dims else 1
            for _, dims in ARRAY.findall(match["type"])
        }
        groups = CALLED.findall(line)
        self.called = [name for group in groups for name in re.findall(r"[\w.\-]+", group)]
        body = re.search(r"body=%?([\w.\-]+)", line)
        self.body = body[1] if body else None


class Program:
    """The computations of a compiled program."""

    def __init__(self, text: str):
        self.computations: dict[str, list[Instruction]] = {}
        current: list[Instruction] = []
        for line in text.splitlines():
            if header := COMPUTATION.match(line):
                current = self.computations[header["name"]] = []
            elif match := INSTRUCTION.match(line):
                current.append(Instruction(line, match))

    def reachable(self, name: str, into_loops: bool) -> list[Instruction]:
        """The instructions of a computation and all it calls."""
        found, waiting, seen = [], [name], set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            for instruction in self.computations[name]:
                found.append(instruction)
                if into_loops or instruction.operation != "while":
                    waiting += instruction.called
        return found

    def frame_loop(self) -> str:
        """The body of the loop over frames: the while that holds all others."""
        bodies = {
            name: sum(i.operation == "while" for i in self.reachable(name, into_loops=True))
            for instructions in self.computations.values()
            for name in [i.body for i in instructions]
            if name is not None
        }
        assert bodies, "the program has no loop"
        return max(bodies, key=lambda name: bodies[name])


class Network(nn.Module):
    """Maps of sizes that nothing else has."""

    @nn.compact
    def __call__(self, x):
        shared: Any = {"threshold": 0.01}
        x = dj.Sparsify(name="entry", **shared)(x)
        x = dj.Conv(11, 3, activation="relu", name="conv1", **shared)(x)
        x = dj.MaxPool(2, 2, name="pool", **shared)(x)
        y = dj.Conv(13, 3, norm=dj.BatchNorm(parent=None), name="conv2", **shared)(x)
        y = dj.Conv(13, 3, activation="relu", name="conv3", **shared)(y, y)
        y = dj.Conv(17, 1, name="conv4", **shared)(y)
        y = dj.ConvTranspose(19, 4, 2, name="deconv", **shared)(y)
        return jnp.mean(dj.Densify()(y), axis=(1, 2))


@pytest.fixture(scope="module", params=[1, 3])
def compiled_network(request) -> tuple[int, Program, set[int]]:
    """Streams, the program, and the sizes of the cached maps."""
    model, streams = Network(), request.param
    frames = jax.ShapeDtypeStruct((STEPS, streams, HEIGHT, WIDTH, 3), jnp.float32)
    frame = jax.ShapeDtypeStruct(frames.shape[1:], frames.dtype)
    variables = random_variables(model, frame)
    delta = dj.init_delta(model, variables, frame)
    lowered = frames_module._scan_donated.lower(model, (), (), delta, variables, frames, None)
    text = lowered.compile().as_text() or ""
    return streams, Program(text), {leaf.size for leaf in jax.tree.leaves(delta)}


def test_no_copy_of_a_cached_map_in_the_loop(compiled_network):
    _, program, sizes = compiled_network
    assert len(sizes) == 6
    loop = program.reachable(program.frame_loop(), into_loops=True)
    assert sum(i.operation == "while" for i in loop) >= len(sizes)
    copies = [i.line for i in loop if i.operation.startswith("copy") and i.sizes & sizes]
    assert not copies


def test_a_static_frame_pays_for_no_dense_operation(compiled_network):
    """Convolutions and windows of whole maps are in loops of their own, inside that over frames."""
    streams, program, sizes = compiled_network
    whole = sizes | {size // streams for size in sizes}
    heavy = {"convolution", "dot", "reduce-window", "custom-call"}

    def of_whole_maps(instructions: list[Instruction]) -> list[str]:
        return [i.line for i in instructions if i.operation in heavy and i.sizes & whole]

    body = program.frame_loop()
    assert len(of_whole_maps(program.reachable(body, into_loops=True))) >= 4
    assert not of_whole_maps(program.reachable(body, into_loops=False))


BACKEND = "/jax/core/compile/backend_compile_duration"


class Compilations:
    """Counts what is traced and compiled while it is open."""

    def __enter__(self):
        self.events = collections.Counter()
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_):
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, *_: Any, **__: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            self.events[event] += 1


class TwoLayers(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = dj.Sparsify(name="entry")(x)
        x = dj.Conv(4, 3, activation="relu", name="conv")(x)
        return dj.GlobalAvgPool()(dj.MaxPool(2, 2, name="pool")(x))


def test_compiled_once():
    rng = np.random.default_rng(0)
    model = TwoLayers()
    frames = [rng.uniform(size=(2, 1, 24, 16, 3)).astype(np.float32) for _ in range(2)]
    variables = [random_variables(model, frames[0][0], seed) for seed in (0, 1)]
    present = [np.ones((2, 1), bool), np.zeros((2, 1), bool)]

    def thresholds(value: float) -> dict[str, Any]:
        return {name: {"threshold": jnp.float32(value)} for name in ("entry", "conv", "pool")}

    values = [thresholds(0.0), thresholds(0.5)]

    def everything(which: int, delta: Any) -> Any:
        scan = functools.partial(dj.scan_frames, model)
        weights, shown = variables[which], frames[which]
        state = {**weights, "delta": delta}
        scan(state, shown)
        scan(state, shown, present=present[which])
        scan(state, shown, collect=("statistics", "masks"))
        scan({**state, "thresholds": values[which]}, shown)
        scan({**weights, "delta": dj.reset(delta, 0)}, shown)
        return scan(state, shown, donate=True)[1]

    with Compilations() as first:
        delta = everything(0, dj.init_delta(model, variables[0], frames[0][0]))
    assert first.events[BACKEND] > 0
    with Compilations() as second:
        everything(1, delta)
    assert not second.events

    dj.scan_frames(model, variables[0], frames[0])
    with Compilations() as without_state:
        dj.scan_frames(model, variables[1], frames[1])
    assert without_state.events[BACKEND] == 0


def test_repeated_blocks_are_traced_once(monkeypatch):
    """Of sixteen blocks of one kind the updates are traced for one; of a second program's, none."""
    traced = []

    def counting(self, values):
        traced.append(self)
        return dense(self, values)

    dense = Convolution.dense
    blocks = [dj.Conv(5, 3, activation=nn.relu) for _ in range(16)]
    model = nn.Sequential([dj.Sparsify(), dj.Conv(5, 1), *blocks, dj.Densify()])
    frame = jnp.zeros((1, 21, 23, 4))
    variables = random_variables(model, frame)
    monkeypatch.setattr(Convolution, "dense", counting)

    def updates(offset: int) -> int:
        """Traces of a whole frame, in the loop for streams in which most pixels changed."""
        traced.clear()
        step = jax.jit(lambda v, x: model.apply(v, x + offset, mutable=["delta"])[0])
        step.trace(variables, frame)
        return len(traced) - len(blocks) - 1  # each layer asks for the shape of its output

    first, again = updates(0), updates(1)
    assert 0 < first < len(blocks)
    assert again == 0


def test_thresholds_of_the_collection_count_without_compiling():
    frames = np.random.default_rng(1).uniform(size=(3, 1, 24, 16, 3)).astype(np.float32)
    model = SimpleCNN(features=(4, 4))
    variables = random_variables(model, frames[0])
    state = {**variables, "delta": dj.init_delta(model, variables, frames[0])}
    names = ("sparsify", "conv1", "maxpool1", "conv2", "maxpool2")

    def updated(value: float) -> int:
        thresholds = {name: {"threshold": jnp.float32(value)} for name in names}
        _, _, recorded = dj.scan_frames(
            model, {**state, "thresholds": thresholds}, frames, collect=("statistics",)
        )
        counts = [recorded["statistics"][name]["updated"] for name in names]
        return sum(int(np.sum(np.asarray(count)[1:])) for count in counts)

    everything = updated(0.0)
    with Compilations() as compilations:
        some, nothing = updated(0.7), updated(1e6)
    assert not compilations.events
    assert everything > some > nothing == 0


def test_statistics_leave_no_trace(monkeypatch):
    """When they are off, the program is that of layers which know no statistics."""
    frame = jax.ShapeDtypeStruct((1, 24, 16, 3), jnp.float32)
    frames = jax.ShapeDtypeStruct((2, *frame.shape), frame.dtype)
    model = TwoLayers()
    variables = random_variables(model, frame)
    delta = dj.init_delta(model, variables, frame)

    def lowered(collect: tuple[str, ...]) -> Any:
        jax.clear_caches()
        return frames_module._scan.lower(model, collect, (), delta, variables, frames, None)

    without, with_statistics, again = lowered(()), lowered(("statistics",)), lowered(())
    assert without.as_text() == again.as_text()
    assert without.as_text() != with_statistics.as_text()
    outputs, state = without.out_info
    assert outputs.shape == (2, 1, 4)
    assert jax.tree.structure(state) == jax.tree.structure(delta)
    recorded = with_statistics.out_info[2]["statistics"]
    assert recorded["conv"]["active"].shape == (2, 1)
    monkeypatch.setattr(UpdatePoint, "record", lambda *arguments: None)
    assert lowered(()).as_text() == without.as_text()
    assert lowered(("statistics",)).as_text() == without.as_text()


@pytest.mark.usefixtures("shallow_resnets")
@pytest.mark.parametrize("model", [ResNet(depth=17), PoseResNet(depth=17, dtype=jnp.bfloat16)])
def test_state_is_one_map_per_update_point(model):
    frame = jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.uint8)
    variables = jax.eval_shape(model.init, jax.random.key(0), frame)

    def is_update_point(module: nn.Module, method: str) -> bool:
        return method == "__call__" and isinstance(module, UpdatePoint)

    def outputs(variables: Any, frame: jax.Array) -> Any:
        return model.apply(variables, frame, capture_intermediates=is_update_point)[1]

    weights = {name: variables[name] for name in ("params", "batch_stats")}
    maps = jax.tree.leaves(jax.eval_shape(outputs, weights, frame)["intermediates"])
    paths = jax.tree_util.tree_leaves_with_path(variables["params"])
    convolutions = sum(path[-1].key == "kernel" for path, _ in paths)
    assert len(maps) == convolutions + 2 - isinstance(model, ResNet)
    one_map_each = sum(leaf.size * leaf.dtype.itemsize for leaf in maps)
    delta = dj.init_delta(model, weights, frame)
    assert dj.state_bytes(delta) <= 1.25 * one_map_each
    assert dj.state_bytes(delta) >= one_map_each
