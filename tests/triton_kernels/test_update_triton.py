"""What is peculiar to the Triton kernels: selection, limits, networks, the entry."""

import dataclasses
import functools
import gc
import importlib.metadata
import json
import types
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import deltajax as dj
from deltajax import frames as frames_module
from deltajax.models import create
from deltajax.ops import gpu, update_triton
from deltajax.ops import update as update_module
from deltajax.ops.convolution import Convolution
from deltajax.ops.function import Function, PackedWeights, Updated
from deltajax.ops.identity import Concatenation, Identity
from deltajax.ops.pooling import MaxPooling
from deltajax.ops.tail import Tail
from deltajax.ops.update import update
from deltajax.ops.update_triton import COUNTERS, UPDATES
from deltajax.ops.windows import Window
from deltajax.tensor import Arrivals, DeltaTensor
from deltajax.triton_kernels import configuration, convolution, launch, pixelwise, sparsify
from deltajax.triton_kernels.configuration import (
    TILES,
    ConvolutionConfig,
    ConvolutionShape,
    candidates,
    cut,
    rule,
)
from deltajax.triton_kernels.interpreter import interpret
from tests.cases import BY_NAME, TEAM_CASES, combined, pointwise
from tests.helpers import dense_frames, random_variables, relative_error
from tests.ops import test_update


class Network(nn.Module):
    """An entry with dilation, and one of every kernel."""

    implementation: str = "triton"
    threshold: float = 0.0
    dilation: int = 3

    @nn.compact
    def __call__(self, x):
        shared: Any = {"threshold": self.threshold, "implementation": self.implementation}
        entry: Any = {"mean": (0.45,), "std": (0.25,), "dtype": jnp.float32}
        x = dj.Sparsify(dilation=self.dilation, name="entry", **entry, **shared)(x)
        x = dj.Conv(8, 3, 2, norm=dj.BatchNorm(parent=None), activation="relu", **shared)(x)
        y = dj.Conv(8, 3, feature_group_count=8, activation="relu6", **shared)(x)
        y = dj.Conv(8, 1, activation="hard_swish", **shared)(y, x)
        x = dj.Concat(**shared)(x, y)
        x = dj.ConvTranspose(4, 4, 2, **shared)(x)
        x = dj.AvgPool(2, 2, **shared)(dj.Upsample(2, "bilinear", **shared)(x))
        return jnp.mean(dj.Densify()(x), axis=(1, 2))


def frames_of(seed: int = 0) -> np.ndarray:
    """uint8 [5, 2, 16, 24, 3], still but for a patch."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(rng.integers(0, 256, (1, 2, 16, 24, 3), np.uint8), 5, axis=0)
    for step in range(1, 5):
        frames[step:, :, 3 : 6 + step, 5:11] = rng.integers(0, 256, (2, 3 + step, 6, 3), np.uint8)
    return frames


@pytest.mark.usefixtures("exact_products")
@pytest.mark.parametrize("dilation", [1, 3])
def test_a_network_at_threshold_zero_is_dense(dilation):
    model, frames = Network(dilation=dilation), frames_of()
    variables = random_variables(model, frames[0])
    outputs, delta = dj.scan_frames(model, variables, frames)
    assert relative_error(outputs, dense_frames(model, variables, frames)) <= 1e-5
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(delta))


@pytest.mark.usefixtures("exact_products")
def test_masks_and_maps_are_those_of_the_specification():
    frames = frames_of(1)
    present = np.array([[1, 1], [0, 1], [1, 0], [0, 0], [1, 1]], bool)
    results = []
    for implementation in ("triton", "dense"):
        model = Network(implementation, threshold=0.1)
        variables = random_variables(model, frames[0])
        results.append(
            dj.scan_frames(model, variables, frames, present=present, collect=("masks",))
        )
    for triton, dense in zip(*map(jax.tree.leaves, results), strict=True):
        triton, dense = np.asarray(triton), np.asarray(dense)
        if triton.dtype == bool:
            np.testing.assert_array_equal(triton, dense)
        else:
            seen = np.isfinite(dense)
            np.testing.assert_array_equal(np.isfinite(triton), seen)
            assert relative_error(np.where(seen, triton, 0), np.where(seen, dense, 0)) <= 1e-5


@pytest.mark.parametrize("name", ["three_streams_3x3_residual", "bilinear_x2", "grouped_3x3"])
def test_maps_that_need_64_bits(name, monkeypatch):
    """The kernels' 64-bit indices, on maps that do not need them."""
    for module in (convolution, pixelwise, sparsify):
        monkeypatch.setattr(module, "INT32_LIMIT", 1)
    test_update.check(BY_NAME[name], "triton", "max", "float32")


