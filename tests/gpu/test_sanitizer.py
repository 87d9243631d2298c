"""The kernels under compute-sanitizer: run by hand, `pytest -m gpu -n 6` and this file."""

import os
import shutil
import subprocess
import sys

import jax
import pytest

from tests.gpu.small_run import PARTS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu", reason="there is no GPU"),
    pytest.mark.skipif(not shutil.which("compute-sanitizer"), reason="no compute-sanitizer"),
]

ENVIRONMENT = {
    # Each array by itself from CUDA, so that what is read or written beyond it is noticed.
    "XLA_PYTHON_CLIENT_ALLOCATOR": "platform",
    # One launch after the other, no graphs; and nothing is run to be timed.
    "XLA_FLAGS": "--xla_gpu_enable_command_buffer= --xla_gpu_autotune_level=0",
}


OPTIONS = (
    *("--error-exitcode", "9"),
    # The host's stack at each call of CUDA would take longer than all the kernels.
    *("--show-backtrace", "no"),
)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_nothing_is_found(tool, part):
    """memcheck: reads and writes out of bounds; racecheck: races in shared memory."""
    command = ["compute-sanitizer", "--tool", tool, *OPTIONS, sys.executable]
    done = subprocess.run(
        [*command, "-m", "tests.gpu.small_run", part],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    report = done.stdout + done.stderr
    assert done.returncode == 0, report[-5000:]
    assert "small run: done" in report
    assert "0 errors" in report or "0 hazards" in report
