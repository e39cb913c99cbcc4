"""`gc` deletes what nobody uses and nothing else, says what it did, and finds nothing the second time."""

from __future__ import annotations

import os

import numpy as np
import pytest

from mlver.errors import IntegrityError, NotFoundError
from mlver.history.manifest import read_manifest, write_manifest
from mlver.history.manifest_blob import chunk_ids
from mlver.ops.opening import open_repository
from mlver.ops.reliance import revive
from mlver.repository import Repository
from tests.support.trees import flip
from tests.unit.ops.collect.conftest import Home, weights

GONE = ("data:v0", "m:v1", "m:v4", "parts:v0")
LEFT = {"m:v0", "m:v2", "m:v3", "data:v1", "parts:v1"}


def test_removed_versions_go_and_all_others_stay(trained: Home) -> None:
    before = sum(trained.packs.values())
    result = trained.collect()
    assert result.versions == GONE
    assert (result.bytes_before, result.bytes_after) == (before, sum(trained.packs.values()))
    assert result.freed_bytes > 190_000
    assert result.rewritten_packs == 1
    assert not [name for name in [*trained.packs, *trained.manifests] if not name.endswith((".pack", ".json.zst"))]
    assert len(trained.manifests) == len(LEFT)
    assert trained.check() == LEFT


def test_du_agrees(trained: Home) -> None:
    result = trained.collect()
    with Repository.open(trained.path) as repository:
        usage = repository.usage()
    assert usage.pack_bytes == result.bytes_after
    assert usage.unused_bytes == result.left_bytes + result.held_bytes


def test_nothing_is_left_to_do_the_second_time(trained: Home) -> None:
    trained.collect()
    packs = trained.packs
    again = trained.collect()
    assert (again.versions, again.deleted_packs, again.rewritten_packs, again.freed_bytes) == ((), 0, 0, 0)
    assert trained.packs == packs


def test_a_dry_run_says_the_same_and_does_nothing(trained: Home) -> None:
    packs, manifests = trained.packs, trained.manifests
    files = sorted(place.name for place in (trained.path / ".mlver").iterdir())
    planned = trained.collect(dry_run=True)
    assert (trained.packs, trained.manifests) == (packs, manifests)
    assert sorted(place.name for place in (trained.path / ".mlver").iterdir()) == files
    done = trained.collect()
    assert planned.is_dry_run
    assert planned.versions == done.versions
    assert (planned.deleted_packs, planned.rewritten_packs) == (done.deleted_packs, done.rewritten_packs)
    assert (planned.left_bytes, planned.held_bytes) == (done.left_bytes, done.held_bytes)
    assert abs(planned.bytes_after - done.bytes_after) < 2_000


def test_what_was_removed_lately_stays_and_can_be_restored(trained: Home) -> None:
    trained.remove("m:v3")
    result = trained.collect()
    assert "m:v3" not in result.versions
    with Repository.open(trained.path) as repository:
        assert repository.restore("m:v3").number == 3
    assert "m:v3" in trained.check()


def test_grace_counts_from_the_removal_and_not_from_the_addition(home: Home) -> None:
    home.add(weights(0))
    home.add(weights(1))
    home.grow_old(100)
    home.remove("m:v0")
    home.grow_old(10)
    assert home.collect(11).versions == ()
    assert home.collect(9).versions == ("m:v0",)
    assert home.check() == {"m:v1"}


@pytest.mark.parametrize("way", ["restore", "undo"])
def test_what_is_gone_cannot_come_back(trained: Home, way: str) -> None:
    trained.collect()
    with Repository.open(trained.path) as repository:
        with pytest.raises(NotFoundError, match="is gone: mlver gc deleted it"):
            repository.restore("data:v0") if way == "restore" else repository.undo("data")
        assert [version.number for version in repository.log("data")] == [1]
        assert [version.number for version in repository.log("data", removed=True)] == [1, 0]
    trained.check()


def test_the_number_of_what_is_gone_is_not_used_again_and_its_content_can_be_added(trained: Home) -> None:
    trained.collect()
    assert trained.add(trained.content["m:v4"]["model.safetensors"]) == "m:v5"
    assert "m:v5" in trained.check()


def test_what_a_removed_version_shares_stays(home: Home) -> None:
    home.add(weights(3))
    home.add(weights(3), "other")
    home.remove("m:v0")
    home.grow_old()
    result = home.collect()
    assert (result.versions, result.freed_bytes) == ((), 0)
    with Repository.open(home.path) as repository:
        repository.restore("m:v0")  # its content is another one's too
    assert home.check() == {"m:v0", "other:v0"}


