"""Weights of others in our trees."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ..calibration import BATCH_STATS
from ..common import VideoNetwork
from ..folding import fold_batch_norm
from .errors import WeightsError
from .layout import Layout
from .origins import HEADS, ORIGINS, OWN, OWN_PREFIX, Origin

Path = tuple[str, ...]


class Leaf(NamedTuple):
    """An array of our tree.

    Attributes:
        path: in the variables, the collection first.
        shape: that it has.
        key: of the array that it comes from.
        layout: of that one.
    """

    path: Path
    shape: tuple[int, ...]
    key: str
    layout: Layout

    @property
    def stored_shape(self) -> tuple[int, ...]:
        return self.layout.stored_shape(self.shape)


def load_weights(
    network: VideoNetwork,
    weights: Mapping[str, np.ndarray],
    *,
    new_head: jax.Array | None = None,
) -> dict[str, Any]:
    """The variables of a network from weights that were trained elsewhere.

    Args:
        network: one of `deltajax.models`. With `folded=True`, batch norms are folded into the
            convolutions while loading.
        weights: by the names of the project that they are from, as `read_weights` gives them, or
            by ours, as `save_weights` wrote them. A leading "module.", of PyTorch's parallel
            training, is passed over.
        new_head: PRNG key with which the head is initialised, whatever head the weights have: for
            another number of classes or joints. Without it the head is loaded, too.

    Returns:
        "params", and "batch_stats" if there are norms, float32.

    Raises:
        WeightsError: if an array is missing, not known or of another shape; the message names all
            of them, and nothing is loaded.
        ValueError: for a network whose weights are not known under other names, that is not folded
            though they are, or that has no head to make anew.
    """
    kind = type(network)
    own = any(key.startswith(OWN_PREFIX) for key in weights)
    if not own and kind not in ORIGINS:
        known = ", ".join(other.__name__ for other in ORIGINS)
        raise ValueError(
            f"it is not known how others call the weights of {kind.__name__}; it is of {known}"
        )
    if new_head is not None and kind not in HEADS:
        raise ValueError(f"{kind.__name__} has no head of a size that could be another")
    if own:
        folded = not any(key.startswith(BATCH_STATS) for key in weights)
    else:
        folded = ORIGINS[kind][0].folded
        if folded and not network.folded:
            raise ValueError(
                f"the norms of published weights of {kind.__name__} are folded into the "
                "convolutions; leave folded=True"
            )
    if network.folded and not folded:
        whole = network.clone(folded=False)
        return fold_batch_norm(whole, load_weights(whole, weights, new_head=new_head))[1]
    weights = {
        key.removeprefix("module."): array
        for key, array in weights.items()
        if not key.endswith("num_batches_tracked")
    }
    shapes = _shapes(network)
    origin, leaves = min(
        ((origin, _leaves(shapes, origin)) for origin in ((OWN,) if own else ORIGINS[kind])),
        key=lambda found: len({leaf.key for leaf in found[1]} ^ weights.keys()),
    )
    if new_head is not None:
        head = {leaf.key for leaf in leaves if HEADS[kind] in leaf.path}
        weights = {key: array for key, array in weights.items() if key not in head}
        leaves = [leaf for leaf in leaves if leaf.key not in head]
    if problems := list(_problems(leaves, weights)):
        raise WeightsError(
            f"these weights are not those of {_description(network)} as {origin.name} has it:\n"
            + "\n".join(problems)
        )
    loaded = {
        leaf.path: jnp.asarray(leaf.layout.ours(weights[leaf.key]), jnp.float32) for leaf in leaves
    }
    if new_head is not None:
        loaded |= _new_head(network, new_head)
    return unflatten_dict(loaded)


def _problems(leaves: list[Leaf], weights: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What hinders loading, a line each."""
    wanted = {leaf.key: leaf for leaf in leaves}
    for key, leaf in wanted.items():
        if key not in weights:
            yield f"  missing: {key} {leaf.stored_shape}"
    for key, array in weights.items():
        if key not in wanted:
            yield f"  not known: {key} {array.shape}"
        elif array.shape != wanted[key].stored_shape:
            yield f"  {key} is {array.shape}, it must be {wanted[key].stored_shape}"


def _leaves(shapes: Mapping[Path, tuple[int, ...]], origin: Origin) -> list[Leaf]:
    return [Leaf(path, shape, *origin.stored(path, len(shape))) for path, shape in shapes.items()]


def _shapes(network: VideoNetwork) -> dict[Path, tuple[int, ...]]:
    # All networks take this size, and none has parameters that depend on it.
    frame = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.uint8)
    leaves: Any = flatten_dict(jax.eval_shape(network.init, jax.random.key(0), frame))
    return {path: leaf.shape for path, leaf in leaves.items() if path[0] in ("params", BATCH_STATS)}


def _new_head(network: VideoNetwork, key: jax.Array) -> dict[Path, jax.Array]:
    @jax.jit
    def head(key: jax.Array, frame: jax.Array) -> dict[Path, jax.Array]:
        params: Any = flatten_dict({"params": network.init(key, frame)["params"]})
        return {path: array for path, array in params.items() if HEADS[type(network)] in path}

    return head(key, jnp.zeros((1, 64, 64, 3), jnp.uint8))


def _description(network: VideoNetwork) -> str:
    """The network and the sizes that its weights depend on."""
    common = VideoNetwork.__dataclass_fields__
    own = [name for name in type(network).__dataclass_fields__ if name not in common]
    return (
        f"{type(network).__name__}({', '.join(f'{name}={getattr(network, name)}' for name in own)})"
    )
