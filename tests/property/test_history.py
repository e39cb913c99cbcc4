"""Events and manifests: what is written comes back, and nothing that is read can do anything but be refused."""

from __future__ import annotations

import copy
import json
import string
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlver.digests import blake3_hex, canonical_json, chunk_id, file_digest, manifest_id
from mlver.errors import IntegrityError
from mlver.history import tables
from mlver.history.event import (
    Action,
    AddVersion,
    CreateArtifact,
    Event,
    MoveAlias,
    RenameArtifact,
    SetNote,
    SetRemoved,
    SetTag,
    SetType,
    SetValue,
    decode_event,
    encode_event,
)
from mlver.history.index import VersionIndex
from mlver.history.log import EventLog
from mlver.history.manifest import (
    ChunkRef,
    FileEntry,
    Manifest,
    TensorEntry,
    build_manifest,
    decode_manifest,
    encode_manifest,
)
from mlver.names import path_problem
from mlver.store.memory import MemoryStorage
from mlver.store.sqlite import CacheConnection, open_cache

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBER = st.integers(0, (1 << 62) - 1)
SMALL = st.integers(0, 3)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=6,
)
VALUES = st.dictionaries(TEXT, JSON, max_size=3)


def additions(numbers: st.SearchStrategy[int]) -> st.SearchStrategy[AddVersion]:
    return st.builds(
        AddVersion, numbers, TEXT, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, st.none() | TEXT, st.none() | TEXT,
        st.lists(TEXT, max_size=3), VALUES, VALUES, VALUES,
    )  # fmt: skip


ARTIFACTS = st.sampled_from(["a", "b", "c", "A", "log", "resnet50_attn"])


def namings() -> st.SearchStrategy[Action]:
    """What happens in the log of names."""
    return st.one_of(
        st.builds(CreateArtifact, ARTIFACTS, ARTIFACTS),
        st.builds(RenameArtifact, ARTIFACTS, ARTIFACTS),
        st.builds(SetType, ARTIFACTS, ARTIFACTS, ARTIFACTS),
    )


def actions(numbers: st.SearchStrategy[int], names: st.SearchStrategy[str]) -> st.SearchStrategy[Action]:
    field = st.sampled_from(["metadata", "metrics"])
    one = st.lists(JSON, max_size=1)
    return st.one_of(
        additions(numbers),
        st.builds(MoveAlias, names, st.none() | numbers, st.none() | numbers),
        st.builds(SetTag, numbers, names, st.booleans()),
        st.builds(SetNote, numbers, st.none() | TEXT, st.none() | TEXT),
        st.builds(SetValue, numbers, field, TEXT, one, one),
        st.builds(SetRemoved, numbers, st.booleans()),
    )


ANY_ACTIONS = st.lists(actions(NUMBER, TEXT) | namings(), max_size=4).map(tuple)
EVENTS = st.builds(Event, NUMBER, TEXT, TEXT, TEXT, ANY_ACTIONS, st.none() | NUMBER)


@given(EVENTS)
def test_events_come_back(event: Event) -> None:
    assert decode_event(encode_event(event), event.number, "e") == event


@given(st.binary(max_size=64), EVENTS, st.data())
def test_no_bytes_do_more_than_be_refused(junk: bytes, event: Event, data: st.DataObject) -> None:
    good = encode_event(event)
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, len(good)))
    for bad in (junk, good[:start] + junk + good[end:]):
        with suppress(IntegrityError):
            assert encode_event(decode_event(bad, event.number, "e")) == good


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        False,
        -1,
        0,
        1.5,
        1e300,
        1 << 62,
        1 << 80,
        "",
        "x",
        "../x",
        "\ud800",
        "\0",
        [],
        [[]],
        {},
        {"do": "add"},
    ]
)


@st.composite
def mutilated(draw: st.DrawFn, document: Any) -> Any:
    """Return a JSON value like `document`, with one value replaced, removed, or added to."""
    top: Any = {"": copy.deepcopy(document)}
    place, last = top, ""
    for _ in range(draw(st.integers(1, 5))):
        inner = place[last]
        keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner))) if isinstance(inner, list) else []
        if not keys:
            break
        place, last = inner, draw(st.sampled_from(keys))
    what = draw(st.sampled_from(["replace", "delete", "add"]))
    if what == "delete" and place is not top:
        del place[last]
    elif what == "add" and isinstance(place[last], dict):
        place[last][draw(TEXT)] = draw(ODD)
    else:
        place[last] = draw(ODD)
    return top[""]


def signed(document: Any) -> bytes:
    line = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return line + b"\nblake3:" + blake3_hex(line).encode() + b"\n"


@given(EVENTS, st.data())
def test_well_signed_nonsense_is_refused_or_means_something(event: Event, data: st.DataObject) -> None:
    document = json.loads(encode_event(event).splitlines()[0])
    bad = signed(data.draw(mutilated(document)))
    try:
        found = decode_event(bad, event.number, "e")
    except IntegrityError:
        return
    assert decode_event(encode_event(found), found.number, "e") == found


