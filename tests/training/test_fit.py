"""Runs: what is learnt, going on after an interruption, checkpoints, several devices."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import linen as nn

from deltajax.training import (
    CheckpointError,
    Checkpoints,
    Classification,
    MetricsLog,
    Trainer,
    fit,
    make_optimizer,
)
from deltajax.training.fit import evaluate

from .small import BATCH, EPOCHS, EXAMPLES, STEPS, Bright, train, trainer

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder and the result of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder)


def lines(folder: Path) -> list[str]:
    return (folder / "metrics.jsonl").read_text().splitlines()


def same(state, other) -> bool:
    pairs = zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_it_learns(whole):
    folder, result = whole
    assert int(result.state.step) == STEPS
    assert [line["epoch"] for line in result.epochs] == list(range(1, EPOCHS + 1))
    first, *_, last = result.epochs
    assert last["test_loss"] < first["test_loss"]
    assert last["train_loss"] < 0.9 * first["train_loss"]
    assert result.diverged is None
    assert len(lines(folder)) == 1 + STEPS + EPOCHS


def test_epochs_are_means_of_the_steps(whole):
    folder, result = whole
    steps = [json.loads(line) for line in lines(folder)[1:]]
    per_epoch = EXAMPLES // BATCH
    trained = [step for step in steps if step["kind"] == "train"]
    of_second = [step for step in trained if per_epoch < step["step"] <= 2 * per_epoch]
    expected = np.mean([step["loss"] for step in of_second])
    assert len(of_second) == per_epoch
    assert result.epochs[1]["train_loss"] == pytest.approx(expected, rel=1e-12)


def test_evaluation_counts_each_example_once(whole):
    """Thirteen in batches of eight: the last batch is filled up."""
    _, result = whole
    test = Bright(13, seed=1)
    found = evaluate(trainer(), result.state, test, BATCH)
    at_once = evaluate(trainer(), result.state, test, 13)
    assert found.keys() == {"loss", "accuracy", "top5_accuracy"}
    for name, value in found.items():
        assert value == pytest.approx(at_once[name], rel=1e-5)


@pytest.mark.parametrize("stop", [3, 10])
def test_killed_and_resumed_to_the_last_bit(whole, tmp_path, stop):
    """In the middle of an epoch, and past the last checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.training.small", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    with process:
        for line in process.stdout:
            if int(line) == stop:
                os.kill(process.pid, signal.SIGKILL)
                break
        assert process.wait() == -signal.SIGKILL
    told = []
    result = train(tmp_path, told.append)
    assert stop - 3 <= told[0].step - 1 <= stop
    folder, expected = whole
    assert lines(tmp_path) == lines(folder)
    assert result.epochs == expected.epochs
    assert same(result.state, expected.state)


def test_a_finished_run_is_not_repeated(whole):
    folder, expected = whole
    told = []
    result = train(folder, told.append)
    assert told == []
    assert result.epochs == expected.epochs


def test_another_run_in_the_folder(whole):
    folder, _ = whole
    with pytest.raises(ValueError, match="another run: network was 'small', and is 'large'"):
        train(folder, subject={"network": "large"})


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    told = []
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(manager, step, **arguments):
        if step >= 4:
            raise full
        return save(manager, step, **arguments)

    save = ocp.CheckpointManager.save
    with (
        mock.patch.object(ocp.CheckpointManager, "save", write),
        pytest.raises(CheckpointError, match=r"step 4 .*disk is full\); the last good one is .* 2"),
    ):
        train(tmp_path, told.append)
    assert told[-1].step == 4
    # With space again the run goes on from there.
    told.clear()
    train(tmp_path, told.append)
    assert told[0].step == 3


def test_no_space_at_all(tmp_path):
    """A file system that is really full, where one can be made."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        with pytest.raises(CheckpointError, match=r"the disk is full.*; there is none"):
            train(small)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_checkpoints_of_another_network(whole):
    folder, result = whole

    class Other(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool = False):
            return nn.Dense(3)(x.reshape(len(x), -1))

    made = Trainer(Other(), Classification(), make_optimizer("adam", 0.1))
    like = made.init(Bright(BATCH).batch(np.arange(BATCH)))
    with contextlib.closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        assert checkpoints.latest == STEPS
        with pytest.raises(CheckpointError, match="cannot be read, or is of another network"):
            checkpoints.restore(like)
        assert same(checkpoints.restore(result.state), result.state)
    with (
        contextlib.closing(Checkpoints(folder / "none")) as empty,
        pytest.raises(CheckpointError, match="there is no checkpoint in"),
    ):
        empty.restore(like)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    class Broken(Bright):
        def batch(self, numbers):
            return {**super().batch(numbers), "label": np.full(len(numbers), 99, np.int32)}

    result = fit(
        trainer(), Broken(EXAMPLES), Bright(8), epochs=2, batch_size=BATCH, folder=tmp_path,
        subject={},
    )  # fmt: skip
    assert result.diverged == 1
    assert result.epochs == []
    assert json.loads(lines(tmp_path)[1])["loss"] is None


def test_no_run(tmp_path):
    for settings in ({"epochs": 0}, {"batch_size": 100}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="are no run: there must be at least one epoch"):
            train(tmp_path, **settings)


def test_log_goes_on_behind_the_step(tmp_path):
    path = tmp_path / "new" / "metrics.jsonl"
    log = MetricsLog(path, {"a": 1})
    for step in (1, 2, 3):
        log.add("train", step, {"loss": 1 / step})
    log.add("test", 3, {"loss": float("nan")}, epoch=1)
    # A line that was being written when the process ended.
    path.write_text(path.read_text() + '{"kind": "tra')
    again = MetricsLog(path, {"a": 1}, step=2)
    assert [line["step"] for line in again.of("train")] == [1, 2]
    assert again.of("test") == []
    assert len(path.read_text().splitlines()) == 3
    assert MetricsLog(path, {"b": 2}).lines == []


DEVICES = """
import jax, numpy as np
from tests.training.small import BATCH, Bright, trainer
examples = Bright(BATCH).batch(np.arange(BATCH))
losses = []
for devices in (jax.devices()[:1], jax.devices()):
    made = trainer(devices=devices)
    state = made.init(examples)
    for _ in range(4):
        state, metrics = made.step(state, examples)
    losses.append(float(metrics["loss"]))
    kernel = jax.tree.leaves(state.params)[0]
    print(len(devices), len(kernel.sharding.device_set), losses[-1])
assert abs(losses[0] - losses[1]) <= 1e-5 * losses[0], losses
try:
    made.step(state, Bright(3).batch(np.arange(3)))
except ValueError as error:
    print(error)
"""


def test_several_devices_come_to_the_same():
    """Two of the CPU's: batch norms see the whole batch."""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    ran = subprocess.run(
        [sys.executable, "-c", DEVICES], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    one, two, refusal = ran.stdout.splitlines()
    assert one.startswith("1 1 ")
    assert two.startswith("2 2 ")
    assert "3 examples cannot be shared by 2 devices" in refusal
