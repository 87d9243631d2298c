"""What all layers share: two modes, one cached map, thresholds, statistics."""

import math
import weakref
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from ..norms import ThresholdNorm, check_threshold_norm
from ..ops.neighbourhood import Neighbourhood
from ..ops.tail import Tail
from ..ops.update import Function, Implementation, check_implementation, pack, update
from ..tensor import DeltaTensor

DELTA = "delta"
STATISTICS = "statistics"
MASKS = "masks"
THRESHOLDS = "thresholds"
PACKED = "packed"
"""Weights as kernels take them. Mutable in a pass in which nothing else is computed."""
UNSEEN = float("inf")
"""What a cached map holds before its stream's first frame."""

Input = DeltaTensor | jax.Array
Activation = Callable[[jax.Array], jax.Array] | str


class UpdatePoint(nn.Module, kw_only=True):
    """A layer that keeps its last output and recomputes the pixels that changed.

    Given a `DeltaTensor` it is incremental; given a plain array it is an ordinary dense layer.

    Attributes:
        threshold: τ; a pixel is updated when the norm of its change exceeds it. In the units of
            the layer's output. An entry of the collection "thresholds" at the layer's path goes
            before it.
        threshold_norm: over the channels of a pixel: "max", "l2" or "rms".
        implementation: "auto", "dense", "xla" or "triton"; see `deltajax.ops.update.update`.
    """

    threshold: float = 0.0
    threshold_norm: ThresholdNorm = "max"
    implementation: Implementation = "auto"

    @property
    def label(self) -> str:
        """The layer's path in the model, for messages."""
        return "/".join(self.path) if self.scope is not None and self.path else type(self).__name__

    def compute(self, neighbourhood: Neighbourhood, tail: Tail, inputs: Sequence[Input]) -> Input:
        """The layer's output: of one frame incrementally, or densely.

        Raises:
            ValueError: for incremental and plain inputs mixed, or a second call of the layer in
                one incremental step.
        """
        function = Function(neighbourhood, tail, tuple(inputs))
        everything = (*inputs, *tail.others)
        incremental = [isinstance(x, DeltaTensor) for x in everything]
        if not any(incremental):
            return function.dense()
        if not all(incremental):
            raise ValueError(
                f"{self.label}: some inputs are DeltaTensors and some are plain arrays; pass "
                "the plain ones through a Sparsify, or the others through a Densify"
            )
        self.check_called_once()
        if self.is_initializing():
            value = function.dense()
            self.put_variable(DELTA, "value", self.state(value.shape, value.dtype))
            return DeltaTensor(value, jnp.ones(value.shape[:3], bool))
        dtype = jax.eval_shape(function.dense).dtype
        cached = self.state(function.output_shape, dtype)
        threshold = self.resolved_threshold()
        if self.is_mutable_collection(PACKED):
            packed = pack(function, cached, self.implementation)
            if packed is not None:
                self.put_variable(PACKED, "weights", packed)
            return DeltaTensor(cached, jnp.zeros(cached.shape[:3], bool))
        updated = update(
            function,
            cached,
            threshold,
            self.threshold_norm,
            self.implementation,
            self.get_variable(PACKED, "weights"),
        )
        self.put_variable(DELTA, "value", updated.value)
        self.record(updated.computed, updated.mask, neighbourhood.multiplications(function.shapes))
        return DeltaTensor(updated.value, updated.mask).with_arrivals(updated.arrivals)

    def state(self, shape: tuple[int, ...], dtype) -> jax.Array:
        """The cached map, checked against what this frame needs; infinite where none is yet.

        No finite value is within a threshold of infinity, so that a first frame is taken whole,
        by the same code as any other.
        """
        if not self.is_mutable_collection(DELTA):
            raise ValueError(
                f"{self.label}: got a DeltaTensor, but the collection 'delta' is not mutable; "
                "pass mutable=['delta'] to apply, or use deltajax.scan_frames"
            )
        array = self.get_variable(DELTA, "value")
        if array is None:
            return jnp.full(shape, UNSEEN, dtype)
        if array.shape != tuple(shape) or array.dtype != dtype:
            raise ValueError(
                f"{self.label}: this frame needs a state of shape {tuple(shape)} "
                f"{jnp.dtype(dtype)}, but the state given has {array.shape} {array.dtype}; make "
                "a new one with deltajax.init_delta(model, variables, frame)"
            )
        return array

    def resolved_threshold(self) -> jax.Array | float:
        """The collection's threshold if there is one, the attribute otherwise."""
        check_threshold(self.label, self.threshold)
        check_threshold_norm(self.label, self.threshold_norm)
        check_implementation(self.label, self.implementation)
        return self.get_variable(THRESHOLDS, "threshold", self.threshold)

    def check_called_once(self) -> None:
        """Each call site needs a state of its own, so an instance may be called once a frame."""
        # The root of all scopes is one per apply; Flax rewinds the layer's own after each call.
        assert self.scope is not None
        root, previous = self.scope.root, self.__dict__.get("_root_of_last_call")
        if previous is not None and previous() is root:
            raise ValueError(
                f"{self.label}: this layer instance is called twice in one frame, but it keeps "
                "one feature map; make an instance for each call site"
            )
        object.__setattr__(self, "_root_of_last_call", weakref.ref(root))

    def record(self, computed: jax.Array, updated: jax.Array, multiplications: float) -> None:
        """Masks and statistics, if asked for by making their collections mutable."""
        if self.is_mutable_collection(MASKS):
            self.put_variable(MASKS, "computed", computed)
        if not self.is_mutable_collection(STATISTICS):
            return
        height, width = computed.shape[1:]
        entries = {
            "active": jnp.sum(computed, axis=(1, 2), dtype=jnp.int32),
            "updated": jnp.sum(updated, axis=(1, 2), dtype=jnp.int32),
            "pixels": jnp.int32(height * width),
            "multiplications": jnp.float32(multiplications),
        }
        for name, value in entries.items():
            self.put_variable(STATISTICS, name, value)


def check_threshold(name: str, threshold: float) -> None:
    """Raises ValueError for a negative, infinite or NaN threshold; `name` says whose it is."""
    if not math.isfinite(threshold) or threshold < 0:
        raise ValueError(
            f"{name}: threshold is {threshold}; it must be zero or positive, and finite"
        )


def resolve_activation(name: str, activation: Activation | None):
    """The function of an activation given as a function, a name of `flax.linen`, or None.

    Raises:
        ValueError: for a name that is not one of `ACTIVATIONS`.
    """
    if activation is None or callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"{name}: activation is {activation!r}; it must be a function or one of "
            f"{', '.join(ACTIVATIONS)}"
        )
    return getattr(nn, activation)


ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "swish", "sigmoid", "hard_sigmoid",
    "hard_swish", "hard_tanh", "softplus", "tanh",
)  # fmt: skip
