from __future__ import annotations

from mlver.formats import Tensor
from mlver.formats.shared_storage import Extent, separate

EXTENT = Extent("7", 1000, 100)


def array(name: str, begin: int, end: int) -> Tensor:
    return Tensor(name, "U8", (end - begin,), 1000 + begin, end - begin)


def separated(*arrays: Tensor) -> tuple[list[str], list[tuple[str, str, int]]]:
    owners, views = separate({EXTENT: list(arrays)})
    return [owner.name for owner in owners], [(view.name, owners[view.owner].name, view.offset) for view in views]


def test_arrays_side_by_side_own_their_bytes() -> None:
    assert separated(array("b", 50, 100), array("a", 0, 50)) == (["a", "b"], [])


def test_the_largest_owns_what_it_covers() -> None:
    arrays = array("part", 10, 20), array("all", 0, 100), array("end", 90, 100)
    assert separated(*arrays) == (["all"], [("end", "all", 90), ("part", "all", 10)])


def test_of_equal_ranges_the_first_is_the_owner() -> None:
    assert separated(array("z", 0, 9), array("a", 0, 9)) == (["z"], [("a", "z", 0)])


def test_a_chain_of_overlaps_has_an_owner_of_its_own() -> None:
    arrays = array("c", 40, 60), array("a", 10, 30), array("b", 25, 45), array("apart", 60, 70)
    name = "storage:7[10:60]"
    assert separated(*arrays) == ([name, "apart"], [("a", name, 0), ("b", name, 15), ("c", name, 30)])


def test_an_empty_array_never_lies_within_another() -> None:
    assert separated(array("all", 0, 100), array("none", 50, 50)) == (["none", "all"], [])


def test_a_storage_that_nothing_uses_is_weights_too() -> None:
    assert separated() == (["storage:7[0:100]"], [])
    assert separate({Extent("7", 1000, 0): []}) == ((), ())
