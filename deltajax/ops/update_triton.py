"""The update by Triton kernels, on NVIDIA's GPUs: the only file that reaches `triton_kernels`."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from deltajax.triton_kernels.arguments import Affine
from deltajax.triton_kernels.arguments import Window as KernelWindow
from deltajax.triton_kernels.configuration import (
    ConvolutionConfig,
    ConvolutionShape,
    choose_convolution_config,
)
from deltajax.triton_kernels.convolution import (
    MAX_KERNEL,
    Counters,
    Epilogue,
    Lattice,
    Packing,
    convolve,
    pack_weights,
)
from deltajax.triton_kernels.interpreter import interpreting
from deltajax.triton_kernels.pixelwise import MAX_INPUTS, MAX_OTHERS, compute_pixels
from deltajax.triton_kernels.pointwise import pointwise_kernel
from deltajax.triton_kernels.sparsify import enter_frame

from ..norms import ThresholdNorm
from ..tensor import Arrivals, DeltaTensor, value_of
from .convolution import Convolution
from .function import Function, PackedWeights, Updated
from .gpu import multiprocessors, shared_bytes
from .identity import Concatenation, Identity
from .pooling import AveragePooling, MaxPooling
from .resizing import Resizing
from .tail import Tail
from .transposed_convolution import TransposedConvolution
from .windows import Window

DTYPES = ("float32", "bfloat16", "float16")
"""Of maps."""
COUNTERS, UPDATES = 1024, 64
"""Counters of an update, enough for most, and for how many updates they are cleared at once."""
INTERPRETED_MULTIPROCESSORS = 2
"""Multiprocessors that the interpreter is said to have: it runs programs one after the other."""


def check_dtypes(function: Function, cached: jax.Array) -> None:
    """Raises ValueError for maps of a dtype that kernels do not know."""
    if unknown := _dtypes(function, cached) - set(DTYPES):
        raise ValueError(
            f'implementation="triton" got maps of {", ".join(sorted(unknown))}; it knows '
            f"{', '.join(DTYPES)}"
        )


def supports(function: Function, cached: jax.Array) -> bool:
    """Whether there is a kernel for the operation, the tail and the dtypes."""
    return (
        cached.size > 0
        and _dtypes(function, cached) <= set(DTYPES)
        and _call_of(function) is not None
        and _pointwise_of(function.tail) is not _UNSUPPORTED
    )


def _dtypes(function: Function, cached: jax.Array) -> set[str]:
    tensors = (cached, *function.values, *(value_of(x) for x in function.tail.others))
    return {str(x.dtype) for x in tensors}


def knows(cached: jax.Array) -> bool:
    """Whether kernels know the dtype of a map, and it has anything for them to do."""
    return str(cached.dtype) in DTYPES and cached.size > 0


def enter_triton(
    frame: Shaped[Array, "N H W C"],
    factor_and_offset: tuple[jax.Array, jax.Array] | None,
    cached: Shaped[Array, "N H W C"],
    candidates: Bool[Array, "N H W"] | None,
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
    dilation: int,
) -> tuple[jax.Array, jax.Array]:
    """See `deltajax.ops.entry.enter`."""
    factor, offset = factor_and_offset or (None, None)
    tau = jnp.asarray(threshold, jnp.float32).reshape(1)
    return enter_frame(frame, factor, offset, candidates, cached, tau, norm, dilation)


def update_triton(
    function: Function,
    cached: Shaped[Array, "N H W C"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
    arrivals: Arrivals,
    packed: PackedWeights | None = None,
) -> Updated:
    """See `update`. For functions that `supports` accepts; with what `arrivals_of` it says."""
    call = _call_of(function)
    assert call is not None
    tau = jnp.asarray(threshold, jnp.float32).reshape(1)
    value, mask, counters = call(_Update(function, cached, tau, norm, arrivals, packed))
    left = after_update(arrivals).replace(counters=counters)
    return Updated(value, mask, function.reach(), left)


def pack(function: Function, cached: jax.Array) -> PackedWeights | None:
    """See `deltajax.ops.update.pack`. For functions that `supports` accepts."""
    if _call_of(function) is not _convolve:
        return None
    layout = _packings(function, cached)
    kernels = (part.kernel for part, _ in _parts(function))
    return PackedWeights(tuple(map(pack_weights, kernels, layout)), layout)


def try_update(device: Any) -> None:
    """Runs the update of a small convolution on a device.

    Raises:
        RuntimeError: if its result is wrong, or it cannot be run.
    """

    def run(x: jax.Array, mask: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        operation = Convolution(kernel, Window((3, 3), (1, 1), ((1, 1), (1, 1))))
        function = Function(operation, Tail(), (DeltaTensor(x, mask),))
        updated = update_triton(function, x, 0.0, "max", arrivals_of(function))
        return updated.value, updated.mask

    ones = np.ones((1, 8, 8, 32), jnp.bfloat16), np.ones((1, 8, 8), bool)
    given = jax.device_put((*ones, np.ones((3, 3, 32, 32), jnp.bfloat16)), device)
    value, mask = jax.device_get(jax.jit(run)(*given))
    taps = np.array([2, 3, 3, 3, 3, 3, 3, 2])
    if not (mask.all() and (value[0] == 32 * np.outer(taps, taps)[:, :, None]).all()):
        raise RuntimeError("an update of a small convolution is wrong")


def arrivals_of(function: Function) -> Arrivals:
    """Those that an input has left, or new ones, as for the first update of a frame."""
    for x in (*function.inputs, *function.tail.others):
        left = x.arrivals if isinstance(x, DeltaTensor) else None
        if left is not None and left.used + COUNTERS <= left.counters.size:
            return left
    return Arrivals(jnp.zeros(COUNTERS * UPDATES, jnp.int32), 0)


def after_update(arrivals: Arrivals) -> Arrivals:
    """What an update leaves, whether it needed any or not."""
    return arrivals.replace(used=arrivals.used + COUNTERS)


@dataclasses.dataclass(frozen=True)
class _Update:
    """The arguments of an update, as kernels take them."""

    function: Function
    cached: jax.Array
    threshold: jax.Array
    norm: ThresholdNorm
    arrivals: Arrivals
    packed: PackedWeights | None

    @functools.cached_property
    def candidates(self) -> tuple[jax.Array, bool, jax.Array | None]:
        """See `_candidates`."""
        return _candidates(self.function)

    @functools.cached_property
    def pointwise(self):
        """The tail's function, for kernels."""
        return _pointwise_of(self.function.tail)


