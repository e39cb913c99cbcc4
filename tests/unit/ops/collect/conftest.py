from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from mlver.ops.collect.collect import CollectResult, collect
from mlver.ops.opening import open_repository
from mlver.repository import Repository
from mlver.store import pack as pack_module
from tests.support.arrays import Arrays, as_safetensors
from tests.support.interleaving import grow_old
from tests.support.trees import write_tree

DAY = 86_400


def weights(number: int) -> bytes:
    """Return a checkpoint after so many steps of training: small differences to the one before."""
    made: Arrays = {}
    for name, shape in (("a", (120, 100)), ("b", (64,))):
        values = np.random.default_rng(len(name)).normal(scale=0.03, size=shape)
        for step in range(number):
            values = values + np.random.default_rng(step).normal(scale=1e-6, size=shape)
        made[f"layer.{name}"] = values.astype(np.float32)
    return as_safetensors(made)


@dataclass
class Home:
    """A folder with a repository, and what its versions hold."""

    path: Path
    content: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def add(self, content: bytes | dict[str, bytes], name: str = "m", file: str = "model.safetensors") -> str:
        """Add one file, or a folder, as a version, and return its name."""
        place = self.write(content, name, file)
        with Repository.open(self.path) as repository:
            version = repository.add(place, name=name, type="t").version.name
        self.content[version] = content if isinstance(content, dict) else {file: content}
        return version

    def write(self, content: bytes | dict[str, bytes], name: str = "m", file: str = "model.safetensors") -> Path:
        """Write what is to be added, and return where."""
        if isinstance(content, dict):
            shutil.rmtree(self.path / name, ignore_errors=True)
            return write_tree(self.path / name, content)
        (self.path / file).write_bytes(content)
        return self.path / file

    def remove(self, *versions: str) -> None:
        """Mark versions removed."""
        with Repository.open(self.path) as repository:
            repository.remove(*versions)

    def collect(self, days: float = 14, *, dry_run: bool = False) -> CollectResult:
        """Run `gc` with a grace period."""
        opened = open_repository(self.path / ".mlver")
        try:
            return collect(opened, days * DAY, dry_run=dry_run)
        finally:
            opened.close()

    def grow_old(self, days: float = 30) -> None:
        """Let time pass."""
        grow_old(self.path, days)

    @property
    def packs(self) -> dict[str, int]:
        """Sizes of all files in `packs/`, by name."""
        return {place.name: place.stat().st_size for place in (self.path / ".mlver" / "packs").iterdir()}

    @property
    def manifests(self) -> set[str]:
        """Names of all files in `manifests/`."""
        return {place.name for place in (self.path / ".mlver" / "manifests").iterdir()}

    def check(self) -> set[str]:
        """Check that all versions which are there are whole, with a new index too; return their names."""
        found: set[str] = set()
        for index_is_kept in (True, False):
            if not index_is_kept:
                (self.path / ".mlver" / "index.sqlite").unlink(missing_ok=True)
            with Repository.open(self.path) as repository:
                assert repository.verify().ok, repository.verify().damaged
                found = set()
                for artifact in repository.artifacts():
                    for version in repository.log(artifact.name):
                        for file in repository.manifest(version.name).files:
                            with repository.open(version.name, file.path) as readable:
                                assert readable.read() == self.content[version.name][file.path], version.name
                        found.add(version.name)
        return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty repository whose packs are small."""
    monkeypatch.setattr(pack_module, "PACK_TARGET_BYTES", 1 << 16)
    Repository.init(tmp_path).close()
    return Home(tmp_path)


@pytest.fixture
def trained(home: Home) -> Home:
    """A repository of which much was removed a month ago: checkpoints, a pack as a whole, most of another one."""
    for number in range(5):
        home.add(weights(number))
    home.add(np.random.default_rng(9).bytes(150_000), "data", "data.bin")
    home.add(np.random.default_rng(10).bytes(150_000), "data", "data.bin")
    parts = {str(number): np.random.default_rng(20 + number).bytes(15_000) for number in range(4)}
    home.add(parts, "parts")
    home.add({"3": parts["3"]}, "parts")
    home.remove("m:v1", "m:v4", "data:v0", "parts:v0")
    home.grow_old()
    return home


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Callable[[Home], Home]]:
    """Make copies of a repository, each in a folder of its own beside the others."""
    made: list[Path] = []

    def copy(home: Home) -> Home:
        place = tmp_path.parent / f"{tmp_path.name}-copy-{len(made)}"
        shutil.copytree(home.path, place, copy_function=shutil.copy2)
        made.append(place)
        return Home(place, dict(home.content))

    yield copy
    for place in made:
        shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def pairs() -> int:
    """How many pairs of places to stop at are tried of each pair of commands."""
    return int(os.environ.get("MLVER_TEST_PAIRS", "6"))
