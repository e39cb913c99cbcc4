from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlver.digests import canonical_json, manifest_id
from mlver.errors import IntegrityError
from mlver.history.event import AddVersion, Event, decode_event, encode_event
from mlver.history.manifest import Manifest, build_manifest, decode_manifest, encode_manifest
from mlver.history.reference import ReferenceEntry

DIGEST = "blake3:" + "0" * 64
GOOD = ReferenceEntry("a/b", "s3://bucket/a b?c#d", 5, "etag", "version", DIGEST)


def changed(**fields: Any) -> bytes:
    """Return a manifest with one reference whose fields are these, where they are not None."""
    document = {"path": "a", "uri": "s3://bucket/a", "size": 1, "etag": "e"} | fields
    reference = {name: value for name, value in document.items() if value is not None}
    return canonical_json(
        {"mlver_manifest": 1, "files": [], "folders": [], "tensors": [], "weights": None, "references": [reference]}
    )


def test_references_come_back_sorted() -> None:
    manifest = build_manifest([], [], [GOOD, GOOD._replace(path="A", etag=None, version=None)])
    data = encode_manifest(manifest)
    assert [reference.path for reference in manifest.references] == ["A", "a/b"]
    assert decode_manifest(data, manifest_id(data)) == manifest
    assert b'"etag":"etag"' in data
    assert b"null" not in data.replace(b'"weights":null', b"")


def test_without_references_a_manifest_is_what_it_was() -> None:
    assert b"references" not in encode_manifest(Manifest((), (), (), None))
    data = canonical_json(
        {"mlver_manifest": 1, "files": [], "folders": [], "tensors": [], "weights": None, "references": []}
    )
    with pytest.raises(IntegrityError, match="canonical"):
        decode_manifest(data, manifest_id(data))


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "../a"},
        {"path": "/a"},
        {"path": "con"},
        {"path": 5},
        {"uri": "s3://key:word@bucket/a"},
        {"uri": "s3://"},
        {"uri": "a"},
        {"uri": "file://host/a"},
        {"uri": "https://host/\n"},
        {"uri": "https://[/"},
        {"uri": "x://" + "a" * 9000},
        {"uri": 5},
        {"size": -1},
        {"size": 1.0},
        {"size": True},
        {"size": 1 << 62},
        {"etag": None},
        {"etag": ""},
        {"etag": 5},
        {"etag": "e" * 1025},
        {"digest": "blake3:" + "0" * 63},
        {"digest": "blake3:" + "A" * 64},
        {"digest": "sha256:" + "0" * 64},
        {"digest": "blake3:../" + "0" * 61},
        {"version": []},
        {"more": 1},
    ],
)
def test_malformed_references_are_refused(fields: dict[str, Any]) -> None:
    data = changed(**fields)
    with pytest.raises(IntegrityError):
        decode_manifest(data, manifest_id(data))


@given(
    st.dictionaries(st.sampled_from(["path", "uri", "size", "etag", "version", "digest"]), st.text() | st.integers())
)
def test_whatever_a_reference_holds_is_read_or_refused(fields: dict[str, Any]) -> None:
    data = changed(**fields)
    try:
        manifest = decode_manifest(data, manifest_id(data))
    except IntegrityError:
        return
    assert encode_manifest(manifest) == data


def test_a_path_is_a_file_or_a_reference() -> None:
    for manifest in (
        Manifest((), ("a",), (), None, (GOOD._replace(path="a"),)),
        Manifest((), (), (), None, (GOOD, GOOD)),
        Manifest((), (), (), None, (GOOD, GOOD._replace(path="a/a"))),
    ):
        data = encode_manifest(manifest)
        with pytest.raises(IntegrityError):
            decode_manifest(data, manifest_id(data))


def test_events_without_references_are_what_they_were() -> None:
    action = AddVersion(0, DIGEST, 1, 1, 1, 1, 0)
    event = Event(0, "0" * 32, "2026-01-31T08:15:00.000000Z", "me", (action,))
    data = encode_event(event)
    assert b"reference" not in data
    assert decode_event(data, 0, "0") == event
    event = replace(event, actions=(replace(action, reference_count=2, reference_bytes=7),))
    assert decode_event(encode_event(event), 0, "0") == event


@pytest.mark.parametrize("name", ["reference_count", "reference_bytes"])
def test_a_count_of_zero_is_not_written_and_not_read(name: str) -> None:
    from mlver.digests import blake3_hex

    event = Event(0, "0" * 32, "2026-01-31T08:15:00.000000Z", "me", (AddVersion(0, DIGEST, 1, 1, 1, 1, 0),))
    line = encode_event(event).partition(b"\n")[0].replace(b'"stored_bytes"', b'"%s":0,"stored_bytes"' % name.encode())
    with pytest.raises(IntegrityError, match="malformed"):
        decode_event(line + b"\nblake3:" + blake3_hex(line).encode() + b"\n", 0, "0")
