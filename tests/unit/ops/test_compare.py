from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlver.errors import NotFoundError, UsageError
from mlver.ops.compare import ComparedMetric, ComparedValue
from mlver.repository import Repository

RUNS: list[dict[str, Any]] = [
    {"metrics": {"acc": 0.5, "loss": 3, "n": 1}, "metadata": {"lr": 0.1, "seed": 0, "opt": {"name": "sgd"}}},
    {"metrics": {"acc": 0.9, "loss": 2, "n": 2}, "metadata": {"lr": 0.1, "seed": 1, "opt": {"name": "adam"}}},
    {"metrics": {"acc": 0.7, "loss": 1, "n": 3}, "metadata": {"lr": 0.1}},
    {"metrics": {"loss": 1}},
]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    home = tmp_path_factory.mktemp("home")
    (home / "m").mkdir()
    with Repository.init(home) as opened:
        for number, said in enumerate(RUNS):
            (home / "m/config.json").write_text(f'{{"layers": {number // 2}, "same": 1, "deep": {{"x": [{number}]}}}}')
            (home / "m/unchanged.yaml").write_text("a: 1")
            (home / "m/broken.toml").write_text(f"{number} = = ")
            (home / "m/notes.txt").write_text(str(number))
            opened.add(home / "m", name="net", type="t", **said)
        opened.add(home / "m/notes.txt", name="other", type="t")
        yield opened


def test_metrics_side_by_side(repository: Repository) -> None:
    found = repository.compare("net:v0", "net:v1", "net:v2", "net:v3")
    assert found.metrics == (
        ComparedMetric("acc", (0.5, 0.9, 0.7, None), "higher", 0.9),
        ComparedMetric("loss", (3, 2, 1, 1), "lower", 1),
        ComparedMetric("n", (1, 2, 3, None), None, None),
    )


def test_no_value_is_best_where_all_are_the_same(repository: Repository) -> None:
    assert repository.compare("net:v2", "net:v3").metrics[1] == ComparedMetric("loss", (1, 1), "lower", None)


def test_values_that_differ(repository: Repository) -> None:
    found = repository.compare("net:v0", "net:v1", "net:v2")
    assert found.values == (
        ComparedValue("metadata", "opt.name", ("sgd", "adam", None)),
        ComparedValue("metadata", "seed", (0, 1, None)),
        ComparedValue("config.json", "deep.x", ([0], [1], [2])),
        ComparedValue("config.json", "layers", (0, 0, 1)),
    )
    assert found.same_count == 2  # lr, and `same` of config.json


def test_sorted_by_a_metric(repository: Repository) -> None:
    def order(*wanted: str, **options: Any) -> list[int]:
        return [version.number for version in repository.compare(*wanted, **options).versions]

    assert order("net:v0..v3") == [0, 1, 2, 3]
    assert order("net:v3..v1") == [3, 2, 1]
    assert order("net:v0..v3", sort="acc") == [1, 2, 0, 3]
    assert order("net:v0..v2", sort="loss") == [2, 1, 0]
    assert order("net:v0..v2", sort="n") == [2, 1, 0]
    assert order("net:v0..v2", sort="acc", reverse=True) == [0, 2, 1]
    assert order("net:v1", "net:v0..v2", "net:v1") == [1, 0, 2]


def test_two_artifacts(repository: Repository) -> None:
    found = repository.compare("net:v0", "other")
    assert [version.name for version in found.versions] == ["net:v0", "other:v0"]
    assert ComparedValue("config.json", "layers", (0, None)) in found.values


@pytest.mark.parametrize(
    ("revisions", "sort", "kind", "message"),
    [
        (["net:v0"], None, UsageError, "two or more"),
        (["net:v1..v1"], None, UsageError, "two or more"),
        ([], None, UsageError, "two or more"),
        (["net:v0", "net:v9"], None, NotFoundError, "v9"),
        (["net:v0..other:v0"], None, UsageError, "two artifacts"),
        (["net:v0", "net:v1"], "auc", NotFoundError, "metric 'auc'"),
    ],
)
def test_what_cannot_be_compared(
    repository: Repository, revisions: list[str], sort: str | None, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        repository.compare(*revisions, sort=sort)


def test_removed_versions_are_not_in_a_range(tmp_path: Path) -> None:
    with Repository.init(tmp_path) as repository:
        for number in range(3):
            (tmp_path / "a").write_text(str(number))
            repository.add(tmp_path / "a", name="a", type="t")
        repository.remove("v1")
        assert [version.number for version in repository.compare("v0..v2").versions] == [0, 2]
        assert [version.number for version in repository.compare("v0..").versions] == [0, 2]
