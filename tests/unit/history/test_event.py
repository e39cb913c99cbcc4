from __future__ import annotations

import json
from typing import Any

import pytest

from mlver.digests import blake3_hex, canonical_json
from mlver.errors import IntegrityError
from mlver.history.event import (
    MAX_EVENT_BYTES,
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
    new_event,
)

ACTIONS: tuple[Action, ...] = (
    CreateArtifact("net", "model"),
    RenameArtifact("net", "web"),
    SetType("net", "data", "model"),
    AddVersion(0, "blake3:" + "0" * 64, 1, 2, 3, 4, 5, None, "first", ["x"], {"a": [1, {"b": None}]}, {"m": 0.5}, {}),
    MoveAlias("best", 0, None),
    MoveAlias("best", None, 0),
    SetTag(0, "x", True),
    SetNote(0, None, "was"),
    SetValue(0, "metadata", "k", [], [1]),
    SetRemoved(0, True),
)


def signed(document: object) -> bytes:
    """Return the bytes of an event's file whose digest is right, whatever the document says."""
    line = document if isinstance(document, bytes) else canonical_json(document)
    return line + b"\nblake3:" + blake3_hex(line).encode() + b"\n"


def document(**changes: Any) -> dict[str, Any]:
    encoded = json.loads(encode_event(new_event(3, "ada", (MoveAlias("best", 1, None),))).splitlines()[0])
    return {key: value for key, value in {**encoded, **changes}.items() if value is not ...}


def test_every_action_comes_back() -> None:
    event = new_event(7, "ada@workstation", ACTIONS, undoes=5)
    assert decode_event(encode_event(event), 7, "e") == event


def test_layout_of_the_file() -> None:
    event = Event(0, "ab" * 16, "2026-01-31T08:15:00.000000Z", "ada", (SetTag(2, "é", True),))
    line = (
        '{"actions":[{"do":"tag","present":true,"tag":"é","version":2}],"at":"2026-01-31T08:15:00.000000Z",'
        '"by":"ada","mlver_event":1,"number":0,"write_id":"abababababababababababababababab"}'
    ).encode()
    assert encode_event(event) == line + b"\nblake3:" + blake3_hex(line).encode() + b"\n"


def test_new_events_are_told_apart() -> None:
    assert new_event(0, "a", ()).write_id != new_event(0, "a", ()).write_id
    assert len(new_event(0, "a", ()).write_id) == 32


def test_action_without_optional_fields_is_read() -> None:
    small = {"do": "add", "version": 0, "manifest": "m", "logical_bytes": 0, "new_bytes": 0, "stored_bytes": 0}
    event = decode_event(signed(document(actions=[{**small, "file_count": 0, "tensor_count": 0}])), 3, "e")
    assert event.actions == (AddVersion(0, "m", 0, 0, 0, 0, 0),)


def test_every_flipped_byte_is_found() -> None:
    data = encode_event(new_event(0, "ada", ACTIONS))
    for offset in range(len(data)):
        broken = bytearray(data)
        broken[offset] ^= 1
        with pytest.raises(IntegrityError, match="Event e"):
            decode_event(bytes(broken), 0, "e")


def test_every_truncation_is_found() -> None:
    data = encode_event(new_event(0, "ada", (SetTag(0, "x", True),)))
    for length in range(len(data)):
        with pytest.raises(IntegrityError):
            decode_event(data[:length], 0, "e")


def alias(**changes: Any) -> dict[str, Any]:
    return document(actions=[{"do": "alias", "alias": "best", "to": 1, "was": None, **changes}])


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"null",
        b"[1]",
        b"{",
        b'{"mlver_event":1}',
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"\xff\xfe",
        document(mlver_event=2),
        document(mlver_event=...),
        document(number=4),
        document(number=3.0),
        document(number=True),
        document(number="3"),
        document(write_id=5),
        document(at=None),
        document(by=["ada"]),
        document(by=...),
        document(undoes="2"),
        document(undoes=-1),
        document(more=1),
        document(actions=...),
        document(actions=None),
        document(actions={}),
        document(actions=[None]),
        document(actions=[{}]),
        document(actions=[{"do": "explode"}]),
        document(actions=[{"do": ["alias"]}]),
        alias(alias=1),
        alias(alias=None),
        alias(to=-1),
        alias(to=True),
        alias(to=1.5),
        alias(to=1 << 62),
        alias(was="v0"),
        alias(force=True),
        document(actions=[{"do": "alias", "alias": "best"}]),
        document(actions=[{"do": "set", "version": 0, "field": "metadata", "key": 1, "to": [], "was": []}]),
        document(actions=[{"do": "set", "version": 0, "field": "metadata", "key": "k", "to": [1, 2], "was": []}]),
        document(actions=[{"do": "tag", "version": 0, "tag": "x", "present": 1}]),
    ],
)
def test_well_signed_nonsense_is_refused(hostile: object) -> None:
    with pytest.raises(IntegrityError, match="Event e"):
        decode_event(signed(hostile), 3, "e")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"to":1', b'"to":1,"to":1'),  # a key twice: two readers could disagree
        (b'"to":1', b'"to": 1'),
        (b'"by":"ada"', b'"by":"\\u0061da"'),
        (b'"by":"ada"', b'"by":"\\ud800"'),  # no Unicode text: it could not be written anywhere
    ],
)
def test_only_canonical_json_is_an_event(before: bytes, after: bytes) -> None:
    line = canonical_json(document())
    assert decode_event(signed(line), 3, "e").number == 3
    with pytest.raises(IntegrityError, match="Event e"):
        decode_event(signed(line.replace(before, after)), 3, "e")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_are_not_finite_are_refused(number: bytes) -> None:
    add = encode_event(new_event(3, "a", (AddVersion(0, "m", 0, 0, 0, 0, 0, metrics={"loss": 0.5}),))).splitlines()[0]
    assert b'"loss":0.5' in add
    with pytest.raises(IntegrityError, match="Event e"):
        decode_event(signed(add.replace(b"0.5", number)), 3, "e")


def test_newer_format_says_upgrade() -> None:
    with pytest.raises(IntegrityError) as caught:
        decode_event(signed(document(mlver_event=2)), 3, "e")
    assert "upgrade" in str(caught.value.hint)


def test_huge_event_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(IntegrityError, match="larger than"):
        decode_event(bytes(MAX_EVENT_BYTES + 1), 0, "e")
