from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from mlver.errors import IntegrityError, MlverError, NotFoundError
from mlver.history.event import ContinueLog, Event, SetNote, new_event
from mlver.history.log import SEGMENT_EVENTS, EventLog, effective_events, is_part_name, next_part
from mlver.store.memory import MemoryStorage
from tests.support.faulty import FaultyStorage

FOLDER = "log/net"


def event(number: int, note: str = "") -> Event:
    return new_event(number, "ada", (SetNote(0, note or str(number), None),))


def name(number: int) -> str:
    return f"{FOLDER}/{number:012d}.json"


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def log(storage: MemoryStorage) -> EventLog:
    return EventLog(storage, FOLDER)


def fill(log: EventLog, count: int) -> list[Event]:
    events = [event(number) for number in range(count)]
    assert all(log.append(one) for one in events)
    for block in range(count // SEGMENT_EVENTS):
        log.write_segment(block)
    return events


def test_events_come_back_in_order(log: EventLog) -> None:
    assert list(log.events()) == []
    events = fill(log, 5)
    assert list(log.events()) == events
    assert list(log.events(3)) == events[3:]
    assert list(log.events(5)) == []
    assert list(log.single_events()) == events


def test_a_number_is_given_once(log: EventLog) -> None:
    first = event(0, "first")
    assert log.append(first)
    assert not log.append(event(0, "second"))
    assert list(log.events()) == [first]


def test_own_event_is_known_again_when_the_reply_was_lost(storage: MemoryStorage) -> None:
    class Lossy(FaultyStorage):
        """Creates, and then says that it was there before."""

        def create(self, name: str, data: bytes | bytearray | memoryview) -> bool:
            super().create(name, data)
            return False

    mine = event(0)
    assert EventLog(Lossy(storage), FOLDER).append(mine)
    assert not EventLog(Lossy(storage), FOLDER).append(event(0))


def test_many_writers_get_each_number_once(storage: MemoryStorage) -> None:
    gate = threading.Barrier(8)

    def write(writer: int) -> list[int]:
        log = EventLog(storage, FOLDER)
        won: list[int] = []
        gate.wait()
        number = 0
        while len(won) < 10:
            if log.append(event(number, f"{writer}")):
                won.append(number)
            number += 1
        return won

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sorted(chain.from_iterable(won)) == list(range(80))
    for writer, numbers in enumerate(won):
        for number in numbers:
            assert EventLog(storage, FOLDER).read(number).actions == (SetNote(0, str(writer), None),)


@pytest.mark.parametrize("count", [SEGMENT_EVENTS - 1, SEGMENT_EVENTS, SEGMENT_EVENTS + 1, 2 * SEGMENT_EVENTS + 44])
def test_long_logs_are_read_by_segments(storage: MemoryStorage, log: EventLog, count: int) -> None:
    events = fill(log, count)
    watched = FaultyStorage(storage)
    assert list(EventLog(watched, FOLDER).events()) == events
    reads = [called for operation, called in watched.calls if operation == "read"]
    assert len(reads) == count // SEGMENT_EVENTS + count % SEGMENT_EVENTS + 1  # the last finds nothing


@pytest.mark.parametrize("start", [1, 255, 256, 257, 299])
def test_reading_may_start_anywhere(log: EventLog, start: int) -> None:
    events = fill(log, 300)
    assert list(log.events(start)) == events[start:]


def test_many_new_events_are_read_by_segments_too(storage: MemoryStorage, log: EventLog) -> None:
    fill(log, 600)
    watched = FaultyStorage(storage)
    assert len(list(EventLog(watched, FOLDER).events(10))) == 590
    assert sum(operation == "read" for operation, _ in watched.calls) < 120


def segment(storage: MemoryStorage) -> str:
    (found,) = [f"{FOLDER}/{one}" for one in storage.list(FOLDER) if one.endswith(".segment")]
    return found


@pytest.mark.parametrize("damage", [b"", b"junk", None, "flip", "cut"])
def test_damaged_segment_gives_way_to_the_events(storage: MemoryStorage, log: EventLog, damage: object) -> None:
    events = fill(log, 300)
    good = storage.read(segment(storage))
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0x10
    storage.put(segment(storage), {None: good[::-1], "flip": bytes(flipped), "cut": good[:-9]}.get(damage, damage))  # type: ignore[call-overload]
    assert list(log.events()) == events


def test_segment_of_another_block_gives_way_to_the_events(storage: MemoryStorage, log: EventLog) -> None:
    fill(log, 256)
    other = EventLog(storage, "log/other")
    events = fill(other, 512)
    storage.put(f"log/other/{256:012d}-{511:012d}.segment", storage.read(segment(storage)))
    assert list(other.events()) == events


def test_segment_that_declares_too_much_is_not_unpacked(storage: MemoryStorage, log: EventLog) -> None:
    events = fill(log, 256)
    huge = b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + b"\x01\0\0"
    storage.put(segment(storage), huge)
    assert list(log.events()) == events


def test_damaged_segment_and_missing_event_is_damage(storage: MemoryStorage, log: EventLog) -> None:
    fill(log, 300)
    storage.put(segment(storage), b"junk")
    storage.delete(name(7))
    with pytest.raises(IntegrityError, match="000000000007"):
        list(log.events())


@pytest.mark.parametrize("missing", [[0], [0, 1], [3], [3, 4, 5], [8]])
def test_missing_event_is_never_the_end_of_the_log(storage: MemoryStorage, log: EventLog, missing: list[int]) -> None:
    fill(log, 10)
    for number in missing:
        storage.delete(name(number))
    with pytest.raises(IntegrityError, match=f"{missing[0]:012d}.* missing"):
        list(log.events())
    with pytest.raises(IntegrityError, match=f"{missing[0]:012d}.* missing"):
        list(log.single_events())


@pytest.mark.parametrize("start", [5, 6, 7])
def test_missing_event_is_found_by_a_reader_that_catches_up(storage: MemoryStorage, log: EventLog, start: int) -> None:
    fill(log, 10)
    storage.delete(name(7))
    with pytest.raises(IntegrityError, match=r"000000000007.* missing"):
        list(log.events(start))


def test_missing_event_after_a_segment(storage: MemoryStorage, log: EventLog) -> None:
    fill(log, 300)
    storage.delete(name(280))
    with pytest.raises(IntegrityError, match=r"000000000280.* missing"):
        list(log.events())


def test_single_events_looks_behind_segments(storage: MemoryStorage, log: EventLog) -> None:
    fill(log, 300)
    storage.delete(name(7))
    assert len(list(log.events())) == 300
    with pytest.raises(IntegrityError, match="000000000007"):
        list(log.single_events())


def test_damaged_event_is_an_error(storage: MemoryStorage, log: EventLog) -> None:
    fill(log, 3)
    storage.put(name(1), storage.read(name(2)))
    with pytest.raises(IntegrityError, match="000000000001"):
        list(log.events())


def test_event_that_does_not_exist(log: EventLog) -> None:
    assert not log.exists(0)
    with pytest.raises(NotFoundError):
        log.read(0)


def test_listing_that_fails_is_no_empty_log(storage: MemoryStorage, log: EventLog) -> None:
    fill(log, 3)
    failing = FaultyStorage(storage)
    failing.fail("list")
    with pytest.raises(MlverError, match="Injected"):
        list(EventLog(failing, FOLDER).events())


@pytest.mark.parametrize("part", ["../elsewhere", "", "nonsense"])
def test_a_log_that_is_said_to_go_on_where_it_cannot_is_refused(part: str) -> None:
    storage = MemoryStorage()
    assert EventLog(storage, "log/net").append(new_event(0, "", (ContinueLog(0, part),)))
    with pytest.raises(IntegrityError):
        list(effective_events(storage, "log/net"))
    assert next_part(new_event(0, "", (ContinueLog(0, part),))) is None


def test_a_log_that_leads_back_into_itself_is_refused() -> None:
    storage = MemoryStorage()
    part = "part-" + "0" * 16
    assert is_part_name(part)
    for folder in ("", part):
        assert EventLog(storage, "log/net", folder).append(new_event(0, "", (ContinueLog(0, part),)))
    with pytest.raises(IntegrityError, match="which cannot be"):
        list(effective_events(storage, "log/net"))