NAMES = st.sampled_from(["a", "b", "c", "A", "../x", "", "log", "x" * 300, "\0", "é"])
LOGS = st.fixed_dictionaries(
    {
        "names": st.lists(st.lists(namings(), max_size=3), max_size=4),
        "log/a": st.lists(st.lists(actions(SMALL, NAMES), max_size=3), max_size=4),
        "log/b": st.lists(st.lists(actions(SMALL, NAMES) | namings(), max_size=3), max_size=1),
    }
)


def index_of(storage: MemoryStorage, cache: CacheConnection) -> VersionIndex:
    index = VersionIndex(cache, storage)
    index.refresh()
    return index


def answers(index: VersionIndex) -> list[Any]:
    found: list[Any] = [index.events(None)]
    found += [
        (artifact, index.versions(artifact, removed=True), index.aliases(artifact), index.events(artifact))
        for artifact in index.artifacts()
    ]
    return found


@settings(max_examples=60)
@given(LOGS, st.integers(0, 3))
def test_no_sequence_of_events_does_more_than_be_refused(logs: dict[str, list[list[Action]]], cut: int) -> None:
    """Whatever the logs say, they are folded or refused, and folding in two goes ends as folding in one."""
    storage = MemoryStorage()
    slow = open_cache(None, [tables.SCHEMA])
    fast = open_cache(None, [tables.SCHEMA])
    try:
        for stage in (slice(0, cut), slice(cut, None)):
            for folder, events in logs.items():
                for number, event in list(enumerate(events))[stage]:
                    assert EventLog(storage, folder).append(Event(number, "", "", "", tuple(event)))
            try:
                index_of(storage, slow)
            except IntegrityError:
                return
        assert answers(index_of(storage, slow)) == answers(index_of(storage, fast))
    finally:
        slow.close()
        fast.close()


# Manifests

PATHS = st.text(string.ascii_letters + "/.é -_", min_size=1, max_size=8).filter(lambda path: path_problem(path) is None)


@st.composite
def tensors(draw: st.DrawFn, name: str, size: int) -> TensorEntry:
    offset = draw(st.integers(0, size))
    length = draw(st.integers(0, size - offset))
    order = draw(st.sampled_from(["C", "F", "strides:1,2"]))
    shape = tuple(draw(st.lists(NUMBER, max_size=3)))
    return TensorEntry(name, draw(TEXT), shape, draw(TEXT), 0, offset, length, order, draw(st.booleans()))


@st.composite
def files(draw: st.DrawFn) -> tuple[FileEntry, list[TensorEntry]]:
    pieces = draw(st.lists(st.binary(min_size=1, max_size=3), max_size=4))
    chunks = tuple(ChunkRef(chunk_id(piece), len(piece)) for piece in pieces)
    size = sum(map(len, pieces))
    kind = draw(st.sampled_from([None, "torch", "opaque"]))
    names = draw(st.lists(TEXT, max_size=3))
    entry = FileEntry(
        draw(PATHS), size, file_digest(size, (chunk.id for chunk in chunks)), chunks, draw(st.booleans()), kind,
        tuple(draw(st.lists(TEXT, max_size=2))),
    )  # fmt: skip
    return entry, [draw(tensors(name, size)) for name in names]


MANIFESTS = st.builds(
    build_manifest,
    st.lists(files(), max_size=4, unique_by=lambda pair: pair[0].path),
    st.lists(st.sampled_from(["empty~", "x/y~", "zz~"]), unique=True),
)


@given(MANIFESTS)
def test_manifests_come_back(manifest: Manifest) -> None:
    data = encode_manifest(manifest)
    found = decode_manifest(data, manifest_id(data))
    assert found == manifest
    assert encode_manifest(found) == data


@given(MANIFESTS, st.data())
def test_nonsense_in_a_well_signed_manifest_is_refused_or_harmless(manifest: Manifest, data: st.DataObject) -> None:
    document = data.draw(mutilated(json.loads(encode_manifest(manifest))))
    try:
        raw = canonical_json(document)
    except ValueError:
        return
    try:
        found = decode_manifest(raw, manifest_id(raw))
    except IntegrityError:
        return
    assert encode_manifest(found) == raw
    for entry in found.files:
        assert path_problem(entry.path) is None
        assert entry.size_bytes == sum(chunk.size_bytes for chunk in entry.chunks)
    for tensor in found.tensors:
        assert 0 <= tensor.offset <= tensor.offset + tensor.size_bytes <= found.files[tensor.file].size_bytes


@given(st.binary(max_size=200))
def test_no_bytes_are_a_manifest_by_chance(data: bytes) -> None:
    try:
        decode_manifest(data, manifest_id(data))
    except IntegrityError:
        return
    raise AssertionError("random bytes were taken for a manifest")
