from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from mlver.errors import IntegrityError, NotFoundError
from mlver.ops.verify import Hurt
from mlver.ops.version_files import stream_file
from mlver.repository import Repository
from tests.support.trees import blobs, flip, read_tree, replace_bytes, write_tree
from tests.support.weight_files import entry, safetensors_file

HEADER = {"a": entry("U8", [600], 0, 600), "b": entry("U8", [600], 600, 1200)}


@pytest.fixture
def net(repository: Repository, tmp_path: Path) -> Repository:
    """`net:v0` and `net:v1` share all of `m.safetensors`; v1 has a text besides."""
    weights = safetensors_file(HEADER, os.urandom(1200))
    repository.add(write_tree(tmp_path / "a", {"m.safetensors": weights}), name="net", type="t")
    repository.add(write_tree(tmp_path / "b", {"m.safetensors": weights, "x.txt": os.urandom(90)}), name="net")
    return repository


def test_whole_repository(net: Repository) -> None:
    done = net.verify()
    assert (done.ok, done.damaged, done.checked_versions) == (True, (), 2)
    assert done.checked_chunks == 4  # header, two tensors, text
    assert done.checked_bytes == 1290 + net.manifest("v0").file("m.safetensors").size_bytes - 1200


def test_empty_repository(repository: Repository) -> None:
    assert repository.verify().ok
    with pytest.raises(NotFoundError):
        repository.verify("net")


def test_every_flipped_byte_of_the_store_is_found(net: Repository) -> None:
    """In every pack, manifest and event: header, payload, index, trailer, digest."""
    for blob in [path for folder in ("packs", "manifests", "log", "names") for path in blobs(net, folder)]:
        good = blob.read_bytes()
        for offset in range(0, len(good), 1 if len(good) < 400 else 7):
            flip(blob, offset)
            done = net.verify()
            assert not done.ok, f"byte {offset} of {blob} was changed and nobody noticed"
            blob.write_bytes(good)
    assert net.verify().ok


@pytest.mark.parametrize("folder", ["packs", "manifests", "log"])
@pytest.mark.parametrize("length", [0, 1, 20, -1])
def test_every_truncated_file_is_found(net: Repository, folder: str, length: int) -> None:
    for blob in blobs(net, folder):
        good = blob.read_bytes()
        replace_bytes(blob, good[:length])
        assert not net.verify().ok
        blob.write_bytes(good)
    assert net.verify().ok


def chunk_at(net: Repository, path: str, offset: int) -> str:
    ((chunk, _),) = net.manifest("v1").file(path).chunks_between(offset, offset + 1)
    return chunk.id.hex()


def damage_chunk(net: Repository, path: str, offset: int) -> str:
    """Break the payload of one chunk, and return its id."""
    digits = chunk_at(net, path, offset)
    location = net._opened.chunk_index.find(bytes.fromhex(digits))  # type: ignore[arg-type]
    assert location
    flip(net.path / "packs" / f"{location.pack}.pack", location.entry.offset + location.entry.frame_length - 1)
    return digits


def test_damaged_chunk_is_told_with_versions_files_and_tensors(net: Repository) -> None:
    start = net.manifest("v1").tensors[1].offset
    digits = damage_chunk(net, "m.safetensors", start)
    done = net.verify()
    (damage,) = done.damaged
    assert (damage.kind, damage.name) == ("chunk", digits)
    assert damage.hurts == (Hurt("net:v1", "m.safetensors", ("b",)), Hurt("net:v0", "m.safetensors", ("b",)))
    assert net.verify("v0").damaged[0].hurts == (Hurt("net:v0", "m.safetensors", ("b",)),)
    text = damage_chunk(net, "x.txt", 0)
    assert len(net.verify("v0").damaged) == 1
    assert {one.name: one.hurts for one in net.verify().damaged}[text] == (Hurt("net:v1", "x.txt", ()),)


def test_removed_versions_count_as_they_can_come_back(net: Repository) -> None:
    damage_chunk(net, "x.txt", 0)
    net.remove("v1")
    assert [one.hurts for one in net.verify().damaged] == [(Hurt("net:v1", "x.txt", ()),)]


@pytest.mark.parametrize("index", ["kept", "lost"])
def test_lost_pack_is_told_with_all_it_hurts(net: Repository, index: str) -> None:
    for pack in blobs(net, "packs"):
        pack.unlink()
    if index == "lost":
        (net.path / "index.sqlite").unlink()
    with Repository.open(net.path) as again:
        done = again.verify()
    hurts = {hurt for damage in done.damaged for hurt in damage.hurts}
    assert {(hurt.version, hurt.path) for hurt in hurts} == {
        ("net:v0", "m.safetensors"), ("net:v1", "m.safetensors"), ("net:v1", "x.txt")
    }  # fmt: skip
    assert all("missing" in damage.reason for damage in done.damaged)


