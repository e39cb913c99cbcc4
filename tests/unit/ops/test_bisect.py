"""Bisection: the first bad version, with few verdicts, though some cannot be judged; and going on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlver.errors import ConflictError, MlverError, NotFoundError, UsageError
from mlver.history.records import VersionRecord
from mlver.ops.bisect.bisect import bisect, verdict_of
from mlver.ops.bisect.search import Search, Verdict
from mlver.repository import Repository


@given(st.integers(2, 60), st.data())
def test_search_finds_the_first_bad_one(count: int, data: st.DataObject) -> None:
    first_bad = data.draw(st.integers(1, count - 1))
    skipped = data.draw(st.sets(st.integers(1, count - 2))) if count > 2 else set()
    search = Search(count)
    judged = 0
    while (position := search.following()) is not None:
        judged += 1
        bad = Verdict.BAD if position >= first_bad else Verdict.GOOD
        search.note(position, Verdict.SKIP if position in skipped else bad)
    assert first_bad in search.suspects
    assert set(search.suspects[:-1]) <= skipped, "whatever could be judged is told apart"
    if not skipped:
        assert search.suspects == [first_bad]
        assert judged <= (count - 1).bit_length()


@pytest.mark.parametrize(("code", "verdict"), [(0, "good"), (1, "bad"), (124, "bad"), (125, "skip")])
def test_exit_codes(code: int, verdict: str) -> None:
    assert verdict_of(code).value == verdict


@pytest.mark.parametrize("code", [126, 127, 128, 130, 137, 255])
def test_exit_codes_that_end_it(code: int) -> None:
    with pytest.raises(MlverError, match="no verdict"):
        verdict_of(code)


@pytest.fixture
def net(repository: Repository, model: Path) -> Repository:
    """Versions v0 to v9 of `net`; v4 is removed."""
    for number in range(10):
        (model / "w").write_bytes(b"%d" % number)
        repository.add(model, name="net", type="t")
    repository.remove("v4")
    return repository


def test_versions_are_pulled_and_gone_afterwards(net: Repository) -> None:
    folders = []

    def judge(version: VersionRecord, folder: Path | None) -> bool:
        assert folder is not None
        folders.append(folder)
        assert (folder / "w").read_bytes() == b"%d" % version.number
        return version.number < 6

    before = sorted(net.path.glob("origins/*"))
    found = net.bisect("v0", "latest", judge)
    assert (found.first_bad.name, found.last_good.name, found.is_certain) == ("net:v6", "net:v5", True)
    assert [step.version for step in found.steps] == ["net:v5", "net:v7", "net:v6"]
    assert not any(folder.exists() for folder in folders)
    assert sorted(net.path.glob("origins/*")) == before


def test_what_cannot_be_judged(net: Repository) -> None:
    def judge(version: VersionRecord, folder: Path | None) -> bool | None:
        assert folder is None
        return None if version.number in (5, 6) else version.number < 6

    found = net.bisect("v0", "v9", judge, pull=False)
    assert [version.number for version in found.suspects] == [5, 6, 7]
    assert not found.is_certain


def test_neighbours_need_no_verdict(net: Repository) -> None:
    assert net.bisect("v3", "v5", lambda *_: pytest.fail("asked")).first_bad.name == "net:v5", "v4 is removed"


def test_what_cannot_be_bisected(net: Repository, model: Path) -> None:
    net.add(model, name="other", type="t")
    for good, bad in (("net:v5", "net:v5"), ("net:v5", "net:v3"), ("net:v0", "other:v0")):
        with pytest.raises(UsageError):
            net.bisect(good, bad, lambda *_: True)
    with pytest.raises(NotFoundError):
        net.bisect("net:v4", "net:v9", lambda *_: True)


def test_it_goes_on_where_it_stopped(net: Repository, tmp_path: Path) -> None:
    record = tmp_path / "log"

    def interrupted(version: VersionRecord, folder: Path | None) -> bool:
        if version.number == 7:
            raise KeyboardInterrupt
        return version.number < 6

    with pytest.raises(KeyboardInterrupt):
        net.bisect("v0", "v9", interrupted, record=record)
    asked = []

    def judge(version: VersionRecord, folder: Path | None) -> bool:
        asked.append(version.number)
        return version.number < 6

    assert net.bisect("v0", "v9", judge, record=record).first_bad.name == "net:v6"
    assert asked == [7, 6]
    found = net.bisect("v0", "v9", judge, record=record)
    assert all(step.recorded for step in found.steps)
    assert asked == [7, 6]


def test_a_record_that_was_cut_off_goes_on(net: Repository, tmp_path: Path) -> None:
    """A search may be killed at any byte of what it writes; what is whole of it is used."""
    record = tmp_path / "log"
    opened = net._opened
    bisect(opened, "v0", "v9", lambda version, _: int(version.number >= 6), subject=["a"], pulled=False, record=record)
    whole = record.read_bytes()
    for size in range(len(whole)):
        record.write_bytes(whole[:size])
        found = bisect(
            opened, "v0", "v9", lambda version, _: int(version.number >= 6), subject=["a"], pulled=False, record=record
        )
        assert found.first_bad.name == "net:v6"
        assert sum(step.recorded for step in found.steps) == max(0, whole[:size].count(b"\n") - 1)
        assert len(record.read_bytes().splitlines()) == len(whole.splitlines())


def test_a_record_of_something_else(net: Repository, tmp_path: Path) -> None:
    record = tmp_path / "log"
    opened = net._opened
    bisect(opened, "v0", "v9", lambda *_: 0, subject=["a"], record=record)
    with pytest.raises(ConflictError, match="another command"):
        bisect(opened, "v0", "v9", lambda *_: 0, subject=["b"], record=record)
    for text in ("rubbish\n", '["command"]\n', '{"command": []}\n{"x": 1}\n'):
        record.write_text(text)
        with pytest.raises(MlverError, match="no record of a bisection"):
            bisect(opened, "v0", "v9", lambda *_: 0, record=record)
