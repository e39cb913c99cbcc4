"""What people do in the tests of sharing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlver.ops.add import AddRequest, add
from mlver.ops.opening import OpenRepository
from mlver.ops.pull import plan_pull, pull
from mlver.ops.remotes.receiving import obtain_files, obtain_manifest
from tests.support.trees import read_tree


def record(repository: OpenRepository, content: bytes, name: str = "net", **more: Any) -> str:
    """Add a version with one file; return its name."""
    folder = repository.root.parent / "model"
    folder.mkdir(exist_ok=True)
    (folder / "w").write_bytes(content)
    return add(repository, AddRequest([folder], name=name, type="model", **more)).version.name


def contents(repository: OpenRepository, name: str = "net") -> dict[int, str]:
    """Return the ids of an artifact's versions by number."""
    artifact = repository.artifact(name)
    return {version.number: version.id for version in repository.index.versions(artifact, removed=True)}


def get(repository: OpenRepository, revision: str, target: Path) -> dict[str, bytes | None]:
    """Pull a version with what is missing; return its files."""
    obtain_manifest(repository, repository.resolve(revision).version.id)
    plan = plan_pull(repository, revision, target)
    obtain_files(repository, plan)
    pull(repository, plan)
    return read_tree(target)
