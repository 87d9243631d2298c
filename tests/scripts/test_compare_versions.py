import json
import shutil
from typing import Any

import compare_versions
import pytest

SMALL = [
    "--model", "simple_cnn", "--size", "64x96", "--frames-per-call", "3", "--calls", "2",
    "--rounds", "2", "--threshold", "0.1",
]  # fmt: skip
ROOT = compare_versions.ROOT


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A checkout whose networks see frames that are half as bright."""
    folder = tmp_path_factory.mktemp("other")
    for name in ("deltajax", *compare_versions.PARTS):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    entry = folder / "deltajax" / "ops" / "entry.py"
    text = entry.read_text()
    assert text.count("1 / 255") == 1
    entry.write_text(text.replace("1 / 255", "0.5 / 255"))
    return folder


def report_of(folder, *arguments: str) -> Any:
    path = folder / "new" / "report.json"
    assert compare_versions.main([*arguments, *SMALL, "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_versions_in_turns(tmp_path, other, capfd):
    report = report_of(tmp_path, str(ROOT), str(other))
    printed = capfd.readouterr().out
    same, changed = report["versions"]
    assert (same["version"], changed["version"]) == (str(ROOT), str(other))
    assert same["difference"] == 0
    assert changed["difference"] > 0.1
    for version in report["versions"]:
        for kind in compare_versions.KINDS:
            assert 0 < version[f"{kind}_ms"] < 1e4
            low, high = version[f"{kind}_ms_p10_p90"]
            assert low <= version[f"{kind}_ms"] <= high
    assert all(same[f"{kind}_speedup"] == 1 for kind in compare_versions.KINDS)
    assert report["frames_per_call"] == 3
    assert "simple_cnn" in printed
    assert "difference" in printed


def test_a_revision_is_taken_from_the_history(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("these are the sources without their history")
    folder = compare_versions.make_package("HEAD", tmp_path / "version")
    names = {path.name for path in (folder / "deltajax").iterdir()}
    assert {"__init__.py", "ops", *compare_versions.PARTS} <= names
    assert (folder / "deltajax" / "models" / "resnet.py").is_file()
    assert not (folder / "source" / "tests").exists()


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ([str(ROOT)], "give two or more versions"),
        ([str(ROOT), str(ROOT)], "each once"),
        (["no-such-thing", str(ROOT)], "no-such-thing is neither a folder nor a revision"),
        ([str(ROOT), str(ROOT / "tests")], "there is no checkout of deltajax in it"),
        ([str(ROOT), "..", "--rounds", "0"], "must be at least 1"),
    ],
)
def test_versions_that_there_are_not(versions, message, capsys):
    assert compare_versions.main([*SMALL, *versions]) == 1
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_version_that_fails(tmp_path, capfd):
    (tmp_path / "deltajax").mkdir()
    (tmp_path / "deltajax" / "__init__.py").write_text("raise RuntimeError('broken on purpose')")
    versions = [str(tmp_path), str(tmp_path / "." / "deltajax" / "..")]
    assert compare_versions.main([*SMALL, *versions]) == 1
    error = " ".join(capfd.readouterr().err.split())
    assert "broken on purpose" in error
    assert "failed, see above" in error
