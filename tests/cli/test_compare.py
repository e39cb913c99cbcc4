"""`mlver compare` and `mlver log --metrics` as they are typed."""

from __future__ import annotations

import pytest

from mlver.cli.log_trends import sparkline
from tests.cli.conftest import Person


def test_the_screen(person: Person) -> None:
    shown = person.run("compare", "v0", "v1", "v2").out
    lines = shown.splitlines()
    assert lines[0].split() == ["v0", "v1", "v2"]
    assert lines[1].split() == ["aliases", "best", "latest"]
    assert lines[2].startswith("age ")
    assert [line.split() for line in lines[3:8]] == [
        ["Metrics"],
        ["acc", "0.5", "0.75", "0.875", "★"],
        ["Metadata"],
        ["lr", "0.1", "–", "–"],
        ["Sizes"],
    ]
    assert {line.split()[0] for line in lines[8:]} == {"size", "new", "stored", "files", "tensors"}


def test_the_best_first(person: Person) -> None:
    assert person.run("compare", "v0..v2", "--sort", "acc", "-q").out.split() == ["net:v2", "net:v1", "net:v0"]
    assert person.run("compare", "v0..v2", "--sort", "acc", "--reverse", "-q").out.split()[0] == "net:v0"
    document = person.json("compare", "v0", "set:v0", "v2")
    assert [version["artifact"] for version in document["versions"]] == ["net", "set", "net"]
    assert document["metrics"] == [{"name": "acc", "values": [0.5, None, 0.875], "better": "higher", "best": 0.875}]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["v0"], 2, "Name two or more versions"),
        ([], 2, "Missing argument"),
        (["v0", "v7"], 1, "version 'v7'"),
        (["v0", "v1", "--sort", "auc"], 1, "no"),
    ],
)
def test_bad_words(person: Person, words: list[str], code: int, message: str) -> None:
    found, lines = person.fails("compare", *words)
    assert found == code
    assert message.lower() in lines[0].lower()


def test_the_course_of_metrics(person: Person) -> None:
    lines = person.run("log", "--metrics").out.splitlines()
    assert lines[0].split() == ["METRIC", "VERSIONS", "COURSE", "FIRST", "LAST", "BEST"]
    assert lines[1].split() == ["acc", "v0–v2", "▁▆█", "0.5", "0.875", "0.875", "v2"]
    assert person.run("log", "--metrics", "-q").out == "acc\n"
    (found,) = person.json("log", "--metrics")["metrics"]
    assert found["best"] == "v2"
    assert found["points"][0] == {"version": "v0", "value": 0.5}
    assert len(person.json("log", "--metrics", "--all")["artifacts"]) == 2


def test_no_metrics(person: Person) -> None:
    done = person.run("log", "set", "--metrics")
    assert (done.code, done.out) == (0, "")
    assert "mlver meta --metric" in done.err


def test_metrics_and_oneline_exclude_each_other(person: Person) -> None:
    assert person.fails("log", "--metrics", "--oneline")[0] == 2


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([1.0], "▅"),
        ([2, 2, 2], "▅▅▅"),
        ([0, 7], "▁█"),
        ([-1e308, 0, 1e308], "▁▅█"),
        ([0.0, 5e-324], "▅▅"),
        (list(range(400)), "▁▁▁▂▂▂▂▂▂▃▃▃▃▃▄▄▄▄▄▄▅▅▅▅▅▅▆▆▆▆▆▇▇▇▇▇▇███"),
        ([1e308, -1e308] * 50, None),
    ],
)
def test_sparklines(values: list[float], bars: str | None) -> None:
    found = sparkline(values)
    assert found == (bars or found)
    assert len(found) == min(len(values), 40)
