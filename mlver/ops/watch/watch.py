"""A watch: new events → happenings that fit a condition → something done for each, begun and ended in the journal.

Each happening has an identity that stays when events and versions are renumbered. What is done is begun once; only
where the process was killed, or the machine stopped, between beginning and end, it is begun again with the same
identity and a count of attempts. No program can promise more about what another one does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlver.errors import UsageError
from mlver.history.happenings import happenings, identity
from mlver.history.records import ArtifactRecord
from mlver.lineage.live import process
from mlver.names import parse_version
from mlver.ops.hooks.documents import happening_document
from mlver.ops.hooks.execution import end_survivor
from mlver.ops.opening import OpenRepository
from mlver.ops.watch.conditions import parse_condition
from mlver.ops.watch.journal import Journal, Position
from mlver.store.sqlite import CacheDamaged

WATCH_FOLDER = "watch"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Pending:
    """Something is to be done for this.

    Attributes:
        id: 32 hex digits, the same at every attempt.
        attempt: 1, or more where an earlier attempt was cut off.
        document: What happened, as hooks are told.
    """

    id: str
    attempt: int
    document: dict[str, Any]

    @property
    def version(self) -> str:
        """The version that it is about, such as `net:v4`."""
        return str(self.document["version"])

    def told(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {"watch_id": self.id, "attempt": self.attempt, **self.document}


class Watch:
    """A watch on a repository. Use it as a context manager.

    Args:
        repository: The repository.
        conditions: What to wait for, see `mlver.ops.watch.conditions`.
        name: Of its journal; None makes one from `conditions` and `subject`.
        subject: What is done, as far as another one is another watch.
        from_start: React to all that ever happened, where the journal is new.

    Attributes:
        name: Of its journal.
        is_new: Nothing was waited for under this name before.

    Raises:
        UsageError: A condition or the name is malformed.
        ConflictError: It runs already.
        MlverError: Its journal cannot be read or written.
    """

    def __init__(
        self,
        repository: OpenRepository,
        conditions: Sequence[str],
        *,
        name: str | None = None,
        subject: Sequence[str] = (),
        from_start: bool = False,
    ) -> None:
        if not conditions:
            raise UsageError("There is nothing to wait for.", "Say what: --on alias:production")
        self._repository = repository
        self._conditions = [parse_condition(text) for text in conditions]
        self.name = _checked(name) if name is not None else _digest(conditions, subject)
        self._journal = Journal(repository.root / WATCH_FOLDER / f"{self.name}.jsonl")
        self.is_new = self._journal.conditions is None
        try:
            self._begin(list(conditions), from_start=from_start)
        except BaseException:
            self._journal.close()
            raise

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    def pending(self) -> Iterator[Pending]:
        """Yield what is to be done, each once. What is yielded is begun; it is ended by `end`."""
        index = self._repository.index
        index.refresh()
        for artifact in index.artifacts(empty=True):
            position = self._position(artifact)
            known = self._journal.positions.get(artifact.folder)
            if position == known:
                continue
            # In another part of the log events have other numbers: what is done is known by its identity.
            first = known[1] + 1 if known is not None and known[0] == position[0] else 0
            for found, document in self._fitting(artifact, first, position[1]):
                if not self._journal.is_done(found):
                    self._end_survivor(found)
                    yield Pending(found, self._journal.start(found), document)
            self._journal.move(artifact.folder, position)

    def run_by(self, pending: Pending, pid: int) -> None:
        """Note which process does it, so that the next attempt ends it if this one is cut off."""
        self._journal.run(pending.id, process(pid))

    def end(self, pending: Pending, exit_code: int | None = 0) -> None:
        """Note that what is to be done was done."""
        self._journal.end(pending.id, exit_code)

    def _end_survivor(self, identity: str) -> None:
        runner = self._journal.runner(identity)
        if runner is not None:
            end_survivor(runner)

    def _begin(self, conditions: list[str], *, from_start: bool) -> None:
        """Settle what happened before there was this watch, or before it waited for this."""
        if self._journal.conditions == conditions:
            return
        index = self._repository.index
        index.refresh()
        settled: list[str] = []
        positions: dict[str, Position] = {}
        for artifact in index.artifacts(empty=True) if not (self.is_new and from_start) else ():
            known = self._position(artifact) if self.is_new else self._journal.positions.get(artifact.folder)
            if known is not None:
                settled += [found for found, _ in self._fitting(artifact, 0, known[1])]
                positions[artifact.folder] = known
        self._journal.begin(conditions, settled)
        for folder, position in positions.items() if self.is_new else ():
            self._journal.move(folder, position)

    def _position(self, artifact: ArtifactRecord) -> Position:
        log, following = self._repository.index.tail(artifact)
        return log.place, following - 1

    def _fitting(self, artifact: ArtifactRecord, first: int, last: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield identity and document of what fits a condition in the events from `first` to `last`."""
        index = self._repository.index
        followed = index.followed(artifact)
        for event in index.events_from(artifact, first):
            if event.number > last:
                return
            for happening in happenings(event.actions, followed.get(event.number, ())):
                document = happening_document(self._repository, artifact, event, happening)
                if any(condition.fits(document) for condition in self._conditions):
                    was = document.get("was") if happening.kind == "alias" else None
                    manifests = [self._manifest(artifact, name) for name in (document["version"], was)]
                    yield identity(event, happening, *manifests), document

    def _manifest(self, artifact: ArtifactRecord, name: str | None) -> str | None:
        number = None if name is None else parse_version(name.rpartition(":")[2])
        version = None if number is None else self._repository.index.version(artifact, number)
        return None if version is None else version.id


def watched(watch: Watch, repository: OpenRepository) -> Iterator[Pending]:
    """Yield what is to be done, on a new cache if the present one fails on the way."""
    try:
        yield from watch.pending()
    except CacheDamaged as damage:
        repository.reopen(damage)
        yield from watch.pending()


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(f"Name {name!r} of a watch is not allowed.", "Use up to 64 letters, digits, '_', '-' or '.'.")
    return name


def _digest(conditions: Sequence[str], subject: Sequence[str]) -> str:
    said = json.dumps([list(conditions), list(subject)]).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(said, digest_size=8).hexdigest()
