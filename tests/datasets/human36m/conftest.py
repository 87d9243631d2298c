import shutil
from pathlib import Path
from unittest import mock

import pytest

from deltajax.datasets.human36m import checks

from . import fake


@pytest.fixture(autouse=True)
def strict():
    """The pictures are as much smaller than those of Human3.6M."""
    with mock.patch.object(checks, "PIXEL_TOLERANCE", checks.PIXEL_TOLERANCE * fake.SIDE / 1000):
        yield


@pytest.fixture(scope="session")
def good_tree(tmp_path_factory) -> Path:
    """S1 and S5, one action, four cameras; not to be written into."""
    return fake.write_tree(tmp_path_factory.mktemp("human36m") / "good", ("S1", "S5"))


@pytest.fixture
def tree(good_tree, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(good_tree, tmp_path / "tree")
