"""DeltaCNN's recursion (Parger et al., CVPR 2022, section 3), in NumPy float64.

Layers send deltas d. A nonlinear layer φ keeps an accumulated input a and a truncated rest r:
r ← r + d; where ‖φ(a + r) − φ(a)‖ > τ it sends that difference, a ← a + r and r ← 0. The first
frame is sent whole. Maps are [H, W, C].
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def pixel_norm(difference: Array, norm: str) -> Array:
    if norm == "max":
        return np.abs(difference).max(axis=-1)
    squares = (difference**2).sum(axis=-1)
    return np.sqrt(squares if norm == "l2" else squares / difference.shape[-1])


def windows(x: Array, size: int, stride: int, padding: int, fill: Any) -> Array:
    """[Ho, Wo, size, size, ...] of x [H, W, ...]."""
    pads = [(padding, padding)] * 2 + [(0, 0)] * (x.ndim - 2)
    padded = np.pad(x, pads, constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    return np.moveaxis(view, (-2, -1), (2, 3))[::stride, ::stride]


@dataclasses.dataclass
class Delta:
    """What a layer sends: d where the mask is on, zero elsewhere."""

    d: Array
    mask: Array


@dataclasses.dataclass
class Sender:
    """What layers share: deciding which pixels' differences are sent.

    Attributes:
        closest: the least |‖difference‖ − τ| met at a pixel that was asked, exact zeros aside.
    """

    threshold: float
    norm: str
    closest: float = float("inf")

    def send(self, difference: Array, asked: Array) -> Delta:
        size = pixel_norm(difference, self.norm)
        compared = size[asked & (size != 0)] if self.threshold == 0 else size[asked]
        if compared.size:
            self.closest = min(self.closest, float(np.abs(compared - self.threshold).min()))
        mask = asked & (size > self.threshold)
        return Delta(np.where(mask[..., None], difference, 0.0), mask)

    def send_whole(self, difference: Array) -> Delta:
        return Delta(difference, np.ones(difference.shape[:2], bool))


@dataclasses.dataclass
class Truncation(Sender):
    """A nonlinear layer φ, or, with φ the identity, the entry of frames."""

    phi: Callable[[Array], Array] = lambda a: a
    a: Array | None = None
    r: Array | None = None

    def __call__(self, delta: Delta) -> Delta:
        if self.a is None or self.r is None:
            self.a, self.r = delta.d, np.zeros_like(delta.d)
            return self.send_whole(self.phi(self.a))
        self.r = self.r + delta.d
        sent = self.send(self.phi(self.a + self.r) - self.phi(self.a), delta.mask)
        on = sent.mask[..., None]
        self.a = np.where(on, self.a + self.r, self.a)
        self.r = np.where(on, 0.0, self.r)
        return sent


@dataclasses.dataclass
class MaxPool(Sender):
    """Has no delta form: keeps its input whole and sends differences of maxima."""

    size: int = 2
    stride: int = 2
    whole: Array | None = None
    sent: Array | None = None

    def __call__(self, delta: Delta) -> Delta:
        self.whole = delta.d if self.whole is None else self.whole + delta.d
        maxima = windows(self.whole, self.size, self.stride, 0, -np.inf).max(axis=(2, 3))
        if self.sent is None:
            self.sent = maxima
            return self.send_whole(maxima)
        asked = windows(delta.mask, self.size, self.stride, 0, False).any(axis=(2, 3))
        result = self.send(maxima - self.sent, asked)
        self.sent = np.where(result.mask[..., None], maxima, self.sent)
        return result


@dataclasses.dataclass
class Convolution:
    """Linear: of the deltas, its bias in the first frame only."""

    kernel: Array
    bias: Array
    stride: int
    padding: int
    first: bool = True

    def __call__(self, delta: Delta) -> Delta:
        size = self.kernel.shape[0]
        taken = windows(delta.d, size, self.stride, self.padding, 0.0)
        d = np.einsum("hwijc,ijco->hwo", taken, self.kernel)
        if self.first:
            d, self.first = d + self.bias, False
        reached = windows(delta.mask, size, self.stride, self.padding, False)
        return Delta(d, reached.any(axis=(2, 3)))


def add(x: Delta, y: Delta) -> Delta:
    return Delta(x.d + y.d, x.mask | y.mask)
