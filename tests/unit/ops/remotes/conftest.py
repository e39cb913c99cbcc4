from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlver.ops.init import init_repository
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.configure import add_remote
from tests.support.places import quick_folder

NewClone = Callable[[str], OpenRepository]


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


@pytest.fixture
def machine(place: Path) -> Iterator[NewClone]:
    """Return what makes a repository of a name whose `origin` is one folder for all."""
    made: list[OpenRepository] = []

    def make(name: str) -> OpenRepository:
        repository = open_repository(Path(init_repository(place / name).path))
        made.append(repository)
        add_remote(repository, "origin", str(place / "remote"))
        return repository

    yield make
    for repository in made:
        repository.close()
