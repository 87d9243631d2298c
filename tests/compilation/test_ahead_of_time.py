"""Every kernel that can be launched compiles for every generation of GPUs, within its limits.

It takes longest of all tests, and so stands in a folder that is begun early.
"""

import json
import re
from typing import Any

import pytest

from tests.triton_kernels.ahead_of_time import SHARED_LIMIT, output_of

RESNET50_SPILLS = {80: 96, 90: 104, 100: 384}
"""Bytes of registers that a thread of a kernel of ResNet-50 keeps in memory, at most, by compute
capability (Triton 3.9; docs/performance.md says which kernels they are)."""
SPILLING = {80: 1, 90: 2, 100: 13}
"""Kernels of ResNet-50 that keep more than FEW there, of about forty."""
FEW = 64
OTHER_SPILLS = {80: 8, 90: 0, 100: 8}
"""Bytes that a kernel of another network keeps there."""
PHASES_SPILLS = {80: 8, 90: 48, 100: 336}
"""And one that computes phases of a transposed convolution."""
TABLE_SPILLS = 280
"""And of tiles that only a table of measured configurations can have."""
BILINEAR_SPILLS = {80: 0, 90: 16, 100: 16}
"""And kernels of bilinear resizing: one with the norm "l2" does, though it has registers left."""


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


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_every_tile(capability):
    """Those that the rule gives any layer of any network, and those that a table can have."""
    reports = compiled("tiles", str(capability))
    resnet50 = [report for report in reports if report["of"] == "ResNet-50"]
    check(resnet50, RESNET50_SPILLS[capability])
    assert sum(report["spill_bytes"] > FEW for report in resnet50) <= SPILLING[capability]
    ahead = [report["fetches"] for report in reports]
    assert ahead == [bool(re.search("'WEIGHT_LINES': [1-9]", each["key"])) for each in reports]
    assert any(ahead)
    # What the rule gives shallow 1 × 1: more warps than others.
    wide = {tuple(report["tile"][:6]) for report in resnet50}
    assert ("float32", "tf32", 64, 256, 32, 16) in wide
    assert ("bfloat16", "tf32", 64, 256, 64, 16) in wide
    others = [report for report in reports if report["of"] == "rule"]
    phases = [report for report in others if re.search("'PHASES': [2-9]", report["key"])]
    assert len(phases) >= 10
    check(phases, PHASES_SPILLS[capability])
    check([report for report in others if report not in phases], OTHER_SPILLS[capability])
    check([report for report in reports if report["of"] == "table"], TABLE_SPILLS)


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_operations_without_products(capability):
    reports = compiled("pixelwise", str(capability))
    bilinear = [report for report in reports if "'KIND': 'bilinear'" in report["key"]]
    check(bilinear, BILINEAR_SPILLS[capability])
    check([report for report in reports if report not in bilinear], spill_bytes=0)


def test_a_network():
    """Its convolutions are cut into tiles that `test_every_tile` compiles."""
    reports = compiled("network", "simple_cnn", "bfloat16", "576", "768", "8", "90")
    check(reports, OTHER_SPILLS[90])
    assert {report["key"].split()[0] for report in reports} == {
        "convolution_kernel", "list_kernel", "pixelwise_kernel", "sparsify_rgb_kernel"
    }  # fmt: skip
