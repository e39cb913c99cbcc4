from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlver.errors import IntegrityError, NotFoundError
from mlver.ops.usage import ArtifactUsage
from mlver.repository import Repository
from tests.support.trees import blobs, write_tree

KIB = 1 << 10
A, B, C, D = (os.urandom(10 * KIB) for _ in range(4))
"""Random, so that a chunk takes a few bytes more than its size."""


@pytest.fixture
def net(repository: Repository, tmp_path: Path) -> Repository:
    for number, (name, files) in enumerate(
        [("net", {"a": A, "b": B}), ("net", {"a": A, "c": C}), ("data", {"b": B, "d": D, "again": D})]
    ):
        repository.add(write_tree(tmp_path / str(number), files), name=name, type="t")
    return repository


def tens(size_bytes: int) -> float:
    """Return a size in units of ten KiB, without what frames add."""
    return round(size_bytes / (10 * KIB), 1)


def by_name(net: Repository) -> dict[str, ArtifactUsage]:
    return {one.artifact.name: one for one in net.usage().artifacts}


def test_bytes_by_artifact_and_version(net: Repository) -> None:
    found = by_name(net)
    told = {name: (tens(u.logical_bytes), tens(u.stored_bytes), tens(u.exclusive_bytes), tens(u.shared_bytes))
            for name, u in ((name, one.usage) for name, one in found.items())}  # fmt: skip
    assert told == {"net": (4, 3, 2, 1), "data": (3, 2, 1, 1)}
    versions = {v.name: (tens(u.logical_bytes), tens(u.stored_bytes), tens(u.exclusive_bytes))
                for one in found.values() for v, u in one.versions}  # fmt: skip
    assert versions == {"net:v0": (2, 2, 0), "net:v1": (2, 2, 1), "data:v0": (3, 2, 1)}
    assert [version.name for version, _ in found["net"].versions] == ["net:v1", "net:v0"]


def test_totals(net: Repository) -> None:
    done = net.usage()
    assert (tens(done.total.logical_bytes), tens(done.total.stored_bytes), done.unused_bytes) == (7, 4, 0)
    assert done.pack_bytes == sum(path.stat().st_size for path in blobs(net, "packs"))
    assert done.total.stored_bytes < done.pack_bytes
    one = net.usage("data")
    assert [usage.artifact.name for usage in one.artifacts] == ["data"]
    assert one.total == done.total


def test_removed_versions_are_unused(net: Repository) -> None:
    net.remove("net:v1", "data:v0")
    done = net.usage()
    assert (tens(done.total.logical_bytes), tens(done.total.stored_bytes), tens(done.unused_bytes)) == (2, 2, 2)
    assert tens(by_name(net)["net"].usage.exclusive_bytes) == 2


def test_unknown_artifact_and_lost_manifest(net: Repository) -> None:
    with pytest.raises(NotFoundError):
        net.usage("nat")
    blobs(net, "manifests")[0].unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        net.usage()


def test_empty_repository(repository: Repository) -> None:
    done = repository.usage()
    assert (done.artifacts, done.total.stored_bytes, done.pack_bytes) == ((), 0, 0)
