from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlver.ops.diff.diff import diff
from mlver.ops.diff.result import DiffResult, TensorPair
from mlver.repository import Repository
from tests.support.weight_files import entry, safetensors_file

Raw = Mapping[str, tuple[str, tuple[int, ...], bytes]]
"""Tensors by name: type, shape, bytes."""


def weight_file(tensors: Raw) -> bytes:
    """Return a safetensors file."""
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = entry(dtype, shape, len(data), len(data) + len(raw))
        data += raw
    return safetensors_file(header, data)


class Keeper:
    """Adds folders made of names and contents as versions of artifacts, and compares them.

    Args:
        repository: Where to.
        home: The folder it is in.
    """

    def __init__(self, repository: Repository, home: Path) -> None:
        self.repository = repository
        self.home = home

    def write(self, files: Mapping[str, bytes | str | Raw], folder: str = "model") -> Path:
        """Write files, and nothing else, into a folder."""
        place = self.home / folder
        for path in sorted(place.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        for name, content in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else None
            path.write_bytes(weight_file(content) if raw is None else raw)  # type: ignore[arg-type]
        return place

    def add(self, files: Mapping[str, bytes | str | Raw], name: str = "m", **said: Any) -> str:
        """Add files as a version and return its name."""
        return self.repository.add(self.write(files), name=name, type="t", **said).version.name

    def diff(self, first: str, second: str | None = None, **wanted: Any) -> DiffResult:
        """Compare two sides."""
        return diff(self.repository._opened, first, second, **wanted)

    def pair(self, before: Raw, after: Raw) -> TensorPair:
        """Add two versions of a file and return its one tensor that changed."""
        first, second = self.add({"m.safetensors": before}), self.add({"m.safetensors": after})
        (found,) = self.diff(first, second).tensors.changed
        return found


@pytest.fixture
def keeper(repository: Repository, tmp_path: Path) -> Keeper:
    return Keeper(repository, tmp_path)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """Return a function that tells the sizes of the chunks that were read since the last call."""
    from mlver.chunks import ChunkReader

    sizes: list[int] = []
    original = ChunkReader.read_many

    def read_many(self: ChunkReader, chunks: Any) -> Any:
        sizes.extend(size for _, size in chunks)
        return original(self, chunks)

    monkeypatch.setattr(ChunkReader, "read_many", read_many)

    def since() -> list[int]:
        found = sizes.copy()
        sizes.clear()
        return found

    return since
