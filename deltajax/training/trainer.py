"""One compiled step of training, and one of evaluation, on all devices."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from .task import Task

WEIGHT = "weight"
"""Of examples: 0 for those that fill up the last batch of an evaluation."""


class TrainState(struct.PyTreeNode):
    """All that a run consists of. (Trees of the same form, of shapes, say, are of this class, too.)

    Attributes:
        step: updates done, an int32 scalar.
        params: the parameters.
        batch_stats: running statistics of batch norms; empty if there are none.
        opt_state: of the optimiser.
    """

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any

    @property
    def variables(self) -> dict[str, Any]:
        """As the model takes them."""
        return {"params": self.params} | (
            {"batch_stats": self.batch_stats} if self.batch_stats else {}
        )


class Trainer:
    """Steps of a model on a task.

    A batch is divided over the devices, each of which has all parameters; means, those of batch
    norms included, are over the whole batch, so that their number changes nothing but rounding.
    Mixed precision is the model's: with dtype=bfloat16 it computes in bfloat16, with parameters,
    statistics and optimiser in float32. (bfloat16 has float32's range, and needs no scaling of the
    loss.)

    Args:
        model: any Flax module with `__call__(x, train)`, dense here.
        task: what is learnt.
        optimizer: Optax's, see `make_optimizer`.
        seed: of initialisation and augmentation.
        devices: to use; all that there are if not given.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        optimizer: optax.GradientTransformation,
        *,
        seed: int = 0,
        devices: Sequence[Any] | None = None,
    ) -> None:
        self.model, self.task, self.optimizer, self.seed = model, task, optimizer, seed
        mesh = Mesh(np.array(devices or jax.devices()), ("examples",))
        self._whole = NamedSharding(mesh, PartitionSpec())
        self._divided = NamedSharding(mesh, PartitionSpec("examples"))
        self._init = jax.jit(model.init)
        # Placed alike before and after a step, or the second one would be compiled anew.
        self._train = jax.jit(
            self._train_step,
            donate_argnums=0,
            in_shardings=(self._whole, self._divided),
            out_shardings=self._whole,
        )
        self._evaluate = jax.jit(
            self._evaluate_step,
            in_shardings=(self._whole, self._divided),
            out_shardings=self._whole,
        )

    def init(
        self, examples: Mapping[str, np.ndarray], variables: Mapping[str, Any] | None = None
    ) -> TrainState:
        """The state before the first step.

        Args:
            examples: some, for their shapes.
            variables: "params" and "batch_stats" to start from, such as trained ones; random ones
                if not given.
        """
        if variables is None:
            frames = jax.eval_shape(
                lambda examples: self.task.prepare(examples, None)[0], dict(examples)
            )
            frame = jnp.zeros((1, *frames.shape[1:]), frames.dtype)
            given: Any = self._init(self._key(0), frame)
        else:
            given = variables
        # Copied: the steps overwrite them.
        kept = {"params": given["params"], "batch_stats": given.get("batch_stats", {})}
        kept = jax.tree.map(jnp.array, kept)
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            opt_state=self.optimizer.init(kept["params"]),
            **kept,
        )
        return self.place(state)

    def place(self, state: TrainState) -> TrainState:
        """A state where the steps take it: on all devices."""
        return jax.device_put(state, self._whole)

    def step(
        self, state: TrainState, examples: Mapping[str, np.ndarray]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """The state after a step, and means over the batch: "loss" and the task's metrics.

        The state given must not be used any more.

        Raises:
            ValueError: for a batch that the devices cannot share evenly.
        """
        return self._train(state, self._put(examples))

    def evaluate(
        self, state: TrainState, examples: Mapping[str, np.ndarray]
    ) -> dict[str, jax.Array]:
        """Sums over a batch: "loss", the task's metrics, and "examples", how many there are.

        Args:
            state: whose parameters and running statistics are used.
            examples: with "weight" [N], if some are not to be counted.

        Raises:
            ValueError: for a batch that the devices cannot share evenly.
        """
        return self._evaluate(state.variables, self._put(examples))

    def _put(self, examples: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        count, devices = len(next(iter(examples.values()))), self._divided.num_devices
        if count % devices:
            raise ValueError(
                f"a batch of {count} examples cannot be shared by {devices} devices; its size must "
                f"be a multiple of {devices}"
            )
        return jax.device_put(dict(examples), self._divided)

    def _key(self, number: Any) -> jax.Array:
        return jax.random.fold_in(jax.random.key(self.seed), number)

    def _train_step(
        self, state: TrainState, examples: Mapping[str, jax.Array]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        # From the step's number: a run that goes on has the keys that it would have had.
        frames, targets = self.task.prepare(examples, self._key(1 + state.step))

        def loss(params: Any) -> tuple[jax.Array, tuple[Any, dict[str, jax.Array]]]:
            variables = {"params": params, "batch_stats": state.batch_stats}
            apply = functools.partial(self.model.apply, train=True, mutable=["batch_stats"])
            outputs, changed = apply(variables, frames)
            mean = jnp.mean(self.task.loss(outputs, targets))
            metrics = self.task.metrics(jax.lax.stop_gradient(outputs), targets)
            metrics = {name: jnp.mean(value) for name, value in metrics.items()}
            return mean, (changed.get("batch_stats", {}), {"loss": mean, **metrics})

        gradients, (batch_stats, metrics) = jax.grad(loss, has_aux=True)(state.params)
        updates, opt_state = self.optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(state.step + 1, params, batch_stats, opt_state), metrics

    def _evaluate_step(
        self, variables: Mapping[str, Any], examples: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        frames, targets = self.task.prepare(examples, None)
        outputs = self.model.apply(variables, frames)
        values = {"loss": self.task.loss(outputs, targets), **self.task.metrics(outputs, targets)}
        weight = examples.get(WEIGHT, jnp.ones((len(frames),)))
        # A product would let a NaN of an example of no weight through.
        sums = {name: jnp.sum(jnp.where(weight > 0, v, 0)) for name, v in values.items()}
        return sums | {"examples": jnp.sum(weight > 0)}
