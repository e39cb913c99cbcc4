"""What hooks and watches are told: one JSON object for each thing that happened. docs/cli.md has the fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mlver.history.event import Event
from mlver.history.happenings import Happening
from mlver.history.records import ArtifactRecord
from mlver.ops.opening import OpenRepository

if TYPE_CHECKING:
    from mlver.ops.remotes.opening import OpenRemote


class LogNews(Protocol):
    """What a push or a fetch says of one artifact."""

    @property
    def artifact(self) -> str:
        """Its name."""

    @property
    def event_count(self) -> int:
        """How many events."""

    @property
    def versions(self) -> tuple[int, ...]:
        """Numbers of the versions that they add."""


def remote_document(
    repository: OpenRepository, kind: str, remote: OpenRemote, logs: Sequence[LogNews]
) -> dict[str, Any]:
    """Return what is told of a push or a fetch."""
    return {
        "kind": kind,
        "repository": str(repository.root),
        "remote": remote.name,
        "url": remote.address.url,
        "artifacts": [
            {
                "artifact": news.artifact,
                "versions": [f"{news.artifact}:v{number}" for number in news.versions],
                "event_count": news.event_count,
            }
            for news in logs
        ],
    }


def happening_document(
    repository: OpenRepository, artifact: ArtifactRecord, event: Event | None, happening: Happening
) -> dict[str, Any]:
    """Return what is told of one happening.

    Args:
        repository: Where it happened.
        artifact: To which artifact.
        event: In which event; None if it has not happened yet.
        happening: What.
    """
    details = dict(happening.details)
    if happening.kind == "alias" and details["was"] is not None:
        details["was"] = f"{artifact.name}:{details['was']}"
    return {
        "kind": happening.kind,
        "repository": str(repository.root),
        "artifact": artifact.name,
        "type": artifact.type,
        "version": None if happening.version is None else f"{artifact.name}:v{happening.version}",
        "event": None if event is None else event.number,
        "at": None if event is None else event.at,
        "by": repository.config.identity if event is None else event.by,
        **details,
    }