def test_what_others_rest_on_stays(home: Home) -> None:
    """v1 is stored as the difference to v0, which is removed."""
    home.add(weights(0))
    home.add(weights(1))
    home.remove("m:v0")
    home.grow_old()
    result = home.collect()
    assert result.versions == ("m:v0",)
    assert result.held_bytes > 10_000
    assert home.check() == {"m:v1"}


def test_what_was_interrupted_goes_after_the_grace_period(home: Home) -> None:
    home.add(weights(0))
    home.add(np.random.default_rng(1).bytes(100_000), "lost", "x")
    for place in (home.path / ".mlver" / "log" / "lost").iterdir():
        place.unlink()
    assert home.collect().freed_bytes == 0
    home.grow_old(13.9)
    assert home.collect().freed_bytes == 0
    home.grow_old(0.2)
    assert home.collect().freed_bytes > 100_000
    assert home.check() == {"m:v0"}


def test_a_pack_whose_writer_has_not_said_yet_what_it_is_for_stays(home: Home) -> None:
    home.add(weights(0))
    packs = home.packs.keys()
    home.add(np.random.default_rng(1).bytes(100_000), "lost", "x")
    with Repository.open(home.path) as repository:
        identity = repository.resolve("lost:v0").id
    (home.path / ".mlver" / "manifests" / f"{identity.removeprefix('blake3:')}.json.zst").unlink()
    for place in (home.path / ".mlver" / "log" / "lost").iterdir():
        place.unlink()
    assert home.collect().deleted_packs == 0
    home.grow_old(14.1)
    assert home.collect().deleted_packs > 0
    assert home.packs.keys() == packs


def test_a_log_that_no_name_leads_to_stops_it(trained: Home) -> None:
    for place in (trained.path / ".mlver" / "names").iterdir():
        place.unlink()
    packs = trained.packs
    with pytest.raises(IntegrityError, match="which no event in names/ tells of"):
        trained.collect(0)
    assert trained.packs == packs


def test_no_grace_means_at_once(home: Home) -> None:
    home.add(weights(0))
    home.add(np.random.default_rng(1).bytes(100_000), "data", "x")
    home.remove("data:v0")
    assert home.collect().versions == ()
    assert home.collect(0).versions == ("data:v0",)
    assert home.check() == {"m:v0"}


