"""Every kernel that can be launched compiles for every generation of GPUs, within its limits.

It takes longest of all tests, and so stands in a folder that is begun early.
"""

import json
from typing import Any

import pytest

from tests.triton_kernels.ahead_of_time import SHARED_LIMIT, output_of


def compiled(*arguments: str) -> list[dict[str, Any]]:
    """What `tests.triton_kernels.launches` reports, from a process without the interpreter."""
    output = output_of("launches", *arguments)
    reports = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert reports
    return reports


def check(reports: list[dict[str, Any]], spill_bytes: int) -> None:
    assert reports
    errors = [report for report in reports if "error" in report]
    assert not errors
    for report in reports:
        assert report["shared_bytes"] <= SHARED_LIMIT[report["capability"]], report["key"]
        assert report["spill_bytes"] <= spill_bytes, report["key"]


@pytest.mark.parametrize("capability", ["80", "90", "100"])
def test_every_tile(capability):
    reports = compiled("tiles", capability)
    check(reports, spill_bytes=1024)
    fast = [report for report in reports if "tf32x3" not in report["key"]]
    # The tiles that most of a network's time is spent in: a few numbers, outside the loop.
    check([r for r in fast if "'BLOCK_M': 64, 'BLOCK_N': 64" in r["key"]], spill_bytes=64)


@pytest.mark.parametrize("capability", ["80", "90", "100"])
def test_operations_without_products(capability):
    check(compiled("pixelwise", capability), spill_bytes=64)


def test_a_network():
    reports = compiled("network", "pose_resnet18", "bfloat16", "576", "768", "8", "90")
    check(reports, spill_bytes=1024)
    assert {report["key"].split()[0] for report in reports} == {
        "convolution_kernel", "list_kernel", "pixelwise_kernel", "sparsify_rgb_kernel"
    }  # fmt: skip
