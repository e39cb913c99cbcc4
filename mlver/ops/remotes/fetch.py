"""`fetch`: names, versions, aliases, tags and notes of a remote; no weights. What is here and unpushed comes after."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mlver.history.event import AddVersion, CreateArtifact, Event
from mlver.history.index import NAMES_FOLDER, NAMES_KEY, RUNS_FOLDER, log_folder
from mlver.history.records import RUNS, ArtifactRecord
from mlver.history.run_actions import RunAction
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.adopt import Adopted, adopt
from mlver.ops.remotes.joining import join_strays
from mlver.ops.remotes.opening import OpenRemote, open_remote
from mlver.ops.remotes.remote_log import RemoteLog
from mlver.store.remote.storage import RemoteStorage

CONNECTIONS = 8
_PROBED_ARTIFACTS = 4
"""Up to so many logs are asked one by one for their next event; more are found by one listing of them all."""


@dataclass(frozen=True, slots=True)
class ArtifactNews:
    """What came for one artifact.

    Attributes:
        artifact: Its name.
        event_count: Events that are new here.
        versions: Numbers of versions that are new here.
        renumbered: Unpushed versions of this machine that got another number: (old, new).
        notices: What of this machine was left out, and why.
    """

    artifact: str
    event_count: int
    versions: tuple[int, ...]
    renumbered: tuple[tuple[int, int], ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What `fetch` found.

    Attributes:
        remote: Its name.
        url: Where it is.
        dry_run: Nothing was changed here.
        artifacts: Those with news, by name.
        notices: What of this machine's naming was left out, and why.
        requests: How many requests it took; 0 for a folder.
        run_count: Runs that are new here, or of which there is news.
    """

    remote: str
    url: str
    dry_run: bool
    artifacts: tuple[ArtifactNews, ...]
    notices: tuple[str, ...]
    requests: int
    run_count: int = 0


def fetch(repository: OpenRepository, remote_name: str | None = None, dry_run: bool = False) -> FetchResult:
    """Get what a remote says of its artifacts.

    Raises:
        NotFoundError: There is no such remote.
        RemoteError: It cannot be reached, or is none.
        IntegrityError: An event there is damaged or missing; nothing of its log was taken.
        ConflictError: An artifact of this machine has a name that is another one's there.
    """
    with open_remote(repository, remote_name) as remote:
        return fetch_from(repository, remote, dry_run)


def fetch_from(repository: OpenRepository, remote: OpenRemote, dry_run: bool = False) -> FetchResult:
    """Do the work of `fetch` with an open remote; see there."""
    repository.index.refresh()
    accept_losses(repository, remote)
    first = remote.known_head(NAMES_FOLDER) + 1
    names = log_of(remote, NAMES_FOLDER).read_from(first)
    notices = [] if dry_run else settle_names(repository, remote, first, names)
    artifacts: dict[str, ArtifactRecord | None] = {
        f"log/{artifact.folder}": artifact for artifact in repository.index.artifacts(empty=True)
    }
    if dry_run:
        created = [action.artifact for event in names for action in event.actions if isinstance(action, CreateArtifact)]
        artifacts |= {f"log/{name}": None for name in created if f"log/{name}" not in artifacts}
    found = []
    news = read_news(remote, [RUNS_FOLDER, *artifacts])
    run_count = _take_runs(repository, remote, *news.pop(RUNS_FOLDER, (0, [])), dry_run=dry_run)
    for folder, (start, events) in news.items():
        artifact = artifacts[folder]
        fresh = _fresh(repository, artifact, start, events)
        adopted = Adopted()
        if artifact is not None and not dry_run:
            adopted = adopt(repository, remote, artifact, start, events)
        if fresh or adopted.renumbered:
            found.append(
                ArtifactNews(
                    artifact.name if artifact else folder.removeprefix("log/"),
                    len(fresh),
                    tuple(version for event in fresh for version in added_versions(event)),
                    tuple(sorted(adopted.renumbered.items())),
                    tuple(adopted.notices),
                )
            )
    if repository.hooks is not None and not dry_run:
        repository.hooks.note_remote(repository, "fetch", remote, found)
    return FetchResult(
        remote.name,
        remote.address.url,
        dry_run,
        tuple(sorted(found, key=lambda came: came.artifact)),
        tuple(notices),
        remote.storage.requests if isinstance(remote.storage, RemoteStorage) else 0,
        run_count,
    )