def test_a_pack_of_which_little_is_superfluous_stays(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlver.store.pack.PACK_TARGET_BYTES", 1 << 30)
    generator = np.random.default_rng(5)
    (home.path / "many").mkdir()
    for number in range(10):
        (home.path / "many" / f"{number}").write_bytes(generator.bytes(50_000))
    with Repository.open(home.path) as repository:
        repository.add(home.path / "many", name="many", type="t")
        for number in (0, 1):
            (home.path / "many" / f"{number}").unlink()
            repository.add(home.path / "many", name="many")
            repository.remove(f"many:v{number}")
            home.grow_old()
            (home.path / ".mlver" / "index.sqlite").unlink()
            with Repository.open(home.path) as again:
                assert again.usage().unused_bytes > 0
            result = home.collect()
            assert result.rewritten_packs == number
            assert (result.left_bytes > 50_000) == (number == 0)
        assert repository.verify().ok


def test_a_damaged_manifest_of_a_version_stops_it(trained: Home) -> None:
    with Repository.open(trained.path) as repository:
        identity = repository.resolve("m:v2").id
    flip(trained.path / ".mlver" / "manifests" / f"{identity.removeprefix('blake3:')}.json.zst", 30)
    packs = trained.packs
    with pytest.raises(IntegrityError, match=r"What m:v2 uses cannot be told"):
        trained.collect(0)
    assert trained.packs == packs


def test_a_damaged_pack_index_stops_it(trained: Home) -> None:
    name = min(trained.packs)
    flip(trained.path / ".mlver" / "packs" / name, trained.packs[name] - 100)
    packs = trained.packs
    with pytest.raises(IntegrityError, match="is damaged"):
        trained.collect(0)
    assert trained.packs == packs


def test_a_missing_pack_stops_it(trained: Home) -> None:
    with Repository.open(trained.path) as repository:
        location = repository._opened.chunk_index.find(repository.manifest("data:v1").files[0].chunks[0].id)
    assert location is not None
    (trained.path / ".mlver" / "packs" / f"{location.pack}.pack").unlink()
    packs = trained.packs
    with pytest.raises(IntegrityError, match=r"Chunks of data:v1 are missing"):
        trained.collect(0)
    assert trained.packs == packs


@pytest.mark.parametrize("number", [0, 1])
def test_a_missing_event_stops_it(trained: Home, number: int) -> None:
    (trained.path / ".mlver" / "names" / f"{number:012d}.json").unlink()
    packs = trained.packs
    with pytest.raises(IntegrityError):
        trained.collect(0)
    assert trained.packs == packs


def test_damaged_frames_that_should_be_copied_are_left_alone(trained: Home) -> None:
    whole = trained.collect(dry_run=True)
    assert whole.rewritten_packs
    for name, size_bytes in trained.packs.items():
        flip(trained.path / ".mlver" / "packs" / name, size_bytes - 1_000)  # in the last frame
    trained.grow_old()
    result = trained.collect()
    assert result.damaged
    assert result.rewritten_packs < whole.rewritten_packs


def test_what_a_killed_collection_left_aside_is_found(trained: Home) -> None:
    for folder in ("packs", "manifests"):
        for place in sorted((trained.path / ".mlver" / folder).iterdir()):
            place.rename(place.with_name(place.name.split(".")[0] + f".{7:016x}.aside"))
    assert trained.check() == LEFT


def test_what_a_killed_collection_left_aside_is_collected(trained: Home) -> None:
    for folder in ("packs", "manifests"):
        for place in sorted((trained.path / ".mlver" / folder).iterdir()):
            place.rename(place.with_name(place.name.split(".")[0] + f".{7:016x}.aside"))
    assert trained.collect().versions == GONE
    assert trained.check() == LEFT
    assert not [name for name in [*trained.packs, *trained.manifests] if name.endswith(".aside")]


def test_a_wrong_index_deletes_nothing(trained: Home) -> None:
    """The cache says that everything is removed: it is not asked."""
    with Repository.open(trained.path) as repository:
        repository._opened.cache.execute("UPDATE versions SET removed = 1")
        repository._opened.cache.execute("DELETE FROM chunks")
    trained.collect(0)
    (trained.path / ".mlver" / "index.sqlite").unlink()
    assert trained.check() == LEFT


def test_a_file_may_be_called_like_a_chunk(home: Home) -> None:
    files = {"ab" * 32: b"one", f"chunks/{'cd' * 32}": b"two"}
    home.add(files, "named")
    home.add(weights(0))
    home.remove("m:v0")
    assert home.collect(0).versions == ("m:v0",)
    home.add(files | {"more": b"four"}, "named")
    assert home.check() == {"named:v0", "named:v1"}


def test_chunk_ids_are_those_of_the_manifest(trained: Home) -> None:
    with Repository.open(trained.path) as repository:
        for revision in LEFT:
            manifest = repository.manifest(revision)
            ids = chunk_ids(repository._opened.storage, repository.resolve(revision).id)
            assert ids == b"".join(chunk.id for file in manifest.files for chunk in file.chunks)


def test_what_is_about_to_come_back_stays(trained: Home) -> None:
    """A `restore` was killed, or is slow, before its event: what it announced counts as young."""
    opened = open_repository(trained.path / ".mlver")
    (version,) = [v for v in opened.index.versions(opened.artifact("m"), removed=True) if v.number == 4]
    revive(opened, version.id, version.name)
    opened.close()
    assert "m:v4" not in trained.collect().versions
    with Repository.open(trained.path) as repository:
        repository.restore("m:v4")
    assert "m:v4" in trained.check()


def test_what_is_being_added_again_stays(trained: Home) -> None:
    """An `add` is slow before its event: it wrote a manifest that was there already."""
    opened = open_repository(trained.path / ".mlver")
    (version,) = [v for v in opened.index.versions(opened.artifact("m"), removed=True) if v.number == 4]
    write_manifest(opened.storage, read_manifest(opened.storage, version.id))
    opened.close()
    assert "m:v4" not in trained.collect().versions
    with Repository.open(trained.path) as repository:
        repository.restore("m:v4")
    assert "m:v4" in trained.check()


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_was_set_deletes_nothing_early(trained: Home, days: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first collection is at the right time; then someone sets the clock, and removes a version."""
    trained.collect()
    trained.remove("m:v3")
    now_ns = os.stat(trained.path / "model.safetensors").st_mtime_ns
    monkeypatch.setattr("mlver.store.local.LocalStorage.now_ns", lambda _self: now_ns + days * 86_400 * 10**9)
    assert trained.collect().versions == ()
    assert trained.collect().versions == ()
    with Repository.open(trained.path) as repository:
        repository.restore("m:v3")
    assert "m:v3" in trained.check()
