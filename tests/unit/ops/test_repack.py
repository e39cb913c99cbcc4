"""`gc --repack` makes packs smaller and loses nothing: whatever happens meanwhile, and whoever else is at work."""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from mlver.chunks import MAX_CHAIN, ChunkReader, ChunkWriter, Piece
from mlver.digests import chunk_id
from mlver.errors import MlverError, UsageError
from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.repack import repack
from mlver.repository import Repository
from mlver.store import pack as pack_module
from mlver.store.local import LocalStorage
from tests.support.arrays import Arrays, as_safetensors
from tests.support.child import start_python
from tests.support.faulty import FaultyStorage
from tests.support.trees import flip

VERSIONS = 4


def weights(number: int) -> Arrays:
    """Return the weights after so many steps of training."""
    made: Arrays = {}
    for name, shape in (("a", (150, 200)), ("b", (250, 200)), ("c", (40,))):
        values = np.random.default_rng(len(name + name)).normal(scale=0.03, size=shape)
        for step in range(number):
            values = values + np.random.default_rng(step).normal(scale=1e-6, size=shape)
        made[f"layer.{name}"] = values.astype(np.float32)
    return made


@pytest.fixture
def stored(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Return the versions of a repository of several small packs, by name: of two artifacts, weights and text."""
    monkeypatch.setattr(pack_module, "PACK_TARGET_BYTES", 1 << 17)
    content: dict[str, bytes] = {}
    for number in range(VERSIONS):
        place = tmp_path / "model.safetensors"
        place.write_bytes(as_safetensors(weights(number)))
        version = repository.add(place, name="m", type="t", compression="fast").version
        content[version.name] = place.read_bytes()
    text = tmp_path / "notes.txt"
    text.write_bytes(b"".join(b"line %d of a text that compresses\n" % n for n in range(3_000)))
    version = repository.add(text, name="notes", type="text").version
    content[version.name] = text.read_bytes()
    return content


def assert_all_there(path: Path, stored: dict[str, bytes]) -> None:
    with Repository.open(path) as repository:
        assert repository.verify().ok
        for name, content in stored.items():
            (file,) = repository.manifest(name).files
            with repository.open(name, file.path) as readable:
                assert readable.read() == content, name


def packs(path: Path) -> dict[str, int]:
    return {place.name: place.stat().st_size for place in (path / ".mlver" / "packs").iterdir()}


def test_it_gets_smaller_and_stays_the_same(repository: Repository, stored: dict[str, bytes], tmp_path: Path) -> None:
    before, log = packs(tmp_path), repository.log("m")
    result = repository.repack("max")
    after = packs(tmp_path)
    assert (result.packs_before, result.bytes_before) == (len(before), sum(before.values()))
    assert (result.packs_after, result.bytes_after) == (len(after), sum(after.values()))
    assert not before.keys() & after.keys()
    assert result.bytes_after < 0.99 * result.bytes_before
    assert repository.log("m") == log
    assert_all_there(tmp_path, stored)
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    (tmp_path / ".mlver" / "index.sqlite").unlink()
    assert_all_there(tmp_path, stored)


def test_doing_it_again_changes_nothing_and_costs_nothing(
    repository: Repository, stored: dict[str, bytes], tmp_path: Path
) -> None:
    first = repository.repack("max")
    again = repository.repack("max")
    assert again.bytes_after <= first.bytes_after
    weaker = repository.repack("fast")
    assert weaker.bytes_after <= again.bytes_after
    assert_all_there(tmp_path, stored)


def test_versions_that_were_stored_whole_become_differences(repository: Repository, tmp_path: Path) -> None:
    content = {}
    for number in (0, 1):
        place = tmp_path / f"{number}.safetensors"
        place.write_bytes(as_safetensors(weights(number)))
        # Another artifact is the only base that is allowed, and has nothing alike: so the chunks are stored whole.
        (tmp_path / "other").write_bytes(b"text")
        repository.add(tmp_path / "other", name="other", type="t")
        result = repository.add(place, name="m", type="t", base="other")
        assert result.delta_bytes == 0
        content[result.version.name] = place.read_bytes()
    repacked = repository.repack("balanced")
    assert repacked.bytes_after < 0.85 * repacked.bytes_before
    assert_all_there(tmp_path, content)


def test_rows_that_moved_alike_become_cheaper_than_elements(tmp_path: Path) -> None:
    sizes = []
    old = np.random.default_rng(0).normal(scale=0.03, size=(300, 512)).astype(np.float32)
    moved = old + np.random.default_rng(1).normal(scale=3e-5, size=512).astype(np.float32)
    for name, shape in (("rows", (300, 512)), ("flat", (300 * 512,))):
        with Repository.init(tmp_path / name) as repository:
            place = tmp_path / "weights.safetensors"
            for value in (old, moved):
                place.write_bytes(as_safetensors({"w": value.reshape(shape)}))
                repository.add(place, name="m", type="t", compression="fast")
            sizes.append(repository.repack("max").bytes_after)
    rows, flat = sizes
    assert rows < 0.95 * flat


def test_chains_stay_bounded(repository: Repository, tmp_path: Path) -> None:
    for number in range(2 * MAX_CHAIN + 2):
        place = tmp_path / "w.safetensors"
        place.write_bytes(as_safetensors({"a": weights(number)["layer.a"][:9]}))
        repository.add(place, name="m", type="t")
    repository.repack()
    opened = open_repository(tmp_path / ".mlver")
    reader = ChunkReader(opened.storage, opened.chunk_index)
    depths = {
        reader.decode(entry.chunk).depth
        for pack in opened.chunk_index.packs()
        for entry in opened.chunk_index.entries(pack)
    }
    opened.close()
    assert max(depths) == MAX_CHAIN


def test_what_no_version_uses_is_kept_too(repository: Repository, stored: dict[str, bytes], tmp_path: Path) -> None:
    repository.remove("m:v2")
    orphan = random.Random(1).randbytes(5000)
    opened = open_repository(tmp_path / ".mlver")
    with ChunkWriter(opened.storage, opened.chunk_index) as writer:
        writer.append(*writer.prepare([Piece(orphan)]))
        writer.finish()
    repository.repack()
    opened.refresh_packs()
    assert bytes(ChunkReader(opened.storage, opened.chunk_index).read(chunk_id(orphan), 5000)) == orphan
    opened.close()
    repository.restore("m:v2")
    assert_all_there(tmp_path, stored)


def test_a_reader_with_an_old_view_finds_everything(
    repository: Repository, stored: dict[str, bytes], tmp_path: Path
) -> None:
    opened = open_repository(tmp_path / ".mlver", cache_in_memory=True)
    reader = opened.chunk_reader()
    manifest = repository.manifest("m:v3")
    repository.repack()
    for file in manifest.files:
        raws = reader.read_many([(chunk.id, chunk.size_bytes) for chunk in file.chunks])
        assert b"".join(raws) == stored["m:v3"]
    opened.close()


def test_damage_stays_where_it_is_and_is_told(repository: Repository, stored: dict[str, bytes], tmp_path: Path) -> None:
    victim = max((tmp_path / ".mlver" / "packs").iterdir(), key=lambda place: place.stat().st_size)
    flip(victim, 3000)
    hurt = repository.verify()
    result = repository.repack()
    assert result.damaged
    assert victim.exists()
    assert result.packs_after == len(packs(tmp_path))
    assert {(d.kind, d.name) for d in repository.verify().damaged} == {(d.kind, d.name) for d in hurt.damaged}
    flip(victim, 3000)
    repository.repack()
    assert_all_there(tmp_path, stored)


@pytest.mark.parametrize("operation", ["commit", "delete", "write", "read"])
@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("after", [False, True])
def test_a_failure_anywhere_loses_nothing(
    repository: Repository, stored: dict[str, bytes], tmp_path: Path, operation: str, skip: int, after: bool
) -> None:
    opened = open_repository(tmp_path / ".mlver")
    failing = FaultyStorage(opened.storage)
    failing.fail(operation, skip=skip, after=after, error=MlverError("out of order"))
    broken = replace(opened, storage=cast(LocalStorage, _Sweeping(failing, opened)))
    with pytest.raises(MlverError, match="out of order"):
        repack(broken, "balanced")
    opened.close()
    assert_all_there(tmp_path, stored)
    repository.repack("balanced")
    assert_all_there(tmp_path, stored)


class _Sweeping:
    """A faulty storage with what only local storages have."""

    def __init__(self, failing: FaultyStorage, opened: OpenRepository) -> None:
        self._failing = failing
        self.sweep = opened.storage.sweep

    def __getattr__(self, name: str) -> Any:
        return getattr(self._failing, name)


REPACK = """
repository = Repository.open(sys.argv[1])
print("repacking", flush=True)
repository.repack(sys.argv[2])
print("done", flush=True)
"""


def test_killed_at_any_time_it_loses_nothing(stored: dict[str, bytes], tmp_path: Path) -> None:
    chance = random.Random(5)
    outcomes = set()
    for _ in range(8):
        process = start_python(REPACK, tmp_path, chance.choice(["fast", "max"]))
        assert process.stdout
        assert process.stdout.readline() == "repacking\n"
        time.sleep(chance.random() * 0.4)
        process.kill()
        outcomes.add("done" in process.communicate()[0])
        assert_all_there(tmp_path, stored)
    assert False in outcomes


def test_several_at_once_beside_writers_lose_nothing(stored: dict[str, bytes], tmp_path: Path) -> None:
    def write(number: int) -> tuple[str, bytes]:
        place = tmp_path / f"{number}" / "model.safetensors"
        place.parent.mkdir()
        place.write_bytes(as_safetensors(weights(number)))
        with Repository.open(tmp_path) as repository:
            return repository.add(place, name=f"m{number}", type="t").version.name, place.read_bytes()

    processes = [start_python(REPACK, tmp_path, level) for level in ("max", "fast", "balanced")]
    with ThreadPoolExecutor(3) as pool:
        added = list(pool.map(write, range(6, 12)))
    for process in processes:
        out, err = process.communicate(timeout=100)
        assert "done" in out, err
    assert_all_there(tmp_path, stored | dict(added))


def test_a_level_that_does_not_exist_is_an_error(repository: Repository) -> None:
    with pytest.raises(UsageError, match="'best' is not known"):
        repository.repack("best")


def test_an_empty_repository_has_nothing_to_repack(repository: Repository) -> None:
    result = repository.repack()
    assert (result.chunks, result.packs_after, result.bytes_after, result.damaged) == (0, 0, 0, ())