@pytest.mark.parametrize("split", [True, False], ids=["split", "whole"])
@pytest.mark.parametrize(
    ("name", "shares", "team", "listed"),
    [
        ("team_3x3", 2, 3, False),
        ("team_grouped_3x3", 1, 8, False),
        ("team_valid_5x3", 3, 2, False),
        ("one_row", 1, 3, False),
        ("team_1x1_residual", 1, 5, False),
        ("team_1x1_residual", 4, 1, False),
        ("team_grouped_3x3", 1, 8, True),
        ("team_valid_5x3", 1, 2, True),
        ("team_1x1_residual", 1, 5, True),
        ("team_transposed_2x2", 1, 3, True),
        ("team_transposed_2x2", 2, 3, False),
        ("team_transposed_4x4", 1, 3, True),
        ("team_transposed_4x4", 2, 3, False),
        ("team_transposed_residual", 1, 3, True),
        ("team_transposed_residual", 2, 3, False),
        ("team_transposed_residual", 3, 1, False),
        ("team_transposed_rows", 2, 3, False),
    ],
)
def test_teams(name, shares, team, listed, split):
    """Tiles whose sums, and channels, are divided between programs."""
    config = ConvolutionConfig(16, 16, 16, shares, team, listed, split, 8, 4, 1)
    with update_triton.configured(lambda _: config):
        test_update.check(TEAM_CASES[name], "triton", "rms", "float32")


@pytest.mark.parametrize(
    ("split", "told"), [(True, "partial_sums"), (False, "norms")], ids=["split", "whole"]
)
def test_phases_share_no_memory(split, told, monkeypatch):
    """On a GPU they run at the same time, where the interpreter runs one after the other."""
    seen = []

    def record(kernel, grid, arrays, parameters):
        interpret(kernel, grid, arrays, parameters)
        seen.append(arrays)

    monkeypatch.setattr(launch, "interpret", record)
    case = TEAM_CASES["team_transposed_4x4"]
    (shape,) = case.shapes
    parameters = case.make_parameters(np.random.default_rng(0), "float32")
    x = np.random.default_rng(1).standard_normal(shape, np.float32)
    function = case.function(parameters, (DeltaTensor(jnp.array(x), jnp.ones(shape[:3], bool)),))
    config = ConvolutionConfig(16, 16, 16, 2, 6, False, split, 8, 4, 1)
    with update_triton.configured(lambda _: config):
        updated = update(function, jnp.zeros(function.output_shape), 0.0, "max", "triton")
        jax.block_until_ready(updated.value)
    (arrays,) = seen
    # Everything changes. What no program has written is as it was before: poison.
    lists, told_by_phase = arrays["pixel_list"], arrays[told].reshape(4, -1)
    assert len(lists) == 4 * 2 * 6
    assert (lists < np.iinfo(lists.dtype).max).any(axis=1).all()
    written = np.isfinite(told_by_phase).sum(axis=1)
    assert written[0] > 0
    assert (written == written[0]).all()


@pytest.mark.parametrize("listed", [True, False])
def test_more_counters_than_an_update_has(listed, monkeypatch):
    """Four phases of three programs want more of them than there are: a new array is made."""
    monkeypatch.setattr(update_triton, "COUNTERS", 8)
    config = ConvolutionConfig(16, 16, 16, 1, 3, listed, True, 8, 4, 1)
    with update_triton.configured(lambda _: config):
        test_update.check(TEAM_CASES["team_transposed_4x4"], "triton", "max", "float32")


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("pose_resnet_deconv_4x4_stride2", [(2, 2)]),
        ("transposed_2x2", [(2, 2)]),
        ("transposed_4x6", [(2, 3)]),
        ("transposed_narrower_than_strides", [(1, 1)] * 8),
        ("transposed_3x3_same", [(1, 1)] * 4),
        ("transposed_5x5_stride3", [(1, 1)] * 9),
        ("transposed_stride1", [(1, 1)]),
    ],
)
def test_phases_that_are_alike_are_one_call(name, phases):
    case = BY_NAME[name]
    parameters = case.make_parameters(np.random.default_rng(0), "float32")
    (shape,) = case.shapes
    x = DeltaTensor(jnp.ones(shape), jnp.ones(shape[:3], bool))
    function = case.function(parameters, (x,))
    packed = update_triton.pack(function, jnp.zeros(function.output_shape))
    assert [part.phases.number for part in packed.layout] == phases


