"""Aliases, tags, notes, metadata, names, removal: what is said of versions later, and taking it back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from mlver.errors import ConflictError, IntegrityError, MlverError, NotFoundError, UsageError
from mlver.history.event import Action, AddVersion, MoveAlias, SetNote
from mlver.history.log import SEGMENT_EVENTS
from mlver.ops.commit import commit
from mlver.ops.undo import describe
from mlver.repository import Repository
from mlver.store.local import LocalStorage
from tests.support.faulty import FaultyStorage
from tests.support.trees import blobs, read_tree, replace_bytes, without_index


@pytest.fixture
def net(repository: Repository, model: Path) -> Repository:
    """Three versions of `net`: v0 (`best`), v1, v2."""
    for number in range(3):
        (model / "w").write_bytes(b"%d" % number)
        repository.add(model, name="net", type="t", aliases=["best"] if number == 0 else [])
    return repository


def picture(repository: Repository) -> dict[str, object]:
    """Return everything that is said of all versions."""
    return {
        version.name: (version.removed, version.aliases, version.tags, version.note, version.metadata, version.metrics)
        for artifact in repository.artifacts()
        for version in repository.log(artifact.name, removed=True)
    }


def test_alias_moves(net: Repository) -> None:
    assert net.alias("best").name == "net:v2"
    assert net.alias("best", "v1").name == "net:v1"
    assert net.alias("prod", "best~1").aliases == ("prod",)
    assert net.resolve("net:best").number == 1
    before = len(net.reflog())
    assert net.alias("best", "v1").aliases == ("best",)
    assert len(net.reflog()) == before, "nothing moved, and yet there is an event"
    for bad in ("latest", "v1", "a/b", "", "-x"):
        with pytest.raises(UsageError):
            net.alias(bad)
    with pytest.raises(NotFoundError):
        net.alias("best", "v9")


def test_alias_is_deleted(net: Repository) -> None:
    net.alias("prod", "v2")
    net.delete_alias("best")
    net.delete_alias("net:prod")
    with pytest.raises(NotFoundError, match="Alias 'best' of 'net' does not exist"):
        net.delete_alias("best")
    with pytest.raises(UsageError):
        net.delete_alias("latest")
    with pytest.raises(NotFoundError, match="'nat'"):
        net.delete_alias("nat:best")
    assert [version.aliases for version in net.log()] == [("latest",), (), ()]


def test_tags(net: Repository) -> None:
    assert net.tag("v1", "b", "a", "b").tags == ("a", "b")
    assert net.tag("best", "a").tags == ("a",)
    assert net.tag("v1", "c", remove=["a"]).tags == ("b", "c")
    with pytest.raises(NotFoundError, match="net:v1 does not bear the tag 'a'"):
        net.tag("v1", "d", remove=["a"])
    with pytest.raises(UsageError):
        net.tag("v1", "a b")
    assert net.resolve("v1").tags == ("b", "c")


def test_notes(net: Repository) -> None:
    assert net.note("v1", "good\n漢").note == "good\n漢"
    assert net.note("v1", None).note is None
    with pytest.raises(UsageError):
        net.note("v1", "\udce9")


def test_metadata_and_metrics(net: Repository) -> None:
    found = net.meta("v1", {"lr": 0.1, "x": {"y": []}}, {"acc": 0.5, "n": 1})
    assert (found.metadata, found.metrics) == ({"lr": 0.1, "x": {"y": []}}, {"acc": 0.5, "n": 1})
    found = net.meta("v1", {"lr": None}, {"acc": 0.6}, remove=["x", "n"])
    assert (found.metadata, found.metrics) == ({"lr": None}, {"acc": 0.6})
    with pytest.raises(NotFoundError, match="no metadata or metric 'x'"):
        net.meta("v1", remove=["x"])
    for metadata, metrics in (({1: 2}, {}), ({"": 1}, {}), ({}, {"m": float("nan")}), ({"k": float("inf")}, {})):
        with pytest.raises(UsageError):
            net.meta("v1", metadata, metrics)  # type: ignore[arg-type]
    with without_index(net) as again:
        assert again.resolve("v1").metadata == {"lr": None}


def test_removed_version_takes_no_labels(net: Repository) -> None:
    net.remove("v1")
    works: list[Callable[[], object]] = [
        lambda: net.alias("x", "v1"),
        lambda: net.tag("v1", "x"),
        lambda: net.note("v1", "x"),
        lambda: net.meta("v1", {"x": 1}),
        lambda: net.remove("v1"),
        lambda: net.pull("v1"),
        lambda: net.open("v1", "w"),
    ]
    for work in works:
        with pytest.raises(NotFoundError, match="net:v1 was removed") as caught:
            work()
        assert "mlver restore net:v1" in str(caught.value.hint)


def test_removal_spares_aliases(net: Repository) -> None:
    with pytest.raises(MlverError, match="net:v0 bears the alias 'best'"):
        net.remove("v2", "v0")
    assert len(net.log()) == 3, "half of it was removed"
    done = net.remove("v2", "v0", "v2", force=True)
    assert (set(done.removed), done.dropped_aliases) == ({"net:v2", "net:v0"}, ("net:best",))
    assert [version.name for version in net.log()] == ["net:v1"]
    assert net.resolve("latest").number == 1
    with pytest.raises(NotFoundError):
        net.resolve("best")
    assert net.restore("v0").aliases == ()
    assert net.restore("net:v2").aliases == ("latest",)
    assert net.open("v0", "w").read() == b"0"
    for bad in ("v0", "net:v9", "best", "nat:v0", "v"):
        with pytest.raises(NotFoundError):
            net.restore(bad)


def test_switch(net: Repository, model: Path) -> None:
    net.add(model, name="other", type="t")
    assert net.resolve("v0").name == "other:v0"
    assert net.switch("net").name == "net"
    assert net.resolve("latest").name == "net:v2"
    with pytest.raises(NotFoundError, match="'nett'"):
        net.switch("nett")
    with without_index(net) as again:
        assert again.resolve("latest").name == "net:v2"


def test_rename_keeps_history_aliases_and_the_old_name(net: Repository, model: Path) -> None:
    before = [version._replace(artifact="") for version in net.log()]
    assert net.rename("net", "web").name == "web"
    assert [version._replace(artifact="") for version in net.log("web")] == before
    assert net.resolve("net:best").name == "web:v0"
    assert net.resolve("best").name == "web:v0", "the current artifact lost its way"
    (model / "w").write_bytes(b"3")
    assert net.add(model, name="net").version.name == "web:v3"
    assert net.add(model).version.name == "web:v3"
    assert net.rename("net", "mesh").name == "mesh"
    assert net.resolve("net").name == net.resolve("web").name == "mesh:v3"
    assert net.rename("mesh", "net").name == "net"
    assert net.resolve("mesh:v0").name == "net:v0"
    with without_index(net) as again:
        assert again.resolve("web:best").name == "net:v0"


def test_names_that_were_used_are_not_given_to_others(net: Repository, model: Path) -> None:
    net.add(model, name="other", type="t")
    net.rename("net", "web")
    for taken in ("other", "OTHER"):
        with pytest.raises(UsageError, match="'other'"):
            net.rename("web", taken)
    with pytest.raises(UsageError, match=r"'[Nn]et'"):
        net.rename("other", "Net")
    for bad in ("latest", "v1", "a/b", ""):
        with pytest.raises(UsageError):
            net.rename("web", bad)
    with pytest.raises(NotFoundError):
        net.rename("absent", "x")
    assert net.rename("web", "web").name == "web"
    assert net.rename("web", "Web").name == "Web"


def test_current_artifact_follows_a_rename_by_another(net: Repository, model: Path) -> None:
    net.add(model, name="other", type="t")
    net.switch("net")
    with Repository.open(model) as other:
        other.rename("net", "web")
    assert net.resolve("v0").name == "web:v0"


# Undo

CHANGES: dict[str, Callable[[Repository], object]] = {
    "alias": lambda net: net.alias("best", "v1"),
    "new alias": lambda net: net.alias("prod", "v1"),
    "delete alias": lambda net: net.delete_alias("best"),
    "tag": lambda net: net.tag("v1", "a", "b"),
    "untag": lambda net: net.tag("v0", remove=["old"]),
    "note": lambda net: net.note("v0", "other"),
    "no note": lambda net: net.note("v0", None),
    "metadata": lambda net: net.meta("v0", {"k": 2, "new": [1]}, {"m": 2.5}),
    "no metadata": lambda net: net.meta("v0", remove=["k", "m"]),
    "removal": lambda net: net.remove("v1"),
    "forced removal": lambda net: net.remove("v0", "v2", force=True),
    "restoration": lambda net: net.restore("v3"),
    "rename": lambda net: net.rename("net", "web"),
}


@pytest.fixture
def rich(net: Repository, model: Path) -> Repository:
    """`net` with a label of every kind, and a removed v3."""
    (model / "w").write_bytes(b"3")
    net.add(model)
    net.remove("v3")
    net.tag("v0", "old")
    net.note("v0", "first")
    net.meta("v0", {"k": 1}, {"m": 1.5})
    return net


@pytest.mark.parametrize("change", CHANGES)
def test_undo_takes_each_change_back_and_undo_of_undo_brings_it_again(rich: Repository, change: str) -> None:
    before = picture(rich)
    CHANGES[change](rich)
    after = picture(rich)
    assert after != before
    done = rich.undo()
    assert picture(rich) == before
    newest, undone = rich.reflog()[:2]
    assert (undone.id, undone.undone, newest.event.undoes) == (done.id, True, done.event.number)
    with pytest.raises(MlverError, match="was undone already"):
        rich.undo(entry_id=done.id)
    rich.undo(entry_id=newest.id)
    assert picture(rich) == after
    assert not next(entry for entry in rich.reflog() if entry.id == done.id).undone
    with without_index(rich) as again:
        assert picture(again) == after


def test_undo_of_add_removes_the_version_and_moves_aliases_back(net: Repository, model: Path) -> None:
    (model / "w").write_bytes(b"3")
    net.add(model, aliases=["best", "new"])
    net.undo()
    assert [version.name for version in net.log()] == ["net:v2", "net:v1", "net:v0"]
    assert net.resolve("best").number == 0
    with pytest.raises(NotFoundError):
        net.resolve("new")
    assert net.add(model).version.number == 4


def test_undo_again_and_again_goes_further_back(net: Repository) -> None:
    net.note("v0", "a")
    net.note("v1", "b")
    net.tag("v1", "t")
    for _ in range(3):
        net.undo()
    assert (net.resolve("v0").note, net.resolve("v1").note, net.resolve("v1").tags) == (None, None, ())
    for _ in range(3):
        net.undo()
    assert net.log() == []
    with pytest.raises(NotFoundError, match="nothing to undo"):
        net.undo()


def test_undo_of_an_older_event(net: Repository) -> None:
    net.note("v0", "a")
    (entry, *_) = net.reflog()
    net.alias("best", "v2")
    net.undo(entry_id=entry.id)
    assert (net.resolve("v0").note, net.resolve("best").number) == (None, 2)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ("alias", lambda net: net.alias("best", "v2"), "alias 'best' moved since, to v2"),
        ("alias", lambda net: net.delete_alias("best"), "alias 'best' moved since, to nowhere"),
        ("alias", lambda net: net.remove("v0"), "v0, which bore the alias 'best', was removed"),
        ("delete alias", lambda net: net.alias("best", "v2"), "alias 'best' moved since"),
        ("tag", lambda net: net.tag("v1", remove=["b"]), "tag 'b' changed since"),
        ("untag", lambda net: net.tag("v0", "old"), "tag 'old' changed since"),
        ("note", lambda net: net.note("v0", "third"), "the note changed since"),
        ("metadata", lambda net: net.meta("v0", {"k": 3}), "'k' changed since"),
        ("no metadata", lambda net: net.meta("v0", metrics={"m": 1.5}), "'m' changed since"),
        ("removal", lambda net: net.restore("v1"), "net:v1 was removed or restored since"),
        ("restoration", lambda net: net.remove("v3"), "net:v3 was removed or restored since"),
        ("restoration", lambda net: net.alias("prod", "v3"), "net:v3 bears the alias 'prod' now"),
        ("rename", lambda net: net.rename("web", "mesh"), "the artifact was renamed since, to 'mesh'"),
    ],
)
def test_undo_refuses_what_was_changed_since(
    rich: Repository, first: str, then: Callable[[Repository], object], message: str
) -> None:
    CHANGES[first](rich)
    entry = rich.reflog()[0]
    then(rich)
    before = picture(rich)
    with pytest.raises(ConflictError, match=message):
        rich.undo(entry_id=entry.id)
    assert picture(rich) == before


def test_undo_of_add_spares_versions_that_bear_aliases(net: Repository) -> None:
    entry = net.reflog()[0]
    net.alias("prod", "v2")
    with pytest.raises(ConflictError, match="net:v2 bears the alias 'prod' now"):
        net.undo(entry_id=entry.id)


def test_undo_of_an_undo_that_brought_a_version_back_spares_aliases(net: Repository) -> None:
    net.remove("v1")
    net.undo()
    entry = net.reflog()[0]
    net.alias("prod", "v1")
    with pytest.raises(ConflictError, match="net:v1 bears the alias 'prod' now"):
        net.undo(entry_id=entry.id)
    assert net.resolve("prod").number == 1


def test_what_cannot_be_undone(net: Repository) -> None:
    creation = net.reflog()[-1]
    assert creation.id == "n0"
    with pytest.raises(MlverError, match="creation of an artifact cannot be undone"):
        net.undo(entry_id="n0")
    for absent in ("99", "n9", "x", ""):
        with pytest.raises(NotFoundError, match="no event"):
            net.undo(entry_id=absent)


def test_reflog_tells_every_event_of_this_artifact_newest_first(net: Repository, model: Path) -> None:
    net.add(model, name="other", type="t")
    net.alias("best", "net:v1")
    net.rename("net", "web")
    told = [(entry.id, [describe(action) for action in entry.event.actions]) for entry in net.reflog("web")]
    assert told == [
        ("n2", ["rename net → web"]),
        ("3", ["alias best: v0 → v1"]),
        ("2", ["add v2"]),
        ("1", ["add v1"]),
        ("0", ["add v0", "alias best: nowhere → v0"]),
        ("n0", ["create net (t)"]),
    ]
    assert [entry.id for entry in net.reflog("web", 2)] == ["n2", "3"]
    assert [entry.id for entry in net.reflog("other")] == ["0", "n1"]
    assert net.reflog("web")[1].event.by == net.resolve("web").created_by


# Races, and storages that fail in the middle


def race(repository: Repository, work: Callable[[Repository], object]) -> FaultyStorage:
    """Let another process do `work` just before the next event of `repository` is created."""

    def other() -> None:
        with Repository.open(repository.path.parent) as opened:
            work(opened)

    faulty = FaultyStorage(repository._opened.storage)
    faulty.before("create", other, where="log/")
    repository._opened.storage = cast("LocalStorage", faulty)
    return faulty


def test_loser_of_a_race_decides_anew(net: Repository) -> None:
    race(net, lambda other: other.alias("best", "v1"))
    net.alias("best", "v2")
    moves = [entry.event.actions[0] for entry in net.reflog()[:2]]
    assert moves == [MoveAlias("best", 2, 1), MoveAlias("best", 1, 0)]


def test_two_adds_at_once_get_two_numbers(net: Repository, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    race(net, lambda other: other.add(tmp_path / "a", name="net"))
    assert net.add(tmp_path / "b", name="net").version.name == "net:v4"
    assert net.open("v3", "a").read() == b"a"


def test_what_another_process_folds_into_the_index_while_we_decide_is_decided_anew(net: Repository) -> None:
    """Both share one index: a decision on an older state must not get the number of a newer one."""
    opened = net._opened
    seen = []

    def decide() -> list[Action]:
        number = opened.index.next_version(opened.artifact("net"))
        seen.append(number)
        if len(seen) == 1:
            with Repository.open(net.path) as other:
                other.remove("net:v1")
                other.undo("net")
                commit(other._opened, other._opened.artifact("net"), lambda: [_version(number)])
        return [_version(number)]

    def _version(number: int) -> AddVersion:
        return AddVersion(number, net.resolve("net:v0").id, 1, 1, 1, 1, 0)

    commit(opened, opened.artifact("net"), decide)
    assert seen == [3, 4]
    with without_index(net) as again:
        assert [version.number for version in again.log("net")] == [4, 3, 2, 1, 0]


def test_two_adds_of_one_content_at_once_make_one_version(net: Repository, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    race(net, lambda other: other.add(tmp_path / "a", name="net"))
    done = net.add(tmp_path / "a", name="net", aliases=["best"])
    assert (done.created, done.version.name, done.version.aliases) == (False, "net:v3", ("latest", "best"))


def test_version_that_is_removed_meanwhile_takes_no_label(net: Repository) -> None:
    works: list[Callable[[], object]] = [
        lambda: net.alias("prod", "v1"),
        lambda: net.tag("v1", "x"),
        lambda: net.note("v1", "x"),
        lambda: net.meta("v1", {"x": 1}),
    ]
    for work in works:
        faulty = race(net, lambda other: other.remove("net:v1"))
        with pytest.raises(NotFoundError, match="net:v1 was removed"):
            work()
        net._opened.storage = cast("LocalStorage", faulty.inner)
        assert "prod" not in picture(net)["net:v1"][1]  # type: ignore[index]
        net.restore("v1")


def test_version_that_gets_an_alias_meanwhile_is_not_removed(net: Repository) -> None:
    race(net, lambda other: other.alias("prod", "net:v1"))
    with pytest.raises(MlverError, match="net:v1 bears the alias 'prod'"):
        net.remove("v1")
    assert net.resolve("prod").number == 1


def test_of_two_removals_at_once_the_second_finds_nothing_to_do(net: Repository) -> None:
    race(net, lambda other: other.remove("net:v1"))
    assert net.remove("v1").removed == ()


def test_undo_that_loses_a_race_looks_again(net: Repository) -> None:
    net.note("v1", "a")
    race(net, lambda other: other.note("net:v1", "b"))
    with pytest.raises(ConflictError, match="note changed since"):
        net.undo()
    assert net.resolve("v1").note == "b"


def test_lost_reply_is_no_conflict(net: Repository) -> None:
    """The event was created, and the storage says it was there before: the write id tells whose it is."""

    class Lossy(FaultyStorage):
        def create(self, name: str, data: bytes | bytearray | memoryview) -> bool:
            super().create(name, data)
            return False

    net._opened.storage = cast("LocalStorage", Lossy(net._opened.storage))
    net.note("v1", "a")
    notes = [entry for entry in net.reflog() if isinstance(entry.event.actions[0], SetNote)]
    assert len(notes) == 1


def test_event_that_cannot_be_written_changes_nothing(net: Repository) -> None:
    before = read_tree(net.path)
    faulty = FaultyStorage(net._opened.storage)
    faulty.fail("create", where="log/", times=4)
    net._opened.storage = cast("LocalStorage", faulty)
    works: list[Callable[[], object]] = [
        lambda: net.alias("x"), lambda: net.note("v0", "x"), lambda: net.remove("v1"), net.undo
    ]  # fmt: skip
    for work in works:
        with pytest.raises(MlverError, match="Injected"):
            work()
    for name in ("log", "names", "HEAD"):
        assert {path: content for path, content in read_tree(net.path).items() if path.startswith(name)} == {
            path: content for path, content in before.items() if path.startswith(name)
        }
    net.alias("x")
    assert net.resolve("x").number == 2


def test_segment_that_cannot_be_written_does_not_fail_the_command(net: Repository) -> None:
    faulty = FaultyStorage(net._opened.storage)
    faulty.fail("create", where=".segment", times=-1)
    net._opened.storage = cast("LocalStorage", faulty)
    for number in range(len(net.reflog()), SEGMENT_EVENTS + 3):
        net.note("v0", str(number))
    assert ("create", f"log/net/{0:012d}-{255:012d}.segment") in faulty.calls
    assert net.resolve("v0").note == str(SEGMENT_EVENTS + 2)
    net._opened.storage = cast("LocalStorage", faulty.inner)
    assert net.verify().ok


def test_long_history_is_the_same_from_segments_and_from_events(net: Repository) -> None:
    for number in range(300):
        net.note(f"v{number % 3}", str(number))
    (segment,) = [path for path in blobs(net, "log") if path.suffix == ".segment"]
    told, seen = picture(net), [entry.event for entry in net.reflog()]
    assert len(seen) == 304
    for damage in ("index", "segment", "no segment"):
        if damage == "segment":
            replace_bytes(segment, segment.read_bytes()[:-9])
        if damage == "no segment":
            segment.unlink()
        with without_index(net) as again:
            assert picture(again) == told, damage
            assert [entry.event for entry in again.reflog()] == seen, damage
            assert again.verify().ok
    (net.path / "log" / "net" / f"{77:012d}.json").unlink()
    with without_index(net) as again, pytest.raises(IntegrityError, match=f"{77:012d}"):
        again.log("net")