def test_pack_whose_index_is_damaged_is_told_and_still_read(net: Repository, tmp_path: Path) -> None:
    (pack,) = [path for path in blobs(net, "packs") if path.stat().st_size > 1000]
    flip(pack, -20)
    (damage,) = net.verify().damaged
    assert (damage.kind, damage.name) == ("pack", pack.stem)
    net.pull("v0", tmp_path / "out")


def test_damaged_manifest_is_told_with_its_versions(net: Repository, tmp_path: Path) -> None:
    net.add(tmp_path / "a", name="copy", type="t")
    identity = net.resolve("net:v0").id
    flip(net.path / "manifests" / f"{identity.removeprefix('blake3:')}.json.zst", 30)
    (damage,) = net.verify().damaged
    assert (damage.kind, damage.name) == ("manifest", identity)
    assert {hurt.version for hurt in damage.hurts} == {"net:v0", "copy:v0"}
    with pytest.raises(IntegrityError):
        net.pull("net:v0", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    net.pull("net:v1", tmp_path / "out")


@pytest.mark.parametrize("index", ["kept", "lost"])
def test_damaged_or_lost_event_is_told(net: Repository, index: str) -> None:
    events = [path for path in blobs(net, "log") if path.suffix == ".json"]
    for event in events[:-1]:
        good = event.read_bytes()
        for damage in ("flip", "loss"):
            if damage == "flip":
                flip(event, 50)
            else:
                event.unlink()
            if index == "lost":
                (net.path / "index.sqlite").unlink()
            with Repository.open(net.path) as again:
                (found, *_) = again.verify().damaged
            assert (found.kind, found.name) == ("log", "log/net")
            assert event.stem in found.reason
            event.unlink(missing_ok=True)
            event.write_bytes(good)


def test_bytes_that_nobody_names_are_no_damage(net: Repository) -> None:
    (net.path / "packs" / "README").write_text("hello")
    (net.path / "manifests" / "x").write_text("hello")
    assert net.verify().ok


def test_adding_again_mends_lost_bytes(net: Repository, tmp_path: Path) -> None:
    shutil.rmtree(net.path / "packs")
    assert not net.verify().ok
    net.add(tmp_path / "b", rehash=True)
    assert net.verify().ok
    net.pull("v0", tmp_path / "out")
    assert read_tree(tmp_path / "out") == read_tree(tmp_path / "a")


# The cache, which has no checksums


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE aliases SET version = 0",
        "UPDATE versions SET metrics = '{\"acc\":1}'",
        "UPDATE versions SET metrics = '{'",
        "UPDATE versions SET tags = NULL",
        "UPDATE artifacts SET latest = 0 WHERE key > 0",
        "UPDATE chunks SET offset = offset + 1",
        "DELETE FROM chunks WHERE offset = 0",
        "DROP TABLE chunks",
    ],
)
def test_a_cache_that_says_what_is_not_so_is_made_anew(net: Repository, harm: str) -> None:
    net.alias("best", "v1")
    said = [net.log(), net.resolve("best"), net.open("v1", "m.safetensors").read()]
    connection = sqlite3.connect(net.path / "index.sqlite")
    connection.execute(harm)
    connection.commit()
    connection.close()
    assert net.verify().ok
    assert any("index.sqlite was damaged" in notice for notice in net._opened.notices) or "{'" in harm or "NULL" in harm
    assert [net.log(), net.resolve("best"), net.open("v1", "m.safetensors").read()] == said


def test_a_sound_cache_stays(net: Repository) -> None:
    before = (net.path / "index.sqlite").stat().st_ino
    assert net.verify().ok
    assert net._opened.notices == []
    assert (net.path / "index.sqlite").stat().st_ino == before


def test_a_cache_that_fails_while_a_file_is_read_repeats_nothing(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    (tmp_path / "w").write_bytes(content)
    with Repository.init(tmp_path) as repository:
        repository.add(tmp_path / "w", name="net", type="model")
        pieces = stream_file(repository._opened, "net", "w")
        got = [bytes(next(pieces))]
        repository._opened.cache.execute("DROP TABLE chunks")
        got += map(bytes, pieces)
        assert len(got) > 2
        assert b"".join(got) == content
        with repository.open("net", "w") as stream:
            got = [stream.read(1000)]
            repository._opened.cache.execute("DROP TABLE chunks")
            assert got[0] + stream.read() == content
