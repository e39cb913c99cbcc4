"""`mlver show`: everything known about one version, or one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.documents import reference_document, version_document
from mlver.cli.origin_text import maker_fields, origin_fields
from mlver.cli.output import Column, Output, Piece
from mlver.cli.style import Styled
from mlver.cli.text import count, number, size
from mlver.cli.views import age_of, metrics_text, references_text
from mlver.history.manifest import FileEntry, Manifest, TensorEntry, read_manifest
from mlver.history.records import RunRecord, VersionRecord
from mlver.history.reference import ReferenceEntry
from mlver.ops.either import find_either
from mlver.ops.runs.details import RunDetails, run_details

EXAMPLES = (
    Example("mlver show best", "files, tensors, metrics and origin of a version"),
    Example("mlver show resnet50_attn:v3 --json", "the same for a script"),
    Example("mlver show run:baseline", "a run, by its name or its id"),
)

_Revision = Annotated[
    str,
    typer.Argument(metavar="REF", help="A version: v4, best, best~1, NAME, NAME:v4, an id; or a run."),
]

_Found = tuple[VersionRecord, Manifest, RunRecord | None]
"""A version, what is in it, and the run that made it."""


def command(call: Call, revision: _Revision = "latest") -> None:
    """Show everything known about one version, or one run."""
    with call.repository() as repository:
        found = find_either(repository, revision)
        if isinstance(found, RunRecord):
            _show_run(call.out, run_details(repository, found))
            return
        version = found
        manifest = read_manifest(repository.storage, version.id)
        makers = repository.runs.maker_of(repository.artifact(version.artifact), version.number)
        maker = repository.runs.run(makers[0]) if makers else None
    call.out.result((version, manifest, maker), document=_document, brief=lambda found: found[0].name, human=_human)


def _show_run(out: Output, details: RunDetails) -> None:
    from mlver.cli.run_screen import details_document, show_details

    out.result(details, document=details_document, brief=lambda details: details.run.id, human=show_details)


def _document(found: _Found) -> dict[str, Any]:
    version, manifest, _ = found
    return version_document(version) | {
        "files": [
            {
                "path": file.path,
                "size_bytes": file.size_bytes,
                "digest": file.digest,
                "executable": file.executable,
                "format": file.format,
                "unsafe_globals": list(file.unsafe_globals),
            }
            for file in manifest.files
        ],
        "references": [reference_document(reference) for reference in manifest.references],
        "folders": list(manifest.folders),
        "tensors": [
            {
                "name": tensor.name,
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "digest": tensor.digest,
                "file": manifest.files[tensor.file].path,
                "size_bytes": tensor.size_bytes,
            }
            for tensor in _tensors(manifest)
        ],
    }


def _human(out: Output, found: _Found) -> None:
    version, manifest, maker = found
    with out.paged():
        out.heading(version.name)
        out.fields(_fields(version))
        for title, values in (("Metadata", version.metadata), ("Provenance", origin_fields(version.provenance))):
            if values:
                out.line()
                out.heading(title)
                out.fields((key, number(value)) for key, value in sorted(values.items()))
        if maker is not None:
            out.line()
            out.heading("Made by")
            out.fields(maker_fields(maker))
        if manifest.files or not manifest.references:
            _file_table(out, manifest.files)
        for file in manifest.files:
            if file.unsafe_globals:
                out.line(Styled(f"{file.path} names {', '.join(file.unsafe_globals)}", "warning"))
        if manifest.references:
            out.line()
            out.heading(count(len(manifest.references), "reference"))
            _reference_table(out, manifest.references)
        tensors = list(_tensors(manifest))
        if tensors:
            out.line()
            out.heading(count(len(tensors), "tensor"))
            _tensor_table(out, manifest, tensors)


def _fields(version: VersionRecord) -> Iterator[tuple[str, Piece]]:
    yield "type", version.type
    yield "id", version.id
    yield "added", f"{age_of(version)} by {version.created_by} ({version.created_at})"
    yield "size", f"{size(version.logical_bytes)}, of which {size(version.new_bytes)} were new"
    if version.reference_count:
        yield "references", references_text(version)
    if version.aliases:
        yield "aliases", Styled(", ".join(version.aliases), "alias")
    if version.tags:
        yield "tags", ", ".join(version.tags)
    if version.metrics:
        yield "metrics", metrics_text(version.metrics)
    if version.message:
        yield "message", version.message
    if version.note:
        yield "note", version.note
    if version.weights:
        yield "weights", version.weights
    if version.removed:
        yield "removed", Styled("yes", "bad")


def _file_table(out: Output, files: Sequence[FileEntry]) -> None:
    out.line()
    out.heading(count(len(files), "file"))
    out.table(
        [Column("PATH", elastic=True), Column("SIZE", align="right"), Column("FORMAT"), Column("DIGEST")],
        [[file.path, size(file.size_bytes), file.format or "", _short(file.digest)] for file in files],
    )


def _reference_table(out: Output, references: Sequence[ReferenceEntry]) -> None:
    rows: list[list[Piece]] = []
    for reference in references:
        marks = (("digest", _short(reference.digest or "")), ("version", reference.version), ("etag", reference.etag))
        known = next((f"{name} {mark}" for name, mark in marks if mark), "")
        rows.append([reference.path, size(reference.size_bytes), reference.uri, known])
    columns = [Column("PATH", elastic=True), Column("SIZE", align="right"), Column("REFERS TO", elastic=True)]
    out.table([*columns, Column("KNOWN BY", elastic=True)], rows)


def _tensor_table(out: Output, manifest: Manifest, tensors: list[TensorEntry]) -> None:
    several = len({tensor.file for tensor in tensors}) > 1
    columns = [Column("NAME", elastic=True), Column("DTYPE"), Column("SHAPE"), Column("SIZE", align="right")]
    rows: list[list[Piece]] = [
        [tensor.name, tensor.dtype, _shape(tensor), size(tensor.size_bytes)] for tensor in tensors
    ]
    if several:
        columns.append(Column("FILE", elastic=True))
        rows = [[*row, manifest.files[tensor.file].path] for row, tensor in zip(rows, tensors, strict=True)]
    out.table(columns, rows)


def _tensors(manifest: Manifest) -> Iterator[TensorEntry]:
    return (tensor for tensor in manifest.tensors if not tensor.anonymous)


def _shape(tensor: TensorEntry) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"


def _short(digest: str) -> str:
    return digest.rpartition(":")[2][:12]
