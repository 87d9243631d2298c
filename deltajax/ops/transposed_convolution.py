"""Transposed convolution: as many ordinary convolutions as the strides have phases."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from .convolution import Convolution
from .neighbourhood import Masks, Neighbourhood, Pixels, Values
from .windows import Pair, Window


@struct.dataclass
class TransposedConvolution(Neighbourhood):
    """The convolution of the input spread out by the strides, as `lax.conv_transpose` has it.

    Output pixels of one phase (h % strides[0], w % strides[1]) see the same taps of the kernel,
    those that do not fall on the zeros between the spread-out pixels: each phase is an ordinary
    convolution of the input with its own small kernel, and nothing is multiplied by zero.

    Attributes:
        kernel: [KH, KW, C_in, C_out], not flipped.
        strides: by which the map grows.
        padding: ((top, bottom), (left, right)) of the spread-out input.
        dilation: between the kernel's taps.
        precision: of the products, as in lax.
    """

    kernel: jax.Array
    strides: Pair = struct.field(pytree_node=False)
    padding: tuple[Pair, Pair] = struct.field(pytree_node=False)
    dilation: Pair = struct.field(pytree_node=False, default=(1, 1))
    precision: lax.PrecisionLike = struct.field(pytree_node=False, default=None)

    @property
    def phases(self) -> Pair:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.strides

    @property
    def taps(self) -> int:
        return -(-self.kernel.shape[0] * self.kernel.shape[1] // math.prod(self.strides))

    def output_shape(self, shapes):
        streams, *sizes, _ = shapes[0]
        out = []
        for axis in (0, 1):
            spread = (sizes[axis] - 1) * self.strides[axis] + 1
            extent = (self.kernel.shape[axis] - 1) * self.dilation[axis] + 1
            out.append(max(0, spread + sum(self.padding[axis]) - extent + 1))
        return (streams, out[0], out[1], self.kernel.shape[-1])

    def window_reach(self, masks: Masks) -> jax.Array:
        mask = masks[0]
        return self._interleaved(
            (*mask.shape, 1),
            lambda phase, shape: phase.window.reach(mask) if phase else jnp.zeros(shape[:3], bool),
        )

    def covered(self, shapes):
        return np.asarray(
            self._interleaved(
                (1, *shapes[0][1:]),
                lambda phase, shape: (
                    phase.window.covered(*shapes[0][1:3])[None]
                    if phase
                    else np.zeros((1, *shape[1:3]), bool)
                ),
                numpy=np,
            )[0]
        )

    def dense(self, values: Values) -> jax.Array:
        value = values[0]
        return self._interleaved(
            value.shape,
            lambda phase, shape: phase.dense(values) if phase else jnp.zeros(shape, value.dtype),
        )

    def at(self, values: Values, pixels: Pixels, phase: tuple[int, int] = (0, 0)) -> jax.Array:
        convolution = self.phase(*phase, *values[0].shape[1:3])
        if convolution is None:
            return jnp.zeros((len(pixels.row), self.kernel.shape[-1]), values[0].dtype)
        rows, columns = pixels.row // self.strides[0], pixels.column // self.strides[1]
        return convolution.at(values, Pixels(pixels.stream, rows, columns))

    def multiplications(self, shapes) -> float:
        taps = self.kernel.shape[0] * self.kernel.shape[1] / math.prod(self.strides)
        return float(taps * self.kernel.shape[2] * self.kernel.shape[3])

    def phase(self, row: int, column: int, height: int, width: int) -> Convolution | None:
        """The convolution that gives the output pixels of one phase; None if no tap does."""
        out = self.output_shape(((1, height, width, 1),))
        rows = self._phase_along(0, row, height, out[1])
        columns = self._phase_along(1, column, width, out[2])
        if rows is None or columns is None:
            return None
        window = Window(
            (len(rows[0]), len(columns[0])),
            (1, 1),
            (rows[1], columns[1]),
            (rows[2], columns[2]),
        )
        kernel = self.kernel[rows[0].start :: rows[0].step, columns[0].start :: columns[0].step]
        return Convolution(kernel, window, precision=self.precision)

    def _phase_along(self, axis: int, phase: int, size: int, out: int):
        """Along one axis: the kernel's taps, the padding and the dilation of a phase.

        Output o = phase + stride · q sees input (o − before + tap · dilation) / stride for the
        taps that make this whole; they follow each other in equal steps.
        """
        stride, dilation, before = self.strides[axis], self.dilation[axis], self.padding[axis][0]
        common = math.gcd(stride, dilation)
        taps = [
            tap
            for tap in range(self.kernel.shape[axis])
            if (phase - before + tap * dilation) % stride == 0
        ]
        if not taps:
            return None
        first = (phase - before + taps[0] * dilation) // stride
        extent = (len(taps) - 1) * (dilation // common) + 1
        lattice = -(-out // stride)
        after = lattice - 1 + extent - size + first
        steps = range(taps[0], taps[-1] + 1, stride // common)
        return steps, (-first, after), dilation // common

    def _interleaved(self, shape: tuple[int, ...], compute, numpy=jnp):
        """compute(phase's convolution or None, its output's shape) of all phases, interleaved."""
        streams, height, width, features = self.output_shape((shape,))
        lattice = (-(-height // self.strides[0]), -(-width // self.strides[1]))
        rows = [
            numpy.stack(
                [
                    compute(self.phase(row, column, *shape[1:3]), (streams, *lattice, features))
                    for column in range(self.strides[1])
                ],
                axis=3,
            )
            for row in range(self.strides[0])
        ]
        whole = numpy.stack(rows, axis=2)
        whole = whole.reshape(
            streams, lattice[0] * self.strides[0], lattice[1] * self.strides[1], *whole.shape[5:]
        )
        return whole[:, :height, :width]
