"""The committed repository of references is read, by mlver and by the reader made from docs/format.md."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mlver import Repository
from mlver.errors import UsageError
from mlver.history.reference import ReferenceEntry
from tests.golden import make_references, reader
from tests.golden.make_layout_1 import STORED_AS
from tests.golden.make_references import FOLDER, VERSIONS


def documents(number: int) -> list[reader.Json]:
    """Return the references of a version as docs/format.md says."""
    found = []
    for reference in VERSIONS[number]:
        fields = reference._asdict()
        fields["size"] = fields.pop("size_bytes")
        found.append({name: value for name, value in fields.items() if value is not None})
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    shutil.copytree(FOLDER / STORED_AS, tmp_path / ".mlver")
    return Repository.open(tmp_path)


def test_mlver_knows_every_reference(repository: Repository, tmp_path: Path) -> None:
    for number, references in enumerate(VERSIONS):
        assert repository.manifest(f"data:v{number}").references == references
        record = repository.resolve(f"data:v{number}")
        assert record.reference_count == len(references)
        assert record.reference_bytes == sum(reference.size_bytes for reference in references)
        pulled = repository.pull(f"data:v{number}", tmp_path / f"out{number}", references=False)
        assert (pulled.written, pulled.references) == (("card.md",), ())
    assert repository.verify(references="skip").ok
    repository.close()


def test_the_reader_knows_every_reference(tmp_path: Path) -> None:
    found = reader.Repository(FOLDER / STORED_AS)
    found.restore_all(tmp_path)
    (data,) = found.artifacts
    for number in range(len(VERSIONS)):
        assert found.manifest(data.versions[number]).get("references", []) == documents(number)
        assert [path.name for path in (tmp_path / "data" / f"v{number}").iterdir()] == ["card.md"]
        said = data.versions[number].said
        assert said.get("reference_count", 0) == len(VERSIONS[number])


def test_what_is_written_today_is_what_was_written_then(tmp_path: Path) -> None:
    make_references.build(tmp_path)
    now = reader.Repository(tmp_path / ".mlver")
    then = reader.Repository(FOLDER / STORED_AS)
    assert [v.manifest for v in now.artifacts[0].versions.values()] == [
        v.manifest for v in then.artifacts[0].versions.values()
    ]
    assert len(json.dumps(documents(1))) > 100


def test_a_protocol_of_the_future_is_listed_and_not_read(tmp_path: Path) -> None:
    future = (ReferenceEntry("x", "ipfs://abc/x", 1, etag="e"),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_references, "VERSIONS", (future,))
        make_references.build(tmp_path)
    with Repository.open(tmp_path) as repository:
        assert repository.manifest("data").references == future
        with pytest.raises(UsageError, match="not known here"):
            repository.pull("data", tmp_path / "out")
    reader.Repository(tmp_path / ".mlver").restore_all(tmp_path / "restored")
