"""Every kind of kernel once, at small sizes, for compute-sanitizer to watch: see test_sanitizer.py.

Nothing is compared here: that the numbers are right is what the other tests are for.
"""

import sys
import time
import zlib

import jax
import jax.numpy as jnp
import numpy as np

import deltajax as dj
from deltajax.models import create
from deltajax.ops.update import update
from tests.cases import BY_NAME, Case, convolution, norm_relu
from tests.ops.test_update import INTERPRETED_FRAMES, make_frames

NAMES = (
    "resnet_stem_7x7_stride2",
    "resnet_stage1_3x3",
    "bottleneck_1x1_residual",
    "resnet_stage4_3x3",
    "depthwise_5x5",
    "grouped_3x3",
    "valid_5x3",
    "three_streams_3x3_residual",
    "pose_resnet_deconv_4x4_stride2",
    "resnet_max_pool_3x3_stride2",
    "bilinear_x2",
    "concat",
    "gate_of_channels",
)
LISTED = (
    convolution(
        "wide_1x1_with_a_list", (1, 34, 60, 256), 1024, (1, 1), residual=True, tail=norm_relu
    ),
)

PARTS = ("float32", "bfloat16", "network")


def run(case: Case, dtype: str) -> None:
    """A few frames of an update point."""
    seed = zlib.crc32(case.name.encode())
    parameters = case.make_parameters(np.random.default_rng(seed), dtype)
    frames = make_frames(case, dtype, seed + 1, INTERPRETED_FRAMES)
    shape = jax.eval_shape(lambda p, t: case.function(p, t).dense(), parameters, frames[0]).shape

    @jax.jit
    def step(parameters, tensors, cached):
        return update(case.function(parameters, tensors), cached, 0.1, "max", "triton").value

    cached = jnp.full(shape, jnp.inf, dtype)
    for tensors in frames:
        cached = step(parameters, tensors, cached)
    assert np.isfinite(np.asarray(cached, np.float32)).all()


def run_cases(dtype: str) -> None:
    """All kinds of update points."""
    start = time.perf_counter()
    for case in (*(BY_NAME[name] for name in NAMES), *LISTED):
        run(case, dtype)
        print(f"{time.perf_counter() - start:.0f} s: {case.name} {dtype}", flush=True)


def run_network() -> None:
    """The entry of a small network and all behind it, in the loop over frames."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 2, 32, 48, 3), np.uint8)
    model = create("simple_cnn", threshold=0.05, input_threshold=0.1, input_dilation=3)
    variables = dict(model.init(jax.random.key(0), frames[0]))
    variables.pop("delta")
    outputs, _ = dj.scan_frames(model, variables, frames)
    assert np.isfinite(outputs).all()


def main(part: str) -> None:
    """Runs one of PARTS."""
    if part == "network":
        run_network()
    else:
        run_cases(part)
    print("small run: done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
