"""Folders of files, what is in them, and what the store reads of them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlver.repository import Repository

IO_COUNTERS = Path("/proc/self/io")


def write_tree(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files, whose paths may have folders, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


def read_tree(folder: Path) -> dict[str, bytes | None]:
    """Return the content of every file by path, and None for every empty folder by path and `/`."""
    found: dict[str, bytes | None] = {}
    for place in sorted(folder.rglob("*")):
        path = place.relative_to(folder).as_posix()
        assert not place.is_symlink()
        if stat.S_ISREG(place.stat().st_mode):
            found[path] = place.read_bytes()
        elif not any(place.iterdir()):
            found[path + "/"] = None
    return found


def settle() -> None:
    """Wait until files written before are old enough for their stamps to be trusted."""
    time.sleep(0.05)


def overwrite_unseen(path: Path, content: bytes) -> None:
    """Replace the content in place by another of the same size, and restore the time of modification."""
    before = path.stat()
    assert len(content) == before.st_size
    with open(path, "r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    """Invert bits of one byte of a file, whatever its permissions."""
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    replace_bytes(path, bytes(data))


def replace_bytes(path: Path, content: bytes) -> None:
    """Give a file of the store, which is read-only, another content."""
    path.chmod(0o644)
    path.write_bytes(content)


def bytes_read(work: Callable[[], object]) -> int:
    """Return how many bytes this process asked the system to read during `work`, in all threads."""
    if not IO_COUNTERS.exists():
        pytest.skip("this system does not count what a process reads")
    before = _read_counter()
    work()
    return _read_counter() - before


def _read_counter() -> int:
    return int(IO_COUNTERS.read_text().split()[1])


class Meddler:
    """Progress that does something to the files at a chosen moment: between walk and reading, or amid reading.

    Args:
        at_start: Done when reading begins.
        at_advance: Done each time some bytes were stored, before the file is looked at again.
        times: How often `at_advance` is done.
    """

    def __init__(
        self,
        at_start: Callable[[], object] | None = None,
        at_advance: Callable[[], object] | None = None,
        times: int = 1,
    ) -> None:
        self._at_start = at_start
        self._at_advance = at_advance
        self._times = times

    def start(self, total_bytes: int, what: str) -> None:
        if self._at_start:
            self._at_start()

    def advance(self, size_bytes: int) -> None:
        if self._at_advance and self._times:
            self._times -= 1
            self._at_advance()

    def done(self) -> None:
        return


@contextmanager
def without_index(repository: Repository) -> Iterator[Repository]:
    """Give the same repository opened anew, its index gone."""
    (repository.path / "index.sqlite").unlink(missing_ok=True)
    with Repository.open(repository.path.parent) as again:
        yield again


def blobs(repository: Repository, folder: str) -> list[Path]:
    """Return the files of a folder of the store."""
    return sorted(path for path in (repository.path / folder).rglob("*") if path.is_file())