def test_pairs_of_pixels_from_a_list():
    config = ConvolutionConfig(64, 64, 32, 1, 4, True, False, 8, 4, 1)
    with update_triton.configured(lambda _: config):
        test_update.check(BY_NAME["resnet_stem_7x7_stride2"], "triton", "max", "float32")


def test_a_delta_tensor_is_a_map_and_a_mask():
    """What kernels hand on is no part of it, so that it can be carried, mapped and branched."""
    x = DeltaTensor(jnp.ones((2, 4, 4, 1)), jnp.ones((2, 4, 4), bool))
    y = x.with_arrivals(Arrivals(jnp.zeros(3, jnp.int32), 0))
    assert jax.tree.structure(x) == jax.tree.structure(y)
    assert y.arrivals is not None
    assert x.arrivals is None
    assert jax.tree.map(lambda leaf: leaf[:1], y).arrivals is None


def all_ones() -> DeltaTensor:
    return DeltaTensor(jnp.ones((1, 4, 4, 16)), jnp.ones((1, 4, 4), bool))


def first_update(function: Function) -> DeltaTensor:
    """What a layer would hand on."""
    updated = update(function, jnp.zeros(function.output_shape), 0.0, "max", "triton")
    return DeltaTensor(updated.value, updated.mask).with_arrivals(updated.arrivals)


def convolved(x: DeltaTensor) -> DeltaTensor:
    operation = Convolution(jnp.ones((1, 1, 16, 16)), Window((1, 1), (1, 1), ((0, 0), (0, 0))))
    return first_update(Function(operation, Tail(), (x,)))


def added(x: DeltaTensor, y: DeltaTensor) -> DeltaTensor:
    return first_update(Function(Identity(), Tail(others=(y,), combine=jnp.add), (x,)))


