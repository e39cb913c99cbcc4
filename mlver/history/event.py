"""Events: the numbered immutable entries whose sequence is the truth about an artifact's versions and names.

An event is one JSON line and one line with its digest; it holds one or more actions that happen together or not
at all. Each changing action bears what was there before, so it can be taken back, and an audit needs no replay.

Source: the transaction log of Delta Lake, https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar

from mlver.errors import IntegrityError, UsageError
from mlver.history.run_actions import (
    ConfigureRun,
    FinishRun,
    MadeAgain,
    RunAction,
    StartRun,
    UseVersion,
    are_summaries,
    is_run_end,
)
from mlver.history.sign_action import SignVersion
from mlver.ids import is_blob_id, is_run_id
from mlver.names import check_artifact_name, check_artifact_type

ArtifactName = str
"""What `mlver.names.check_artifact_name` lets through: it becomes the name of a folder."""
ArtifactType = str

EVENT_FORMAT = 1
MAX_EVENT_BYTES = 16 << 20
_NOT_ZERO = ("reference_count", "reference_bytes")
"""Fields that are absent where they would be zero, as they were before there were references."""


@dataclass(frozen=True, slots=True)
class CreateArtifact:
    """A new artifact's name and type; its log is kept in the folder of this first name."""

    do: ClassVar[str] = "create"
    artifact: ArtifactName
    type: ArtifactType


@dataclass(frozen=True, slots=True)
class RenameArtifact:
    """An artifact's name moves; its log, history and aliases stay where they are."""

    do: ClassVar[str] = "rename"
    artifact: ArtifactName
    to: ArtifactName


@dataclass(frozen=True, slots=True)
class SetType:
    """An artifact that never had a version gets another type."""

    do: ClassVar[str] = "type"
    artifact: ArtifactName
    to: ArtifactType
    was: ArtifactType


@dataclass(frozen=True, slots=True)
class AddVersion:
    """A new version. Sizes are bytes; `stored_bytes` is what its new chunks take in packs.

    `reference_count` and `reference_bytes` are about files that stay where they are, which all others leave out.
    """

    do: ClassVar[str] = "add"
    version: int
    manifest: str
    logical_bytes: int
    new_bytes: int
    stored_bytes: int
    file_count: int
    tensor_count: int
    weights: str | None = None
    message: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    reference_count: int = 0
    reference_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MoveAlias:
    """An alias moves; `to` None means it goes, `was` None that it is new."""

    do: ClassVar[str] = "alias"
    alias: str
    to: int | None
    was: int | None


@dataclass(frozen=True, slots=True)
class TrackAlias:
    """An alias follows a metric by itself from here on, see `mlver.history.following`; `to` None: it is gone."""

    do: ClassVar[str] = "track"
    alias: str
    to: str | None
    was: str | None


@dataclass(frozen=True, slots=True)
class ProtectAlias:
    """An alias is protected, so that nobody moves it by mistake, or no longer is."""

    do: ClassVar[str] = "protect"
    alias: str
    protected: bool


@dataclass(frozen=True, slots=True)
class SetTag:
    """A version gains or loses a tag."""

    do: ClassVar[str] = "tag"
    version: int
    tag: str
    present: bool


@dataclass(frozen=True, slots=True)
class SetNote:
    """A version's note changes; None is no note."""

    do: ClassVar[str] = "note"
    version: int
    to: str | None
    was: str | None


@dataclass(frozen=True, slots=True)
class SetValue:
    """One metadata or metrics value changes. `to` and `was` hold one value, or none for an absent key."""

    do: ClassVar[str] = "set"
    version: int
    field: str
    key: str
    to: list[Any]
    was: list[Any]


@dataclass(frozen=True, slots=True)
class SetRemoved:
    """A version is marked removed, or comes back. Its number is never used again."""

    do: ClassVar[str] = "remove"
    version: int
    removed: bool


@dataclass(frozen=True, slots=True)
class ContinueLog:
    """The log goes on in another folder: its events from number `start` on are those in the folder `part` below.

    It is the last event of its folder and undoes nothing: what it supersedes was recorded again in `part`, after
    events of a remote that were first. It never leaves the machine; remotes have logs of one part.
    """

    do: ClassVar[str] = "continue"
    start: int
    part: str