Outcome = tuple[jax.Array, jax.Array, jax.Array]
"""Map, mask and counters."""
Call = Callable[[_Update], Outcome]
_UNSUPPORTED = object()


def _call_of(function: Function) -> Call | None:
    """The kernel call of an operation; None if there is none."""
    operation, others = function.neighbourhood, len(function.tail.others)
    if isinstance(operation, Convolution | TransposedConvolution) and not _is_depthwise(function):
        if others > 1 or max(operation.kernel.shape[:2]) > MAX_KERNEL:
            return None
        return _convolve
    if len(function.inputs) > MAX_INPUTS or others > MAX_OTHERS:
        return None
    known = (Convolution, Identity, Concatenation, MaxPooling, AveragePooling, Resizing)
    return _compute_pixels if isinstance(operation, known) else None


def _is_depthwise(function: Function) -> bool:
    operation = function.neighbourhood
    if not isinstance(operation, Convolution):
        return False
    return operation.groups > 1 and operation.groups == function.shapes[0][3]


def _candidates(function: Function) -> tuple[jax.Array, bool, jax.Array | None]:
    """A mask; whether it is of the pixels to compute, or of the input; and a further one.

    Kernels find out themselves what the input's mask reaches, and one other's. Where masks
    are more, are broadcast, or pixels see no input, XLA does.
    """
    inputs = [x for x in function.inputs if isinstance(x, DeltaTensor)]
    others = [x for x in function.tail.others if isinstance(x, DeltaTensor)]
    covered = function.neighbourhood.covered(function.shapes)
    simple = (
        len(inputs) == 1
        and len(others) <= 1
        and all(x.mask.shape == function.output_shape[:3] for x in others)
        and (covered is None or bool(covered.all()))
    )
    if not simple:
        return function.reach(), True, None
    return inputs[0].mask, False, others[0].mask if others else None