def used(*tensors: DeltaTensor) -> list[int]:
    """Of the counters that updates have left."""
    return [x.arrivals.used // COUNTERS for x in tensors if x.arrivals]


def test_branches_have_arrays_of_their_own():
    """Were one array overwritten by two updates, XLA would copy it."""
    x = convolved(all_ones())
    branches = convolved(x), convolved(x), convolved(x)
    assert used(x, *branches) == [1, 2, 1, 1]
    arrays = {id(y.arrivals.counters) for y in branches if y.arrivals}
    assert len(arrays) == 3


def test_what_is_left_over_where_branches_meet_goes_to_others():
    x = convolved(all_ones())
    y = added(convolved(x), convolved(x))
    longer = convolved(y)
    assert used(y, longer, convolved(y), convolved(y)) == [3, 4, 2, 1]


class Kernel(NamedTuple):
    """Of a frame, with the numbers of those whose results it needs, itself included."""

    operands: list[Any]
    results: list[Any]
    needed: set[int]


@functools.cache
def kernels_of_a_frame(name: str) -> list[Kernel]:
    """In the order of the trace."""
    model = create(name, implementation="triton")
    frame = jax.ShapeDtypeStruct((1, 64, 96, 3), jnp.uint8)
    variables = jax.eval_shape(model.init, jax.random.key(0), frame)
    step = functools.partial(model.apply, mutable=["delta"])
    behind: dict[int, set[int]] = {}
    kernels = []
    for equation in jax.make_jaxpr(step)(variables, frame).eqns:
        needed = set().union(*(behind.get(id(operand), ()) for operand in equation.invars))
        if equation.primitive.name == "pure_callback":
            needed = needed | {len(kernels)}
            kernels.append(Kernel(equation.invars, equation.outvars, needed))
        behind |= dict.fromkeys(map(id, equation.outvars), needed)
    return kernels


def test_branches_do_not_wait_for_each_other():
    """In ResNet-50 a shortcut and the first convolution beside it, in each of four stages."""
    readers: dict[int, list[int]] = {}
    for number, kernel in enumerate(kernels_of_a_frame("resnet50")):
        others = readers.setdefault(id(kernel.operands[0]), [])  # the first one is the map
        assert not kernel.needed & set(others)
        others.append(number)
    assert sorted(map(len, readers.values()))[-5:] == [1, 2, 2, 2, 2]


def test_four_branches_hardly_wait_for_each_other():
    """HRNet: of 345 kernels 107 need each other; with one array of counters it would be 281."""
    kernels = kernels_of_a_frame("pose_hrnet_w32")
    longest: list[int] = []
    for number, kernel in enumerate(kernels):
        before = [longest[other] for other in kernel.needed - {number}]
        longest.append(1 + max(before, default=0))
    assert len(kernels) == 345
    assert 107 <= max(longest) <= 120


def test_no_array_is_overwritten_twice():
    """XLA would copy it."""
    overwritten = [
        id(operand)
        for kernel in kernels_of_a_frame("resnet50")
        for operand in kernel.operands
        if operand.aval.shape == (COUNTERS * UPDATES,)
        and operand.aval in [result.aval for result in kernel.results]
    ]
    assert len(set(overwritten)) == len(overwritten) > 20


def test_one_array_follows_another_that_is_used_up():
    before = Arrivals.take([], COUNTERS, COUNTERS + 1)
    left = before.replace(used=2)
    before.hand_on(left)
    y = convolved(all_ones().with_arrivals(left))
    assert used(y, convolved(y)) == [1, 2]


ENCLOSED = {
    "call": lambda f: jax.jit(f)(),
    "branch": lambda f: jax.lax.cond(True, f, f),
    "loop": lambda f: jax.lax.scan(lambda carry, _: (carry, f()), 0, length=2)[1],
    "remat": lambda f: jax.checkpoint(f)(),
}


@pytest.mark.parametrize("enclosed", ENCLOSED.values(), ids=ENCLOSED)
def test_what_is_left_in_a_trace_stays_inside_of_it(enclosed):
    inside: list[int] = []
    outside: list[int] = []

    def run(value: jax.Array, mask: jax.Array) -> Any:
        x = convolved(DeltaTensor(value, mask))

        def branches() -> jax.Array:
            y = added(convolved(x), convolved(x))
            found = convolved(y), convolved(y), convolved(y)
            inside[:] = used(y, *found)
            return found[2].value

        y = enclosed(branches)
        z = convolved(x)
        outside[:] = used(x, z, convolved(x), convolved(z))
        return y, z.value

    x = all_ones()
    with jax.checking_leaks():
        y, z = jax.jit(run)(x.value, x.mask)
    # Were one of the arrays from inside, or taken there, the others would not be new, or not x's.
    assert (inside, outside) == ([2, 3, 2, 1], [1, 2, 1, 3])
    np.testing.assert_array_equal(z, np.full(z.shape, 16.0**2))
    np.testing.assert_array_equal(y.reshape(-1, *z.shape)[-1], np.full(z.shape, 2 * 16.0**3))


@pytest.mark.parametrize("carried", [False, True])
def test_frame_after_frame_keeps_no_arrays(carried):
    """Nor do they wait for the garbage collector."""
    x, counts = all_ones(), []
    gc.disable()
    try:
        for _ in range(5):
            x = convolved(x)
            branches = convolved(x), convolved(x), convolved(x)
            x = added(added(branches[0], branches[1]), branches[2])
            del branches
            if not carried:
                x = DeltaTensor(x.value, x.mask)
            arrays = (array for array in jax.live_arrays() if array.size == COUNTERS * UPDATES)
            counts.append(sum(1 for _ in arrays))
    finally:
        gc.enable()
    assert len(set(counts[1:])) == 1


@pytest.mark.parametrize(
    ("team", "rows", "lines"),
    [(4, 512, 2048), (4, 513, 2052), (4, 511, 0), (1, 512, 0)],
)
def test_weights_that_are_fetched_ahead(team, rows, lines):
    """Where programs work in teams, and the weights are 256 KiB at least."""
    config = ConvolutionConfig(16, 16, 16, 1, team, False, False, 8, 4, 1)
    weights = jax.ShapeDtypeStruct((rows, 128), jnp.float32)
    assert convolution._lines_ahead(weights, config) == lines


def test_concatenation_of_several_dtypes():
    maps = jnp.ones((1, 4, 4, 2), jnp.bfloat16), jnp.full((1, 4, 4, 3), 1.0001, jnp.float32)
    tensors = tuple(DeltaTensor(x, jnp.ones((1, 4, 4), bool)) for x in maps)
    function = Function(Concatenation(), Tail(), tensors)
    cached = jnp.full((1, 4, 4, 5), jnp.inf)
    updated = update(function, cached, 0.0, "max", "triton")
    np.testing.assert_array_equal(updated.value, function.dense())


def test_outputs_without_a_pixel():
    x = DeltaTensor(jnp.ones((1, 2, 2, 2)), jnp.ones((1, 2, 2), bool))
    function = Function(MaxPooling(Window((3, 3), (1, 1), ((0, 0), (0, 0)))), Tail(), (x,))
    updated = update(function, jnp.ones(function.output_shape), 0.0, "max", "triton")
    assert updated.value.shape == (1, 0, 0, 2)


def test_more_channels_than_a_block_holds(monkeypatch):
    """Two passes: the norm of a pixel is known after the first."""
    monkeypatch.setattr(pixelwise, "BLOCK", 32)
    small = (1, 12, 16, 24)  # of which a program takes two pixels
    case = pointwise("small_add", (small, small), combined(jnp.add, jax.nn.relu))
    test_update.check(case, "triton", "l2", "float32")


def test_tails_without_a_kernel_are_computed_densely():
    case = BY_NAME["elementwise"]
    tensors = tuple(DeltaTensor(jnp.ones(s), jnp.ones(s[:3], bool)) for s in case.shapes)
    function = case.function({}, tensors)
    assert not update_triton.supports(function, jnp.ones(function.output_shape))
    case = BY_NAME["add"]
    tensors = tuple(DeltaTensor(jnp.ones(s), jnp.ones(s[:3], bool)) for s in case.shapes)
    assert update_triton.supports(case.function({}, tensors), jnp.ones(case.shapes[0]))


def test_kernels_that_are_too_large_are_computed_densely():
    x = DeltaTensor(jnp.ones((1, 40, 4, 2)), jnp.ones((1, 40, 4), bool))
    for size, supported in ((31, True), (32, False)):
        window = Window((size, 1), (1, 1), ((0, 0), (0, 0)))
        operation = Convolution(jnp.ones((size, 1, 2, 3)), window)
        function = Function(operation, Tail(), (x,))
        assert update_triton.supports(function, jnp.ones(function.output_shape)) == supported


def test_dtypes_that_kernels_do_not_know():
    x = DeltaTensor(jnp.ones((1, 4, 4, 2), jnp.float8_e4m3fn), jnp.ones((1, 4, 4), bool))
    function = Function(Identity(), Tail(), (x,))
    with pytest.raises(ValueError, match=r"float8_e4m3fn; it knows float32, bfloat16, float16"):
        update(function, x.value, 0.0, "max", "triton")


@pytest.fixture
def another_machine(monkeypatch):
    """Sets the GPU's compute capability and the installed versions (None: not installed)."""

    def become(capability: str | None, versions: dict[str, str | None]) -> None:
        found = types.SimpleNamespace(device_kind="a GPU", compute_capability=capability)
        monkeypatch.setattr(gpu, "gpus", lambda: (found,) if capability else ())
        monkeypatch.setattr(update_module, "gpus", gpu.gpus)

        def version(name: str) -> str:
            if versions[name] is None:
                raise importlib.metadata.PackageNotFoundError(name)
            return str(versions[name])

        monkeypatch.setattr(importlib.metadata, "version", version)
        gpu.why_not_triton.cache_clear()
        update_module._warn.cache_clear()

    yield become
    monkeypatch.undo()
    gpu.why_not_triton.cache_clear()


GOOD = {"jax": "0.11.2", "triton": "3.7.1"}


@pytest.mark.parametrize(
    ("capability", "versions", "message"),
    [
        ("7.5", GOOD, r"a GPU has compute capability 7.5, but 8.0 \(Ampere\) or newer is needed"),
        ("9.0", GOOD | {"jax": "0.10.2"}, r"jax is 0.10.2, but jax >= 0.11 is needed"),
        ("9.0", GOOD | {"triton": "3.5.0"}, r"triton is 3.5.0, but triton >= 3.6 is needed"),
        ("9.0", GOOD | {"triton": None}, r'not installed: pip install "deltajax\[gpu\]"'),
    ],
)
def test_machines_without_kernels(another_machine, capability, versions, message):
    another_machine(capability, versions)
    check_that_there_are_no_kernels(message)


def check_that_there_are_no_kernels(message: str) -> None:
    x = DeltaTensor(jnp.ones((1, 4, 4, 2)), jnp.ones((1, 4, 4), bool))
    function = Function(Identity(), Tail(), (x,))
    with pytest.raises(ValueError, match=r'implementation="triton" cannot run: .*' + message):
        update(function, x.value, 0.0, "max", "triton")
    with pytest.warns(UserWarning, match=r"without its Triton kernels.*" + message):
        updated = update(function, x.value, 0.0, "max", "auto")
    assert updated.mask.shape == (1, 4, 4)
    update(function, x.value, 0.0, "max", "auto")  # a second warning would be an error


def test_versions_that_do_not_go_together(another_machine, monkeypatch):
    def try_update(device: Any) -> None:
        raise jax.errors.JaxRuntimeError(
            "INTERNAL: Failed to load PTX text as a module\n\nptx: ..."
        )

    monkeypatch.setattr(update_triton, "try_update", try_update)
    another_machine("9.0", GOOD)
    check_that_there_are_no_kernels(
        r"jax 0.11.2 and triton 3.7.1 cannot run .*pip install --upgrade .*"
        r"\(JaxRuntimeError: INTERNAL: Failed to load PTX text as a module\)$"
    )


def test_versions_that_go_together(another_machine, monkeypatch):
    """With the interpreter in the place of a GPU."""
    try_update, (cpu, *_) = update_triton.try_update, jax.devices("cpu")
    monkeypatch.setattr(update_triton, "try_update", lambda device: try_update(cpu))
    another_machine("9.0", GOOD)
    assert update_module.resolve("triton") == "triton"
    assert update_module.resolve("auto") == "auto"


def test_a_wrong_result_is_seen(monkeypatch):
    """Such as of a kernel that takes its pointers in another order."""
    wrong = Updated(jnp.zeros((1, 8, 8, 32)), jnp.ones((1, 8, 8), bool), jnp.ones((1, 8, 8)), None)
    monkeypatch.setattr(update_triton, "update_triton", lambda *_: wrong)
    with pytest.raises(RuntimeError, match="an update of a small convolution is wrong"):
        update_triton.try_update(jax.devices("cpu")[0])


def test_auto_is_xla_without_a_gpu(another_machine):
    another_machine(None, GOOD)
    assert update_module.resolve("auto") == "xla"


SHAPES = tuple(
    ConvolutionShape(pixels, channels, features, groups, taps, itemsize, exact, parts, shared)
    for pixels, channels, features, groups, taps, parts in (
        (1, 1, 1, 1, 9, 132),
        (27648, 64, 64, 1, 9, 132),
        (221184, 64, 256, 1, 1, 132),
        (3456, 512, 512, 1, 9, 132),
        (432, 2048, 512, 1, 1, 132),
        (1 << 22, 3, 64, 1, 49, 132),
        (5000, 8, 16, 4, 9, 132),
        (221184, 256, 17, 1, 1, 132),
        # Phases, with a quarter of the multiprocessors.
        (432, 2048, 256, 1, 4, 33),
        (16320, 2048, 256, 1, 4, 33),
        (1728, 256, 256, 1, 4, 33),
        (55296, 256, 256, 1, 4, 33),
    )
    for itemsize, exact in ((2, False), (4, False), (4, True))
    for shared in (99 << 10, 227 << 10)
)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.key)
def test_configurations_fit(shape):
    for config in (rule(shape), *candidates(shape), *(cut(shape, tile, 512) for tile in TILES)):
        step = (config.block_m + config.block_n) * config.block_k * shape.itemsize
        assert config.num_stages == 1 or config.num_stages * step <= shape.shared_bytes
        assert config.run % 4 == 0
        assert 0 < config.shares * config.team <= 4 * shape.multiprocessors
        assert config.shares == 1 or not config.listed


