"""Export: what each format demands, checked by rules written from its specification."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mlver.errors import NotFoundError, UsageError
from mlver.history.records import MetricSummary
from mlver.ops.exchange.described import media_type
from mlver.ops.remotes.configure import add_remote
from mlver.ops.runs.begin import begin_run
from mlver.ops.runs.current import run_variable
from mlver.ops.runs.end import RunOutcome, end_run
from mlver.repository import Repository

RECORD = {
    "command": ["python", "train.py"],
    "code": {"commit": "a" * 40, "branch": "main", "remote": "https://x.org/r.git"},
}


@pytest.fixture
def told(repository: Repository, model: Path) -> Repository:
    """A dataset, and a model that a run made of it."""
    (model / "sub").mkdir()
    (model / "sub" / "a b.csv").write_text("a\n1\n")
    repository.add(model, name="data", type="dataset", tags=["t"], metadata={"license": "https://x.org/l"})
    opened = repository._opened
    run = begin_run(opened, name="first", job_type="train", config={"lr": 0.5}, record=RECORD, uses=["data:v0"])
    repository._own_run = run_variable(opened, run)
    (model / "w").write_bytes(b"weights")
    repository.add(model / "w", name="net", type="t")
    repository._own_run = None
    summary = MetricSummary(0.5, 0.25, 0.75, 3, 0)
    end_run(opened, run, RunOutcome("finished", 0, 1.5, {"acc": summary}, None, None))
    failed = begin_run(opened, job_type="eval", uses=["net:v0"])
    end_run(opened, failed, RunOutcome("failed", 3, 0.5, {}, None, None))
    begin_run(opened, name="still running")
    return repository


def by_id(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {entity["@id"]: entity for entity in document["@graph"]}
    assert len(found) == len(document["@graph"]), "no entity twice"
    return found


def references(value: Any) -> list[str]:
    """Return the ids that a value refers to."""
    if isinstance(value, dict):
        return [value["@id"]] if value.keys() == {"@id"} else []
    return [each for item in value for each in references(item)] if isinstance(value, list) else []


def test_ro_crate(told: Repository) -> None:
    (document,) = told.export("ro-crate", "net:v0")
    entities = by_id(document)
    assert document["@context"] == "https://w3id.org/ro/crate/1.1/context"
    descriptor, root = entities["ro-crate-metadata.json"], entities["./"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert descriptor["about"] == {"@id": "./"}
    assert root["@type"] == "Dataset"
    assert {"name", "description", "datePublished", "hasPart"} <= root.keys()
    datetime.fromisoformat(root["datePublished"])
    for entity in entities.values():
        assert "@type" in entity
        for key, value in entity.items():
            missing = [each for each in references(value) if each not in entities and not each.startswith("http")]
            assert missing == [], (entity["@id"], key)
    assert entities["w"]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    (action,) = [entity for entity in entities.values() if entity["@type"] == "CreateAction"]
    assert action["result"] == {"@id": "./"}
    assert entities[action["instrument"]["@id"]]["version"] == "a" * 40
    assert action["description"] == "python train.py"
    assert datetime.fromisoformat(action["endTime"]) > datetime.fromisoformat(action["startTime"])
    used = [entities[each]["name"] for each in references(action["object"])]
    assert used == ["data:v0", "lr"]


def test_ro_crate_of_what_no_run_made(told: Repository) -> None:
    entities = by_id(told.export("ro-crate", "data:v0")[0])
    assert entities["./"]["license"] == "https://x.org/l"
    assert "sub/a%20b.csv" in entities, "an id is a URI"
    assert not any(entity["@type"] == "CreateAction" for entity in entities.values())


def test_croissant(told: Repository) -> None:
    (document,) = told.export("croissant", "data:v0")
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert document["@type"] == "sc:Dataset"
    assert {"name", "description", "datePublished", "version", "license", "creator", "distribution"} <= document.keys()
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["version"])
    assert "isLiveDataset" not in document
    assert all(not re.search(r"\s", file["@id"]) for file in document["distribution"]), "readers refuse it"
    assert len({file["@id"] for file in document["distribution"]}) == 2
    files = {file["contentUrl"]: file for file in document["distribution"]}
    assert files.keys() == {"w", "sub/a b.csv"}
    for file in files.values():
        assert file["@type"] == "cr:FileObject"
        assert {"contentUrl", "encodingFormat", "sha256", "name"} <= file.keys()
    assert files["sub/a b.csv"]["sha256"] == hashlib.sha256(b"a\n1\n").hexdigest()
    assert files["sub/a b.csv"]["encodingFormat"] == "text/csv"
    prefixes = {key for key, value in document["@context"].items() if isinstance(value, str)}
    assert {"cr", "sc", "dct", "rai"} <= prefixes


def test_references_stay_where_they_are(repository: Repository, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere.bin"
    place.write_bytes(b"x" * 10)
    repository.add(name="data", type="dataset", references=[place.as_uri()])
    document = repository.export("croissant", "data")[0]
    assert document["isLiveDataset"] is True, "without that, a file must have a checksum"
    (file,) = document["distribution"]
    assert (file["contentUrl"], file["contentSize"]) == (place.as_uri(), "10 B")
    entities = by_id(repository.export("ro-crate", "data")[0])
    assert entities[place.as_uri()]["@type"] == "File"


def test_openlineage(told: Repository) -> None:
    events = told.export("openlineage")
    assert [event["eventType"] for event in events] == ["START", "COMPLETE", "START", "FAIL", "START"]
    for event in events:
        assert event.keys() == {
            *("eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL"),
        }
        uuid.UUID(event["run"]["runId"])
        assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
        assert {"namespace", "name"} <= event["job"].keys()
        facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
        for dataset in (*event["inputs"], *event["outputs"]):
            assert dataset.keys() == {"namespace", "name", "facets"}
            facets += dataset["facets"].values()
        for facet in facets:
            assert {"_producer", "_schemaURL"} <= facet.keys()
            assert facet["_schemaURL"].startswith("https://openlineage.io/spec/")
        json.dumps(event, allow_nan=False)
    begun, ended = events[:2]
    assert begun["run"]["runId"] == ended["run"]["runId"] != events[2]["run"]["runId"]
    assert begun["outputs"] == []
    assert [dataset["name"] for dataset in ended["inputs"]] == ["data"]
    assert [dataset["name"] for dataset in ended["outputs"]] == ["net"]
    assert ended["outputs"][0]["facets"]["version"]["datasetVersion"] == "v0"
    assert ended["job"]["facets"]["jobType"]["jobType"] == "TRAIN"
    location = ended["job"]["facets"]["sourceCodeLocation"]
    assert (location["type"], location["version"]) == ("git", "a" * 40)
    assert ended["run"]["facets"]["mlver_run"]["metrics"] == {"acc": 0.5}
    known = begun["run"]["facets"]["mlver_run"].keys()
    assert known == {"_producer", "_schemaURL", "id", "config"}, "it knows no end yet"


@pytest.mark.parametrize(
    ("remote", "url"),
    [
        ("https://x.org/r.git", "https://x.org/r.git"),
        ("git@x.org:me/r.git", "ssh://git@x.org/me/r.git"),
        ("/srv/my code", "file:///srv/my%20code"),
    ],
)
def test_where_code_is_as_a_url(repository: Repository, remote: str, url: str) -> None:
    begin_run(repository._opened, record={"command": ["x"], "code": {"commit": "a" * 40, "remote": remote}})
    (event,) = repository.export("openlineage")
    location = event["job"]["facets"]["sourceCodeLocation"]
    assert (location["url"], location["repoUrl"]) == (url, remote)


def test_the_same_artifact_has_one_name_everywhere(told: Repository, tmp_path: Path) -> None:
    add_remote(told._opened, "origin", str(tmp_path / "remote"))
    told.push()
    mine = told.export("openlineage")
    assert mine[0]["job"]["namespace"] == told._opened.config.remotes["origin"]["url"]
    with Repository.clone(str(tmp_path / "remote"), tmp_path / "clone") as clone:
        theirs = clone.export("openlineage")
        assert [event["run"]["runId"] for event in theirs] == [event["run"]["runId"] for event in mine]
        assert (
            clone.export("croissant", "data:v0")[0]["distribution"]
            == told.export("croissant", "data:v0")[0]["distribution"]
        )


def test_what_cannot_be_exported(told: Repository) -> None:
    with pytest.raises(UsageError, match="not known"):
        told.export("xml")
    with pytest.raises(UsageError, match="all runs"):
        told.export("openlineage", "net:v0")
    with pytest.raises(NotFoundError):
        told.export("croissant", "nothing")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("m.safetensors", "application/x-safetensors"),
        ("a/b.JSON", "application/json"),
        ("noend", "application/octet-stream"),
        ("x.unknown", "application/octet-stream"),
    ],
)
def test_media_types(path: str, kind: str) -> None:
    assert media_type(path) == kind
