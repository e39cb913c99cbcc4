"""A log at a remote: reading what is new with few requests, and appending to it.

Whoever completes an aligned block of 4, 16, 64 or 256 events also writes it as one segment; so a reader who is any
number of events behind needs few requests, with a listing or, on a plain web server, without.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from mlver.errors import IntegrityError, NotFoundError
from mlver.history.event import Event, encode_event
from mlver.history.log import EventLog, read_segment, segment_name
from mlver.store.storage import Storage

_BLOCKS = (256, 64, 16, 4)
_ASK_AFTER = 2


class RemoteLog:
    """One log at a remote.

    Args:
        storage: The remote.
        folder: `names` or `log/FOLDER`.
        listable: Whether the remote can list folders.
    """

    def __init__(self, storage: Storage, folder: str, listable: bool) -> None:
        self._storage = storage
        self._log = EventLog(storage, folder)
        self._listable = listable
        self.folder = folder

    def read_from(self, first: int, names: Collection[str] | None = None) -> list[Event]:
        """Return the events from number `first` on.

        Args:
            first: The first that is not known.
            names: What is in the folder, if somebody asked.

        Raises:
            IntegrityError: One is damaged, or missing below a later one.
            RemoteError: The remote failed.
        """
        found: list[Event] = []
        while True:
            number = first + len(found)
            if names is None and self._listable and len(found) >= _ASK_AFTER:
                names = set(self._storage.list(self.folder))
            block = self._block(number, names, bool(found))
            if block:
                found += block
                continue
            if names is not None and f"{number:012d}.json" not in names:
                _refuse_gap(self.folder, number, names)
                # Someone may have appended since the folder was listed: the next is asked for below.
            try:
                found.append(self._log.read(number))
            except NotFoundError:
                return found

    def append(self, event: Event) -> bool:
        """Create an event exclusively; False if someone else has its number.

        Raises:
            RemoteError: The remote failed.
        """
        return self._log.append(event)

    def write_segments(self, events: Sequence[Event], first_new: int) -> None:
        """Write the blocks that events from `first_new` on completed, the largest only where several end alike.

        Args:
            events: The newest events of the log, at least back to the start of the last block of 256.
            first_new: Number of the first one that this machine appended.

        Raises:
            RemoteError: The remote failed. The log is whole without segments.
        """
        by_number = {event.number: event for event in events}
        end = events[-1].number + 1
        for start, size in _completed(first_new, end):
            numbers = range(start, start + size)
            if all(number in by_number for number in numbers):
                import zstandard

                data = b"".join(encode_event(by_number[number]) for number in numbers)
                compressed = zstandard.ZstdCompressor().compress(data)
                self._storage.create(f"{self.folder}/{segment_name(start, size)}", compressed)

    def _block(self, number: int, names: Collection[str] | None, deep: bool) -> list[Event]:
        """Return the largest block that starts at `number`, if there is any; asked for only where it may be."""
        if names is None and (self._listable or not deep):
            return []
        for size in _BLOCKS:
            if number % size == 0 and (names is None or segment_name(number, size) in names):
                try:
                    return read_segment(self._storage, f"{self.folder}/{segment_name(number, size)}", number, size)
                except NotFoundError:
                    continue
                except IntegrityError:
                    continue  # a copy only: the events themselves are read instead
        return []


def _completed(first_new: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (start, size) of blocks that end behind `first_new`, none within a larger one that is yielded."""
    covered: list[range] = []
    for size in _BLOCKS:
        for start in range(first_new // size * size, end - size + 1, size):
            block = range(start, start + size)
            if block[-1] >= first_new and not any(start in other for other in covered):
                covered.append(block)
                yield start, size


def _refuse_gap(folder: str, number: int, names: Collection[str]) -> None:
    later = [name for name in names if len(name) == 17 and name.endswith(".json") and name[:12].isdigit()]
    beyond = min((name for name in later if int(name[:12]) > number), default=None)
    if beyond is not None:
        raise IntegrityError(
            f"The remote lost event {number} of {folder}, though it has {beyond}.",
            "Push from a machine that has it.",
        )
