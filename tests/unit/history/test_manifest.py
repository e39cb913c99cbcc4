from __future__ import annotations

import json
from typing import Any

import pytest
import zstandard

from mlver.digests import canonical_json, chunk_id, file_digest, manifest_id
from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history.manifest import (
    MAX_CHUNK_BYTES,
    OPAQUE,
    ChunkRef,
    FileEntry,
    Manifest,
    TensorEntry,
    build_manifest,
    decode_manifest,
    encode_manifest,
    manifest_name,
    read_manifest,
    write_manifest,
)
from mlver.history.manifest_blob import chunk_ids
from mlver.history.reference import ReferenceEntry
from mlver.ids import ChunkId, ManifestId
from mlver.store.memory import MemoryStorage


def file(path: str, *pieces: bytes, kind: str | None = None) -> FileEntry:
    chunks = tuple(ChunkRef(chunk_id(piece), len(piece)) for piece in pieces)
    size = sum(chunk.size_bytes for chunk in chunks)
    return FileEntry(path, size, file_digest(size, (chunk.id for chunk in chunks)), chunks, format=kind)


def tensor(name: str, digest: str = "d", offset: int = 0, size: int = 4) -> TensorEntry:
    return TensorEntry(name, "F32", (1,), digest, 0, offset, size)


def weights(*files: tuple[FileEntry, list[TensorEntry]]) -> object:
    return build_manifest(files, []).weights


@pytest.fixture
def manifest() -> Manifest:
    model = file("model/b.safetensors", b"head", b"w" * 8, kind="safetensors")
    return build_manifest(
        [(model, [tensor("y", "d2", 8), tensor("x", "d1", 4)]), (file("a.txt", b"text"), []), (file("empty"), [])],
        ["z", "model/none"],
    )


def test_order_of_what_was_found_does_not_matter(manifest: Manifest) -> None:
    assert [entry.path for entry in manifest.files] == ["a.txt", "empty", "model/b.safetensors"]
    assert [(entry.name, entry.file) for entry in manifest.tensors] == [("x", 2), ("y", 2)]
    assert manifest.folders == ("model/none", "z")
    assert manifest.size_bytes == 16


def test_manifest_comes_back(manifest: Manifest) -> None:
    data = encode_manifest(manifest)
    assert decode_manifest(data, manifest_id(data)) == manifest


def test_files_by_path(manifest: Manifest) -> None:
    assert manifest.file("a.txt").size_bytes == 4
    with pytest.raises(NotFoundError, match=r"'b\.txt'"):
        manifest.file("b.txt")


def test_chunks_between() -> None:
    entry = file("f", b"aaa", b"bbbbb", b"cc")
    found = [(start, end, [offset for _, offset in entry.chunks_between(start, end)]) for start, end in
             [(0, 1), (0, 3), (2, 4), (3, 8), (7, 9), (0, 10), (9, 10), (10, 11)]]  # fmt: skip
    assert [offsets for _, _, offsets in found] == [[0], [0], [0, 3], [3], [3, 8], [0, 3, 8], [8], []]


@pytest.mark.parametrize("chunk", ["ab", "ab" * 33, "x" * 64])
def test_ids_of_chunks_that_are_none_are_refused_also_where_the_rest_is_not_looked_at(chunk: str) -> None:
    storage = MemoryStorage()
    data = canonical_json({"files": [{"chunks": [chunk]}]})
    storage.put(manifest_name(manifest_id(data)), zstandard.ZstdCompressor().compress(data))
    with pytest.raises(IntegrityError, match="lists chunks that are none"):
        chunk_ids(storage, manifest_id(data))


def test_writing_twice_writes_once(manifest: Manifest) -> None:
    storage = MemoryStorage()
    identity = write_manifest(storage, manifest)
    before = storage.read(manifest_name(identity))
    assert write_manifest(storage, manifest) == identity
    assert storage.list("manifests") == [manifest_name(identity).partition("/")[2]]
    assert storage.read(manifest_name(identity)) == before
    assert read_manifest(storage, identity) == manifest


def test_missing_manifest_is_damage(manifest: Manifest) -> None:
    with pytest.raises(IntegrityError, match="is missing"):
        read_manifest(MemoryStorage(), manifest_id(b""))


@pytest.mark.parametrize(
    "identity", ["", "blake3:", "blake3:" + "0" * 63, "0" * 64, "blake3:" + "G" * 64, "blake3:../x"]
)
def test_malformed_id_never_becomes_a_name(identity: str) -> None:
    with pytest.raises(IntegrityError, match="is not a manifest id"):
        read_manifest(MemoryStorage(), ManifestId(identity))


