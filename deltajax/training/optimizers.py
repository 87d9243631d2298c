"""Optimisers by name, with hyperparameters in their state: other values compile nothing."""

import math
from typing import Any, Literal, get_args

import jax.numpy as jnp
import optax

Optimizer = Literal["adam", "adamw", "sgd"]
OPTIMIZERS: tuple[Optimizer, ...] = get_args(Optimizer)

Schedule = Literal["constant", "steps", "cosine"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


def make_optimizer(
    name: Optimizer | str, learning_rate: float | optax.Schedule, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """An optimiser of all parameters, biases and norms included, as PyTorch's are by default.

    "adam": Kingma and Ba, ICLR 2015, with weight decay as PyTorch's `Adam` has it: λ w is added to
    the gradient, so that Adam divides it by the gradient's own size like the rest. A large λ so
    drowns the gradient, and a small one counts most where gradients are small.

    "adamw": Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019: η λ w is
    subtracted beside Adam's step, and all weights shrink by the same factor.

    "sgd": with a momentum of 0.9 and λ w in the gradient; here the two are the same.

    Args:
        name: one of `OPTIMIZERS`.
        learning_rate: η, or a function from the step to it.
        weight_decay: λ.

    Raises:
        ValueError: for an unknown name, or a negative or infinite rate or decay.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"there is no optimizer {name!r}; known are {', '.join(OPTIMIZERS)}")
    for what, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if not callable(value) and not 0 <= value < math.inf:
            raise ValueError(f"{what} is {value}; it must be zero or positive, and finite")

    def chain(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
        decay = optax.add_decayed_weights(weight_decay)
        step = optax.scale_by_learning_rate(learning_rate)
        if name == "adam":
            return optax.chain(decay, optax.scale_by_adam(), step)
        if name == "adamw":
            return optax.chain(optax.scale_by_adam(), decay, step)
        return optax.chain(decay, optax.trace(0.9), step)

    return optax.inject_hyperparams(chain)(learning_rate=learning_rate, weight_decay=weight_decay)


def make_schedule(name: Schedule | str, learning_rate: float, steps: int) -> optax.Schedule:
    """A learning rate over a run.

    "constant"; "steps", a tenth of it after 9/14 of the run and a hundredth after 12/14, as Xiao et
    al. (ECCV 2018) have it, in epochs 90 and 120 of 140; "cosine", half a wave down to nothing
    (Loshchilov and Hutter, "SGDR", ICLR 2017).

    Args:
        name: one of `SCHEDULES`.
        learning_rate: at the start.
        steps: of the whole run.

    Raises:
        ValueError: for an unknown name, a negative or infinite rate, or a run without steps.
    """
    if name not in SCHEDULES:
        raise ValueError(f"there is no schedule {name!r}; known are {', '.join(SCHEDULES)}")
    if not 0 <= learning_rate < math.inf or steps < 1:
        raise ValueError(
            f"learning_rate is {learning_rate} and steps is {steps}; a rate must be zero or "
            "positive and finite, and a run has steps"
        )
    if name == "steps":
        falls = {round(steps * share): 0.1 for share in (9 / 14, 12 / 14)}
        return optax.piecewise_constant_schedule(learning_rate, falls)
    if name == "cosine":
        return optax.cosine_decay_schedule(learning_rate, steps)
    return optax.constant_schedule(learning_rate)


def with_hyperparameters(opt_state: Any, **values: float) -> Any:
    """The state of such an optimiser with other hyperparameters.

    Raises:
        ValueError: for one that it does not have.
    """
    known = opt_state.hyperparams
    if unknown := values.keys() - known.keys():
        raise ValueError(
            f"the optimizer has no {', '.join(sorted(unknown))}; it has {', '.join(known)}"
        )
    changed = {name: jnp.asarray(value, known[name].dtype) for name, value in values.items()}
    return opt_state._replace(hyperparams={**known, **changed})