def test_a_table_goes_before_the_rule(tmp_path, monkeypatch):
    shape = SHAPES[1]
    chosen = cut(shape, TILES[-1], 64)
    table = tmp_path / "table.json"
    table.write_text(json.dumps({"convolutions": {shape.key: dataclasses.asdict(chosen)}}))
    assert chosen != rule(shape)
    monkeypatch.setenv(configuration.TABLE_VARIABLE, str(table))
    assert configuration.choose_convolution_config(shape) == chosen
    assert configuration.choose_convolution_config(SHAPES[3]) == rule(SHAPES[3])
    monkeypatch.setenv(configuration.TABLE_VARIABLE, str(tmp_path / "missing.json"))
    with pytest.raises(ValueError, match=r"missing.json, which is no table.*tune_kernels"):
        configuration.choose_convolution_config(shape)


@pytest.mark.parametrize(
    ("precision", "word"),
    [
        (None, "tf32"),
        (jax.lax.Precision.DEFAULT, "tf32"),
        ("tensorfloat32", "tf32"),
        (jax.lax.Precision.HIGHEST, "tf32x3"),
        (("default", "highest"), "tf32x3"),
    ],
)
def test_precision(precision, word):
    assert update_triton._precision(precision) == word
    with jax.default_matmul_precision("float32"):
        assert update_triton._precision(None) == "tf32x3"


