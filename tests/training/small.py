"""A small run, for tests; run as a program it trains in a folder until it is done or killed.

python -m tests.training.small FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from flax import linen as nn

import deltajax as dj
from deltajax.training import (
    Classification,
    FitResult,
    Progress,
    Trainer,
    fit,
    make_optimizer,
)

BATCH, EXAMPLES, EPOCHS = 8, 44, 3
STEPS = EXAMPLES // BATCH * EPOCHS


class Network(nn.Module):
    """Ten classes, with a batch norm."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = dj.Sparsify(mean=(0.5,), std=(0.5,))(x)
        x = dj.Conv(8, 3, norm=dj.BatchNorm(), activation="relu")(x, train=train)
        return nn.Dense(10)(dj.GlobalAvgPool()(x))


class Bright:
    """Pictures whose brightness is their class."""

    def __init__(self, count: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 10, count).astype(np.int32)
        noise = rng.integers(0, 12, (count, 8, 8, 3))
        self.images = (24 * self.labels[:, None, None, None] + noise).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": self.images[numbers], "label": self.labels[numbers]}


def trainer(learning_rate: float = 0.02, **settings) -> Trainer:
    return Trainer(Network(), Classification(), make_optimizer("adam", learning_rate), **settings)


def train(folder: Path, told=lambda progress: None, **settings) -> FitResult:
    arguments = {"epochs": EPOCHS, "batch_size": BATCH, "subject": {"network": "small"}}
    return fit(
        trainer(), Bright(EXAMPLES), Bright(13, seed=1), folder=folder, checkpoint_steps=2,
        progress=told, **(arguments | settings),
    )  # fmt: skip


def main(folder: str) -> None:
    def told(progress: Progress) -> None:
        print(progress.step, flush=True)

    train(Path(folder), told)


if __name__ == "__main__":
    main(sys.argv[1])