Action = (
    CreateArtifact
    | RenameArtifact
    | SetType
    | AddVersion
    | MoveAlias
    | TrackAlias
    | ProtectAlias
    | SetTag
    | SetNote
    | SetValue
    | SetRemoved
    | SignVersion
    | ContinueLog
    | RunAction
)
_ACTIONS: dict[str, type[Action]] = {
    kind.do: kind
    for kind in (
        CreateArtifact,
        RenameArtifact,
        SetType,
        AddVersion,
        MoveAlias,
        TrackAlias,
        ProtectAlias,
        SetTag,
        SetNote,
        SetValue,
        SetRemoved,
        SignVersion,
        ContinueLog,
        StartRun,
        UseVersion,
        ConfigureRun,
        FinishRun,
        MadeAgain,
    )
}


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a log.

    Attributes:
        number: Position in the log, from 0, without gaps.
        write_id: 32 random hex digits, by which a writer knows its own event again.
        at: When, as ISO 8601 in UTC.
        by: Who, such as `ada@workstation`.
        actions: What happened, all of it or nothing.
        undoes: Number of the event of the same log that this one takes back.
    """

    number: int
    write_id: str
    at: str
    by: str
    actions: tuple[Action, ...]
    undoes: int | None = None


def new_event(number: int, by: str, actions: tuple[Action, ...], undoes: int | None = None) -> Event:
    """Return an event that happens now, with a fresh write id."""
    return Event(number, os.urandom(16).hex(), now(), by, actions, undoes)


def now() -> str:
    """Return the present as ISO 8601 in UTC with microseconds, such as `2026-01-31T08:15:00.000000Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode_event(event: Event) -> bytes:
    """Return the bytes of an event's file: canonical JSON, newline, `blake3:` digest of it, newline."""
    from mlver.digests import blake3_hex, canonical_json

    document: dict[str, Any] = {
        "mlver_event": EVENT_FORMAT,
        "number": event.number,
        "write_id": event.write_id,
        "at": event.at,
        "by": event.by,
        "actions": [_document(action) for action in event.actions],
    }
    if event.undoes is not None:
        document["undoes"] = event.undoes
    line = canonical_json(document)
    return line + b"\nblake3:" + blake3_hex(line).encode() + b"\n"


def _document(action: Action) -> dict[str, Any]:
    values = {f.name: getattr(action, f.name) for f in fields(action)}
    return {"do": action.do, **{name: value for name, value in values.items() if value != 0 or name not in _NOT_ZERO}}


def decode_event(data: bytes, number: int, name: str) -> Event:
    """Read an event's file.

    Args:
        data: The whole file.
        number: The number it must bear.
        name: What to call it in errors.

    Raises:
        IntegrityError: It is damaged, or not an event this program understands.
    """
    from mlver.digests import blake3_hex, canonical_json

    if len(data) > MAX_EVENT_BYTES:
        raise IntegrityError(f"Event {name} is larger than {MAX_EVENT_BYTES} bytes.")
    line, _, rest = data.partition(b"\n")
    if rest != b"blake3:" + blake3_hex(line).encode() + b"\n":
        raise IntegrityError(f"Event {name} is damaged: its digest does not match.")
    try:
        document = json.loads(line)
        canonical = canonical_json(document) == line
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"Event {name} is not JSON.") from error
    if not canonical:
        raise IntegrityError(f"Event {name} is malformed: it is not in canonical form.")
    return _event_from(document, number, name)


def _event_from(document: Any, number: int, name: str) -> Event:
    if not isinstance(document, dict) or document.get("mlver_event") != EVENT_FORMAT:
        raise IntegrityError(
            f"Event {name} has an unknown format.",
            "A newer mlver may have written it: upgrade.",
        )
    values = {key: value for key, value in document.items() if key not in ("mlver_event", "actions")}
    checks = {
        "number": "int",
        "write_id": "str",
        "at": "str",
        "by": "str",
        "undoes": "int | None",
    }
    actions = document.get("actions")
    well_formed = (
        values.keys() | {"undoes"} == checks.keys()
        and all(_CHECKS[checks[key]](value) for key, value in values.items())
        and values["number"] == number
        and isinstance(actions, list)
    )
    if not well_formed or actions is None:
        raise IntegrityError(f"Event {name} is malformed.")
    return Event(actions=tuple(_action_from(action, name) for action in actions), **values)


def _action_from(document: Any, name: str) -> Action:
    kind = _ACTIONS.get(str(document.get("do"))) if isinstance(document, dict) else None
    if kind is None:
        raise IntegrityError(
            f"Event {name} has an unknown action.",
            "A newer mlver may have written it: upgrade.",
        )
    values = {key: value for key, value in document.items() if key != "do"}
    checks = {
        f.name: (
            _CHECKS[str(f.type)],
            f.default is MISSING and f.default_factory is MISSING,
        )
        for f in fields(kind)
    }
    valid = (values.keys() <= checks.keys() and all(values.get(name) != 0 for name in _NOT_ZERO)) and all(
        check(values[key]) if key in values else not required for key, (check, required) in checks.items()
    )
    if not valid:
        raise IntegrityError(f"Event {name} has a malformed {kind.do!r} action.")
    return kind(**values)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _passes(check: Callable[[str], str], text: str) -> bool:
    try:
        return check(text) == text
    except UsageError:
        return False


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_duration(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1 << 62


def _is_blob(value: Any) -> bool:
    return _is_text(value) and is_blob_id(value)


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "ArtifactName": lambda value: _is_text(value) and _passes(check_artifact_name, value),
    "ArtifactType": lambda value: _is_text(value) and _passes(check_artifact_type, value),
    "int": _is_integer,
    "bool": lambda value: isinstance(value, bool),
    "str | None": lambda value: value is None or _is_text(value),
    "int | None": lambda value: value is None or _is_integer(value),
    "list[str]": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "list[Any]": lambda value: isinstance(value, list) and len(value) <= 1,
    "dict[str, Any]": lambda value: isinstance(value, dict),
    "float": _is_duration,
    "RunEnd": is_run_end,
    "Summaries": are_summaries,
    "RunId": lambda value: _is_text(value) and is_run_id(value),
    "BlobId | None": lambda value: value is None or _is_blob(value),
    "list[BlobId]": lambda value: isinstance(value, list) and all(map(_is_blob, value)),
}
