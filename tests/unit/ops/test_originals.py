"""A base is read where its version was added from, as long as it still lies there; what comes of it is the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from mlver.digests import Buffer
from mlver.history.manifest import read_manifest
from mlver.ids import ChunkId
from mlver.ops.opening import open_repository
from mlver.ops.originals import OriginalFiles
from mlver.ops.stat_cache import Stamp
from mlver.repository import Repository
from tests.support.arrays import as_safetensors
from tests.support.trees import settle

ROWS, COLUMNS = 1200, 500


def checkpoint(step: int) -> bytes:
    """Return two tensors of 4.8 MB together, moved a little with each step."""
    random = np.random.default_rng(0)
    values = {name: random.normal(scale=0.03, size=(ROWS, COLUMNS)).astype(np.float32) for name in ("a", "b")}
    for number in range(step):
        moves = np.random.default_rng(number + 1)
        values = {
            name: value + moves.normal(scale=1e-6, size=value.shape).astype("f4") for name, value in values.items()
        }
    return as_safetensors(values)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / f"step-{step}.safetensors" for step in range(2)]
    for step, file in enumerate(made):
        file.write_bytes(checkpoint(step))
    settle()
    return made


@pytest.fixture
def added(repository: Repository, files: list[Path]) -> Repository:
    repository.add(files[0], name="m", type="t")
    return repository


def look_for(repository: Repository, place: Path) -> tuple[OriginalFiles, list[ChunkId]]:
    """Return what finds the originals of a version of one file, and its chunks."""
    opened = open_repository(place / ".mlver")
    identity = repository.version("m:v0").id
    manifest = read_manifest(opened.storage, identity)
    originals = OriginalFiles(opened.stat_cache)
    originals.look_for(identity, manifest)
    return originals, [chunk.id for chunk in manifest.files[0].chunks]


def found(repository: Repository, place: Path) -> bytes:
    """Return what lies where the chunks of the version were; nothing of those that are not looked for any more."""
    originals, chunks = look_for(repository, place)
    read = originals.read(chunks)
    return b"".join(read.get(chunk, b"") for chunk in chunks)


def test_chunks_are_where_they_were_added_from(added: Repository, tmp_path: Path, files: list[Path]) -> None:
    assert found(added, tmp_path) == files[0].read_bytes()


def change(file: Path) -> None:
    file.write_bytes(checkpoint(1))


def grow(file: Path) -> None:
    with file.open("ab") as more:
        more.write(b"more")


def make_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize("spoil", [change, grow, Path.unlink, make_fifo])
def test_a_file_that_is_not_what_it_was_is_not_read(
    added: Repository, tmp_path: Path, files: list[Path], spoil: Callable[[Path], None]
) -> None:
    spoil(files[0])
    assert found(added, tmp_path) == b""


def test_a_file_that_changes_meanwhile_is_not_read_on(added: Repository, tmp_path: Path, files: list[Path]) -> None:
    originals, (first, second, *_) = look_for(added, tmp_path)
    assert list(originals.read([first])) == [first]
    change(files[0])
    assert originals.read([second]) == {}
    assert originals.read([first]) == {}


def test_chunks_that_lie_far_apart_are_read_one_by_one(
    added: Repository, tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = found(added, tmp_path)
    pread, lengths = os.pread, list[int]()

    def noted(descriptor: int, length: int, offset: int) -> bytes:
        lengths.append(length)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", noted)
    originals, chunks = look_for(added, tmp_path)
    lengths.clear()
    assert b"".join(originals.read(chunks).values()) == together
    assert max(lengths) == len(together)
    monkeypatch.setattr("mlver.ops.originals._READ_BYTES", len(together) - 1)
    lengths.clear()
    assert b"".join(originals.read(chunks).values()) == together
    assert max(lengths) <= 1 << 20


def test_small_files_are_not_looked_for(repository: Repository, tmp_path: Path) -> None:
    small = tmp_path / "small.safetensors"
    small.write_bytes(as_safetensors({"a": np.zeros(100, np.float32)}))
    settle()
    repository.add(small, name="m", type="t")
    assert found(repository, tmp_path) == b""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was read of originals from here on."""
    seen: list[bytes] = []
    read = OriginalFiles.read

    def noted(self: OriginalFiles, chunks: Iterable[ChunkId]) -> dict[ChunkId, Buffer]:
        found = read(self, chunks)
        seen.extend(map(bytes, found.values()))
        return found

    monkeypatch.setattr(OriginalFiles, "read", noted)
    return seen


def test_the_next_version_takes_as_much_with_and_without_them(
    added: Repository, tmp_path: Path, files: list[Path], reads: list[bytes]
) -> None:
    at_hand = added.add(files[1])
    assert sum(map(len, reads)) == 2 * ROWS * COLUMNS * 4
    assert len({read for read in reads if read in files[0].read_bytes()}) == len(reads)
    with Repository.init(tmp_path / "other") as other:
        other.add(files[0], name="m", type="t")
        files[0].unlink()
        decoded = other.add(files[1], name="m")
    assert decoded.delta_bytes == at_hand.delta_bytes > 0.99 * at_hand.new_bytes
    assert decoded.stored_bytes == pytest.approx(at_hand.stored_bytes, rel=0.01)


def test_a_change_that_no_stamp_tells_of_harms_nobody(
    added: Repository, tmp_path: Path, files: list[Path], reads: list[bytes]
) -> None:
    changed = bytearray(checkpoint(0))
    changed[len(changed) // 4] ^= 1
    files[0].write_bytes(changed)
    settle()
    opened = open_repository(tmp_path / ".mlver")
    opened.cache.execute("UPDATE seen_files SET stamp = ?", (Stamp.of(files[0].stat()).text(),))
    result = added.add(files[1])
    assert sum(map(len, reads)) == 2 * ROWS * COLUMNS * 4
    assert result.delta_bytes > 0.99 * result.new_bytes
    with added.open(result.version.name, files[1].name) as stored:
        assert stored.read() == files[1].read_bytes()
