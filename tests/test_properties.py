"""Random configurations against brute force in NumPy."""

import itertools
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from hypothesis import assume, example, given, settings
from jax import lax

import deltajax as dj
from deltajax.ops.compaction import active_pixels
from deltajax.ops.convolution import Convolution
from deltajax.ops.neighbourhood import Neighbourhood, Pixels
from deltajax.ops.pooling import AveragePooling, MaxPooling
from deltajax.ops.resizing import Resizing
from deltajax.ops.tail import Tail
from deltajax.ops.transposed_convolution import TransposedConvolution
from deltajax.ops.update import Function, update, update_dense
from deltajax.ops.windows import Window
from deltajax.tensor import DeltaTensor
from tests.helpers import NORMS, dense_frames, random_variables, relative_error

SEEDS = st.integers(0, 2**32 - 1)


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def windows(draw, least_padding: int = -2) -> tuple[Window, int, int]:
    """A window and the height and width of a map on which it has at least one output."""
    window = Window(
        draw(pairs(1, 4)),
        draw(pairs(1, 3)),
        draw(st.tuples(pairs(least_padding, 3), pairs(least_padding, 3))),
        draw(pairs(1, 3)),
    )
    height, width = draw(pairs(1, 9))
    assume(
        all(size + sum(pad) > 0 for size, pad in zip((height, width), window.padding, strict=True))
    )
    assume(min(window.output_size(height, width)) > 0)
    return window, height, width


def taps_of(window: Window, row: int, column: int) -> list[tuple[int, int]]:
    """The input positions under an output pixel's taps, those outside the map included."""
    starts = [
        at * stride - before
        for at, stride, (before, _) in zip(
            (row, column), window.strides, window.padding, strict=True
        )
    ]
    return [
        (starts[0] + i * window.dilation[0], starts[1] + j * window.dilation[1])
        for i, j in itertools.product(range(window.size[0]), range(window.size[1]))
    ]


def random_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.random(shape) < rng.choice([0.0, 0.05, 0.3, 1.0])


@settings(max_examples=200)
@given(windows())
def test_output_size_is_the_convolutions(configuration):
    window, height, width = configuration
    kernel = jax.ShapeDtypeStruct((*window.size, 1, 1), jnp.float32)
    x = jax.ShapeDtypeStruct((1, height, width, 1), jnp.float32)
    expected = jax.eval_shape(lambda x, k: Convolution(k, window).dense((x,)), x, kernel).shape
    assert (1, *window.output_size(height, width), 1) == expected


@settings(max_examples=40)
@given(windows(), SEEDS)
def test_window_against_brute_force(configuration, seed):
    window, height, width = configuration
    rng = np.random.default_rng(seed)
    mask = random_mask(rng, (2, height, width))
    values = rng.normal(size=(2, height, width, 3)).astype(np.float32)
    out = window.output_size(height, width)
    reached, covered = np.zeros((2, *out), bool), np.zeros(out, bool)
    gathered = np.full((2, *out, window.taps, 3), -7.0, np.float32)
    for row, column in np.ndindex(*out):
        for tap, (h, w) in enumerate(taps_of(window, row, column)):
            if 0 <= h < height and 0 <= w < width:
                covered[row, column] = True
                reached[:, row, column] |= mask[:, h, w]
                gathered[:, row, column, tap] = values[:, h, w]
    np.testing.assert_array_equal(window.covered(height, width), covered)
    pixels = Pixels(*(jnp.asarray(i.ravel(), jnp.int32) for i in np.indices((2, *out))))

    @jax.jit  # here and below: one program takes less long to compile than its operations
    def computed(mask, values, pixels):
        return window.reach(mask), window.gather(values, pixels, -7.0)

    actual, taken = computed(mask, values, pixels)
    np.testing.assert_array_equal(actual, reached)
    np.testing.assert_array_equal(taken, gathered.reshape(-1, window.taps, 3))


@st.composite
def transposed_convolutions(draw) -> tuple[TransposedConvolution, int, int]:
    size, strides, dilation = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 3))
    height, width = draw(pairs(1, 5))
    padding = draw(st.tuples(pairs(0, 6), pairs(0, 6)))
    kernel = jnp.ones((*size, 1, 1), jnp.float32)
    operation = TransposedConvolution(kernel, strides, padding, dilation)
    assume(min(operation.output_shape(((1, height, width, 1),))) > 0)
    return operation, height, width