def _pointwise_of(tail: Tail):
    """The tail's function of the sum and its others for kernels; None if it has none."""
    if tail.combine is None and tail.activation is None:
        return None
    scaled = dataclasses.replace(
        tail, scale=None, shift=None, norm=None, dtype=jnp.dtype(jnp.float32)
    )
    dtypes = (jnp.dtype(jnp.float32), *(jnp.dtype(x.dtype) for x in tail.others))
    kernel = pointwise_kernel(lambda z, *others: scaled(z, others), dtypes)
    return _UNSUPPORTED if kernel is None else kernel


def _affine(tail: Tail) -> Affine:
    norm = tail.norm
    if norm is None:
        return Affine(tail.scale, tail.shift)
    return Affine(norm.scale, norm.bias, norm.mean, norm.variance, norm.epsilon)


def _kernel_window(window: Window):
    padding = (window.padding[0][0], window.padding[1][0])
    return KernelWindow(window.size, window.strides, padding, window.dilation)


def _convolve(update: _Update) -> Outcome:
    """A call for each part of the operation."""
    parts = _parts(update.function)
    value, mask = update.cached, None
    counters = Counters(
        update.arrivals.counters, update.arrivals.used, COUNTERS // max(len(parts), 1)
    )
    packed: tuple[jax.Array | None, ...] = (None,) * len(parts)
    if update.packed is not None:
        if update.packed.layout != _packings(update.function, update.cached):
            raise ValueError(
                "the weights were packed for frames of another shape, or another precision; pack "
                "them again with deltajax.pack_weights(model, variables, frame)"
            )
        packed = update.packed.arrays
    for (part, lattice), weights in zip(parts, packed, strict=True):
        value, mask, array = _convolve_part(update, part, lattice, value, mask, counters, weights)
        counters = Counters(array, counters.first + counters.number, counters.number)
    assert mask is not None
    return value, mask, counters.array


def _packings(function: Function, value: jax.Array) -> tuple[Packing, ...]:
    """How the weights of each part are packed."""
    _, given, other_mask = _candidates(function)
    of_output = given or other_mask is not None
    return tuple(
        Packing(
            part.kernel.shape,
            part.kernel.dtype,
            _kernel_window(part.window),
            part.groups,
            function.shapes[0][2],
            lattice,
            of_output,
            _precision(part.precision),
            _config(part, value, lattice),
        )
        for part, lattice in _parts(function)
    )