def test_every_flipped_byte_is_found(manifest: Manifest) -> None:
    storage = MemoryStorage()
    identity = write_manifest(storage, manifest)
    good = storage.read(manifest_name(identity))
    for offset in range(len(good)):
        broken = bytearray(good)
        broken[offset] ^= 0xFF
        storage.put(manifest_name(identity), bytes(broken))
        with pytest.raises(IntegrityError, match=identity):
            read_manifest(storage, identity)


@pytest.mark.parametrize("declared", [0, 1 << 31, 1 << 62])
def test_declared_size_is_checked_before_anything_is_unpacked(manifest: Manifest, declared: int) -> None:
    storage = MemoryStorage()
    identity = write_manifest(storage, manifest)
    storage.put(manifest_name(identity), b"\x28\xb5\x2f\xfd\xe0" + declared.to_bytes(8, "little") + b"\x01\0\0")
    with pytest.raises(IntegrityError, match=r"declares|damaged"):
        read_manifest(storage, identity)


def test_bomb_is_not_unpacked_beyond_what_it_declares(manifest: Manifest) -> None:
    storage = MemoryStorage()
    identity = write_manifest(storage, manifest)
    bomb = bytearray(zstandard.ZstdCompressor().compress(bytes(1 << 24)))
    parameters = zstandard.get_frame_parameters(bytes(bomb))
    assert parameters.content_size == 1 << 24
    at = bytes(bomb).index((1 << 24).to_bytes(4, "little"))
    bomb[at : at + 4] = (1024).to_bytes(4, "little")
    storage.put(manifest_name(identity), bytes(bomb))
    with pytest.raises(IntegrityError, match="damaged"):
        read_manifest(storage, identity)


def changed(manifest: Manifest, change: str, value: Any) -> bytes:
    """Return a manifest with one value replaced, given as `files.0.path`; `...` takes the key away."""
    document = json.loads(encode_manifest(manifest))
    *way, last = change.split(".")
    place = document
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    if value is ...:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return canonical_json(document)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("mlver_manifest", 2),
        ("mlver_manifest", ...),
        ("more", 1),
        ("files", ...),
        ("files", {}),
        ("files", None),
        ("files.0", None),
        ("files.0", []),
        ("files.0.path", "../up"),
        ("files.0.path", "/etc/passwd"),
        ("files.0.path", "C:\\x"),
        ("files.0.path", "a/NUL"),
        ("files.0.path", 5),
        ("files.0.path", "empty"),
        ("files.0.path", "zzz"),
        ("files.0.size", 5),
        ("files.0.size", -1),
        ("files.0.size", "4"),
        ("files.0.size", 4.0),
        ("files.0.size", 1 << 70),
        ("files.0.digest", "blake3-chunks:" + "0" * 64),
        ("files.0.digest", None),
        ("files.0.chunks", []),
        ("files.0.chunks", ["zz"]),
        ("files.0.chunks", ["00" * 31]),
        ("files.0.chunks", [5]),
        ("files.0.lengths", []),
        ("files.0.lengths", [0]),
        ("files.0.lengths", [-4]),
        ("files.0.lengths", [True]),
        ("files.0.lengths", [4.0]),
        ("files.0.lengths", [1 << 25]),
        ("files.0.executable", False),
        ("files.0.executable", 1),
        ("files.0.executable", "yes"),
        ("files.0.format", 5),
        ("files.0.format", ["torch"]),
        ("files.0.unsafe_globals", [5]),
        ("files.0.unsafe_globals", "os.system"),
        ("files.0.more", 1),
        ("folders", ["z", "model/none"]),
        ("folders", ["..", "z"]),
        ("folders", ["a.txt", "z"]),
        ("folders", ["z", "z"]),
        ("folders", [1]),
        ("folders", "z"),
        ("tensors.0.name", 5),
        ("tensors.0.name", ...),
        ("tensors.0.dtype", None),
        ("tensors.0.shape", [-1]),
        ("tensors.0.shape", [1.0]),
        ("tensors.0.shape", "1"),
        ("tensors.0.shape", 1),
        ("tensors.0.digest", "d3"),
        ("tensors.0.digest", 1),
        ("tensors.0.file", 3),
        ("tensors.0.file", -1),
        ("tensors.0.file", True),
        ("tensors.0.offset", 9),
        ("tensors.0.offset", -1),
        ("tensors.0.size", 1 << 60),
        ("tensors.0.order", 1),
        ("tensors.0.anonymous", 1),
        ("tensors.0.anonymous", False),
        ("weights", None),
        ("weights", "blake3-weights:" + "0" * 64),
    ],
)
def test_well_signed_nonsense_is_refused(manifest: Manifest, change: str, value: object) -> None:
    data = changed(manifest, change, value)
    with pytest.raises(IntegrityError, match="Manifest blake3:"):
        decode_manifest(data, manifest_id(data))


