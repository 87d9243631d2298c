"""The update by Triton kernels, on NVIDIA's GPUs: the only file that reaches `triton_kernels`."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
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
    Part,
    Phases,
    convolve,
    in_runs,
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
ONE_PHASE = Phases()
"""What an ordinary convolution has."""
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
    if packed is None:
        packed = pack(function, cached)
    elif _kinds(packed) != _kinds(jax.eval_shape(lambda: pack(function, cached))):
        raise ValueError(
            "the weights were packed for frames of another shape, or another precision, or another "
            "network; pack them again with deltajax.pack_weights(model, variables, frame)"
        )
    tau = jnp.asarray(threshold, jnp.float32).reshape(1)
    value, mask, counters = call(_Update(function, cached, tau, norm, arrivals, packed))
    left = after_update(arrivals).replace(counters=counters)
    return Updated(value, mask, function.reach(), left)


def pack(function: Function, cached: jax.Array) -> PackedWeights:
    """See `deltajax.ops.update.pack`. For functions that `supports` accepts."""
    tail, operation = function.tail, function.neighbourhood
    parts = _parts(function, cached)
    arrays = tuple(pack_weights(kernels, part) for kernels, part in parts)
    if isinstance(operation, Convolution) and not parts:
        arrays = (operation.kernel,)
    return PackedWeights(tail.scale, tail.shift, arrays, tuple(part for _, part in parts))


def _kinds(packed: PackedWeights) -> tuple[Any, ...]:
    """What packed weights are for: their layout, and the arrays' shapes and dtypes."""
    leaves, structure = jax.tree.flatten(packed)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


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
    """Takes those that an update counts in."""
    inputs = (*function.inputs, *function.tail.others)
    left = [x.arrivals for x in inputs if isinstance(x, DeltaTensor) and x.arrivals]
    return Arrivals.take(left, COUNTERS, COUNTERS * UPDATES)


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
    packed: PackedWeights

    @functools.cached_property
    def candidates(self) -> tuple[jax.Array, bool, jax.Array | None]:
        """A mask; whether it is of the pixels to compute, or of the input; and a further one."""
        if not _finds_reach(self.function):
            return self.function.reach(), True, None
        (mask,), others = _masks(self.function)
        return mask, False, others[0] if others else None

    @property
    def affine(self) -> Affine:
        """The tail's scale and shift."""
        return Affine(self.packed.scale, self.packed.shift)

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


def _masks(function: Function) -> tuple[list[jax.Array], list[jax.Array]]:
    """Of the inputs, and of the tail's others."""
    inputs = [x.mask for x in function.inputs if isinstance(x, DeltaTensor)]
    return inputs, [x.mask for x in function.tail.others if isinstance(x, DeltaTensor)]


def _finds_reach(function: Function) -> bool:
    """Whether kernels find out themselves what the input's mask reaches, and one other's.

    Where masks are more, are broadcast, or pixels see no input, XLA does.
    """
    inputs, others = _masks(function)
    covered = function.neighbourhood.covered(function.shapes)
    return (
        len(inputs) == 1
        and len(others) <= 1
        and all(mask.shape == function.output_shape[:3] for mask in others)
        and (covered is None or bool(covered.all()))
    )


def _pointwise_of(tail: Tail):
    """The tail's function of the sum and its others for kernels; None if it has none."""
    if tail.combine is None and tail.activation is None:
        return None
    scaled = dataclasses.replace(tail, scale=None, shift=None, dtype=jnp.dtype(jnp.float32))
    dtypes = (jnp.dtype(jnp.float32), *(jnp.dtype(x.dtype) for x in tail.others))
    kernel = pointwise_kernel(lambda z, *others: scaled(z, others), dtypes)
    return _UNSUPPORTED if kernel is None else kernel


def _kernel_window(window: Window):
    padding = (window.padding[0][0], window.padding[1][0])
    return KernelWindow(window.size, window.strides, padding, window.dilation)


def _convolve(update: _Update) -> Outcome:
    """A call for each part of the operation."""
    packed = update.packed
    candidates, given, other_mask = update.candidates
    others = [value_of(other) for other in update.function.tail.others]
    epilogue = Epilogue(update.affine, others[0] if others else None, update.pointwise)
    value, mask, array = update.cached, None, update.arrivals.counters
    number = COUNTERS // len(packed.arrays)
    for index, (weights, part) in enumerate(zip(packed.arrays, packed.layout, strict=True)):
        value, mask, array = convolve(
            update.function.values[0],
            weights,
            part,
            candidates,
            given,
            other_mask,
            epilogue,
            value,
            mask,
            Counters(array, update.arrivals.used + index * number, number),
            update.threshold,
            update.norm,
        )
    assert mask is not None
    return value, mask, array


