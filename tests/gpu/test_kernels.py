"""The Triton kernels on a GPU: run by hand, `pytest -m gpu -n 6`.

Fourteen processes at a time were too many for one GPU: tests failed that pass by themselves.
"""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deltajax as dj
from deltajax import frames as frames_module
from deltajax.models import create
from deltajax.norms import ThresholdNorm
from deltajax.ops import update_triton
from deltajax.ops.pooling import MaxPooling
from deltajax.ops.windows import Window
from deltajax.triton_kernels.configuration import (
    ConvolutionConfig,
    ConvolutionShape,
    Tile,
    cut,
)
from tests.cases import BY_NAME, DECONV, Case, convolution, norm_relu, pooling, transposed
from tests.helpers import NORMS, relative_error
from tests.ops.test_update import HALF_CASES, INTERPRETED_FRAMES, check
from tests.test_compiled import Program

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="there is no GPU"),
]

# Against products in float32, as the issue of these kernels has them.
TF32 = (2e-3, 2e-3)
BFLOAT16 = (5e-3, 1.6e-2)

FULL_SIZE: tuple[Case, ...] = (
    convolution(
        "stem", (2, 576, 768, 3), 64, (7, 7), (2, 2), ((3, 3), (3, 3)), tail=norm_relu
    ),
    convolution(
        "stem_of_eight", (8, 576, 768, 3), 64, (7, 7), (2, 2), ((3, 3), (3, 3)), tail=norm_relu
    ),
    convolution("stage1_3x3", (2, 144, 192, 64), 64, (3, 3), tail=norm_relu),
    convolution(
        "stage1_1x1_residual", (2, 144, 192, 64), 256, (1, 1), residual=True, tail=norm_relu
    ),
    convolution("stage2_3x3_stride2", (2, 144, 192, 128), 128, (3, 3), (2, 2), tail=norm_relu),
    convolution("stage3_3x3", (8, 36, 48, 256), 256, (3, 3), tail=norm_relu),
    convolution("stage3_3x3_large", (8, 68, 120, 256), 256, (3, 3), tail=norm_relu),
    convolution(
        "stage3_1x1_residual", (8, 36, 48, 256), 1024, (1, 1), residual=True, tail=norm_relu
    ),
    convolution("stage4_3x3", (8, 18, 24, 512), 512, (3, 3), tail=norm_relu),
    convolution("stage4_3x3_one_stream", (1, 34, 60, 512), 512, (3, 3), tail=norm_relu),
    convolution("stage4_1x1", (1, 18, 24, 2048), 512, (1, 1), tail=norm_relu),
    transposed("deconv_of_long_sums", (2, 18, 24, 2048), 256, *DECONV, tail=norm_relu),
    transposed("deconv", (2, 36, 48, 256), 256, *DECONV, tail=norm_relu),
    transposed("deconv_listed", (5, 72, 96, 256), 256, *DECONV, tail=norm_relu),
    convolution("depthwise", (2, 72, 96, 240), 240, (5, 5), groups=240, tail=norm_relu),
    pooling(
        "max_pool", MaxPooling, (2, 288, 384, 64), Window((3, 3), (2, 2), ((1, 1), (1, 1)))
    ),
)  # fmt: skip


@pytest.mark.parametrize("name", BY_NAME)
def test_exact(name):
    check(BY_NAME[name], "triton", NORMS[list(BY_NAME).index(name) % 3], "float32")


@pytest.mark.parametrize("name", BY_NAME)
def test_tf32(name):
    norm = NORMS[list(BY_NAME).index(name) % 3]
    check(BY_NAME[name], "triton", norm, "float32", "tensorfloat32", TF32)


@pytest.mark.parametrize(("name", "dtype"), HALF_CASES)
def test_half_precision(name, dtype):
    check(BY_NAME[name], "triton", "rms" if dtype == "float16" else "max", dtype)


def check_full_size(case: Case, norm: ThresholdNorm, dtype: str) -> None:
    """In TF32 or in bfloat16."""
    kinds = INTERPRETED_FRAMES
    if dtype == "float32":
        check(case, "triton", norm, dtype, "tensorfloat32", TF32, kinds, agreement=1e-5)
    else:
        check(case, "triton", norm, dtype, tolerance=BFLOAT16, kinds=kinds, agreement=5e-3)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("case", FULL_SIZE, ids=lambda case: case.name)