def test_a_chunk_larger_than_any_may_be_is_refused_though_all_else_agrees(manifest: Manifest) -> None:
    document = json.loads(encode_manifest(manifest))
    file = document["files"][0]
    size_bytes = MAX_CHUNK_BYTES + 1
    digest = file_digest(size_bytes, [ChunkId(bytes.fromhex(file["chunks"][0]))])
    file |= {"lengths": [size_bytes], "size": size_bytes, "digest": digest, "chunks": file["chunks"][:1]}
    data = canonical_json(document)
    with pytest.raises(IntegrityError, match=f"a chunk of {size_bytes} bytes"):
        decode_manifest(data, manifest_id(data))


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"mlver_manifest":1}'])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode_manifest(data, manifest_id(data))


def test_other_spelling_of_the_same_manifest_is_refused(manifest: Manifest) -> None:
    data = json.dumps(json.loads(encode_manifest(manifest)), sort_keys=True).encode()
    with pytest.raises(IntegrityError, match="canonical"):
        decode_manifest(data, manifest_id(data))


# Weights


def st(path: str, content: bytes = b"wwww") -> FileEntry:
    return file(path, content, kind="safetensors")


def test_weights_do_not_depend_on_file_names_or_sharding() -> None:
    one = weights((st("model.safetensors"), [tensor("a", "1"), tensor("b", "2")]))
    two = weights((st("x-1.safetensors"), [tensor("b", "2")]), (st("x-2.safetensors"), [tensor("a", "1")]))
    assert one == two
    assert one != weights((st("model.safetensors"), [tensor("a", "2"), tensor("b", "1")]))


def test_other_files_are_no_weights() -> None:
    one = weights((st("m"), [tensor("a", "1")]))
    assert one == weights((st("m"), [tensor("a", "1")]), (file("config.json", b"{}"), []))
    assert weights((file("config.json", b"{}"), [])) is None


def test_place_below_the_deepest_common_folder_matters_and_the_place_above_does_not() -> None:
    both = [(st("text/m"), [tensor("a", "1")]), (st("vision/m"), [tensor("a", "2")])]
    moved = [(st("deep/er/text/m"), [tensor("a", "1")]), (st("deep/er/vision/m"), [tensor("a", "2")])]
    swapped = [(st("text/m"), [tensor("a", "2")]), (st("vision/m"), [tensor("a", "1")])]
    assert weights(*both) == weights(*moved)
    assert weights(*both) != weights(*swapped)


def test_one_name_twice_in_a_folder_is_told_apart_by_the_file() -> None:
    both = weights((st("x"), [tensor("a", "1")]), (st("y"), [tensor("a", "2")]))
    assert both != weights((st("x"), [tensor("a", "2")]), (st("y"), [tensor("a", "1")]))


def test_file_that_cannot_be_parsed_counts_by_its_bytes() -> None:
    parsed = (st("m"), [tensor("a", "1")])
    one = weights(parsed, (file("o.bin", b"1111", kind=OPAQUE), []))
    assert one != weights(parsed, (file("o.bin", b"2222", kind=OPAQUE), []))
    assert one != weights(parsed)
    assert weights((file("o.bin", b"1111", kind=OPAQUE), [])) is not None


def test_a_reference_is_no_file_and_crowds_are_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlver.history import manifest as module

    reference = ReferenceEntry("far", "s3://bucket/far", 3, "tag", None)
    made = build_manifest([], [], references=[reference])
    with pytest.raises(NotFoundError, match="is no file of this version but a reference to s3://bucket/far"):
        made.file("far")
    monkeypatch.setattr(module, "_CROWDED_FROM_BYTES", 10)
    monkeypatch.setattr(module, "_MIN_BYTES_A_VALUE", 1000)
    with pytest.raises(MlverError, match="cannot be one version: it has too many values"):
        write_manifest(MemoryStorage(), made)