def _take_runs(repository: OpenRepository, remote: OpenRemote, start: int, events: list[Event], dry_run: bool) -> int:
    """Let the log of runs here be the remote's, with unpushed events after it; return how many runs it is about."""
    fresh = _fresh(repository, RUNS, start, events)
    if events and not dry_run:
        adopt(repository, remote, RUNS, start, events)
    return count_runs(fresh)


def count_runs(events: Iterable[Event]) -> int:
    """Return how many runs some events are about."""
    return len({action.run for event in events for action in event.actions if isinstance(action, RunAction)})


def log_of(remote: OpenRemote, folder: str) -> RemoteLog:
    """Return a log of a remote."""
    return RemoteLog(remote.storage, folder, listable=not remote.is_read_only)


def accept_losses(repository: OpenRepository, remote: OpenRemote) -> None:
    """Where the newest events of a log are gone here that the remote has, go on from what is left: they come again."""
    index = repository.index
    heads = {log_folder(log): index.head(log.key) for log in (RUNS, *index.artifacts(empty=True))}
    for folder, head in {NAMES_FOLDER: index.head(NAMES_KEY), **heads}.items():
        if remote.known_head(folder) > head:
            remote.note_head(folder, head)


def settle_names(repository: OpenRepository, remote: OpenRemote, first: int, names: Sequence[Event]) -> list[str]:
    """Let the names here be the remote's, with unpushed ones after them, and what joined another artifact be there.

    Args:
        repository: The repository.
        remote: The remote.
        first: Number from which on the logs of names may differ.
        names: The remote's events from there on.

    Returns:
        What was left out, and why.
    """
    notices = adopt(repository, remote, None, first, names).notices if names else []
    return [*notices, *join_strays(repository)]


def read_news(remote: OpenRemote, folders: Sequence[str]) -> dict[str, tuple[int, list[Event]]]:
    """Return for each log that has any the events that are not known to be here, with the number of the first.

    Raises:
        IntegrityError: An event is damaged or missing.
        RemoteError: The remote failed.
    """
    listing = _listing(remote, [folder for folder in folders if folder != RUNS_FOLDER])

    def read(folder: str) -> tuple[str, int, list[Event]]:
        first = remote.known_head(folder) + 1
        if listing is None or folder == RUNS_FOLDER:
            return folder, first, log_of(remote, folder).read_from(first)
        names = listing.get(folder, frozenset())
        if first > 0 and f"{first - 1:012d}.json" not in names:
            first = 0  # the remote lost what it had: compare anew, so that the next push mends it
        if f"{first:012d}.json" not in names:
            return folder, first, []
        return folder, first, log_of(remote, folder).read_from(first, names)

    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="mlver-fetch") as pool:
        found = list(pool.map(read, folders))
    return {folder: (first, events) for folder, first, events in found if events}


def _listing(remote: OpenRemote, folders: Sequence[str]) -> Mapping[str, Collection[str]] | None:
    """Return the names in each log's folder, where asking for all at once is cheaper than for each."""
    if remote.is_read_only or len(folders) <= _PROBED_ARTIFACTS:
        return None
    if not isinstance(remote.storage, RemoteStorage):
        return {folder: set(remote.storage.list(folder)) for folder in folders}
    found: dict[str, set[str]] = {}
    for path in remote.storage.list_deep("log"):
        folder, _, name = path.rpartition("/")
        found.setdefault(f"log/{folder}", set()).add(name)
    return found


def added_versions(event: Event) -> list[int]:
    """Return the numbers of the versions that an event adds."""
    return [action.version for action in event.actions if isinstance(action, AddVersion)]


def _fresh(
    repository: OpenRepository, artifact: ArtifactRecord | None, start: int, events: Sequence[Event]
) -> list[Event]:
    """Return those events that are not here, under whatever number."""
    here = {event.write_id for event in repository.index.events_from(artifact, start)} if artifact else set()
    return [event for event in events if event.write_id not in here]
