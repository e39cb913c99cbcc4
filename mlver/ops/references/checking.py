"""`verify` of references: ask about each, or read it again, and say how it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from mlver.digests import ContentHasher
from mlver.errors import MlverError, RemoteError
from mlver.history.reference import ReferenceEntry
from mlver.ops.opening import OpenRepository
from mlver.ops.parallel import run_ordered
from mlver.ops.progress import Progress
from mlver.ops.references.cache import ReferenceCache
from mlver.ops.references.comparing import Standing, standing
from mlver.ops.references.opening import ReferenceStores
from mlver.ops.references.reading import CONNECTIONS, ObjectSource, contents


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """How a reference stands.

    Attributes:
        uri: Where it is.
        status: `unreachable` where nobody can tell.
        checked_by: What told so: the version or generation, the entity tag, the size alone, or the content.
        reason: What differs; empty if nothing.
        versions: Those that have it, as `NAME:vN`.
        paths: Its paths in them.
    """

    uri: str
    status: Literal["same", "changed", "gone", "unreachable"]
    checked_by: Literal["version", "etag", "size", "content"] | None
    reason: str
    versions: tuple[str, ...]
    paths: tuple[str, ...]


class ReferenceUses:
    """The different references of versions, and who has them."""

    def __init__(self) -> None:
        self._uses: dict[ReferenceEntry, tuple[set[str], dict[str, None]]] = {}

    def add(self, references: Iterable[ReferenceEntry], versions: Sequence[str]) -> None:
        """Note that versions have these references."""
        for reference in references:
            paths, names = self._uses.setdefault(reference._replace(path=""), (set(), {}))
            paths.add(reference.path)
            names.update(dict.fromkeys(versions))

    def check(self, repository: OpenRepository, progress: Progress, *, read: bool) -> tuple[ReferenceCheck, ...]:
        """Ask about all of them, or (`read`) read them.

        Raises:
            UsageError: An option in `config.toml` is not known.
        """
        if not self._uses:
            return ()
        references = sorted(self._uses, key=lambda reference: (reference.uri, str(reference)))
        cache = ReferenceCache(repository)
        with ReferenceStores(repository.config) as stores:
            asked = run_ordered((partial(_state, stores, reference) for reference in references), CONNECTIONS)
            states = dict(zip(references, asked, strict=True))
            checks = [self._check(reference, state) for reference, state in states.items()]
            if read:
                checks = _read(cache, states, checks, progress)
        return tuple(checks)

    def _check(self, reference: ReferenceEntry, state: Standing | MlverError) -> ReferenceCheck:
        paths, versions = self._uses[reference]
        who = tuple(versions), tuple(sorted(paths))
        if isinstance(state, MlverError):
            return ReferenceCheck(reference.uri, "unreachable", None, state.message, *who)
        return ReferenceCheck(reference.uri, state.status, state.by, state.reason, *who)


def _state(stores: ReferenceStores, reference: ReferenceEntry) -> Standing | MlverError:
    try:
        return standing(stores, reference)
    except MlverError as error:
        return error


def _read(
    cache: ReferenceCache,
    states: Mapping[ReferenceEntry, Standing | MlverError],
    checks: Sequence[ReferenceCheck],
    progress: Progress,
) -> list[ReferenceCheck]:
    """Read what can be read; a content decides where its digest is known, and is learned where the server says same."""
    learned: dict[ReferenceEntry, str] = {}
    found: list[ReferenceCheck] = []
    progress.start(sum(reference.size_bytes for reference in states), "Reading references")
    try:
        for (reference, state), check in zip(states.items(), checks, strict=True):
            digest = cache.digest(reference)
            if isinstance(state, MlverError) or state.source is None or not _is_worth_reading(check, digest):
                found.append(check)
                continue
            after, content = _read_one(reference, state.source, check, digest, progress)
            found.append(after)
            if content is not None:
                learned[reference] = content
    finally:
        progress.done()
    cache.learn(learned)
    return found


def _is_worth_reading(check: ReferenceCheck, digest: str | None) -> bool:
    """Tell whether the content can say more than the server did."""
    return check.status == "same" or (digest is not None and check.checked_by != "size")


def _read_one(
    reference: ReferenceEntry, source: ObjectSource, check: ReferenceCheck, digest: str | None, progress: Progress
) -> tuple[ReferenceCheck, str | None]:
    hasher = ContentHasher()
    try:
        for _, piece in contents([source]):
            hasher.update(piece)
            progress.advance(len(piece))
    except RemoteError as error:
        return replace(check, status="unreachable", checked_by=None, reason=error.message), None
    except MlverError as error:
        return replace(check, status="changed", checked_by="content", reason=error.message), None
    if hasher.size_bytes != reference.size_bytes or digest not in (None, hasher.digest()):
        return replace(check, status="changed", checked_by="content", reason="its content is another"), None
    return replace(check, status="same", checked_by="content", reason=""), hasher.digest()