def _parts(function: Function, cached: jax.Array) -> list[tuple[tuple[jax.Array, ...], Part]]:
    """The convolutions that an operation consists of, if it multiplies matrices, and their kernels.

    Those of a transposed one are its phases: in each, output pixels see the same taps. One call
    computes all of them if they are alike.
    """
    operation = function.neighbourhood
    if _call_of(function) is not _convolve:
        return []
    _, height, width, _ = cached.shape
    of_output = not _finds_reach(function) or bool(_masks(function)[1])
    if isinstance(operation, Convolution):
        return [_part(function, cached, (operation,), Lattice((height, width)), of_output)]
    assert isinstance(operation, TransposedConvolution)
    rows, columns = operation.strides
    across = min(columns, width)
    found = []
    for row in range(min(rows, height)):
        for column in range(across):
            size = (-(-(height - row) // rows), -(-(width - column) // columns))
            phase = operation.phase(row, column, *function.shapes[0][1:3])
            lattice = Lattice(size, operation.strides, (row, column))
            found.append((phase or _without_taps(operation, size), lattice))
    convolutions = tuple(phase for phase, _ in found)
    phases = _together(convolutions, [lattice.size for _, lattice in found], across)
    if phases:
        return [_part(function, cached, convolutions, found[0][1], of_output, phases)]
    return [_part(function, cached, (phase,), lattice, of_output) for phase, lattice in found]


def _together(
    convolutions: Sequence[Convolution], sizes: Sequence[tuple[int, int]], columns: int
) -> Phases | None:
    """How one call computes phases, in rows of so many; None if they are not alike.

    Args:
        convolutions: of the phases, row by row.
        sizes: of their lattices.
        columns: of phases.
    """

    def alike(convolution: Convolution) -> tuple[Any, ...]:
        window = convolution.window
        return convolution.kernel.shape, window.size, window.strides, window.dilation

    first = convolutions[0]
    if len({*map(alike, convolutions)}) > 1 or len({*sizes}) > 1:
        return None
    if in_runs(first.kernel.shape, _kernel_window(first.window), first.groups):
        # These start at constants.
        return None
    paddings = [(c.window.padding[0][0], c.window.padding[1][0]) for c in convolutions]
    top, left = paddings[0]
    down = top - paddings[columns][0] if len(sizes) > columns else 0
    across = left - paddings[1][1] if columns > 1 else 0
    if any(
        padding != (top - i // columns * down, left - i % columns * across)
        for i, padding in enumerate(paddings)
    ):
        return None
    return Phases((len(sizes) // columns, columns), (down, across))


def _part(
    function: Function,
    cached: jax.Array,
    convolutions: tuple[Convolution, ...],
    lattice: Lattice,
    of_output: bool,
    phases: Phases = ONE_PHASE,
) -> tuple[tuple[jax.Array, ...], Part]:
    """The kernels of a convolution at a lattice of output pixels, or of phases; the rest of it."""
    convolution = convolutions[0]
    kernel, groups = convolution.kernel, convolution.groups
    precision = _precision(convolution.precision)
    shape = convolution_shape(kernel, groups, cached.shape, lattice.size, precision, phases.count)
    return tuple(one.kernel for one in convolutions), Part(
        shape=kernel.shape,
        dtype=kernel.dtype,
        window=_kernel_window(convolution.window),
        groups=groups,
        in_width=function.shapes[0][2],
        lattice=lattice,
        phases=phases,
        of_output=of_output,
        precision=precision,
        config=_choose(shape),
    )


def _without_taps(operation: TransposedConvolution, size: tuple[int, int]) -> Convolution:
    """A convolution whose only tap lies outside the map for each of `size` output pixels."""
    kernel = jnp.zeros((1, 1, *operation.kernel.shape[2:]), operation.kernel.dtype)
    return Convolution(kernel, Window((1, 1), (1, 1), ((size[0], 0), (size[1], 0))))


def convolution_shape(
    kernel: jax.Array | jax.ShapeDtypeStruct,
    groups: int,
    out: tuple[int, ...],
    lattice: tuple[int, ...],
    precision: str = "tf32",
    phases: int = 1,
) -> ConvolutionShape:
    """What a configuration is chosen by.

    Args:
        kernel: [KH, KW, C_in / groups, C_out].
        groups: of channels that do not mix.
        out: [N, H, W, C] of the output.
        lattice: rows and columns of it that one call computes, or of one of its phases.
        precision: of float32 products, as `tl.dot` has it.
        phases: that the call computes, between which the multiprocessors are divided.
    """
    rows, columns, group_channels, features = kernel.shape
    processors = INTERPRETED_MULTIPROCESSORS if interpreting() else multiprocessors()
    return ConvolutionShape(
        pixels=out[0] * math.prod(lattice),
        group_channels=group_channels,
        group_features=features // groups,
        groups=groups,
        taps=rows * columns,
        itemsize=jnp.dtype(kernel.dtype).itemsize,
        exact=precision != "tf32" and kernel.dtype == jnp.float32,
        multiprocessors=max(processors // phases, 1),
        shared_bytes=shared_bytes(),
    )


_choose: Callable[[ConvolutionShape], ConvolutionConfig] = choose_convolution_config


@contextlib.contextmanager
def configured(choose: Callable[[ConvolutionShape], ConvolutionConfig]) -> Iterator[None]:
    """Convolutions traced within are configured by this function: for those who measure them."""
    global _choose
    _choose = choose
    try:
        yield
    finally:
        _choose = choose_convolution_config


def _compute_pixels(update: _Update) -> Outcome:
    operation, window = update.function.neighbourhood, KernelWindow()
    if isinstance(operation, Convolution):
        kind, window = "depthwise", _kernel_window(operation.window)
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
        update.packed.arrays[0] if update.packed.arrays else None,
        window,
        candidates,
        given,
        other_mask,
        update.affine,
        tuple(value_of(other) for other in update.function.tail.others),
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
