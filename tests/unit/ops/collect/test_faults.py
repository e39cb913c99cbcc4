"""`gc` that dies, fails or is overtaken at every call of the storage: nothing that is used is ever lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlver.errors import ConflictError, MlverError, NotFoundError
from mlver.ops.add import AddRequest, add
from mlver.ops.collect.collect import CollectResult, collect
from mlver.ops.opening import OpenRepository
from mlver.ops.removal import restore
from mlver.ops.repack import repack
from mlver.repository import Repository
from tests.support.faulty import FaultyStorage
from tests.support.interleaving import DAY, Actor, Killed, MortalStorage, open_with
from tests.unit.ops.collect.conftest import Home, weights

Copies = Callable[[Home], Home]
LEFT = {"m:v0", "m:v2", "m:v3", "data:v1", "parts:v1"}


def count_calls(home: Home, command: Callable[[OpenRepository], object]) -> int:
    """Return how many calls of the storage a command makes."""
    counting: list[FaultyStorage] = []

    def wrap(inner: object) -> FaultyStorage:
        counting.append(FaultyStorage(inner))  # type: ignore[arg-type]
        return counting[0]

    opened = open_with(home.path, wrap)
    command(opened)
    opened.close()
    return len(counting[0].calls)


def gc(days: float = 14) -> Callable[[OpenRepository], CollectResult]:
    return lambda opened: collect(opened, days * DAY)


def test_killed_before_any_call_it_loses_nothing_and_the_next_one_finishes(
    trained: Home, copies: Copies, pairs: int
) -> None:
    whole = copies(trained)
    calls = count_calls(whole, gc())
    end = whole.packs.keys()
    for number in range(0, calls, max(1, calls // (5 * pairs))):
        home = copies(trained)
        opened = open_with(home.path, lambda inner, number=number: MortalStorage(inner, number))  # type: ignore[misc]
        with pytest.raises(Killed):
            collect(opened, 14 * DAY)
        opened.close()
        assert home.check() == LEFT, number
        home.collect()
        assert home.packs.keys() == end, number
        assert home.check() == LEFT, number


@pytest.mark.parametrize("operation", ["list", "read", "size", "modified", "rename", "delete", "commit", "exists"])
def test_any_call_that_fails_leaves_all_that_is_used(trained: Home, copies: Copies, operation: str) -> None:
    """Also when everything fails from then on, but for putting back what is aside."""
    for skip in range(200):
        home = copies(trained)
        faulty: list[FaultyStorage] = []

        def wrap(inner: object, faulty: list[FaultyStorage] = faulty, skip: int = skip) -> FaultyStorage:
            faulty.append(FaultyStorage(inner))  # type: ignore[arg-type]
            faulty[0].fail(operation, skip=skip, times=1)
            return faulty[0]

        opened = open_with(home.path, wrap)
        try:
            collect(opened, 14 * DAY)
        except MlverError:
            assert home.check() == LEFT, skip
            assert not [name for name in [*home.packs, *home.manifests] if name.endswith(".aside")] or (
                operation in {"list", "rename"}
            )
        else:
            assert home.check() == LEFT, skip
            if sum(done == operation for done, _ in faulty[0].calls) <= skip:
                return
        finally:
            opened.close()
    raise AssertionError("it never ended")


@pytest.mark.parametrize("folder", ["packs", "manifests", "log", "names", "log/m"])
def test_a_listing_that_is_cut_short_is_no_reason_to_delete_what_is_used(
    trained: Home, copies: Copies, folder: str
) -> None:
    """After any number of names, none included."""
    for kept in range(len(list((trained.path / ".mlver" / folder).iterdir()))):
        home = copies(trained)

        def wrap(inner: object, kept: int = kept) -> FaultyStorage:
            lying = FaultyStorage(inner)  # type: ignore[arg-type]
            lying.hide(folder, kept)
            return lying

        opened = open_with(home.path, wrap)
        try:
            collect(opened, 0)
        except MlverError:
            pass
        finally:
            opened.close()
        assert home.check() == LEFT, kept


# Others at the same time. Each of two commands is stopped once, at every pair of calls (or some of them).


def add_again(home: Home) -> Callable[[OpenRepository], object]:
    """Add the content of a removed version under another name: most of its chunks are known."""
    place = home.write(home.content["m:v4"]["model.safetensors"])
    return lambda opened: add(opened, AddRequest([place], name="again", type="t"))


def add_similar(home: Home) -> Callable[[OpenRepository], object]:
    """Add what resembles a removed version."""
    place = home.write(weights(6))
    return lambda opened: add(opened, AddRequest([place], name="again", type="t"))


def add_parts(home: Home) -> Callable[[OpenRepository], object]:
    """Add what was most of a pack that is written anew."""
    place = home.write({"x": home.content["parts:v0"]["1"]}, "again")
    return lambda opened: add(opened, AddRequest([place], name="again", type="t"))


def bring_back(home: Home) -> Callable[[OpenRepository], object]:
    """Restore a removed version."""
    return lambda opened: restore(opened, ["m:v4"])


def repack_all(home: Home) -> Callable[[OpenRepository], object]:
    return lambda opened: repack(opened, "fast")


def collect_too(home: Home) -> Callable[[OpenRepository], object]:
    return gc()


OTHERS = [add_again, add_similar, add_parts, bring_back, repack_all, collect_too]


def assert_whole(home: Home, other: Callable[[Home], object], error: BaseException | None, context: object) -> None:
    """Check that everything is whole, and that the other command did what it said."""
    source = {"add_again": home.content["m:v4"]["model.safetensors"], "add_similar": weights(6)}
    if other.__name__ in source:
        home.content["again:v0"] = {"model.safetensors": source[other.__name__]}
    elif other.__name__ == "add_parts":
        home.content["again:v0"] = {"x": home.content["parts:v0"]["1"]}
    if error is not None:
        assert isinstance(error, ConflictError if other is not bring_back else NotFoundError), (context, error)
    try:
        there = home.check()
    except BaseException as failure:
        raise AssertionError(context) from failure
    expected = set(LEFT)
    if error is None and other in (add_again, add_similar, add_parts):
        expected.add("again:v0")
    if error is None and other is bring_back:
        expected.add("m:v4")
    assert there == expected, context


def run_pair(
    home: Home,
    first: tuple[Callable[[OpenRepository], object], int],
    second: tuple[Callable[[OpenRepository], object], int],
) -> tuple[BaseException | None, BaseException | None]:
    """Run the first to its pause, the second to its pause, the first to its end, the second to its end."""
    one, two = Actor(home.path, *first), Actor(home.path, *second)
    one.run_to_pause()
    two.run_to_pause()
    one.finish()
    two.finish()
    return one.error, two.error


@pytest.mark.parametrize("days", [0, 14])
@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("gc_is_first", [True, False])
def test_two_at_once_lose_nothing(
    trained: Home, copies: Copies, days: int, other: Callable[[Home], object], gc_is_first: bool, pairs: int
) -> None:
    probe = copies(trained)
    gc_calls = count_calls(probe, gc(days))
    probe = copies(trained)
    other_calls = count_calls(probe, other(probe))  # type: ignore[arg-type]
    import random

    chance = random.Random(f"{days}{other.__name__}{gc_is_first}")
    chosen = {(chance.randrange(gc_calls), chance.randrange(other_calls)) for _ in range(pairs)}
    for gc_pause, other_pause in sorted(chosen):
        home = copies(trained)
        command = other(home)
        first, second = (gc(days), gc_pause), (command, other_pause)
        if gc_is_first:
            gc_error, error = run_pair(home, first, second)  # type: ignore[arg-type]
        else:
            error, gc_error = run_pair(home, second, first)  # type: ignore[arg-type]
        context = (days, other.__name__, gc_is_first, gc_pause, other_pause, error, gc_error)
        assert gc_error is None or isinstance(gc_error, MlverError), (context, gc_error)
        if days:
            assert error is None or other is bring_back, (context, error)
        assert_whole(home, other, error, context)
        home.grow_old()
        home.collect()
        assert_whole(home, other, error, (context, "after another collection"))


def test_killed_while_another_adds_it_loses_nothing(trained: Home, copies: Copies, pairs: int) -> None:
    """It dies while things are aside that the other one relied upon."""
    import random

    chance = random.Random(3)
    probe = copies(trained)
    gc_calls = count_calls(probe, gc(0))
    probe = copies(trained)
    other_calls = count_calls(probe, add_again(probe))
    for _ in range(pairs):
        home = copies(trained)
        pause, dies = chance.randrange(other_calls), chance.randrange(gc_calls)
        writer = Actor(home.path, add_again(home), pause)
        writer.run_to_pause()
        opened = open_with(home.path, lambda inner, dies=dies: MortalStorage(inner, dies))  # type: ignore[misc]
        with pytest.raises(Killed):
            collect(opened, 0)
        opened.close()
        writer.finish()
        assert_whole(home, add_again, writer.error, (pause, dies))


def test_the_other_way_round_a_reader_finds_what_was_written_anew(trained: Home, copies: Copies) -> None:
    for number in range(0, count_calls(copies(trained), gc()), 2):
        home = copies(trained)
        with Repository.open(home.path) as reader:
            reader.verify()  # its index knows where everything was
            running = Actor(home.path, gc(), number)
            running.run_to_pause()
            assert reader.verify().ok, number
            running.finish()
            assert reader.verify().ok, number
        assert home.check() == LEFT


def test_it_works_when_nothing_can_be_written(trained: Home) -> None:
    """On a full disk, whole packs go, and what cannot be written anew stays."""
    import errno

    full = MlverError("No space.")
    full.__cause__ = OSError(errno.ENOSPC, "No space")

    def wrap(inner: object) -> FaultyStorage:
        storage = FaultyStorage(inner)  # type: ignore[arg-type]
        storage.fail("write", times=10**6, error=full)
        storage.fail("put", times=10**6, error=full)
        return storage

    opened = open_with(trained.path, wrap)
    result = collect(opened, 14 * DAY)
    opened.close()
    assert result.deleted_packs >= 2
    assert result.rewritten_packs == 0
    assert result.stopped is not None
    assert result.freed_bytes > 150_000
    assert trained.check() == LEFT
    assert trained.collect().rewritten_packs == 1
    assert trained.check() == LEFT


def test_a_limited_process_frees_space(trained: Home, tmp_path: Path) -> None:
    from tests.support.child import run_python

    code = """
import resource
from mlver.ops.collect.collect import collect
from mlver.ops.opening import open_repository
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
opened = open_repository(Path(sys.argv[1]) / ".mlver")
result = collect(opened, 14 * 86_400)
print(result.freed_bytes, result.stopped)
"""
    freed, _, stopped = run_python(code, trained.path).partition(" ")
    assert int(freed) > 150_000
    assert "File too large" in stopped
    assert trained.check() == LEFT