def _parts(function: Function) -> list[tuple[Convolution, Lattice]]:
    """The convolutions that an operation consists of, and the output pixels of each.

    Those of a transposed one are its phases: in each, output pixels see the same taps.
    """
    operation = function.neighbourhood
    _, height, width, _ = function.output_shape
    if isinstance(operation, Convolution):
        return [(operation, Lattice((height, width)))]
    assert isinstance(operation, TransposedConvolution)
    rows, columns = operation.strides
    parts = []
    for row in range(min(rows, height)):
        for column in range(min(columns, width)):
            size = (-(-(height - row) // rows), -(-(width - column) // columns))
            phase = operation.phase(row, column, *function.shapes[0][1:3])
            lattice = Lattice(size, operation.strides, (row, column))
            parts.append((phase or _without_taps(operation, size), lattice))
    return parts


def _without_taps(operation: TransposedConvolution, size: tuple[int, int]) -> Convolution:
    """A convolution whose only tap lies outside the map for each of `size` output pixels."""
    kernel = jnp.zeros((1, 1, *operation.kernel.shape[2:]), operation.kernel.dtype)
    return Convolution(kernel, Window((1, 1), (1, 1), ((size[0], 0), (size[1], 0))))


def _convolve_part(
    update: _Update,
    part: Convolution,
    lattice: Lattice,
    value: jax.Array,
    mask: jax.Array | None,
    counters: Counters,
    packed: jax.Array | None,
) -> Outcome:
    """The convolution at a lattice of output pixels."""
    tail = update.function.tail
    candidates, given, other_mask = update.candidates
    others = [value_of(other) for other in tail.others]
    epilogue = Epilogue(_affine(tail), others[0] if others else None, update.pointwise)
    return convolve(
        update.function.values[0],
        part.kernel,
        _kernel_window(part.window),
        part.groups,
        candidates,
        given,
        other_mask,
        epilogue,
        value,
        mask,
        counters,
        lattice,
        update.threshold,
        update.norm,
        _precision(part.precision),
        _config(part, value, lattice),
        packed,
    )


def _config(part: Convolution, value: jax.Array, lattice: Lattice) -> ConvolutionConfig:
    """How a convolution that gives some pixels of a map is computed."""
    precision = _precision(part.precision)
    shape = convolution_shape(part.kernel, part.groups, value.shape, lattice.size, precision)
    return _chosen or choose_convolution_config(shape)


def convolution_shape(
    kernel: jax.Array | jax.ShapeDtypeStruct,
    groups: int,
    out: tuple[int, ...],
    lattice: tuple[int, ...],
    precision: str = "tf32",
) -> ConvolutionShape:
    """What a configuration is chosen by.

    Args:
        kernel: [KH, KW, C_in / groups, C_out].
        groups: of channels that do not mix.
        out: [N, H, W, C] of the output.
        lattice: rows and columns of it that one call computes.
        precision: of float32 products, as `tl.dot` has it.
    """
    rows, columns, group_channels, features = kernel.shape
    return ConvolutionShape(
        pixels=out[0] * math.prod(lattice),
        group_channels=group_channels,
        group_features=features // groups,
        groups=groups,
        taps=rows * columns,
        itemsize=jnp.dtype(kernel.dtype).itemsize,
        exact=precision != "tf32" and kernel.dtype == jnp.float32,
        multiprocessors=INTERPRETED_MULTIPROCESSORS if interpreting() else multiprocessors(),
        shared_bytes=shared_bytes(),
    )


_chosen: ConvolutionConfig | None = None


@contextlib.contextmanager
def configured(config: ConvolutionConfig | None) -> Iterator[None]:
    """All convolutions traced within have this configuration: for those who measure them."""
    global _chosen
    _chosen = config
    try:
        yield
    finally:
        _chosen = None


def _compute_pixels(update: _Update) -> Outcome:
    operation, tail = update.function.neighbourhood, update.function.tail
    weights, window = None, KernelWindow()
    if isinstance(operation, Convolution):
        kind, weights, window = "depthwise", operation.kernel, _kernel_window(operation.window)
    elif isinstance(operation, MaxPooling):
        kind, window = "max", _kernel_window(operation.window)
    elif isinstance(operation, AveragePooling):
        kind = "average" if operation.count_include_pad else "average_inside"
        window = _kernel_window(operation.window)
    elif isinstance(operation, Resizing):
        kind = operation.method
    else:
        kind = "concatenation" if isinstance(operation, Concatenation) else "identity"
    candidates, given, other_mask = update.candidates
    value, mask = compute_pixels(
        kind,
        update.function.values,
        weights,
        window,
        candidates,
        given,
        other_mask,
        _affine(tail),
        tuple(value_of(other) for other in tail.others),
        update.pointwise,
        update.cached,
        update.threshold,
        update.norm,
    )
    return value, mask, update.arrivals.counters


def _precision(precision: lax.PrecisionLike) -> str:
    """`tl.dot`'s word for lax's precision of float32 products.

    XLA multiplies in TF32 up to `Precision.HIGH`. Three TF32 products of split operands are as
    exact as float32.
    """
    if precision is None:
        precision = jax.config.jax_default_matmul_precision
    if isinstance(precision, tuple):
        precision = max(map(lax.Precision, precision), key=lambda one: one.value)
    if precision is None or precision == "TF32_TF32_F32":
        return "tf32"
    try:
        return "tf32x3" if lax.Precision(precision) == lax.Precision.HIGHEST else "tf32"
    except ValueError:
        return "tf32x3"
