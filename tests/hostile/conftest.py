"""What the tests of hostile input share: a person with a repository, and a place with something worth keeping."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import person, template
from tests.support.places import quick_folder
from tests.support.trees import read_tree

__all__ = ["person", "place", "template", "yard"]


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder where writing is fast."""
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def yard(place: Path) -> Iterator[Path]:
    """A folder to work in; what lies beside it must be the same in the end."""
    (place / "precious").mkdir()
    (place / "precious/file").write_text("precious")
    inside = place / "yard"
    inside.mkdir()
    yield inside
    assert read_tree(place / "precious") == {"file": b"precious"}
    assert sorted(path.name for path in place.iterdir()) == ["precious", "yard"]