def test_full_size(case, norm):
    check_full_size(case, norm, "float32")
    if norm == "max":
        check_full_size(case, norm, "bfloat16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_phases_that_tell_norms(dtype):
    """The rule cuts none so."""
    case = next(case for case in FULL_SIZE if case.name == "deconv")

    def choose(shape: ConvolutionShape) -> ConvolutionConfig:
        return cut(shape, Tile(64, 128, 8, 1), shape.pixels, split=False)

    with update_triton.configured(choose):
        check_full_size(case, "l2", dtype)


@functools.cache
def compile_loop(name: str, streams: int, dtype: str) -> tuple[str, set[int], int, int]:
    """The text of a network's loop over frames, the maps' sizes, and bytes of state and rest."""
    model = create(name, threshold=0.3, input_threshold=0.15, dtype=jnp.dtype(dtype))
    frame = jax.ShapeDtypeStruct((streams, 576, 768, 3), jnp.uint8)
    frames = jax.ShapeDtypeStruct((2, *frame.shape), frame.dtype)
    variables = jax.eval_shape(model.init, jax.random.key(0), frame)
    variables = {name: variables[name] for name in ("params", "batch_stats")}
    variables["params"] = jax.tree.map(
        lambda p: jax.ShapeDtypeStruct(p.shape, dtype) if p.ndim == 4 else p, variables["params"]
    )
    delta = dj.init_delta(model, variables, frame)
    lowered = frames_module._scan_donated.lower(model, (), (), delta, variables, frames, None)
    compiled = lowered.compile()
    sizes = {leaf.size for leaf in jax.tree.leaves(delta)}
    analysis = compiled.memory_analysis()
    assert analysis is not None
    text = compiled.as_text()
    assert text is not None
    # The packed weights are temporary, too: made once, before the loop.
    weights = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    temporary = analysis.temp_size_in_bytes - weights * jnp.dtype(dtype).itemsize
    return text, sizes, dj.state_bytes(delta), temporary


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def compiled_loop(request) -> tuple[str, set[int], int, int]:
    """Of ResNet-50 with eight streams."""
    return compile_loop("resnet50", 8, request.param)


def test_no_copy_of_a_map_or_mask_in_the_loop(compiled_loop):
    text, sizes, _, _ = compiled_loop
    shape = re.compile(r"= (?:f32|bf16|pred)\[([\d,]+)\]\S* copy\(")
    pixels = {size // channels for size in sizes for channels in (3, 64, 128, 256, 512, 1024, 2048)}
    copied = {math.prod(map(int, dims.split(","))) for dims in shape.findall(text)}
    assert not copied & (sizes | pixels)


def test_no_conditional_and_no_host_in_the_loop(compiled_loop):
    text = compiled_loop[0]
    assert text.count("custom-call(") >= 55
    for word in (" conditional(", " send(", " recv(", " infeed(", " outfeed(", "callback"):
        assert word not in text


def test_nothing_is_done_with_weights_in_the_loop(compiled_loop):
    """What is left beside kernels: the counters, the mean, the head's products, the output."""
    program = Program(compiled_loop[0])
    body = program.computations[program.frame_loop()]
    assert sum(instruction.operation == "fusion" for instruction in body) <= 8


@pytest.mark.parametrize(
    ("name", "streams", "dtype", "share"),
    [
        ("resnet50", 8, "float32", 0.05),
        ("resnet50", 8, "bfloat16", 0.05),
        ("pose_resnet50", 1, "float32", 0.05),
        ("pose_resnet50", 1, "bfloat16", 0.05),
    ],
)
def test_workspace(name, streams, dtype, share):
    """Kernels' memory beside the state."""
    _, _, state, temporary = compile_loop(name, streams, dtype)
    assert temporary <= share * state


def test_the_same_function_on_both_platforms():
    model = create("simple_cnn", threshold=0.05)
    frames = np.random.default_rng(0).integers(0, 256, (4, 2, 32, 48, 3), np.uint8)
    variables = dict(model.init(jax.random.key(0), frames[0]))
    variables.pop("delta")
    results = []
    for device in (jax.devices("cuda")[0], jax.devices("cpu")[0]):
        with jax.default_device(device), jax.default_matmul_precision("highest"):
            given = jax.device_put((variables, frames), device)
            results.append(dj.scan_frames(model, *given)[0])
    assert relative_error(*results) <= 1e-4
