"""`mlver ls`: artifacts, or the files of a version."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.documents import artifact_document, reference_document
from mlver.cli.output import Column, Output
from mlver.cli.style import Styled
from mlver.cli.text import size
from mlver.errors import MlverError, NotFoundError
from mlver.history.manifest import FileEntry, read_manifest
from mlver.history.records import ArtifactRecord, VersionRecord
from mlver.history.reference import ReferenceEntry
from mlver.ops.opening import OpenRepository

EXAMPLES = (
    Example("mlver ls", "all artifacts"),
    Example("mlver ls best", "the files of a version"),
    Example("mlver ls resnet50_attn:v3:tokenizer", "those below a folder of it"),
)

_Place = Annotated[
    str | None,
    typer.Argument(metavar="REF[:PATH]", help="A version, or a file or folder of it.", show_default=False),
]
_Files = tuple[VersionRecord, list[FileEntry | ReferenceEntry]]
_Artifact = tuple[ArtifactRecord, VersionRecord | None]


def command(call: Call, place: _Place = None) -> None:
    """List artifacts, or the files of a version."""
    with call.repository() as repository:
        if place is None:
            artifacts = _artifacts(repository)
            call.out.result(artifacts, document=_artifacts_document, brief=_names, human=_artifacts_table)
        else:
            files = _files(repository, place)
            call.out.result(files, document=_files_document, brief=_paths, human=_files_table)


def _artifacts(repository: OpenRepository) -> tuple[list[_Artifact], str | None]:
    repository.index.refresh()
    found = []
    for artifact in repository.index.artifacts():
        latest = None if artifact.latest is None else repository.index.version(artifact, artifact.latest)
        found.append((artifact, latest))
    return found, repository.current()


def _files(repository: OpenRepository, place: str) -> _Files:
    """Return a version and those of its files that are meant. Paths have no `:`, so the last one parts them."""
    revision, separator, path = place.rpartition(":")
    try:
        version = repository.resolve(place).version
        path = ""
    except MlverError:
        if not separator:
            raise
        version = repository.resolve(revision).version
    manifest = read_manifest(repository.storage, version.id)
    path = path.strip("/")
    files: list[FileEntry | ReferenceEntry] = [*manifest.files, *manifest.references]
    files.sort(key=lambda file: file.path)
    chosen = [file for file in files if not path or file.path == path or file.path.startswith(path + "/")]
    if path and not chosen:
        raise NotFoundError(f"There is no {path!r} in {version.name}.")
    return version, chosen


def _names(found: tuple[list[_Artifact], str | None]) -> list[str]:
    return [artifact.name for artifact, _ in found[0]]


def _artifacts_document(found: tuple[list[_Artifact], str | None]) -> dict[str, Any]:
    artifacts, current = found
    return {
        "current": current,
        "artifacts": [
            artifact_document(artifact)
            | {
                "logical_bytes": latest.logical_bytes if latest else None,
                "updated_at": latest.created_at if latest else None,
            }
            for artifact, latest in artifacts
        ],
    }


def _artifacts_table(out: Output, found: tuple[list[_Artifact], str | None]) -> None:
    artifacts, current = found
    if not artifacts:
        out.hint("There is no artifact yet. Record a first version with: mlver add PATH --name NAME --type TYPE")
    out.table(
        [
            Column("ARTIFACT"),
            Column("TYPE"),
            Column("VERSIONS", align="right"),
            Column("LATEST"),
            Column("SIZE", align="right"),
            Column("CURRENT"),
        ],
        [
            [
                Styled(artifact.name, "name"),
                artifact.type,
                str(artifact.version_count),
                f"v{latest.number}" if latest else "",
                size(latest.logical_bytes) if latest else "",
                "*" if artifact.name == current else "",
            ]
            for artifact, latest in artifacts
        ],
    )


def _paths(found: _Files) -> list[str]:
    return [file.path for file in found[1]]


def _files_document(found: _Files) -> dict[str, Any]:
    version, files = found
    return {
        "artifact": version.artifact,
        "version": f"v{version.number}",
        "files": [
            {"path": file.path, "size_bytes": file.size_bytes, "digest": file.digest}
            for file in files
            if isinstance(file, FileEntry)
        ],
        "references": [reference_document(file) for file in files if isinstance(file, ReferenceEntry)],
    }


def _files_table(out: Output, found: _Files) -> None:
    columns = [Column("SIZE", align="right"), Column("PATH", elastic=True)]
    rows = [[size(file.size_bytes), file.path] for file in found[1]]
    if any(isinstance(file, ReferenceEntry) for file in found[1]):
        columns.append(Column("REFERS TO", elastic=True))
        rows = [[*row, getattr(file, "uri", "")] for row, file in zip(rows, found[1], strict=True)]
    with out.paged():
        out.table(columns, rows)
