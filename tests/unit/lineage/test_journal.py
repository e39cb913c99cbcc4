"""The journal of a live run: what was logged is there, wherever its file ends."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.errors import MlverError, UsageError
from mlver.history.records import MetricSummary
from mlver.lineage.journal import Journal, has_journals
from mlver.lineage.journal_reader import JournalReader, read_course, read_summaries
from mlver.lineage.series import read_series


def courses(folder: Path) -> dict[str, list[float]]:
    blob = read_course(folder, 1 << 30).series
    return {} if blob is None else {name: each.values.tolist() for name, each in read_series(blob).items()}


def only_file(folder: Path) -> Path:
    [path] = folder.glob("*.metrics")
    return path


def test_what_was_logged(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert not has_journals(tmp_path)
    assert read_course(tmp_path, 100).series is None
    journal.log({"loss": 1, "acc": 0.5}, step=10)
    journal.log({"loss": 0.5, "acc": 0.75})
    journal.log({"acc": 0.25, "loss": float("nan")}, step=5)
    journal.log({"time": 2}, step=0)
    journal.close()
    blob = read_course(tmp_path, 1 << 20).series
    assert blob is not None
    series = read_series(blob)
    assert series["acc"].values.tolist() == [0.5, 0.75, 0.25]
    assert series["acc"].steps.tolist() == [10, 11, 5]
    assert (np.diff(series["acc"].times) > 0).all()
    assert read_summaries(tmp_path) == {
        "acc": MetricSummary(0.25, 0.25, 0.75, 3, 0),
        "loss": MetricSummary(0.5, 0.5, 1.0, 3, 1),
        "time": MetricSummary(2.0, 2.0, 2.0, 1, 0),
    }


def test_cut_anywhere_what_is_whole_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(3):
        journal.log({"a": number, "b": -number})
        journal.log({"c": number})
    path = only_file(tmp_path)
    whole = path.read_bytes()
    seen = set()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        found = courses(tmp_path)
        assert all(values == [*range(len(values))] for name, values in found.items() if name != "b")
        seen.add(sum(map(len, found.values())))
    assert seen == {0, 2, 3, 5, 6, 8, 9}
    path.write_bytes(whole + bytes(4096))
    assert sum(map(len, courses(tmp_path).values())) == 9, "zeros after a power cut"
    path.write_bytes(b"else" + whole)
    assert courses(tmp_path) == {}


def test_a_reader_goes_on_where_it_was(tmp_path: Path) -> None:
    journal, reader = Journal(tmp_path), JournalReader(tmp_path)
    read: list[float] = []
    for number in range(5):
        journal.log({"a": number})
        read += [value for rows in reader.rows() for value in rows.values[:, 0].tolist()]
        assert len(read) == number + 1
    assert list(reader.rows()) == []


def test_more_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlver.lineage.journal_reader._PIECE_BYTES", 100)
    journal = Journal(tmp_path)
    for number in range(200):
        journal.log({"a": number} if number % 3 else {"a": number, "b": number})
    assert courses(tmp_path)["a"] == list(range(200))


def test_series_that_would_be_too_large_are_thinned_and_their_summaries_are_not(tmp_path: Path) -> None:
    journal, random = Journal(tmp_path), np.random.default_rng(0)
    for value in random.normal(size=5000):
        journal.log({"a": value})
    course = read_course(tmp_path, 20_000)
    assert course.series is not None
    assert len(course.series) <= 20_000
    assert 500 <= len(read_series(course.series)["a"].values) <= 2500
    assert course.metrics["a"].value_count == 5000


def test_a_full_disk_leaves_whole_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.log({"a": 1.0})
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(MlverError, match=os.strerror(errno.ENOSPC)):
        journal.log({"a": 2.0})
    monkeypatch.undo()
    journal.log({"a": 3.0})
    assert courses(tmp_path) == {"a": [1.0, 3.0]}


def test_a_value_that_is_none_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    values: list[Any] = ["1", None, [], 1j, 10**400]
    for value in values:
        with pytest.raises(UsageError, match="Metric 'b' is "):
            journal.log({"a": 1.0, "b": value})
    for name in ("", "\ud800", "x" * 513, 5):
        with pytest.raises(UsageError):
            journal.log({name: 1.0})  # type: ignore[dict-item]
    journal.log({"a": 1.0, "b": 2.0})
    for step in (1 << 63, 1.5, "1"):
        with pytest.raises(UsageError, match="whole number"):
            journal.log({"a": 3.0}, step=step)  # type: ignore[arg-type]
    assert courses(tmp_path) == {"a": [1.0], "b": [2.0]}


def test_many_shapes_cost_no_more_than_their_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlver.lineage.journal._MAX_SHAPES", 10)
    journal = Journal(tmp_path)
    for number in range(100):
        journal.log({"all": number, f"m{number % 30}": number})
    found = courses(tmp_path)
    assert found["all"] == list(range(100))
    assert found["m29"] == [29, 59, 89]
