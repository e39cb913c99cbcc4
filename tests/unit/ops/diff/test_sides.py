"""What the words of `mlver diff` name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlver.errors import ConflictError, NotFoundError, UsageError
from mlver.ops.diff.sides import find_sides
from mlver.ops.progress import Silent
from tests.unit.ops.diff.conftest import Keeper


@pytest.fixture
def history(keeper: Keeper) -> Keeper:
    """Versions m:v0 to m:v3 (v2 is `best`) and o:v0 to o:v2, of which o is current."""
    for name, count in (("m", 4), ("o", 3)):
        for number in range(count):
            keeper.add({"a.txt": f"{name} {number}"}, name)
    keeper.repository.alias("best", "m:v2")
    return keeper


def sides(keeper: Keeper, *words: str) -> tuple[str, str]:
    first, second = (*words, None)[:2]
    assert first is not None
    before, after = find_sides(keeper.repository._opened, first, second, Silent())
    return before.name.name, after.name.name


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("m:v0", "m:v3"), ("m:v0", "m:v3")),
        (("m:v0", "v1"), ("m:v0", "o:v1")),
        (("v1", "m@best"), ("o:v1", "m:v2")),
        (("m:v0..m:v3",), ("m:v0", "m:v3")),
        (("m:v0..v3",), ("m:v0", "m:v3")),
        (("m:v0..best",), ("m:v0", "m:v2")),
        (("m:v0..o",), ("m:v0", "o:v2")),
        (("m@best..",), ("m:v2", "m:v3")),
        (("v0..v1",), ("o:v0", "o:v1")),
        (("v0..",), ("o:v0", "o:v2")),
        (("..v0",), ("o:v2", "o:v0")),
        (("m",), ("m:v2", "m:v3")),
        (("m:best",), ("m:v1", "m:v2")),
        (("latest",), ("o:v1", "o:v2")),
        (("m:best~1",), ("m:v0", "m:v1")),
    ],
)
def test_revisions_and_ranges(history: Keeper, words: tuple[str, ...], names: tuple[str, str]) -> None:
    assert sides(history, *words) == names


def test_a_removed_version_is_no_predecessor(history: Keeper) -> None:
    history.repository.remove("o:v1")
    assert sides(history, "o:v2") == ("o:v0", "o:v2")


def test_the_first_version_has_none_before_it(history: Keeper) -> None:
    with pytest.raises(NotFoundError, match="There is no version before m:v0"):
        sides(history, "m:v0")


@pytest.mark.parametrize("word", ["nope", "v9", "m:nope", "m:v0..nope", "nope..v0", "./nope"])
def test_what_is_not_there(history: Keeper, word: str) -> None:
    with pytest.raises(NotFoundError):
        sides(history, word)


def test_a_wrong_revision_is_wrong_usage(history: Keeper) -> None:
    with pytest.raises(UsageError):
        sides(history, "m:~~")


def test_folders(history: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    history.write({"a.txt": "x"}, "o")
    history.write({"a.txt": "x"}, "else..where")
    assert sides(history, "m", "./o") == ("m:v3", "o")
    assert sides(history, "m", "o") == ("m:v3", "o:v2")  # a revision before a path
    assert sides(history, "else..where", "m") == ("else..where", "m:v3")
    assert sides(history, "./o", "./else..where") == ("o", "else..where")
    assert sides(history, "model") == ("o:v2", "model")  # what it came from
    assert sides(history, os.path.join("model", "a.txt"), "m") == (os.path.join("model", "a.txt"), "m:v3")
    with pytest.raises(NotFoundError, match="It is not known which version"):
        sides(history, "./o")


def test_a_folder_is_what_a_version_of_it_would_be(history: Keeper, tmp_path: Path) -> None:
    (tmp_path / "model" / "empty").mkdir()
    history.repository.add(tmp_path / "model", name="o", exclude=["*.log"])
    (tmp_path / "model" / "x.log").write_text("left out again")
    same = history.diff(str(tmp_path / "model"))
    assert same.identical
    assert same.is_same
    (tmp_path / "model" / "a.txt").chmod(0o755)
    found = history.diff(str(tmp_path / "model"))
    assert not found.identical
    assert [file.after.path for file in found.files.modified] == ["a.txt"]


def test_a_file_that_changes_meanwhile_is_refused(history: Keeper, tmp_path: Path) -> None:
    place = history.write({"a.txt": "one" * 1000}, "elsewhere")
    _, side = find_sides(history.repository._opened, "m", str(place), Silent())
    (place / "a.txt").write_text("two" * 1000)
    with pytest.raises(ConflictError, match="changes while it is read"):
        list(side.chunks().read_many([(chunk.id, chunk.size_bytes) for chunk in side.manifest.files[0].chunks]))
