"""A model over the frames of a video: making, running and resetting its state."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.core import Scope, apply
from jaxtyping import Array, Bool, Int, Shaped

from .layers.update_point import DELTA, PACKED, UNSEEN
from .tensor import frame_of_streams

Variables = Mapping[str, Any]


def init_delta(
    model: nn.Module,
    variables: Variables,
    frame: Shaped[Array, "N H W C"] | Shaped[np.ndarray, "N H W C"] | jax.ShapeDtypeStruct,
    **kwargs: Any,
) -> Any:
    """The state of a model that has seen no frame, the collection "delta".

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables; a "delta" among them is ignored.
        frame: [N, H, W, C], for its shape and dtype only.
        **kwargs: passed to the model.

    Returns:
        One map [N, H, W, C] per update point.
    """
    rest = {name: value for name, value in variables.items() if name != DELTA}
    shapes = _first_state.eval_shape(model, tuple(sorted(kwargs.items())), rest, frame)
    return jax.tree.map(lambda leaf: jnp.full(leaf.shape, UNSEEN, leaf.dtype), shapes)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _first_state(
    model: nn.Module, kwargs: tuple[tuple[str, Any], ...], rest: Variables, frame: jax.Array
) -> Any:
    """A state as `model.init` makes it, of these variables; jitted for the cache of its shapes."""

    def forward(scope: Scope) -> None:
        model.clone(parent=scope)(frame, **dict(kwargs))

    # So updates are not traced, which takes ten times as long.
    return apply(forward, mutable=[DELTA], flags={"initializing": True})(rest)[1][DELTA]


def pack_weights(
    model: nn.Module,
    variables: Variables,
    frame: Shaped[Array, "N H W C"] | Shaped[np.ndarray, "N H W C"] | jax.ShapeDtypeStruct,
    **kwargs: Any,
) -> dict[str, Any]:
    """Lays a model's weights out as the kernels of a GPU take them, once for many frames.

    For those who apply a model frame by frame, as with a camera: without this weights are rounded
    and laid out, and batch norms folded, in every frame. `scan_frames` does it by itself, in each
    call, if it has not been done before.

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables.
        frame: [N, H, W, C], for its shape and dtype only.
        **kwargs: passed to the model.

    Returns:
        The variables with a further collection, "packed", for frames of this shape. Kernels take
        the weights and norms from it, and no notice of "params" and "batch_stats" that change
        afterwards: pack again after training, loading or calibration. Where no kernels run the
        variables are as they were.
    """
    kept = {name: value for name, value in variables.items() if name != PACKED}
    rest = {name: value for name, value in kept.items() if name != DELTA}
    zeros = jnp.zeros(frame.shape, frame.dtype)
    return {**kept, **_packed(model, tuple(sorted(kwargs.items())), rest, zeros)}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _packed(
    model: nn.Module, kwargs: tuple[tuple[str, Any], ...], variables: Variables, frame: jax.Array
) -> dict[str, Any]:
    """The collection "packed", if there is any, of a pass in which nothing else is computed."""
    changed = model.apply(variables, frame, mutable=[DELTA, PACKED], **dict(kwargs))[1]
    return {PACKED: changed[PACKED]} if PACKED in changed else {}


def scan_frames(
    model: nn.Module,
    variables: Variables,
    frames: Shaped[Array, "T N H W C"] | Shaped[np.ndarray, "T N H W C"],
    *,
    present: Bool[Array, "T N"] | Bool[np.ndarray, "T N"] | None = None,
    collect: tuple[str, ...] = (),
    donate: bool = False,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """Runs a model over frames incrementally, in one `lax.scan`.

    Compiled once per model, shapes and options. The model must be hashable, as Flax modules are
    whose fields are numbers, strings, tuples and functions.

    Args:
        model: any Flax module built of deltajax layers.
        variables: its variables; without a "delta" among them, no stream has been
            seen yet.
        frames: [T, N, H, W, C].
        present: [T, N], which streams have a new frame in which step; None for all.
        collect: collections to return for every frame, of "statistics" (see
            `deltajax.statistics`) and "masks" (each update point's computed pixels, [N, H, W]).
            They cost nothing when not asked for.
        donate: whether the state in `variables` may be overwritten. Saves copying it once a call;
            the arrays given cannot be used afterwards.
        **kwargs: passed to the model; hashable.

    Returns:
        (outputs, delta), the outputs with a leading axis T; with `collect`, a third: a dict of
        the collections, their arrays with a leading axis T.

    Raises:
        ValueError: for frames that are not [T, N, H, W, C], a `present` that does not fit them, or
            whatever the model raises.
    """
    if np.ndim(frames) != 5:
        raise ValueError(
            f"frames have shape {np.shape(frames)}; they must be [T, N, H, W, C]: steps, streams, "
            "height, width, channels"
        )
    if present is not None and np.shape(present) != np.shape(frames)[:2]:
        raise ValueError(
            f"present has shape {np.shape(present)}, but frames [T, N] are {np.shape(frames)[:2]}"
        )
    rest = {name: value for name, value in variables.items() if name != DELTA}
    delta = variables.get(DELTA)
    if delta is None:
        first = jax.ShapeDtypeStruct(np.shape(frames)[1:], frames.dtype)
        delta = init_delta(model, rest, first, **kwargs)
        donate = True
    run = _scan_donated if donate else _scan
    return run(model, tuple(collect), tuple(sorted(kwargs.items())), delta, rest, frames, present)


def _scan_frames(
    model: nn.Module,
    collect: tuple[str, ...],
    kwargs: tuple[tuple[str, Any], ...],
    delta: Any,
    rest: Variables,
    frames: jax.Array,
    present: jax.Array | None,
) -> tuple[Any, ...]:
    def step(delta: Any, inputs: tuple[jax.Array, jax.Array | None]) -> tuple[Any, Any]:
        frame, present = inputs
        x = frame if present is None else frame_of_streams(frame, present)
        output, changed = model.apply(
            {**rest, DELTA: delta}, x, mutable=[DELTA, *collect], **dict(kwargs)
        )
        return changed[DELTA], (output, {name: changed.get(name, {}) for name in collect})

    if PACKED not in rest:  # XLA would leave most of this in the loop, on a GPU
        frame = jnp.zeros(frames.shape[1:], frames.dtype)
        rest = {**rest, **_packed(model, kwargs, {**rest, DELTA: delta}, frame)}
    delta, (outputs, recorded) = jax.lax.scan(step, delta, (frames, present))
    return (outputs, delta, recorded) if collect else (outputs, delta)


_scan = functools.partial(jax.jit, static_argnums=(0, 1, 2))(_scan_frames)
_scan_donated = functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)(_scan_frames)


def reset(
    delta: Any, streams: Int[Array, " R"] | Bool[Array, " N"] | np.ndarray | list[int] | int
) -> Any:
    """Makes streams forget what they have seen: their next frame is their first again.

    Args:
        delta: the state.
        streams: indices, or a boolean mask [N].

    Returns:
        The state, without the maps of these streams; those of the others as they were.

    Raises:
        ValueError: for streams that the state does not have.
    """
    chosen = np.atleast_1d(np.asarray(streams))
    count = jax.tree.leaves(delta)[0].shape[0]
    if chosen.dtype == bool:
        fits = chosen.shape == (count,)
    else:
        chosen = chosen.astype(int)
        fits = bool(np.all((chosen >= 0) & (chosen < count)))
    if not fits:
        raise ValueError(f"streams to reset are {streams}, but the state has {count} streams")
    return jax.tree.map(lambda leaf: leaf.at[chosen].set(UNSEEN), delta)


def state_bytes(delta: Any) -> int:
    """Bytes that a state takes, all its maps together."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(delta))
