from __future__ import annotations

import pytest

from mlver.formats.cursor import MAX_TAKE_BYTES, WINDOW_BYTES, Cursor
from mlver.formats.layout import FormatError
from tests.support.weight_files import BytesSource

DATA = bytes(range(256)) * 512


def cursor(data: bytes = DATA, steps: int = 3) -> Cursor:
    return Cursor(BytesSource(data), steps)


def test_bytes_come_in_order_whatever_the_windows() -> None:
    at = cursor()
    pieces = [at.take(length) for length in (1, WINDOW_BYTES - 2, 2, 300, MAX_TAKE_BYTES, 0)]
    assert b"".join(pieces) == DATA[: at.offset]


def test_it_goes_forward_and_back() -> None:
    at = cursor()
    for offset in (5, 70_000, 69_990, 0, len(DATA) - 4):
        at.seek(offset)
        assert at.number(4) == int.from_bytes(DATA[offset : offset + 4], "little")
    assert at.offset == at.end == len(DATA)
    at.seek(65)
    at.skip(32)
    assert at.text(3) == "abc"


@pytest.mark.parametrize("length", [MAX_TAKE_BYTES + 1, 1 << 60])
def test_too_much_at_once_is_refused(length: int) -> None:
    with pytest.raises(FormatError, match="too long"):
        cursor().take(length)


@pytest.mark.parametrize("offset", [-1, len(DATA) + 1, 1 << 70])
def test_it_stays_within_the_file(offset: int) -> None:
    with pytest.raises(FormatError, match="outside"):
        cursor().seek(offset)


def test_nothing_comes_after_the_end() -> None:
    at = cursor(b"1234")
    at.skip(3)
    with pytest.raises(FormatError, match="outside"):
        at.take(2)


def test_text_must_be_utf_8() -> None:
    with pytest.raises(FormatError, match="UTF-8"):
        cursor(b"\xff").text(1)


def test_steps_run_out() -> None:
    at = cursor()
    at.step(3)
    with pytest.raises(FormatError, match="too many"):
        at.step()


def test_what_is_kept_counts_by_its_length() -> None:
    at = cursor(steps=10)
    assert at.keep("short") == "short"
    with pytest.raises(FormatError, match="too many"):
        at.keep("long" * 100)