def test_tf32_rounds_and_does_not_cut():
    """Two convolutions, one behind the other: cut operands would make all numbers too small."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(32, 96, (1, 6, 8, 16)) / 64, jnp.float32)  # exact in TF32
    kernels = [jnp.asarray(rng.uniform(0.5, 1.5, (3, 3, 16, 16)) / 144, jnp.float32)] * 3
    everywhere = jnp.ones((1, 6, 8), bool)

    def run(implementation: Any) -> np.ndarray:
        value = x
        for kernel in kernels:
            operation = Convolution(kernel, Window((3, 3), (1, 1), ((1, 1), (1, 1))))
            function = Function(operation, Tail(), (DeltaTensor(value, everywhere),))
            unseen = jnp.full(x.shape, jnp.inf, jnp.float32)
            value = update(function, unseen, jnp.float32(0), "max", implementation).value
        return np.asarray(value)

    with jax.default_matmul_precision("highest"):
        expected = run("dense")
    with jax.default_matmul_precision("tensorfloat32"):
        found = run("triton")
    assert not (found.view(np.uint32) & 0x1FFF).any()
    assert relative_error(found, expected) <= 4e-4
    # Cut operands would come to 2 · 3.5e-4 for each convolution.
    ratio = float((found * expected).sum() / (expected * expected).sum())
    assert abs(ratio - 1) <= 1e-4


def _primitives(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr and of those within it, but for the loops over frames."""
    for equation in jaxpr.eqns:
        yield equation
        if equation.primitive.name != "scan":
            for inner in jax.tree.leaves(list(equation.params.values())):
                if hasattr(inner := getattr(inner, "jaxpr", inner), "eqns"):
                    yield from _primitives(inner)


