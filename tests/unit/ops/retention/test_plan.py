"""Policies in `config.toml`, plans that are reviewed and then carried out to the letter, and `add --keep-if-best`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.errors import ConflictError, MlverError, NotFoundError, UsageError
from mlver.ops.collect.auto import collect_now_and_then
from mlver.ops.collect.durations import parse_duration
from mlver.ops.retention.document import plan_document, read_plan
from mlver.ops.retention.plan import GcPlan
from mlver.ops.retention.rules import Best, Policy, needed_sources
from mlver.ops.retention.settings import Scope, read_policies
from mlver.repository import Repository
from tests.support.interleaving import grow_old


@pytest.fixture
def trained(repository: Repository, tmp_path: Path) -> Repository:
    """Six versions of one artifact and two of another, each of 20 kB that nobody else has."""
    for number, metric in enumerate((0.3, 0.6, 0.5, 0.9, 0.1, 0.2)):
        write(tmp_path, number)
        repository.add(tmp_path / "w", name="m", type="model", metrics={"val_acc": metric})
    for number in (10, 11):
        write(tmp_path, number)
        repository.add(tmp_path / "w", name="d", type="data")
    return repository


def write(home: Path, number: int) -> Path:
    (home / "w").write_bytes(np.random.default_rng(number).bytes(20_000))
    return home / "w"


def numbers(repository: Repository, name: str) -> list[int]:
    return [version.number for version in repository.log(name)]


def removed_by(plan: GcPlan) -> list[str]:
    return [item.version for item in plan.remove]


def test_without_rules_everything_is_kept(trained: Repository) -> None:
    assert trained.gc("0").removed == ()
    assert len(numbers(trained, "m")) == 6


def test_rules_mark_removed_and_one_undo_takes_it_back(trained: Repository) -> None:
    trained.tag("m:v0", "t")
    trained.retain({"last": 1, "best": ["2 val_acc"]}, artifact="m")
    result = trained.gc()
    assert result.removed == ("m:v4", "m:v2")
    assert result.collected.versions == ()
    assert result.collected.waiting == ("m:v2", "m:v4")
    assert numbers(trained, "m") == [5, 3, 1, 0]
    assert numbers(trained, "d") == [1, 0]
    assert trained.gc().removed == ()
    trained.undo("m")
    assert len(numbers(trained, "m")) == 6


def test_the_most_specific_rules_count_alone(trained: Repository) -> None:
    trained.retain({"last": 1})
    trained.retain({"last": 3}, artifact_type="model")
    assert removed_by(trained.plan_gc()) == ["d:v0", "m:v2", "m:v1", "m:v0"]
    trained.retain({"all": True}, artifact="m")
    assert removed_by(trained.plan_gc()) == ["d:v0"]
    trained.rename("m", "n")
    assert removed_by(trained.plan_gc()) == ["d:v0"]
    trained.retain(None, artifact_type="model")
    trained.retain(None)
    assert removed_by(trained.plan_gc()) == []
    assert [scope.name for scope in read_policies(trained._opened)] == ["artifact m"]


def test_rules_are_written_as_they_are_read(trained: Repository) -> None:
    rules = {"last": 2, "best": ["3 val_acc", "1 x y min"], "daily": "2w", "tagged": False}
    trained.retain(rules, artifact_type="model")
    best = (Best(3, "val_acc", "higher"), Best(1, "x y", "lower"))
    policy = Policy(last=2, best=best, daily_seconds=14 * 86_400, tagged=False)
    assert read_policies(trained._opened) == {Scope(type="model"): policy}


@pytest.mark.parametrize(
    "rules",
    [
        {"best": ["val_acc"]}, {"best": ["3 unheard"]}, {"best": "3 val_acc"}, {"best": ["0 val_acc"]}, {"last": -1},
        {"last": True}, {"daily": "soon"}, {"daily": 3}, {"tagged": "yes"}, {"nonsense": 1}, {},
    ],
)  # fmt: skip
def test_rules_that_are_none_are_refused(trained: Repository, rules: dict[str, Any]) -> None:
    before = (trained.path / "config.toml").read_bytes()
    with pytest.raises(UsageError):
        trained.retain(rules)
    assert (trained.path / "config.toml").read_bytes() == before


@pytest.mark.parametrize("text", ["[retention]\nlast = 'x'", "[retention.types]\nm = 1", "retention = 3"])
def test_a_malformed_config_removes_nothing(trained: Repository, text: str) -> None:
    (trained.path / "config.toml").write_text(text)
    with pytest.raises(MlverError):
        trained.gc("0")
    (trained.path / "config.toml").write_text("")
    assert len(numbers(trained, "m")) == 6


def test_rules_for_what_is_not_there_are_refused(trained: Repository) -> None:
    with pytest.raises(NotFoundError):
        trained.retain({"last": 1}, artifact="absent")


def test_a_plan_says_what_goes_and_what_that_frees(trained: Repository, tmp_path: Path) -> None:
    shared = (tmp_path / "w").read_bytes()
    trained.add(tmp_path / "w", name="other", type="model")
    trained.remove("d:v0")
    trained.retain({"last": 1}, artifact="m")
    trained.retain({"last": 0}, artifact_type="data")
    plan = trained.plan_gc("0")
    assert removed_by(plan) == ["m:v4", "m:v3", "m:v2", "m:v1", "m:v0"]
    assert plan.delete == ("d:v0", "m:v0", "m:v1", "m:v2", "m:v3", "m:v4")
    assert all(20_000 <= item.exclusive_bytes < 21_000 for item in plan.remove)
    assert all(item.shared_bytes == item.held_bytes == 0 for item in plan.remove)
    assert plan.result.freed_bytes > 6 * 20_000
    result = trained.apply_gc(plan)
    assert result.removed == tuple(removed_by(plan))
    assert result.collected.versions == plan.delete
    assert abs(result.collected.freed_bytes - plan.result.freed_bytes) < 1_000
    assert trained.open("other", "w").read() == shared
    assert trained.verify().ok


def test_what_is_shared_and_what_holds(repository: Repository, tmp_path: Path) -> None:
    from tests.unit.ops.collect.conftest import weights

    for number in (0, 1, 2):
        (tmp_path / "m.safetensors").write_bytes(weights(number))
        repository.add(tmp_path / "m.safetensors", name="m", type="t")
    repository.retain({"last": 1})
    first = repository.plan_gc().remove[-1]
    assert first.version == "m:v0"
    assert first.held_bytes > 30_000  # the others are differences to it
    assert first.exclusive_bytes >= first.held_bytes
    assert first.shared_bytes > 0  # the header
    repository.gc("0")
    assert repository.verify().ok


def test_a_plan_survives_json(trained: Repository) -> None:
    trained.remove("d:v0")
    trained.retain({"last": 2})
    plan = trained.plan_gc("0")
    again = read_plan(json.dumps(plan_document(plan)).encode())
    assert plan_document(again) == plan_document(plan)
    assert trained.apply_gc(again).removed == tuple(removed_by(plan))


def test_a_plan_deletes_nothing_that_it_does_not_name(trained: Repository, tmp_path: Path) -> None:
    """Time passes between plan and execution: what would be old enough by then stays."""
    trained.remove("m:v0")
    grow_old(tmp_path)
    trained.remove("m:v1")
    plan = trained.plan_gc("20d")
    assert plan.delete == ("m:v0",)
    grow_old(tmp_path)
    assert trained.apply_gc(plan).collected.versions == ("m:v0",)
    trained.restore("m:v1")
    assert trained.verify().ok


def move(change: str, repository: Repository, home: Path) -> None:
    match change:
        case "tag":
            repository.tag("d:v0", "x")
        case "rename":
            repository.rename("d", "e")
        case "add":
            repository.add(write(home, 99), name="d")
        case "new":
            repository.add(write(home, 99), name="new", type="t")
        case "repack":
            repository.repack()


@pytest.mark.parametrize("change", ["tag", "rename", "add", "new", "repack"])
def test_a_plan_is_refused_when_the_world_moved(trained: Repository, tmp_path: Path, change: str) -> None:
    trained.retain({"last": 1})
    plan = trained.plan_gc("0")
    move(change, trained, tmp_path)
    with pytest.raises(ConflictError, match="does not fit any more"):
        trained.apply_gc(plan)
    assert len(numbers(trained, "m")) == 6


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b"nonsense", b'{"mlver_plan": 2}', b"\xff", b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused(text: bytes) -> None:
    with pytest.raises(UsageError, match="This is no plan"):
        read_plan(text)


def test_a_plan_with_fields_of_other_types_is_refused(trained: Repository) -> None:
    trained.retain({"last": 1})
    good = plan_document(trained.plan_gc())
    for key in good:
        with pytest.raises(UsageError):
            read_plan(json.dumps(good | {key: None}).encode())
    with pytest.raises(UsageError):
        read_plan(json.dumps(good | {"delete": [1]}).encode())
    with pytest.raises(UsageError):
        read_plan(json.dumps(good | {"more": 1}).encode())


def test_only_what_is_better_is_added(trained: Repository, tmp_path: Path) -> None:
    worse = trained.add(write(tmp_path, 50), name="m", metrics={"val_acc": 0.9}, keep_if_best="val_acc")
    assert worse.not_better
    assert worse.version.number == 3
    assert numbers(trained, "m")[0] == 5
    better = trained.add(write(tmp_path, 51), name="m", metrics={"val_acc": 0.91}, keep_if_best="val_acc")
    assert better.created
    assert not better.not_better
    assert numbers(trained, "m")[0] == 6
    assert trained.add(write(tmp_path, 52), name="m", metrics={"val_acc": 0.05}, keep_if_best="val_acc:min").created
    new = trained.add(write(tmp_path, 53), name="fresh", type="t", metrics={"x": 1}, keep_if_best="x:max")
    assert new.created


def test_it_must_be_known_what_is_better(trained: Repository, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not given"):
        trained.add(write(tmp_path, 50), name="m", keep_if_best="val_acc")
    with pytest.raises(UsageError, match="is not known"):
        trained.add(write(tmp_path, 50), name="m", metrics={"x": 1}, keep_if_best="x")


def test_now_and_then_it_is_collected(trained: Repository, tmp_path: Path) -> None:
    opened = trained._opened
    assert collect_now_and_then(opened) is None  # nothing was removed
    trained.remove("m:v0")
    grow_old(tmp_path)
    (trained.path / "config.toml").write_text("gc_auto = false\n")
    assert collect_now_and_then(opened) is None
    (trained.path / "config.toml").write_text("")
    collected = collect_now_and_then(opened)
    assert collected is not None
    assert collected.versions == ("m:v0",)
    trained.remove("m:v1")
    assert collect_now_and_then(opened) is None  # not again so soon
    assert trained.verify().ok


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("90m", 5400), ("1.5h", 5400), ("2w", 1_209_600)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-1d", "1 d", "d", "1e9d", "9" * 30 + "d", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


# What others were made from


def derive(repository: Repository, home: Path, number: int, name: str, *uses: str) -> str:
    write(home, number)
    return repository.add(home / "w", name=name, type="model", uses=uses).version.name


def test_what_kept_versions_were_made_from_stays(trained: Repository, tmp_path: Path) -> None:
    for number, source in enumerate(("d:v0", "d:v1", "d:v0")):
        derive(trained, tmp_path, 50 + number, "net", source)
    trained.retain({"last": 1}, artifact="net")
    trained.retain({"last": 1}, artifact="d")
    assert trained.gc(dry_run=True).removed == ("d:v0", "net:v1", "net:v0")
    trained.retain({"last": 1, "sources": True}, artifact="d")
    assert trained.gc(dry_run=True).removed == ("net:v1", "net:v0")
    assert removed_by(trained.plan_gc()) == ["net:v1", "net:v0"]
    trained.remove("net:v2")
    derive(trained, tmp_path, 60, "net", "m:v0")
    assert "d:v0" in trained.gc(dry_run=True).removed, "what was made of it is removed itself"


def test_sources_of_sources_stay_only_where_the_rules_say_so(trained: Repository, tmp_path: Path) -> None:
    derive(trained, tmp_path, 50, "base", "d:v0")
    derive(trained, tmp_path, 51, "base")
    derive(trained, tmp_path, 52, "net", "base:v0")
    trained.retain({"last": 1, "sources": True})
    removed = set(trained.gc(dry_run=True).removed)
    assert not removed & {"base:v0", "d:v0"}
    trained.retain({"last": 1}, artifact="base")
    assert removed | {"base:v0", "d:v0"} == set(trained.gc(dry_run=True).removed)


def test_what_a_run_used_stays(trained: Repository, tmp_path: Path) -> None:
    from mlver.ops.runs.begin import begin_run

    run = begin_run(trained._opened, name="train", uses=["d:v0"])
    trained._own_run = f"{run}@{trained.path}"
    try:
        derive(trained, tmp_path, 50, "net")
    finally:
        trained._own_run = None
    trained.retain({"last": 1, "sources": True}, artifact="d")
    assert trained.gc(dry_run=True).removed == ()
    trained.retain({"last": 1}, artifact="d")
    assert trained.gc(dry_run=True).removed == ("d:v0",)


def test_versions_in_a_circle_keep_each_other_only_if_one_is_kept() -> None:
    sources = {1: {2}, 2: {3}, 3: {1}, 4: {3}}
    assert needed_sources([], {1, 2, 3}, sources) == set()
    assert needed_sources([4], {1, 2, 3}, sources) == {1, 2, 3}
    assert needed_sources([4], {1, 2}, sources) == set()
