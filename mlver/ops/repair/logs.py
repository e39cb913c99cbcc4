"""Damaged events: **the segment beside them, the remotes, the index → the very bytes that were there**.

An event has one content, but its number alone does not say which: before unpushed events were renumbered, others bore
their numbers. So what is found is taken only if it resembles what is damaged, or if all events up to it are known to be
those of the remote: which they are if a later one is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history.event import Event, decode_event, encode_event
from mlver.history.index import LOGS_FOLDER, NAMES_FOLDER, RUNS_FOLDER, log_folder
from mlver.history.log import SEGMENT_EVENTS, EventLog, LogPart, is_part_name, next_part, read_segment, segment_name
from mlver.history.records import RUNS
from mlver.ops.remotes.fetch import log_of
from mlver.ops.remotes.opening import OpenRemote, known_heads
from mlver.ops.repair.quarantine import keep_copy
from mlver.ops.repair.sources import Sources
from mlver.store.sqlite import CacheDamaged

_NO_END = 1 << 62
_TELLING_BYTES = 100
"""So much of an event has the manifest of the version that it adds, or all that it does, and when."""


def mend_logs(sources: Sources) -> list[str]:
    """Write damaged and missing events anew as far as their bytes are known; return their names.

    Raises:
        MlverError: Something here cannot be listed, read or written.
    """
    storage = sources.repository.storage
    folders = [NAMES_FOLDER, RUNS_FOLDER, *(f"{LOGS_FOLDER}/{name}" for name in storage.list(LOGS_FOLDER))]
    return [name for folder in folders for name in _LogMender(sources, folder).run()]


@dataclass(frozen=True, slots=True)
class _Place:
    """One folder of a log.

    Attributes:
        log: Its events.
        start: Number of its first event.
        end: From this number on its events do not count; 0 where it is not known which count.
        head: The newest event that there must be, for all that is known; -1 for none.
    """

    log: EventLog
    start: int
    end: int
    head: int = -1

    def bad_numbers(self) -> list[int]:
        """Return the numbers of events that are damaged, or missing though later ones are or were there."""
        numbers = self.log.numbers()
        every = range(min([self.start, *numbers]), max([self.head, *numbers]) + 1)
        return [number for number in every if _read(self.log, number) is None]


class _LogMender:
    """Mends one log.

    Args:
        sources: Where good copies may come from.
        folder: The log's.
    """

    def __init__(self, sources: Sources, folder: str) -> None:
        self._sources = sources
        self._storage = sources.repository.storage
        self._folder = folder
        self._elsewhere: dict[str, Mapping[int, Event]] = {}

    def run(self) -> list[str]:
        """Mend what can be mended; return the names of the events."""
        mended, places = self._places()
        bad = ((place, number) for place in places for number in place.bad_numbers())
        return mended + [name for place, number in bad if (name := self._mend(place, number))]

    def _places(self) -> tuple[list[str], list[_Place]]:
        """Return the folders of the log, in order; each one's last event, which says where it goes on, is mended."""
        mended: list[str] = []
        parts, is_known = [LogPart("", 0)], True
        while is_known:
            log = EventLog(self._storage, self._folder, parts[-1].name)
            numbers = log.numbers()
            if numbers and _read(log, numbers[-1]) is None:
                name = self._mend(_Place(log, 0, 0 if self._may_go_on(parts) else _NO_END), numbers[-1])
                mended += [name] if name else []
            last = _read(log, numbers[-1]) if numbers else None
            is_known = last is not None or not numbers
            following = None if last is None else next_part(last)
            if following is None or following.name in {part.name for part in parts}:
                break
            parts.append(following)
        ends = [min((later.start for later in parts[at + 1 :]), default=_NO_END) for at in range(len(parts))]
        places = [
            _Place(EventLog(self._storage, self._folder, part.name), part.start, end if is_known else 0)
            for part, end in zip(parts, ends, strict=True)
        ]
        if is_known and not self._may_go_on(parts):  # else what the remotes have is in that part
            shared = known_heads(self._sources.repository).get(self._folder, -1)
            places[-1] = replace(places[-1], head=shared)
        return mended, places

    def _may_go_on(self, parts: list[LogPart]) -> bool:
        """Tell whether there is a part that no event leads to yet: one that is damaged may."""
        return any(is_part_name(name) for name in set(self._storage.list(self._folder)) - {part.name for part in parts})

    def _mend(self, place: _Place, number: int) -> str | None:
        """Write one event anew; return its name, None if nobody knows its bytes."""
        name = place.log.event_name(number)
        try:
            damaged = self._storage.read(name)
        except NotFoundError:
            damaged = b""
        for event, is_certain in self._candidates(place, number):
            data = encode_event(event)
            if is_certain or _resembles(damaged, data):
                keep_copy(self._storage, name)
                self._storage.put(name, data)
                return name
        return None

    def _candidates(self, place: _Place, number: int) -> Iterator[tuple[Event, bool]]:
        """Yield what event `number` may have been, each with whether that is certain."""
        start = number // SEGMENT_EVENTS * SEGMENT_EVENTS
        with suppress(NotFoundError, IntegrityError):
            segment = f"{place.log.place}/{segment_name(start, SEGMENT_EVENTS)}"
            yield read_segment(self._storage, segment, start, SEGMENT_EVENTS)[number - start], True
        counts = number < place.end
        for remote, events in self._sources.ask_each(self._events_of):
            if number in events:
                yield events[number], counts and self._is_shared(place, number, remote, events)
        yield from ((event, counts) for event in self._remembered(number))

    def _events_of(self, remote: OpenRemote) -> Mapping[int, Event]:
        """Return the sound events of the log at a remote, by number."""
        if remote.name not in self._elsewhere:
            try:
                events = log_of(remote, self._folder).read_from(0)
            except IntegrityError:
                log = EventLog(remote.storage, self._folder)
                events = [event for number in log.numbers() if (event := _read(log, number)) is not None]
            self._elsewhere[remote.name] = {event.number: event for event in events}
        return self._elsewhere[remote.name]

    def _is_shared(self, place: _Place, number: int, remote: OpenRemote, events: Mapping[int, Event]) -> bool:
        """Tell whether the log is the remote's up to a number: a later event is the same, or that was known."""
        later = (event for event in events.values() if number < event.number < place.end)
        return number <= remote.known_head(self._folder) or any(
            _read(place.log, event.number) == event for event in later
        )

    def _remembered(self, number: int) -> list[Event]:
        """Return the event as the index has it, which was folded when it was sound."""
        index = self._sources.repository.index
        try:
            artifacts = {log_folder(artifact): artifact for artifact in (RUNS, *index.artifacts(empty=True))}
            if self._folder != NAMES_FOLDER and self._folder not in artifacts:
                return []
            found = index.events_from(artifacts.get(self._folder), number)[:1]
            return [
                decode_event(encode_event(event), number, self._folder) for event in found if event.number == number
            ]
        except (CacheDamaged, MlverError):
            return []


def _read(log: EventLog, number: int) -> Event | None:
    try:
        return log.read(number)
    except (IntegrityError, NotFoundError):
        return None


def _resembles(damaged: bytes, good: bytes) -> bool:
    """Tell whether a damaged event was this one: a half of it is the same, or it was cut off."""
    first, _, second = damaged.partition(b"\n")
    body, _, digest = good.partition(b"\n")
    return first == body or second == digest or (len(damaged) >= _TELLING_BYTES and good.startswith(damaged))
