"""What names in expressions mean, of versions and of runs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mlver.history.fields import MISSING, as_value, look_up, paths, run_field, run_names, version_field, version_names
from mlver.history.records import MetricSummary, RunRecord, VersionRecord
from mlver.ids import ManifestId, RunId

VERSION = VersionRecord(
    "net", "model", 3, ManifestId("blake3:" + "0" * 64), "2026-01-01T00:00:00Z", "ada", None, None, (), (),
    {"lr": 0.1, "a": {"b": {"c": 1}, "b.c": 2}, "metric": None, "acc": "of metadata"}, {"acc": 0.5, "x.y": 7}, {},
    10, 5, 3, 1, 0, None, False,
)  # fmt: skip
RUN = RunRecord(
    RunId("00000000000000a1"), "first", "train", "finished", "2026-01-01T00:00:00Z", "ada", 0, 1.5,
    {"lr": 0.1, "model": {"depth": 4}, "status": "of config"},
    {"loss": MetricSummary(0.25, 0.125, 1.0, 9, 1), "a.b": MetricSummary(None, None, None, 1, 1)},
    None, None, None, (), (), {"commit": "5f15"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("lr", 0.1), ("a.b.c", 2), ("a.b", {"c": 1}), ("metric", None), ("a.x", MISSING), ("a.b.c.d", MISSING),
        ("lr.x", MISSING), ("", MISSING), (".lr", MISSING),
    ],
)  # fmt: skip
def test_the_longest_key_of_a_path_counts(path: str, found: Any) -> None:
    assert look_up(VERSION.metadata, path) == found


def test_paths_lead_to_what_is_no_object() -> None:
    assert list(paths({"a": {"b": 1, "c": {}}, "d": [1]})) == ["a.b", "a.c", "d"]


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (MISSING, None), (None, None), (math.nan, None), (True, True), (1, 1), (0.5, 0.5), ("x", "x"),
        ([1, "é"], '[1, "é"]'), ({"b": 1, "a": 2}, '{"a": 2, "b": 1}'),
    ],
)  # fmt: skip
def test_values_for_expressions(found: Any, value: Any) -> None:
    assert as_value(found) == value


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("acc", 0.5), ("metadata.acc", "of metadata"), ("metrics.acc", 0.5), ("x.y", 7), ("logical_bytes", 10),
        ("lr", 0.1), ("metadata.lr", 0.1), ("metrics.lr", MISSING), ("nothing", MISSING), ("number", 3),
    ],
)  # fmt: skip
def test_a_bare_name_is_a_metric_then_a_field_then_metadata(name: str, found: Any) -> None:
    assert version_field(VERSION, name) == found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("loss", 0.25), ("loss.max", 1.0), ("loss.count", 9), ("loss.nan", 1), ("metrics.loss.min", 0.125),
        ("loss.median", MISSING), ("a.b", None), ("status", "finished"), ("config.status", "of config"),
        ("model.depth", 4), ("config.model.depth", 4), ("code.commit", "5f15"), ("code.branch", MISSING),
        ("commit", MISSING), ("metrics.none", MISSING), ("job_type", "train"), ("lr", 0.1),
    ],
)  # fmt: skip
def test_a_bare_name_of_a_run_is_a_metric_then_a_field_then_a_setting(name: str, found: Any) -> None:
    assert run_field(RUN, name) == found


def test_every_name_that_is_offered_means_something() -> None:
    names = list(version_names(VERSION))
    assert {"acc", "x.y", "created_at", "metadata.lr", "metadata.a.b.c"} <= set(names)
    assert all(version_field(VERSION, name) is not MISSING for name in names)
    names = list(run_names(RUN))
    assert {"loss", "status", "config.model.depth", "code.commit"} <= set(names)
    assert all(run_field(RUN, name) is not MISSING for name in names)
