"""Weights of others in our trees."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

from ..calibration import BATCH_STATS
from ..common import VideoNetwork
from ..folding import NORM
from .errors import WeightsError
from .naming import HEADS, NAMINGS, Naming

STATISTICS = {"mean": "running_mean", "var": "running_var"}


class Leaf(NamedTuple):
    """An array of our tree.

    Attributes:
        path: in the variables, the collection first.
        shape: that it has.
        key: of the array that it comes from.
        transposed: whether it is the kernel of a transposed convolution.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    key: str
    transposed: bool

    def given_shape(self) -> tuple[int, ...]:
        """The shape in which PyTorch has it."""
        if self.path[-1] != "kernel":
            return self.shape
        *taps, channels, features = self.shape
        order = (channels, features) if self.transposed else (features, channels)
        return (*order, *taps)

    def value(self, array: np.ndarray) -> jax.Array:
        """In our layout: PyTorch has channels first, and the taps of transposed ones reversed."""
        if self.path[-1] == "kernel":
            if self.transposed:
                array = array[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
            else:
                array = array.transpose(*range(2, array.ndim), 1, 0)
        return jnp.asarray(array, jnp.float32)


def load_weights(
    network: VideoNetwork,
    weights: Mapping[str, np.ndarray],
    *,
    new_head: jax.Array | None = None,
) -> dict[str, Any]:
    """The variables of a network from weights that were trained elsewhere.

    Args:
        network: with batch norms (`folded=False`); `fold_batch_norm` folds what has been loaded.
        weights: by the names of the project that they are from, as `read_weights` gives them. A
            leading "module.", of PyTorch's parallel training, is passed over.
        new_head: PRNG key with which the head is initialised, whatever head the weights have: for
            another number of classes or joints. Without it the head is loaded, too.

    Returns:
        "params" and "batch_stats", float32.

    Raises:
        WeightsError: if an array is missing, not known or of another shape; the message names all
            of them, and nothing is loaded.
        ValueError: for a network whose weights are not known under other names, or folded.
    """
    if type(network) not in NAMINGS:
        known = ", ".join(kind.__name__ for kind in NAMINGS)
        raise ValueError(
            f"it is not known how others call the weights of {type(network).__name__}; of {known} "
            "it is"
        )
    if network.folded:
        raise ValueError("load the weights into the network without folded=True, and fold it then")
    weights = {
        key.removeprefix("module."): array
        for key, array in weights.items()
        if not key.endswith("num_batches_tracked")
    }
    tree = _shapes(network)
    origin, leaves = min(
        ((origin, list(_leaves(tree, name))) for origin, name in NAMINGS[type(network)].items()),
        key=lambda found: len({leaf.key for leaf in found[1]} ^ weights.keys()),
    )
    head = HEADS[type(network)] if new_head is not None else None
    wanted = [leaf for leaf in leaves if head not in leaf.path]
    of_head = {leaf.key for leaf in leaves} - {leaf.key for leaf in wanted}
    weights = {key: array for key, array in weights.items() if key not in of_head}
    if problems := list(_problems(wanted, weights)):
        raise WeightsError(
            f"these weights are not those of {_description(network)} as {origin} has it:\n"
            + "\n".join(problems)
        )
    loaded = {leaf.path: leaf.value(weights[leaf.key]) for leaf in wanted}
    if new_head is not None:
        fresh = flax.traverse_util.flatten_dict(_initialised(network, new_head))
        loaded = {path: loaded.get(path, array) for path, array in fresh.items()}
    return flax.traverse_util.unflatten_dict(loaded)


def _problems(wanted: list[Leaf], weights: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What hinders loading, a line each."""
    for leaf in wanted:
        if leaf.key not in weights:
            yield f"  missing: {leaf.key} {leaf.given_shape()}"
    for key in weights.keys() - {leaf.key for leaf in wanted}:
        yield f"  not known: {key} {weights[key].shape}"
    for leaf in wanted:
        if leaf.key in weights and weights[leaf.key].shape != leaf.given_shape():
            yield f"  {leaf.key} is {weights[leaf.key].shape}, it must be {leaf.given_shape()}"


def _leaves(tree: Mapping[tuple[str, ...], Any], name: Naming) -> Iterator[Leaf]:
    for path, array in tree.items():
        collection, *layer, what = path
        if NORM in layer:
            modules = name(tuple(part for part in layer if part != NORM))
            norms = {"scale": "weight", "bias": "bias"}
            key = f"{modules.norm}.{(STATISTICS if collection == BATCH_STATS else norms)[what]}"
        else:
            modules = name(tuple(layer))
            key = f"{modules.layer}.{'weight' if what == 'kernel' else what}"
        yield Leaf(path, array.shape, key, modules.transposed)


def _shapes(network: VideoNetwork) -> dict[tuple[str, ...], Any]:
    return flax.traverse_util.flatten_dict(
        jax.eval_shape(lambda: _initialised(network, jax.random.key(0)))
    )


def _initialised(network: VideoNetwork, key: jax.Array) -> dict[str, Any]:
    variables = network.init(key, jnp.zeros((1, 64, 64, 3), jnp.uint8))
    return {name: variables[name] for name in ("params", BATCH_STATS)}


def _description(network: VideoNetwork) -> str:
    """The network and the sizes that its weights depend on."""
    own = {field: getattr(network, field) for field in type(network).__annotations__}
    return f"{type(network).__name__}({', '.join(f'{name}={own[name]}' for name in own)})"
