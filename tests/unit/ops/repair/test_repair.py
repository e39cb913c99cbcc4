"""Whatever is damaged here comes back from where it is sound; the rest is named, and nothing is thrown away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from mlver.ops.opening import OpenRepository, open_repository
from mlver.ops.remotes.fetch import fetch
from mlver.ops.remotes.push import push
from mlver.ops.removal import remove
from mlver.ops.repair.repair import RepairResult, repair
from mlver.ops.verify import verify
from mlver.repository import Repository
from tests.support.interleaving import Killed, MortalStorage, open_with
from tests.support.trees import flip, read_tree, replace_bytes
from tests.unit.ops.remotes.conftest import NewClone, machine, place
from tests.unit.ops.remotes.stories import get, record
from tests.unit.ops.remotes.test_remote_faults import chain

__all__ = ["machine", "place"]

Harm = Callable[[Path], None]


def flip_early(path: Path) -> None:
    flip(path, path.stat().st_size // 3)


def flip_late(path: Path) -> None:
    flip(path, path.stat().st_size - 20)


def cut(path: Path) -> None:
    replace_bytes(path, path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    replace_bytes(path, b"")


def lose(path: Path) -> None:
    path.unlink()


HARMS: list[Harm] = [flip_early, flip_late, cut, empty, lose]


@pytest.fixture
def ada(machine: NewClone) -> OpenRepository:
    """Three versions of noise and three checkpoints stored as differences; all pushed."""
    made = machine("ada")
    for number in range(3):
        record(made, bytes([number]) * 9 + os.urandom(40_000))
    chain(made, 3)
    push(made)
    return made


def contents(repository: OpenRepository, home: Path) -> dict[str, object]:
    """Return all that versions hold, pulled."""
    found: dict[str, object] = {}
    for name, count in (("net", 3), ("chain", 3)):
        for number in range(count):
            found[f"{name}:v{number}"] = get(repository, f"{name}:v{number}", home / f"{name}{number}")
    return found


def reopened(repository: OpenRepository, *, keep_index: bool = True) -> OpenRepository:
    """Open the repository anew, perhaps without its cache."""
    if not keep_index:
        (repository.root / "index.sqlite").unlink()
    return open_repository(repository.root)


@pytest.fixture
def scratch() -> Iterator[Callable[[], Path]]:
    made: list[Path] = []

    def make() -> Path:
        import tempfile

        made.append(
            Path(tempfile.mkdtemp(prefix="mlver-repair-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        )
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("index", ["kept", "lost"])
@pytest.mark.parametrize(
    "what", ["packs/*.pack", "manifests/*.zst", "log/net/*0.json", "log/chain/*2.json", "names/*1.json"]
)
def test_a_remote_has_it(
    ada: OpenRepository, place: Path, scratch: Callable[[], Path], harm: Harm, index: str, what: str
) -> None:
    before = contents(ada, scratch())
    files = sorted(ada.root.glob(what))
    for file in files:
        harm(file)
    again = reopened(ada, keep_index=index == "kept")
    try:
        done = repair(again)
        assert done.left.ok, done
        assert not done.unasked
        assert harm is lose or not done.is_needless
        assert verify(again).ok
        if index == "kept" and harm is not lose:  # else a pull gets what nobody knows to have been here
            (place / "remote").rename(place / "away")
        assert contents(again, scratch()) == before
        if (place / "away").exists():
            (place / "away").rename(place / "remote")
        assert repair(again).is_needless
    finally:
        again.close()


def test_the_damaged_files_are_kept(ada: OpenRepository) -> None:
    damaged = {}
    for what in ("packs/*.pack", "manifests/*.zst", "log/net/*0.json"):
        for file in ada.root.glob(what):
            flip_early(file)
            damaged[f"quarantine/{file.relative_to(ada.root)}"] = file.read_bytes()
    repair(ada)
    kept = {
        os.fspath(file.relative_to(ada.root))[:-17]: file.read_bytes()
        for file in (ada.root / "quarantine").rglob("*")
        if file.is_file()
    }
    assert kept == damaged


def test_without_any_other_copy_the_sound_parts_stay_and_the_rest_is_named(
    ada: OpenRepository, scratch: Callable[[], Path]
) -> None:
    (ada.root / "config.toml").write_text("")
    before = contents(ada, scratch())
    location = ada.chunk_index.find(ada.chunk_index.entries(min(ada.chunk_index.packs()))[0].chunk)
    assert location is not None
    flip(ada.root / f"packs/{location.pack}.pack", location.entry.offset + location.entry.frame_length - 1)
    told = {hurt.version for damage in verify(ada).damaged for hurt in damage.hurts}
    done = repair(ada)
    assert {hurt.version for damage in done.left.damaged for hurt in damage.hurts} == told
    assert len(done.quarantined) == 1
    assert not done.recovered
    sound = set(before) - told
    for version in sound:
        assert get(ada, version, scratch() / "out") == before[version]


def hurt_all(repository: OpenRepository) -> None:
    for file in [*repository.root.glob("packs/*.pack"), *repository.root.glob("manifests/*.zst")]:
        flip_early(file)


def test_a_folder_has_it_under_other_names(machine: NewClone, scratch: Callable[[], Path]) -> None:
    bob = machine("bob")
    chain(bob, 1)
    record(bob, os.urandom(3_000_000))
    folder = scratch()
    shutil.copy(bob.root.parent / "model" / "w", folder / "something else")
    (folder / "deep").mkdir()
    shutil.copy(bob.root.parent / "chain" / "m.safetensors", folder / "deep" / "weights.bin")
    before = {version: get(bob, version, scratch() / "x") for version in ("net:v0", "chain:v0")}
    for file in bob.root.glob("packs/*.pack"):
        flip_early(file)
    assert not verify(bob).ok
    done = repair(bob, [folder])
    assert done.left.ok
    assert list(done.recovered) == [os.fspath(folder)]
    assert {version: get(bob, version, scratch() / "x") for version in before} == before


def test_a_file_of_the_same_size_is_not_taken_for_it(machine: NewClone, scratch: Callable[[], Path]) -> None:
    bob = machine("bob")
    record(bob, os.urandom(50_000))
    for file in bob.root.glob("packs/*.pack"):
        flip_early(file)
    folder = scratch()
    (folder / "w").write_bytes(b"y" * 50_000)
    done = repair(bob, [folder])
    assert (done.recovered, done.left.ok) == ({}, False)


@pytest.mark.usefixtures("ada")
def test_what_a_chunk_rests_on_comes_with_it(machine: NewClone, place: Path, scratch: Callable[[], Path]) -> None:
    bob = machine("bob")
    fetch(bob)
    before = get(bob, "chain:v2", scratch() / "x")
    for file in bob.root.glob("packs/*.pack"):
        empty(file)
    assert repair(bob).left.ok
    (place / "remote").rename(place / "away")
    assert get(bob, "chain:v2", scratch() / "x") == before


def test_a_manifest_that_is_damaged_at_the_remote_is_not_taken(ada: OpenRepository, place: Path) -> None:
    for root in (ada.root, place / "remote"):
        for file in root.glob("manifests/*.zst"):
            flip_early(file)
    files = {file: file.read_bytes() for file in ada.root.glob("manifests/*.zst")}
    done = repair(ada)
    assert done.manifests == ()
    assert {file: file.read_bytes() for file in files} == files


def test_a_manifest_is_made_anew_from_the_very_folder(machine: NewClone, scratch: Callable[[], Path]) -> None:
    bob = machine("bob")
    record(bob, os.urandom(300_000))
    before = get(bob, "net:v0", scratch() / "x")
    for keep in (True, False):
        for file in bob.root.glob("manifests/*.zst"):
            flip_early(file) if keep else file.unlink()
        assert not repair(bob).left.ok
        done = repair(bob, [bob.root.parent / "model"])
        assert (done.left.ok, len(done.manifests)) == (True, 1)
        assert get(bob, "net:v0", scratch() / "x") == before
    hurt_all(bob)
    assert repair(bob, [bob.root.parent / "model"]).left.ok


def test_weights_are_found_in_a_file_of_another_format_or_size(machine: NewClone, scratch: Callable[[], Path]) -> None:
    import numpy as np

    from tests.support.arrays import as_safetensors

    bob = machine("bob")
    arrays = {"a": np.random.default_rng(1).normal(size=(300, 400)).astype(np.float32)}
    (bob.root.parent / "model").mkdir()
    (bob.root.parent / "model" / "w").write_bytes(as_safetensors(arrays))
    with Repository.open(bob.root.parent) as repository:
        repository.add(bob.root.parent / "model", name="net", type="t")
    for file in bob.root.glob("packs/*.pack"):
        flip_early(file)
    folder = scratch()
    np.savez(folder / "other.npz", b=arrays["a"])
    done = repair(bob, [folder])
    assert sum(done.recovered.values()) == 1
    assert done.left.ok


def test_a_broken_remote_is_told_of_and_the_next_one_is_asked(
    ada: OpenRepository, place: Path, scratch: Callable[[], Path]
) -> None:
    from mlver.ops.remotes.configure import add_remote

    add_remote(ada, "second", str(place / "second"))
    push(ada, remote_name="second")
    shutil.rmtree(place / "remote")
    hurt_all(ada)
    done = repair(ada)
    assert done.left.ok
    assert list(done.recovered) == ["second"]
    assert any("origin could not be asked" in told for told in done.unasked)


def test_what_is_damaged_at_the_remote_too_is_left_and_the_rest_comes(ada: OpenRepository, place: Path) -> None:
    for file in ada.root.glob("packs/*.pack"):
        empty(file)
    bad, *_ = sorted((place / "remote" / "packs").glob("*.pack"))
    flip(bad, 100)
    done = repair(ada)
    hurt = {hurt.version for damage in done.left.damaged for hurt in damage.hurts}
    assert len(hurt) < 6, "one chunk of one version, and what rests on it"
    assert sum(done.recovered.values()) > 3
    assert any("checksum" in told for told in done.unasked)


def test_events_of_renumbered_logs_are_not_mixed_up(machine: NewClone, scratch: Callable[[], Path]) -> None:
    ada, bob = machine("ada"), machine("bob")
    record(ada, b"one")
    push(ada)
    fetch(bob)
    record(ada, b"two")
    push(ada)
    for number in range(3):
        record(bob, b"mine %d" % number)
    fetch(bob)  # bob's versions are renumbered, and go on in another part
    before = {version: get(bob, f"net:v{version}", scratch() / "x") for version in range(5)}
    logs = {file: file.read_bytes() for file in (bob.root / "log").rglob("*.json")}
    mended = 0
    for file, good in logs.items():
        for harm in (flip_early, flip_late, lose):
            harm(file)
            harmed = file.read_bytes() if file.exists() else None
            again = open_repository(bob.root)
            done = repair(again)
            now = file.read_bytes() if file.exists() else None
            assert now in (good, harmed), "no other event takes its place"
            if now == good:
                mended += 1
                assert done.left.ok
                assert {v: get(again, f"net:v{v}", scratch() / "x") for v in range(5)} == before
            again.close()
            file.unlink(missing_ok=True)
            file.write_bytes(good)
    assert {file: file.read_bytes() for file in (bob.root / "log").rglob("*.json")} == logs
    assert mended > len(logs), "most of them come back"


def test_adding_the_files_again_heals_what_was_quarantined(machine: NewClone, scratch: Callable[[], Path]) -> None:
    bob = machine("bob")
    made = chain(bob, 2)
    for file in bob.root.glob("packs/*.pack"):
        flip_early(file)
    assert not repair(bob).left.ok
    for number, content in enumerate(made):
        (bob.root.parent / "chain" / "m.safetensors").write_bytes(content)
        with Repository.open(bob.root.parent) as repository:
            assert repository.add(bob.root.parent / "chain", name="chain").version.name == f"chain:v{number}"
    assert verify(bob).ok
    assert get(bob, "chain:v1", scratch() / "x") == {"m.safetensors": made[1]}


def test_adding_beside_a_rotten_chunk_stores_whole_what_resembles_it(
    machine: NewClone, scratch: Callable[[], Path]
) -> None:
    bob = machine("bob")
    made = chain(bob, 1)
    for file in bob.root.glob("packs/*.pack"):
        flip_early(file)
    changed = bytearray(made[0])
    changed[-4:] = b"\1\2\3\4"
    (bob.root.parent / "chain" / "m.safetensors").write_bytes(changed)
    with Repository.open(bob.root.parent) as repository:
        done = repository.add(bob.root.parent / "chain", name="chain")
    assert any("cannot be read" in warning for warning in done.warnings)
    assert get(bob, "chain:v1", scratch() / "x") == {"m.safetensors": bytes(changed)}


def test_removed_versions_that_were_deleted_are_not_missed(ada: OpenRepository) -> None:
    from mlver.ops.collect.collect import collect

    remove(ada, ["net:v0"])
    collect(ada, 0)
    assert repair(ada).is_needless


def test_every_byte(machine: NewClone, scratch: Callable[[], Path]) -> None:
    """Any byte of the log, manifests and packs, and any truncation: mended, byte for byte but for packs."""
    bob = machine("bob")
    record(bob, os.urandom(300))
    record(bob, os.urandom(300), aliases=["best"])
    push(bob)
    wanted = [get(bob, f"net:v{number}", scratch() / "x") for number in range(2)]
    step = int(os.environ.get("MLVER_TEST_EVERY", "17"))
    files = [file for folder in ("names", "log", "manifests", "packs") for file in (bob.root / folder).rglob("*.*")]
    for file in sorted(files):
        good = file.read_bytes()
        for offset in range(0, len(good), step):
            for harmed in (good[:offset], good[:offset] + bytes([good[offset] ^ 0x41]) + good[offset + 1 :]):
                if file.exists():
                    replace_bytes(file, harmed)
                else:
                    file.write_bytes(harmed)
                done = repair(bob)
                assert done.left.ok, (file, offset)
                if file.parent.name != "packs":
                    assert file.read_bytes() == good
    assert [get(bob, f"net:v{number}", scratch() / "x") for number in range(2)] == wanted


def test_killed_before_any_call_the_next_one_finishes(
    ada: OpenRepository, place: Path, scratch: Callable[[], Path]
) -> None:
    before = contents(ada, scratch())
    hurt_all(ada)
    flip_early(ada.root / "log/net/000000000001.json")
    sound = {version for version in before if version not in _hurt(ada)}
    calls = _calls(scratch() / "copy", ada)
    for left in range(0, calls, max(1, calls // int(os.environ.get("MLVER_TEST_KILLS", "25")))):
        copy = _copied(ada, scratch() / "copy")
        opened = open_with(copy.parent, partial(MortalStorage, calls_left=left))
        with pytest.raises(Killed):
            repair(opened)
        opened.close()
        again = open_repository(copy)
        try:
            assert not sound & _hurt(again)
            assert repair(again).left.ok, left
            assert contents(again, scratch()) == before
        finally:
            again.close()


def _hurt(repository: OpenRepository) -> set[str]:
    return {hurt.version for damage in verify(repository).damaged for hurt in damage.hurts}


def _copied(repository: OpenRepository, target: Path) -> Path:
    shutil.copytree(repository.root, target / ".mlver")
    return target / ".mlver"


def _calls(target: Path, repository: OpenRepository) -> int:
    copy = _copied(repository, target)
    counted: list[MortalStorage] = []

    def count(inner: object) -> MortalStorage:
        counted.append(MortalStorage(inner, 1 << 60))  # type: ignore[arg-type]
        return counted[0]

    opened = open_with(copy.parent, count)
    result: RepairResult = repair(opened)
    opened.close()
    assert result.left.ok
    return (1 << 60) - counted[0].calls_left


def test_nothing_to_mend(ada: OpenRepository) -> None:
    files = {file: file.read_bytes() for file in ada.root.rglob("*.*") if "sqlite" not in file.name}
    assert repair(ada).is_needless
    assert {file: file.read_bytes() for file in ada.root.rglob("*.*") if "sqlite" not in file.name} == files
    assert read_tree(ada.root / "packs")