@st.composite
def neighbourhoods(draw) -> tuple[Neighbourhood, int, int]:
    """Operations whose outputs grow where any input of their window grows."""
    kind = draw(st.sampled_from(["convolution", "transposed", "average", "resize"]))
    if kind == "transposed":
        return draw(transposed_convolutions())
    if kind == "resize":
        height, width = draw(pairs(1, 5))
        scale = draw(st.sampled_from([(2, 2), (2, 4), (4, 2)]))
        method = draw(st.sampled_from(["nearest", "bilinear"]))
        return Resizing((height * scale[0], width * scale[1]), method), height, width
    window, height, width = draw(windows(-2 if kind == "convolution" else 0))
    if kind == "convolution":
        return Convolution(jnp.ones((*window.size, 1, 1), jnp.float32), window), height, width
    window = Window(window.size, window.strides, window.padding)
    assume(min(window.output_size(height, width)) > 0)
    return AveragePooling(window, count_include_pad=draw(st.booleans())), height, width


@settings(max_examples=50)
@given(neighbourhoods(), SEEDS)
def test_reach_is_exactly_what_changes(configuration, seed):
    """Raising the pixels of a mask raises the outputs within reach, and no others."""
    operation, height, width = configuration
    mask = random_mask(np.random.default_rng(seed), (2, height, width))
    everything = np.ones((1, height, width), bool)

    @jax.jit
    def computed(x, mask):
        return operation.dense((x,)), operation.window_reach((mask,)), operation.reach((mask,))

    x = np.concatenate([mask, everything]).astype(np.float32)[..., None]
    raised, in_window, reached = computed(x, mask)
    changed = np.asarray(raised)[:2, ..., 0] > 1e-6
    np.testing.assert_array_equal(in_window, changed)

    covered = np.asarray(raised)[2, ..., 0] > 0
    following = mask.any(axis=(1, 2))[:, None, None] & ~covered
    np.testing.assert_array_equal(reached, changed | following)


@settings(max_examples=50)
@given(transposed_convolutions(), SEEDS)
def test_transposed_convolution_is_lax_conv_transpose(configuration, seed):
    operation, height, width = configuration
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(2, height, width, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(*operation.kernel.shape[:2], 3, 2)), jnp.float32)
    hyperparameters = operation.strides, operation.padding

    @jax.jit
    def both(x, kernel):
        ours = TransposedConvolution(kernel, *hyperparameters, operation.dilation).dense((x,))
        dilation = operation.dilation
        return ours, lax.conv_transpose(x, kernel, *hyperparameters, rhs_dilation=dilation)

    assert relative_error(*both(x, kernel)) <= 1e-5


SIZES = (1, 2, 31, 32, 33, 64, 100, 2047, 2048, 2049, 5000, 140_000)
positions = jax.jit(lambda mask, rank: active_pixels(mask).at(rank))
count = jax.jit(lambda mask: active_pixels(mask).count)


@settings(max_examples=100)
@given(st.sampled_from(SIZES), st.floats(0, 1), SEEDS)
@example(1, 0.0, 0)
@example(1, 1.0, 0)
@example(140_000, 1.0, 0)
@example(140_000, 0.0, 0)
@example(2049, 1.0, 0)
def test_compaction(size, share, seed):
    mask = np.random.default_rng(seed).random(size) < share
    expected = np.flatnonzero(mask)
    assert int(count(mask)) == len(expected)
    found = np.asarray(positions(mask, jnp.arange(size, dtype=jnp.int32)))
    np.testing.assert_array_equal(found[: len(expected)], expected)


