"""What runs leave beside their events goes with them: to a remote before the events are, and here before they are.

What is missing or damaged is said and left out. A lost log file of last year's run keeps nobody from sharing weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history.event import Event
from mlver.history.run_blob import blob_name, blobs_named_by, check_blob
from mlver.ids import BlobId
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.opening import OpenRemote, open_remote

_CONNECTIONS = 8


def send_blobs(repository: OpenRepository, remote: OpenRemote, events: Iterable[Event]) -> list[str]:
    """Give a remote the blobs that events name; all are durable there when this returns.

    Returns:
        What could not be sent, since it is missing or damaged here.

    Raises:
        RemoteError: The remote failed.
    """

    def send(identity: BlobId) -> str | None:
        try:
            data = repository.storage.read(blob_name(identity))
            check_blob(data, identity)
        except (NotFoundError, IntegrityError) as error:
            return error.message
        remote.storage.create(blob_name(identity), data)
        return None

    return _told("sent", _each(send, blobs_named_by(events)))


def obtain_blobs(repository: OpenRepository, remote: OpenRemote, events: Iterable[Event]) -> None:
    """Get the blobs that events of a remote name and that are not here; what cannot be had is noted.

    Raises:
        RemoteError: The remote failed.
        MlverError: The repository cannot be written.
    """

    def obtain(identity: BlobId) -> str | None:
        name = blob_name(identity)
        try:
            data = remote.storage.read(name)
            check_blob(data, identity)
        except (NotFoundError, IntegrityError) as error:
            return error.message
        repository.storage.create(name, data)
        return None

    missing = [each for each in blobs_named_by(events) if not repository.storage.exists(blob_name(each))]
    repository.notices += _told(f"fetched from {remote.name}", _each(obtain, missing))


def find_blob(repository: OpenRepository, identity: BlobId) -> bool:
    """Get one blob from whichever remote has it sound: that one was mended since, or a copy here went bad."""
    for remote_name in repository.config.remotes:
        with suppress(MlverError), open_remote(repository, remote_name) as remote:
            data = remote.storage.read(blob_name(identity))
            check_blob(data, identity)
            repository.storage.put(blob_name(identity), data)
            return True
    return False


def _told(what: str, problems: Sequence[str]) -> list[str]:
    """Return one notice, however much was lost."""
    if not problems:
        return []
    return [f"{len(problems)} of the things that runs left were not {what}, such as this: {problems[0]}"]


def _each(work: Callable[[BlobId], str | None], blobs: Sequence[BlobId]) -> list[str]:
    """Do something for each blob, a few at a time; return what there is to tell."""
    if not blobs:
        return []
    with ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="mlver-blobs") as pool:
        return [told for told in pool.map(work, blobs) if told is not None]
