"""What is distributed, and which way imports run."""

import ast
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory) -> list[str]:
    """The paths in a wheel, built without a network from a copy: building leaves files behind."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("deltajax", "models", "triton_kernels"):
        shutil.copytree(ROOT / name, source / name)
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", ".", "--wheel-dir", "wheels", *offline],
        cwd=source,
        check=True,
    )
    (wheel,) = (source / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_wheel_has_one_top_level_package(wheel_files):
    top = {name.split("/")[0] for name in wheel_files}
    assert {name for name in top if not name.endswith(".dist-info")} == {"deltajax"}


def test_wheel_is_complete(wheel_files):
    folders = {
        "deltajax": ROOT / "deltajax",
        "deltajax/models": ROOT / "models",
        "deltajax/triton_kernels": ROOT / "triton_kernels",
    }
    expected = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in folders.items()
        for path in folder.rglob("*.py")
    }
    assert {name for name in wheel_files if name.endswith(".py")} == expected
    assert "deltajax/video/clips/vtest.mp4" in wheel_files
    assert "deltajax/models/trained/pose_small.safetensors" in wheel_files
    assert "deltajax/models/thresholds/pose_small.json" in wheel_files


FORBIDDEN = {
    "deltajax": ("deltajax.models", "models", "scripts"),
    "deltajax/ops": ("deltajax.layers",),
    "models": ("scripts", "deltajax.models", "deltajax.triton_kernels"),
    "triton_kernels": tuple(
        f"deltajax.{path.stem}" for path in (ROOT / "deltajax").iterdir() if path.stem != "__init__"
    ),
}
"""What no file of a folder may import, by absolute names; models/ imports itself relatively."""


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_run_one_way(folder):
    scripts = tuple(path.stem for path in (ROOT / "scripts").glob("*.py"))
    forbidden = FORBIDDEN[folder] + scripts
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / folder).rglob("*.py")
        for name in imports(path)
        if name.startswith(tuple(f"{module}." for module in forbidden)) or name in forbidden
    ]
    assert not wrong


def test_one_file_reaches_the_kernels():
    reaching = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "deltajax").rglob("*.py")
        if any(name.startswith("deltajax.triton_kernels") for name in imports(path))
    }
    assert reaching == {"deltajax/ops/update_triton.py"}


def imports(path: Path) -> Iterator[str]:
    """The absolute names of all that a file imports, wherever it does."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the file's own package, each further one the package around it.
            around = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*around, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)