@st.composite
def functions(draw):
    """A neighbourhood operation with random weights, input shape and output shape."""
    kind = draw(st.sampled_from(["convolution", "grouped", "transposed", "max", "average"]))
    rng = np.random.default_rng(draw(SEEDS))
    if kind == "transposed":
        template, height, width = draw(transposed_convolutions())
        kernel = jnp.asarray(rng.normal(size=(*template.kernel.shape[:2], 4, 6)), jnp.float32)
        operation = TransposedConvolution(
            kernel, template.strides, template.padding, template.dilation
        )
    else:
        window, height, width = draw(windows(-2 if kind in ("convolution", "grouped") else 0))
        if kind in ("convolution", "grouped"):
            groups = draw(st.sampled_from([2, 4])) if kind == "grouped" else 1
            features = draw(st.sampled_from([4, 8]))
            kernel = rng.normal(size=(*window.size, 4 // groups, features))
            operation = Convolution(jnp.asarray(kernel, jnp.float32), window, groups)
        else:
            inside = tuple(
                (min(before, size - 1), min(after, size - 1))
                for (before, after), size in zip(window.padding, window.size, strict=True)
            )
            window = Window(window.size, window.strides, (inside[0], inside[1]))
            assume(min(window.output_size(height, width)) > 0)
            if kind == "max":
                operation = MaxPooling(window)
            else:
                operation = AveragePooling(window, draw(st.booleans()))
    streams = draw(st.integers(1, 3))
    return operation, (streams, height, width, 4), rng


@settings(max_examples=10)
@given(functions(), st.sampled_from(NORMS))
def test_update_equals_its_specification(configuration, norm):
    """Threshold 0, over a sequence of frames with masks of every density, stream by stream."""
    operation, shape, rng = configuration
    out = operation.output_shape((shape,))

    def run(update_by, tensor, cached):
        tail = Tail(shift=jnp.ones(out[3]), activation=jnp.tanh)
        return update_by(Function(operation, tail, (tensor,)), cached, 0.0, norm)

    specification = jax.jit(lambda *inputs: run(update_dense, *inputs))
    tested = jax.jit(
        lambda *inputs: run(lambda *arguments: update(*arguments, implementation="xla"), *inputs)
    )
    value = np.zeros(shape, np.float32)
    cached = own = jnp.full(out, jnp.inf)
    for number in range(6):
        per_stream = [random_mask(rng, shape[1:3]) for _ in range(shape[0])]
        mask = np.stack(per_stream) if number else np.ones(shape[:3], bool)
        value[mask] = rng.normal(size=(mask.sum(), 4))
        tensor = DeltaTensor(jnp.asarray(value), jnp.asarray(mask))
        expected, actual = specification(tensor, cached), tested(tensor, own)
        np.testing.assert_array_equal(actual.computed, expected.computed)
        assert relative_error(actual.value, expected.value) <= 1e-5
        unchanged = ~np.asarray(expected.computed)
        np.testing.assert_array_equal(
            np.asarray(actual.value)[unchanged], np.asarray(own)[unchanged]
        )
        cached, own = expected.value, actual.value


class RandomModel(nn.Module):
    kernel_size: int
    strides: int
    padding: Any
    dilation: int

    @nn.compact
    def __call__(self, x):
        x = dj.Sparsify(dilation=self.dilation)(x)
        x = dj.Conv(5, self.kernel_size, self.strides, self.padding, activation="relu")(x)
        x = dj.ConvTranspose(4, self.kernel_size, self.strides, "SAME")(x)
        return dj.Densify()(x)


@settings(max_examples=8)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["SAME", "VALID", 1, ((2, 0), (0, 1))]),
    st.sampled_from([1, 3]),
    SEEDS,
)
def test_sequences_of_frames_equal_dense(kernel_size, strides, padding, dilation, seed):
    """Frames of which random pixels change, or none, or all; random streams are absent."""
    rng = np.random.default_rng(seed)
    frames = np.zeros((7, 2, 13, 15, 3), np.float32)
    frame = rng.normal(size=frames.shape[1:])
    present = rng.random((7, 2)) < 0.8
    present[0] = True
    for step in range(len(frames)):
        mask = random_mask(rng, frame.shape[:3]) if step else np.ones(frame.shape[:3], bool)
        frame[mask & present[step][:, None, None]] = rng.normal(size=3)
        frames[step] = frame
    model = RandomModel(kernel_size, strides, padding, dilation)
    variables = random_variables(model, frames[0])
    outputs, _ = dj.scan_frames(model, variables, frames, present=present)
    assert relative_error(outputs, dense_frames(model, variables, frames)) <= 1e-5
