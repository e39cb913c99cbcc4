"""A log: events 0, 1, 2, … of one artifact, each a file that is created exclusively and never changes.

Two writers who want event 42 both try to create it: one wins, the other reads it and tries 43. There is no lock,
no lease and no clock. Every full block of 256 events is also written as one segment, so that a long log is read
with few requests; a segment says nothing that its events do not say.

Source: https://github.com/delta-io/delta/blob/master/PROTOCOL.md (commits by exclusive creation).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mlver.errors import IntegrityError, NotFoundError

if TYPE_CHECKING:
    from mlver.history.event import ContinueLog, Event

SEGMENT_EVENTS = 256
_PART = re.compile("part-[0-9a-f]{16}")
_HIGHEST = 1 << 62
MAX_SEGMENT_BYTES = 256 << 20


class LogStorage(Protocol):
    """The part of a storage that a log needs, see `mlver.store.storage.Storage`."""

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Return a blob's bytes."""

    def exists(self, name: str) -> bool:
        """Tell whether a blob is there."""

    def list(self, folder: str) -> list[str]:
        """Return all names in a folder, or raise."""

    def create(self, name: str, data: bytes) -> bool:
        """Create exclusively and durably."""


class LogPart(NamedTuple):
    """A stretch of a log: the events of a folder from one number on, up to where the next part begins.

    Attributes:
        name: Of the folder in the log's; `""` is the log's own.
        start: Number of its first event.
    """

    name: str
    start: int


def log_parts(storage: LogStorage, folder: str) -> list[LogPart]:
    """Return the parts of a log, in order: one, unless unpushed events had to get other numbers.

    Raises:
        IntegrityError: The last event of a part is damaged.
    """
    parts = [LogPart("", 0)]
    while True:
        part = EventLog(storage, folder, parts[-1].name)
        numbers = part.numbers()
        action = _continuation(part.read(numbers[-1])) if numbers else None
        if action is None:
            break
        parts.append(LogPart(_checked_part(action.part, parts), action.start))
    return parts


def part_ranges(storage: LogStorage, folder: str) -> list[tuple[LogPart, int]]:
    """Return the parts of a log, each with the number from which on its events do not count.

    Raises:
        IntegrityError: See `log_parts`.
    """
    ranges = []
    end = _HIGHEST
    for part in reversed(log_parts(storage, folder)):
        ranges.append((part, end))
        end = min(end, part.start)
    return ranges[::-1]


def effective_events(storage: LogStorage, folder: str) -> Iterator[Event]:
    """Yield the events that a log consists of, in order.

    Raises:
        IntegrityError: One of them is damaged or missing.
    """
    for part, end in part_ranges(storage, folder):
        yield from EventLog(storage, folder, part.name).events_until(part.start, end)


def is_part_name(name: str) -> bool:
    """Tell whether a folder of a log may be a part of it."""
    return _PART.fullmatch(name) is not None


def next_part(event: Event) -> LogPart | None:
    """Return the part of a log that an event says it goes on in, if it says so."""
    action = _continuation(event)
    return LogPart(action.part, action.start) if action is not None and is_part_name(action.part) else None


def is_continuation(event: Event) -> bool:
    """Tell whether an event only says that its log goes on in another part."""
    return _continuation(event) is not None


def _continuation(event: Event) -> ContinueLog | None:
    from mlver.history.event import ContinueLog

    first = event.actions[0] if event.actions else None
    return first if isinstance(first, ContinueLog) else None


