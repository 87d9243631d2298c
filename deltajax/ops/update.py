"""One update of one update point: the design's recursion, and the choice of who computes it.

c = the output pixels whose receptive field meets a changed pixel of any input
z = f(inputs), at c only
m = c and (‖z − y‖ > τ)
y = z where m, unchanged elsewhere
"""

import functools
import warnings
from typing import Literal, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Shaped

from ..norms import ThresholdNorm, exceeds
from .function import Function, PackedWeights, Updated
from .gpu import gpus, why_not_triton
from .update_xla import update_xla

Implementation = Literal["auto", "dense", "xla", "triton"]


def update_dense(
    function: Function,
    cached: Shaped[Array, "N H W C"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
) -> Updated:
    """The specification: f everywhere, then the masks. Works under grad and vmap."""
    computed = function.reach()
    z = function.dense()
    mask = computed & exceeds(z, cached, threshold, norm)
    return Updated(jnp.where(mask[..., None], z, cached), mask, computed)


def update(
    function: Function,
    cached: Shaped[Array, "N H W C"],
    threshold: Float[Array, ""] | float,
    norm: ThresholdNorm,
    implementation: Implementation = "auto",
    packed: PackedWeights | None = None,
) -> Updated:
    """One frame's update of a cached map.

    Args:
        function: f with its inputs of this frame.
        cached: [N, H, W, C], y, this update point's own last output.
        threshold: τ, in the units of the map.
        norm: of the difference over the channels of a pixel.
        implementation: "dense" computes everything and costs as much as the dense network;
            "xla" computes changed pixels only, in plain XLA; "triton" does so in kernels for
            NVIDIA's GPUs, which can be neither differentiated nor mapped by vmap; "auto" takes
            triton where the computation is compiled for such a GPU, xla elsewhere.
        packed: what `pack` made of the same function; made here if not given.

    Raises:
        ValueError: for "triton" where there is none, for maps of a dtype that it does not know,
            or for weights that were packed for something else.
    """
    implementation = resolve(implementation)
    if implementation == "dense":
        return update_dense(function, cached, threshold, norm)
    if implementation == "xla":
        return update_xla(function, cached, threshold, norm)
    # Imported here: without Triton it cannot be.
    from .update_triton import after_update, arrivals_of, check_dtypes, supports, update_triton

    if implementation == "triton":
        check_dtypes(function, cached)
    arrivals = arrivals_of(function)
    left = after_update(arrivals)

    def in_triton() -> Updated:
        if supports(function, cached):
            return update_triton(function, cached, threshold, norm, arrivals, packed)
        # There is no kernel, and XLA's loops wait for the host on a GPU: everything is computed.
        return update_dense(function, cached, threshold, norm)._replace(arrivals=left)

    def in_xla() -> Updated:
        return update_xla(function, cached, threshold, norm)._replace(arrivals=left)

    if implementation == "triton":
        updated = in_triton()
    else:
        updated = lax.platform_dependent(cuda=in_triton, default=in_xla)
    if updated.arrivals is not None:
        arrivals.hand_on(updated.arrivals)
    return updated


def pack(
    function: Function,
    cached: Shaped[Array, "N H W C"],
    implementation: Implementation = "auto",
) -> PackedWeights | None:
    """What a function has that is the same in every frame, for `update`, as kernels take it.

    Args:
        function: f with inputs of the shapes and kinds of any frame; their values do not matter.
        cached: [N, H, W, C], for its shape and dtype.
        implementation: as of `update`.

    Returns:
        Its weights, and its tail's scale and shift, or None for what it has not; None where no
        kernel runs.
    """
    if resolve(implementation) not in ("auto", "triton"):
        return None
    # Imported here: without Triton it cannot be.
    from .update_triton import pack, supports

    return pack(function, cached) if supports(function, cached) else None


def resolve(implementation: Implementation) -> Implementation:
    """What runs here: "auto" remains only where there are kernels and a GPU for them.

    Warns, once, if there is a GPU but no Triton.

    Raises:
        ValueError: for "triton" where there is none; the message says what to do.
    """
    if implementation == "auto" and not gpus():
        return "xla"
    reason = why_not_triton() if implementation in ("auto", "triton") else None
    if reason is None:
        return implementation
    if implementation == "triton":
        raise ValueError(f'implementation="triton" cannot run: {reason}')
    _warn(f"deltajax runs on a GPU without its Triton kernels, and so slowly: {reason}")
    return "xla"


@functools.cache
def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


def check_implementation(name: str, implementation: str) -> None:
    """Raises ValueError for an implementation that does not exist; `name` says whose it is."""
    if implementation not in get_args(Implementation):
        raise ValueError(
            f"{name}: implementation is {implementation!r}; "
            f"it must be one of {get_args(Implementation)}"
        )
