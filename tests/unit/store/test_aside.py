"""Setting aside: each collector has names of its own, and nothing that was written again is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlver.store.aside import Aside, find_aside, put_all_back, put_back
from mlver.store.local import LocalStorage
from mlver.store.memory import MemoryStorage
from tests.support.places import quick_folder

PACK = f"packs/{'a' * 64}.pack"
MANIFEST = f"manifests/{'b' * 64}.json.zst"


@pytest.fixture
def storage() -> Iterator[LocalStorage]:
    with quick_folder() as folder:
        made = LocalStorage(folder)
        made.put(PACK, b"pack")
        made.put(MANIFEST, b"manifest")
        yield made


@pytest.mark.parametrize(("name", "content"), [(PACK, b"pack"), (MANIFEST, b"manifest")])
def test_what_was_taken_can_be_put_back(storage: LocalStorage, name: str, content: bytes) -> None:
    aside = Aside(storage)
    assert aside.take(name)
    assert not storage.exists(name)
    assert not aside.take(name)
    assert storage.read(aside.name(name)) == content
    assert find_aside(storage, name.partition("/")[0]) == [(aside.name(name), name)]
    assert aside.put_back(name)
    assert storage.read(name) == content
    assert not aside.put_back(name)
    assert find_aside(storage, name.partition("/")[0]) == []


def test_what_was_written_again_stays(storage: LocalStorage) -> None:
    aside = Aside(storage)
    aside.take(PACK)
    storage.put(PACK, b"new")
    aside.delete(PACK)
    assert storage.read(PACK) == b"new"
    aside.take(PACK)
    storage.put(PACK, b"newer")
    assert aside.put_back(PACK)
    assert storage.read(PACK) == b"newer"
    assert find_aside(storage, "packs") == []


def test_a_collector_deletes_only_what_it_took(storage: LocalStorage) -> None:
    one, other = Aside(storage), Aside(storage)
    one.take(PACK)
    other.delete(PACK)
    assert put_back(storage, PACK)
    other.take(PACK)
    one.delete(PACK)
    assert put_all_back(storage, "packs")
    assert storage.read(PACK) == b"pack"


def test_what_another_one_left_can_be_taken_over(storage: LocalStorage) -> None:
    one, other = Aside(storage), Aside(storage)
    one.take(MANIFEST)
    assert other.take_over(one.name(MANIFEST), MANIFEST)
    assert not one.put_back(MANIFEST)
    other.put_all_back()
    assert storage.read(MANIFEST) == b"manifest"


def test_only_what_is_asked_for_is_put_back(storage: LocalStorage) -> None:
    aside = Aside(storage)
    other = f"packs/{'c' * 64}.pack"
    storage.put(other, b"other")
    aside.take(PACK)
    aside.take(other)
    assert put_back(storage, PACK)
    assert not put_back(storage, PACK)
    assert not storage.exists(other)
    assert storage.read(PACK) == b"pack"


def test_files_of_others_are_left_alone(storage: LocalStorage) -> None:
    for name in ("packs/x.aside", f"packs/{'a' * 64}.aside", f"packs/{'a' * 64}.{'0' * 15}.aside"):
        storage.put(name, b"")
    assert not put_all_back(storage, "packs")


def test_where_nothing_can_be_set_aside_nothing_is() -> None:
    assert not put_all_back(MemoryStorage(), "packs")


def test_times_are_the_storages_own(storage: LocalStorage, tmp_path: Path) -> None:
    before = storage.modified_ns(PACK)
    assert before is not None
    assert storage.modified_ns("packs/absent.pack") is None
    assert before <= storage.now_ns()
    storage.put(PACK, b"again")
    again = storage.modified_ns(PACK)
    assert again is not None
    assert before <= again <= storage.now_ns()
    assert not list((storage.root / "tmp").iterdir())