class EventLog:
    """One folder of numbered events.

    Args:
        storage: Where the log lives.
        folder: Such as `log/resnet50_attn`.
        part: Which part of the log, see `log_parts`.
    """

    def __init__(self, storage: LogStorage, folder: str, part: str = "") -> None:
        self._storage = storage
        self.folder = folder
        self.place = f"{folder}/{part}" if part else folder

    def exists(self, number: int) -> bool:
        """Tell whether event `number` is there."""
        return self._storage.exists(self.event_name(number))

    def append(self, event: Event) -> bool:
        """Create `event` under its number.

        Returns:
            True if it is ours now and durable; False if another writer has that number.
        """
        from mlver.history.event import encode_event

        data = encode_event(event)
        if self._storage.create(self.event_name(event.number), data):
            return True
        # A storage may lose the reply to a creation that succeeded: the write id tells.
        return self.read(event.number).write_id == event.write_id

    def read(self, number: int) -> Event:
        """Return event `number`.

        Raises:
            NotFoundError: There is none yet.
            IntegrityError: It is damaged.
        """
        from mlver.history.event import decode_event

        name = self.event_name(number)
        return decode_event(self._storage.read(name), number, name)

    def numbers(self) -> list[int]:
        """Return the numbers of the events that have a file, in order."""
        return [int(name[:12]) for name in self._storage.list(self.place) if _is_event(name)]

    def events(self, start: int = 0) -> Iterator[Event]:
        """Yield the events from `start` to the newest, in order.

        Raises:
            IntegrityError: One of them is damaged, or one is missing below a later one.
        """
        names = set(self._storage.list(self.place)) if start == 0 else None
        number = start
        while True:
            if names is None and number - start >= 2:
                names = set(self._storage.list(self.place))  # many to read: one listing finds the segments
            block = number // SEGMENT_EVENTS
            if names is not None and self._segment_base(block) in names:
                for event in self._block(block):
                    if event.number >= number:
                        yield event
                number = (block + 1) * SEGMENT_EVENTS
                continue
            try:
                yield self.read(number)
            except NotFoundError:
                break
            number += 1
        self._refuse_gap(number, names)

    def events_until(self, start: int, end: int) -> Iterator[Event]:
        """Yield the events from `start` to below `end`, without a continuation; see `events`."""
        for event in self.events(start):
            if event.number >= end or is_continuation(event):
                return  # a continuation that came just now is met by the next `VersionIndex.refresh`
            yield event

    def single_events(self) -> Iterator[Event]:
        """Yield all events, of all parts, each from its own file and none from a segment.

        Raises:
            IntegrityError: One of them is damaged, or one is missing below a later one.
        """
        for part in log_parts(self._storage, self.folder):
            yield from EventLog(self._storage, self.folder, part.name)._singles(part.start)

    def _singles(self, start: int) -> Iterator[Event]:
        names = [name for name in self._storage.list(self.place) if _is_event(name)]
        for number, name in enumerate(names, start):
            if name != self._event_base(number):
                raise IntegrityError(f"Event {self.event_name(number)} is missing, though {name} exists.")
            yield self.read(number)

    def write_segment(self, block: int) -> None:
        """Write the segment of a full block; harmless if it is there already."""
        import zstandard

        numbers = range(block * SEGMENT_EVENTS, (block + 1) * SEGMENT_EVENTS)
        data = b"".join(self._storage.read(self.event_name(number)) for number in numbers)
        self._storage.create(
            f"{self.place}/{self._segment_base(block)}",
            zstandard.ZstdCompressor().compress(data),
        )

    def _block(self, block: int) -> list[Event]:
        start = block * SEGMENT_EVENTS
        try:
            return read_segment(self._storage, f"{self.place}/{self._segment_base(block)}", start, SEGMENT_EVENTS)
        except IntegrityError as error:
            import logging  # costs start-up time, and is needed on bad days only

            logging.getLogger(__name__).debug("Reading single events: %s", error)
            return [self._read_existing(number) for number in range(start, start + SEGMENT_EVENTS)]

    def _read_existing(self, number: int) -> Event:
        try:
            return self.read(number)
        except NotFoundError as error:
            raise IntegrityError(f"Event {self.event_name(number)} is missing, though later ones exist.") from error

    def _refuse_gap(self, head: int, names: set[str] | None) -> None:
        """A missing event below an existing one is damage, never the end of the log."""
        if names is None:
            if self.exists(head + 1) and not self.exists(head):  # in this order: `head` was written first
                raise IntegrityError(f"Event {self.event_name(head)} is missing, though a later one exists.")
            return
        later = [name for name in names if _is_event(name) and name > self._event_base(head)]
        if later:
            raise IntegrityError(f"Event {self.event_name(head)} is missing, though {min(later)} exists.")

    def event_name(self, number: int) -> str:
        """Return the name of the blob that event `number` is or would be."""
        return f"{self.place}/{self._event_base(number)}"

    @staticmethod
    def _event_base(number: int) -> str:
        return f"{number:012d}.json"

    @staticmethod
    def _segment_base(block: int) -> str:
        return segment_name(block * SEGMENT_EVENTS, SEGMENT_EVENTS)


def segment_name(start: int, count: int) -> str:
    """Return the name of the segment that holds `count` events from number `start` on."""
    return f"{start:012d}-{start + count - 1:012d}.segment"


def read_segment(storage: LogStorage, name: str, start: int, count: int) -> list[Event]:
    """Return the events of a segment.

    Raises:
        NotFoundError: There is no such segment.
        IntegrityError: It is damaged, or does not hold these events.
    """
    from mlver.history.event import decode_event

    lines = _decompress(storage.read(name), name).splitlines(keepends=True)
    if len(lines) != 2 * count:
        raise IntegrityError(f"Segment {name} does not hold {count} events.")
    return [decode_event(b"".join(lines[2 * i : 2 * i + 2]), start + i, name) for i in range(count)]


def _checked_part(name: str, parts: list[LogPart]) -> str:
    """Return a part's name if it is one and new: a log must not lead back into itself."""
    if not _PART.fullmatch(name) or name in {part.name for part in parts}:
        raise IntegrityError(f"A log is said to go on in {name!r}, which cannot be.")
    return name


def _is_event(name: str) -> bool:
    """Tell an event's file from segments and from what other programs leave in folders."""
    return len(name) == len("000000000000.json") and name[:12].isdigit() and name.endswith(".json")


def _decompress(data: bytes, name: str) -> bytes:
    import zstandard

    try:
        declared = zstandard.get_frame_parameters(data).content_size
        if not 0 < declared <= MAX_SEGMENT_BYTES:
            raise IntegrityError(f"Segment {name} declares {declared} bytes.")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=declared, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise IntegrityError(f"Segment {name} is damaged: {error}.") from error
