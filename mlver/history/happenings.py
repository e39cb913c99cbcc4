"""What happened: an event taken apart into the things that somebody may want to react to.

Hooks and watches tell of these, not of actions: that an alias moved by itself is said by no action, and a forced move
of a protected alias is three.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mlver.history.event import (
    Action,
    AddVersion,
    Event,
    MoveAlias,
    SetNote,
    SetRemoved,
    SetTag,
    SetValue,
    TrackAlias,
)

AliasMove = tuple[str, int | None, int | None]
"""An alias, and the version that it named before and names after."""

KINDS = ("add", "alias", "tag", "note", "meta", "rm", "restore")


class Happening(NamedTuple):
    """One thing that happened to a version of an artifact.

    Attributes:
        kind: One of `KINDS`.
        version: Number of the version that it is about; None for an alias that went.
        details: What else is to be known of it, as JSON values.
    """

    kind: str
    version: int | None
    details: dict[str, Any]


def happenings(actions: Sequence[Action], followed: Sequence[AliasMove] = ()) -> Iterator[Happening]:
    """Yield what actions that belong together come to, in order; aliases last.

    Args:
        actions: Those of one event.
        followed: Aliases that moved by themselves in consequence.
    """
    for action in actions:
        match action:
            case AddVersion():
                yield Happening("add", action.version, _added(action))
            case SetTag():
                yield Happening("tag", action.version, {"tag": action.tag, "present": action.present})
            case SetNote():
                yield Happening("note", action.version, {"note": action.to, "was": action.was})
            case SetValue():
                now, was = (values[0] if values else None for values in (action.to, action.was))
                details = {"field": action.field, "key": action.key, "value": now, "was": was}
                yield Happening("meta", action.version, details)
            case SetRemoved():
                yield Happening("rm" if action.removed else "restore", action.version, {})
            case _:
                pass  # a name, or what an alias does, which follows
    for alias, was, now in alias_moves(actions, followed):
        yield Happening("alias", now, {"alias": alias, "was": None if was is None else f"v{was}"})


def alias_moves(actions: Sequence[Action], followed: Sequence[AliasMove] = ()) -> list[AliasMove]:
    """Return which aliases are elsewhere after an event than before it, by name."""
    steps: dict[str, list[tuple[int | None, int | None]]] = {}
    for action in actions:
        if isinstance(action, MoveAlias):
            steps.setdefault(action.alias, []).append((action.was, action.to))
    let_go = {action.alias for action in actions if isinstance(action, TrackAlias) and action.to is None}
    for alias, was, now in followed:
        # What is let go first goes, and then may be set where it was; what follows was taken from where it was set.
        moves = steps.setdefault(alias, [])
        moves.insert(0 if alias in let_go else len(moves), (was, now))
    net = ((alias, moves[0][0], moves[-1][1]) for alias, moves in sorted(steps.items()))
    return [move for move in net if move[1] != move[2]]


def identity(event: Event, happening: Happening, *manifests: str | None) -> str:
    """Return 32 hex digits that name one happening, wherever its event ends up in the log.

    Numbers of events and of versions may change when others were first. What was recorded does not: the event's write
    id, and the contents of the versions that it is about.
    """
    subject = [str(happening.details.get(key, "")) for key in ("alias", "tag", "present", "field", "key")]
    said = "\0".join([event.write_id, happening.kind, *subject, *(manifest or "" for manifest in manifests)])
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _added(action: AddVersion) -> dict[str, Any]:
    return {
        "id": action.manifest,
        "message": action.message,
        "tags": list(action.tags),
        "metrics": dict(action.metrics),
        "metadata": dict(action.metadata),
        "logical_bytes": action.logical_bytes,
        "new_bytes": action.new_bytes,
        "file_count": action.file_count,
        "tensor_count": action.tensor_count,
    }
