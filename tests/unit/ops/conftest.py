from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlver.repository import Repository
from tests.support.places import quick_folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with Repository.init(tmp_path) as made:
        yield made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that is not added yet; it has one file, `w`."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "w").write_bytes(b"first")
    return folder