def test_weights_are_packed_before_the_loop():
    """XLA leaves it in there on a GPU, where it takes a quarter of ResNet-50's time."""
    model = Network()
    frame = jax.ShapeDtypeStruct((1, 32, 48, 3), jnp.uint8)
    frames = jax.ShapeDtypeStruct((2, *frame.shape), frame.dtype)
    variables = random_variables(model, frame)
    delta = dj.init_delta(model, variables, frame)
    run = functools.partial(frames_module._scan_frames, model, (), ())
    outside = list(_primitives(jax.make_jaxpr(run)(delta, variables, frames, None).jaxpr))
    (loop,) = (each.params["jaxpr"].jaxpr for each in outside if each.primitive.name == "scan")

    def rounded(equations: Iterable[Any]) -> int:
        return sum(each.primitive.name == "reduce_precision" for each in equations)

    # Two convolutions and a transposed one; what is depthwise has no products.
    assert rounded(outside) == 3
    assert rounded(_primitives(loop)) == 0
    # Frame by frame, without the loop, they are packed in each step, unless they have been before.
    step = functools.partial(model.apply, mutable=["delta"])
    packed = jax.eval_shape(lambda v: dj.pack_weights(model, v, frame), variables)
    for given, count in ((variables, 3), (packed, 0)):
        alone = jax.make_jaxpr(step)({**given, "delta": delta}, frame).jaxpr
        assert rounded(_primitives(alone)) == count
    again = jax.make_jaxpr(run)(delta, packed, frames, None).jaxpr
    assert rounded(_primitives(again)) == 0


def _is_packed(x: Any) -> bool:
    return isinstance(x, PackedWeights)


def _zeroed(of: str, packed: PackedWeights) -> PackedWeights:
    """The same without its scale, its shift, or its weights, of products or depthwise."""
    if of in ("scale", "shift"):
        return packed.replace(**{of: jax.tree.map(jnp.zeros_like, getattr(packed, of))})
    if bool(packed.layout) == (of == "products"):
        return packed.replace(arrays=jax.tree.map(jnp.zeros_like, packed.arrays))
    return packed


