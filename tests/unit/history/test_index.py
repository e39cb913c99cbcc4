from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlver.errors import IntegrityError
from mlver.history import tables
from mlver.history.event import (
    Action,
    AddVersion,
    CreateArtifact,
    MoveAlias,
    RenameArtifact,
    SetNote,
    SetRemoved,
    SetTag,
    SetType,
    SetValue,
    encode_event,
    new_event,
)
from mlver.history.index import VersionIndex
from mlver.history.log import EventLog
from mlver.history.records import ArtifactRecord
from mlver.history.run_actions import ConfigureRun, MadeAgain, StartRun, UseVersion
from mlver.history.run_index import RunIndex
from mlver.history.sign_action import SignVersion
from mlver.ids import RunId
from mlver.store.memory import MemoryStorage
from mlver.store.sqlite import CacheDamaged, open_cache


class Logs:
    """Logs that are written by hand, and indexes of them."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()

    def write(self, folder: str, *actions: Action, undoes: int | None = None) -> None:
        log = EventLog(self.storage, folder)
        number = len(self.storage.list(folder))
        assert log.append(new_event(number, "ada", actions, undoes))

    def index(self, path: Path | None = None) -> VersionIndex:
        index = VersionIndex(open_cache(path, [tables.SCHEMA]), self.storage)
        index.refresh()
        return index


def add(number: int, manifest: str = "", **more: Any) -> AddVersion:
    return AddVersion(number, f"blake3:{manifest or number:0>64}", 10, 5, 3, 2, 1, **more)


def artifact(index: VersionIndex, name: str = "net") -> ArtifactRecord:
    found = index.artifact(name)
    assert found is not None
    return found


@pytest.fixture
def logs() -> Logs:
    made = Logs()
    made.write("names", CreateArtifact("net", "model"))
    made.write("log/net", add(0))
    return made


def test_everything_a_log_says_is_in_the_record(logs: Logs) -> None:
    said = add(1, "ab", weights="w", message="m", tags=["b", "a", "b"], metadata={"k": [1]}, metrics={"l": 0.5})
    logs.write("log/net", said, MoveAlias("best", 1, None))
    logs.write("log/net", SetNote(1, "good", None), SetTag(1, "c", True), SetTag(1, "a", False))
    logs.write("log/net", SetValue(1, "metadata", "k", [], [[1]]), SetValue(1, "metrics", "acc", [1], []))
    index = logs.index()
    found = index.version(artifact(index), 1)
    assert found is not None
    assert (found.name, found.id, found.type, found.created_by) == ("net:v1", said.manifest, "model", "ada")
    assert (found.message, found.note, found.tags, found.aliases) == ("m", "good", ("b", "c"), ("latest", "best"))
    assert (found.metadata, found.metrics, found.provenance) == ({}, {"l": 0.5, "acc": 1}, {})
    assert (found.logical_bytes, found.new_bytes, found.stored_bytes) == (10, 5, 3)
    assert (found.file_count, found.tensor_count, found.weights, found.removed) == (2, 1, "w", False)


def test_numbers_are_not_used_again_after_removal(logs: Logs) -> None:
    logs.write("log/net", add(1), MoveAlias("best", 0, None))
    logs.write("log/net", SetRemoved(1, True))
    index = logs.index()
    net = artifact(index)
    assert (net.latest, net.version_count, index.next_version(net)) == (0, 1, 2)
    assert index.aliases(net) == {"latest": 0, "best": 0}
    assert [v.number for v in index.versions(net)] == [0]
    assert [v.number for v in index.versions(net, removed=True)] == [1, 0]
    assert index.live_versions_of(add(1).manifest) == []
    assert index.predecessor(net, 1, 0) == 0
    logs.write("log/net", SetRemoved(0, True))
    index.refresh()
    net = artifact(index)
    assert (net.latest, net.version_count, index.aliases(net)) == (None, 0, {"best": 0})


def test_latest_is_the_highest_number_that_is_left(logs: Logs) -> None:
    logs.write("log/net", add(1))
    logs.write("log/net", SetRemoved(1, True))
    logs.write("log/net", SetRemoved(1, False))
    logs.write("log/net", SetRemoved(0, True))
    logs.write("log/net", SetRemoved(0, False))
    index = logs.index()
    assert index.alias(artifact(index), "latest") == 1


def test_versions_are_listed_newest_first_and_cut(logs: Logs) -> None:
    for number in range(1, 12):
        logs.write("log/net", add(number))
    logs.write("log/net", SetRemoved(10, True))
    index = logs.index()
    net = artifact(index)
    assert [v.number for v in index.versions(net, 3)] == [11, 9, 8]
    assert [v.number for v in index.versions(net, 2, newest=9)] == [9, 8]
    assert index.count_older(net, 9) == 9
    assert index.count_older(net, 11, removed=True) == 11
    assert index.predecessor(net, 11, 2) == 8
    assert index.predecessor(net, 2, 3) is None


def test_renames(logs: Logs) -> None:
    logs.write("names", RenameArtifact("net", "web"))
    logs.write("names", RenameArtifact("web", "mesh"))
    index = logs.index()
    mesh = artifact(index, "mesh")
    assert (mesh.folder, mesh.version_count, index.artifact("net")) == ("net", 1, None)
    assert index.renamed_artifact("net") == index.renamed_artifact("web") == mesh
    assert index.name_in_use("NET") == "net"
    logs.write("names", RenameArtifact("mesh", "net"))
    index.refresh()
    assert artifact(index, "net").key == mesh.key
    assert index.renamed_artifact("net") is None
    assert index.renamed_artifact("mesh") == artifact(index, "net")


def test_artifact_without_a_version_is_not_listed(logs: Logs) -> None:
    logs.write("names", CreateArtifact("other", "model"))
    logs.write("names", SetType("other", "data", "model"))
    index = logs.index()
    assert [one.name for one in index.artifacts()] == ["net"]
    assert artifact(index, "other").type == "data"


def test_of_two_creations_the_first_counts(logs: Logs) -> None:
    logs.write("names", CreateArtifact("net", "data"))
    assert artifact(logs.index()).type == "model"


def test_weights_are_found_in_this_artifact_first(logs: Logs) -> None:
    logs.write("names", CreateArtifact("other", "model"))
    logs.write("log/other", *[add(number, weights="w") for number in range(5)])
    logs.write("log/net", add(1, weights="w"), add(2, weights="w"))
    logs.write("log/net", SetRemoved(2, True))
    index = logs.index()
    found = index.version_with_weights("w", artifact(index))
    assert found is not None
    assert found.name == "net:v1"
    assert index.version_with_weights("x", artifact(index)) is None


def test_refresh_applies_each_event_once(tmp_path: Path, logs: Logs) -> None:
    first, second = logs.index(tmp_path / "index"), logs.index(tmp_path / "index")
    logs.write("log/net", add(1))
    first.refresh()
    second.refresh()
    net = artifact(second)
    assert [v.number for v in second.versions(net)] == [1, 0]
    assert net.version_count == 2
    event = EventLog(logs.storage, "log/net").read(1)
    second.apply(net, event)  # as after an append that another process folded first
    assert artifact(second).version_count == 2


def test_refresh_of_one_artifact_leaves_the_others(logs: Logs) -> None:
    logs.write("names", CreateArtifact("other", "model"))
    index = logs.index()
    logs.write("log/other", add(0))
    logs.write("log/net", add(1))
    index.refresh(artifact(index))
    assert artifact(index).version_count == 2
    assert artifact(index, "other").version_count == 0


def state(index: VersionIndex) -> list[Any]:
    found: list[Any] = []
    for one in index.artifacts():
        named = one._replace(key=0)
        found += [named, index.versions(one, removed=True), index.aliases(one), index.events(one)]
    return [*found, index.events(None)]


def test_long_log_with_segments_gives_the_same_index(logs: Logs) -> None:
    steady = logs.index()
    for number in range(1, 300):
        was = None if number == 1 else number - 1
        logs.write("log/net", add(number, metrics={"n": number}), MoveAlias("best", number, was))
    logs.write("log/net", MoveAlias("best", 298, 299), undoes=299)
    steady.refresh()
    EventLog(logs.storage, "log/net").write_segment(0)
    rebuilt = logs.index()
    assert state(rebuilt) == state(steady)
    net = artifact(rebuilt)
    assert {event.undoes: event.number for event in rebuilt.events(net) if event.undoes is not None} == {299: 300}
    assert [event.number for event in rebuilt.events(net, 2)] == [300, 299]


def test_log_that_was_replaced_by_an_older_copy_is_read_anew(logs: Logs) -> None:
    logs.write("log/net", add(1), MoveAlias("best", 1, None))
    index = logs.index()
    logs.storage.delete("log/net/000000000001.json")
    index.refresh()
    net = artifact(index)
    assert (net.latest, index.next_version(net), index.aliases(net)) == (0, 1, {"latest": 0})
    assert state(index) == state(logs.index())


def test_names_that_were_replaced_by_an_older_copy_are_read_anew(logs: Logs) -> None:
    logs.write("names", CreateArtifact("other", "model"))
    index = logs.index()
    logs.storage.delete("names/000000000001.json")
    index.refresh()
    assert index.artifact("other") is None
    assert state(index) == state(logs.index())


@pytest.mark.parametrize("missing", ["names/000000000000.json", "log/net/000000000000.json"])
def test_log_without_its_beginning_is_damage(logs: Logs, missing: str) -> None:
    logs.write("log/net", add(1))
    logs.write("names", CreateArtifact("other", "model"))
    logs.storage.delete(missing)
    with pytest.raises(IntegrityError, match="missing"):
        logs.index()


def test_log_that_lost_more_than_its_first_event_is_damage(logs: Logs) -> None:
    logs.write("log/net", add(1))
    logs.write("log/net", add(2))
    for number in (0, 1):
        logs.storage.delete(f"log/net/{number:012d}.json")
    with pytest.raises(IntegrityError, match="missing"):
        logs.index()


def test_gap_is_found_by_an_index_that_is_behind(logs: Logs) -> None:
    index = logs.index()
    logs.write("log/net", add(1))
    logs.write("log/net", add(2))
    logs.storage.delete("log/net/000000000001.json")
    with pytest.raises(IntegrityError, match=r"000000000001.* missing"):
        index.refresh()


@pytest.mark.parametrize(
    ("folder", "action"),
    [
        ("log/net", add(0)),
        ("log/net", SetTag(9, "x", True)),
        ("log/net", SetValue(9, "metadata", "k", [1], [])),
        ("log/net", SetValue(0, "tags", "k", [1], [])),
        ("names", RenameArtifact("absent", "web")),
        ("names", RenameArtifact("net", "taken")),
    ],
)
def test_event_that_contradicts_the_ones_before_is_damage(logs: Logs, folder: str, action: Action) -> None:
    logs.write("names", CreateArtifact("taken", "model"))
    index = logs.index()
    before = state(index)
    logs.write(folder, SetType("net", "data", "model") if folder == "names" else SetNote(0, "new", None), action)
    with pytest.raises(IntegrityError):
        index.refresh()
    assert state(index) == before, "half of an event was folded"


def test_damaged_row_is_damage_of_the_cache_only(tmp_path: Path, logs: Logs) -> None:
    index = logs.index(tmp_path / "index")
    net = artifact(index)
    other = open_cache(tmp_path / "index", [tables.SCHEMA])
    other.execute("UPDATE events SET data = replace(data, 'net', 'nut')")
    other.execute("UPDATE events SET data = CAST(data || 'x' AS BLOB)")
    with pytest.raises(CacheDamaged):
        index.events(net)
    for damage in ("metadata = '{'", "metadata = '{}', tags = '5'"):
        other.execute(f"UPDATE versions SET {damage}")
        with pytest.raises(CacheDamaged):
            index.versions(net)
    assert encode_event(EventLog(logs.storage, "log/net").read(0))


@pytest.mark.parametrize(
    ("folder", "actions", "message"),
    [
        ("log/net", [CreateArtifact("x", "t")], "no place in its log"),
        ("names", [SetTag(0, "a", True)], "no place in its log"),
        ("log/net", [MoveAlias("best", 9, None)], "speaks of v9"),
        ("log/net", [SetNote(9, "x", None)], "speaks of v9"),
        ("log/net", [SignVersion(9, "0" * 64, "AAAA", "{}", True)], "signs v9"),
    ],
)
def test_what_contradicts_a_log_is_refused(folder: str, actions: list[Action], message: str) -> None:
    logs = Logs()
    logs.write("names", CreateArtifact("net", "t"))
    logs.write("log/net", add(0))
    logs.write(folder, *actions)
    with pytest.raises(IntegrityError, match=message):
        logs.index()


def test_what_runs_are_said_to_be_may_be_anything(tmp_path: Path) -> None:
    """Events are written by others: links of another form are none, and settings of unknown runs are passed over."""
    run = RunId("00000000000000a1")
    manifest = "blake3:" + "7" * 64
    odd = [
        "text",
        {"artifact": 1, "version": 0, "manifest": manifest},
        {"artifact": "a", "version": True, "manifest": "x"},
        {"artifact": "elsewhere", "version": 5, "manifest": manifest},
    ]  # fmt: skip
    logs = Logs()
    logs.write("names", CreateArtifact("net", "t"))
    logs.write("log/net", add(0, provenance={"run": "no id", "inputs": odd}))
    logs.write("log/net", add(1, provenance={"run": run, "inputs": "none"}))
    logs.write("runs/log", ConfigureRun(run, {"lr": 1}, None, None))
    logs.write("runs/log", UseVersion(run, "net", 0, manifest))
    index = logs.index()
    runs = RunIndex(index._connection)
    (net,) = index.artifacts()
    assert runs.run(run) is None
    assert [(link.name, link.is_known) for link in runs.derived_from(net, 0)] == [("elsewhere:v5", False)]
    graph = runs.graph()
    assert graph.made == [(run, ("net", 1))]
    assert graph.runs[run].status == "unknown"
    assert graph.derived == [(("elsewhere@777777777777", 5), ("net", 0))]
    assert index.extent() == (2, 20.0)
    assert index.removed_manifests() == []
    assert len(index.all_manifests()) == 2


def test_the_graph_has_what_was_made_again(logs: Logs) -> None:
    """A run that comes to a version which is there made it too, though it is the first one's for ever."""
    first, second = RunId("00000000000000a1"), RunId("00000000000000b2")
    logs.write("log/net", add(1, provenance={"run": first}))
    logs.write("runs/log", StartRun(first, None, None, {}, None))
    logs.write("runs/log", StartRun(second, None, None, {}, None))
    logs.write("runs/log", UseVersion(second, "net", 0, add(0).manifest))
    logs.write("runs/log", MadeAgain(second, "net", 1, add(1).manifest))
    runs = RunIndex(logs.index()._connection)
    assert [link.name for link in runs.outputs_of(second)] == ["net:v1"]
    assert runs.graph().made == [(first, ("net", 1)), (second, ("net", 1))]
    assert runs.graph().used == [(("net", 0), second)]


def test_runs_are_found_by_id_name_and_beginning() -> None:
    first, second = RunId("00000000000000a1"), RunId("00000000000000b2")
    logs = Logs()
    for run, name in ((first, "try"), (second, "0000")):
        logs.write("runs/log", StartRun(run, name, None, {}, None))
    runs = RunIndex(logs.index()._connection)
    assert runs.count() == 2
    assert [run.id for run in runs.find(first)] == [first]
    assert [run.id for run in runs.find("run:try")] == [first]
    assert [run.id for run in runs.find("0000")] == [second]  # a name comes before the beginning of an id
    assert {run.id for run in runs.find("00000")} == {first, second}
    assert runs.find("zz") == []
    assert set(runs.names()) == {"try", "0000"}
    assert runs.run(first).title == "try"  # type: ignore[union-attr]
    runs._connection.execute("UPDATE runs SET metrics = '{\"a\":{}}'")
    with pytest.raises(CacheDamaged):
        runs.runs()
    runs._connection.execute("DELETE FROM artifacts")
    with pytest.raises(CacheDamaged, match="lost a row"):
        VersionIndex(runs._connection, logs.storage).head(0)
