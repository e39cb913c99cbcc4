from __future__ import annotations

from pathlib import Path

from mlver.differences.texts import TextChange
from mlver.differences.values import ValueChange
from mlver.ops.diff.result import FileChanges
from tests.unit.ops.diff.conftest import Keeper


def compared(keeper: Keeper, before: dict[str, bytes | str], after: dict[str, bytes | str]) -> FileChanges:
    first, second = keeper.add(before), keeper.add(after)
    return keeper.diff(first, second).files


def test_added_removed_renamed_modified(keeper: Keeper) -> None:
    before: dict[str, bytes | str] = {"same": "s", "gone": "g", "old/moved.txt": "m", "a.txt": "1\n", "e": ""}
    after: dict[str, bytes | str] = {"same": "s", "came": "c", "new/moved.txt": "m", "a.txt": "2\n", "f": ""}
    found = compared(keeper, before, after)
    assert (found.added, found.removed, found.unchanged_count) == (("came", "f"), ("e", "gone"), 1)
    assert [tuple(pair) for pair in found.renamed] == [("old/moved.txt", "new/moved.txt")]
    assert [(file.after.path, file.content) for file in found.modified] == [
        ("a.txt", TextChange((), ("@@ -1 +1 @@", "-1", "+2")))
    ]


def test_of_equal_files_those_of_one_name_belong_together(keeper: Keeper) -> None:
    before: dict[str, bytes | str] = {"x/a": "same", "x/b": "same", "keep": ""}
    after: dict[str, bytes | str] = {"y/b": "same", "y/c": "same", "keep": ""}
    found = compared(keeper, before, after)
    assert {tuple(pair) for pair in found.renamed} == {("x/b", "y/b"), ("x/a", "y/c")}


def test_configurations_are_looked_into(keeper: Keeper) -> None:
    found = compared(keeper, {"c.json": '{"a": {"b": 1}}'}, {"c.json": '{"a": {"b": 2}}'})
    assert found.modified[0].content == TextChange((ValueChange("a.b", "changed", 1, 2),), ())


def test_bytes_and_weights_are_not_looked_into(keeper: Keeper) -> None:
    found = compared(keeper, {"a.bin": b"\0\1", "b.pt": b"PK\3\4x"}, {"a.bin": b"\0\2", "b.pt": b"PK\3\4y"})
    assert [(file.after.path, file.content) for file in found.modified] == [("a.bin", None), ("b.pt", None)]


def test_permissions_and_empty_folders(keeper: Keeper, tmp_path: Path) -> None:
    place = keeper.write({"run": "#!"})
    (place / "old").mkdir()
    keeper.repository.add(place, name="m", type="t")
    (place / "old").rmdir()
    (place / "new").mkdir()
    (place / "run").chmod(0o755)
    keeper.repository.add(place, name="m")
    found = keeper.diff("m:v0", "m:v1").files
    assert (found.added, found.removed) == (("new/",), ("old/",))
    assert [(file.before.executable, file.after.executable, file.content) for file in found.modified] == [
        (False, True, None)
    ]


def test_the_same(keeper: Keeper) -> None:
    keeper.add({"a": "x"})
    found = keeper.diff("m", "m")
    assert found.is_same
    assert found.files.is_empty
    assert found.summary == "nothing differs"