def test_packed_weights():
    """One step and one scan after the other: what is packed changes nothing but the time."""
    model = Network()
    frames = np.random.default_rng(5).integers(0, 256, (3, 1, 32, 48, 3), np.uint8)
    variables = random_variables(model, frames[0])
    packed = dj.pack_weights(model, {**variables, "delta": "kept"}, frames[0])
    assert set(packed) == {*variables, "delta", "packed"}
    assert packed.pop("delta") == "kept"
    expected, _ = dj.scan_frames(model, variables, frames)
    np.testing.assert_array_equal(dj.scan_frames(model, packed, frames)[0], expected)
    step = jax.jit(functools.partial(model.apply, mutable=["delta"]))
    state = {"delta": dj.init_delta(model, packed, frames[0])}
    for frame, output in zip(frames, expected, strict=True):
        found, state = step({**packed, **state}, frame)
        np.testing.assert_array_equal(found, output)
    # Those in use are the packed ones, of each kind.
    for of in ("scale", "shift", "products", "depthwise"):
        zeroed = functools.partial(_zeroed, of)
        others = jax.tree.map(zeroed, packed["packed"], is_leaf=_is_packed)
        nothing, _ = dj.scan_frames(model, {**packed, "packed": others}, frames)
        assert not np.array_equal(nothing, expected), of
    # Plain XLA has no use for them; a dense network pays no attention.
    plain = Network(implementation="xla")
    assert set(dj.pack_weights(plain, variables, frames[0])) == set(variables)
    np.testing.assert_array_equal(model.apply(packed, frames[0]), model.apply(variables, frames[0]))


@pytest.mark.parametrize("change", ["frames", "precision"])
def test_weights_packed_for_something_else(change):
    model = Network()
    frames = np.zeros((2, 1, 32, 48, 3), np.uint8)
    variables = random_variables(model, frames[0])
    packed = dj.pack_weights(model, variables, frames[0])
    precision = "highest" if change == "precision" else None
    if change == "frames":
        frames = frames[:, :, :, :40]
    with (
        jax.default_matmul_precision(precision),
        pytest.raises(ValueError, match="packed for frames of another shape, or another precision"),
    ):
        dj.scan_frames(model, packed, frames)


@pytest.mark.parametrize("layer", [dj.Conv, dj.BatchNorm], ids=["depthwise", "norm"])
def test_weights_packed_for_another_network(layer):
    """What has no layout is looked at, too: a kernel would read beyond its end."""
    shared: Any = {"implementation": "triton", "parent": None}
    given = {dj.Conv: {"features": 8, "feature_group_count": 8, **shared}, dj.BatchNorm: shared}

    def network(size: int, channels: int) -> nn.Module:
        kernel: Any = {"kernel_size": size} if layer is dj.Conv else {}
        convolution = dj.Conv(channels, 1, **shared)
        changed = layer(**given[layer], **kernel)
        entry = dj.Sparsify(**shared)
        return nn.Sequential((entry, convolution, changed, dj.Densify(parent=None)))

    frame = np.zeros((1, 12, 16, 3), np.float32)
    small = network(3, 8)
    large = network(5, 8 if layer is dj.Conv else 12)
    packed, other = (
        dj.pack_weights(model, model.init(jax.random.key(0), frame), frame)
        for model in (small, large)
    )
    changed = packed["packed"]["layers_2"]
    mixed = {**other, "packed": {**other["packed"], "layers_2": changed}}
    with pytest.raises(ValueError, match="or another network; pack them again"):
        large.apply(mixed, frame, mutable=["delta"])


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("norm", ["max", "l2", "rms"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_frames_of_bytes_are_read_in_words(dtype, norm, dilation):
    """Four pixels of three channels at a time, as pixel by pixel in floating point."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (2, 10, 12, 3), np.uint8)
    factor, offset = jnp.array([0.017, 0.0175, 0.0174]), jnp.array([2.1, 2.0, 1.8])
    cached = frame * np.asarray(factor) - np.asarray(offset) + rng.normal(0, 0.08, frame.shape)
    cached[0, 0, :3], cached[0, 1, 1, 2] = np.inf, np.nan
    for present in (None, jnp.asarray(rng.random(frame.shape[:3]) < 0.5)):
        (value, mask), (expected, expected_mask) = (
            sparsify.enter_frame(
                jnp.asarray(frame, kind),
                factor,
                offset,
                present,
                jnp.asarray(cached, dtype),
                jnp.array([0.1]),
                norm,
                dilation,
            )
            for kind in (jnp.uint8, jnp.float32)
        )
        np.testing.assert_array_equal(mask, expected_mask)
        np.testing.assert_array_equal(np.float32(value), np.float32(expected))
        assert 0.05 < np.asarray(mask).mean() < (0.95 if dilation == 1 else 1.01)
