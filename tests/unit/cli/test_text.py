from __future__ import annotations

import pytest

from mlver.cli.text import age, count, escape, escape_block, number, size, width

DAY = 86_400


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("größe 模型 👩\u200d🔬", "größe 模型 👩\u200d🔬"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066x\u200f\u200b\ufeff\u2028", "\\u2066x\\u200f\\u200b\\ufeff\\u2028"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_escape_block_keeps_lines_only() -> None:
    assert escape_block("a\r\nb\x1b\tc\rd") == "a\nb\\x1b  c\\rd"


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_950, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (1_234_567_890, "1.2 GB"),
        (10**21, "1.0 ZB"),
    ],
)
def test_size(size_bytes: int, shown: str) -> None:
    assert size(size_bytes) == shown


@pytest.mark.parametrize(
    ("age_seconds", "shown"),
    [
        (-3600, "in the future"),
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (3 * DAY, "3 days ago"),
        (8 * DAY, "1 week ago"),
        (800 * DAY, "2 years ago"),
    ],
)
def test_age(age_seconds: float, shown: str) -> None:
    assert age(age_seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (3, "3"),
        (0.913, "0.913"),
        (0.123456789, "0.12346"),
        (1e-7, "1e-07"),
        ("a\x1b", "a\\x1b"),
        (None, "null"),
        ([1, {"é\x1b": True}], r'[1, {"é\u001b": true}]'),
    ],
)
def test_number(value: object, shown: str) -> None:
    assert number(value) == shown


def test_count() -> None:
    assert [count(1, "file"), count(20_000, "file")] == ["1 file", "20,000 files"]


def test_width() -> None:
    assert [width("abc"), width("模型"), width("e\u0301")] == [3, 4, 1]
