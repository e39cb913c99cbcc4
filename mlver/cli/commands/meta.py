"""`mlver meta`: show, set, delete metadata and metrics."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli import values
from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import Revision
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import number
from mlver.errors import NotFoundError, UsageError
from mlver.history.records import VersionRecord
from mlver.ops.labels import change_values
from mlver.ops.opening import OpenRepository

EXAMPLES = (
    Example("mlver meta v4", "show metadata and metrics of a version"),
    Example("mlver meta v4 lr=0.01 'layers=[2, 4]'", "set metadata"),
    Example("mlver meta v4 --metric val_acc=0.921", "set a metric"),
    Example("mlver meta v4 -d lr", "delete a value"),
)

_Pairs = Annotated[
    list[str], typer.Argument(metavar="K=V", help="Metadata: a JSON value, or else text.", show_default=False)
]
_MetaFile = Annotated[
    Path | None, typer.Option("--meta-file", metavar="FILE", help="Metadata from a JSON, TOML or YAML file.")
]
_Metrics = Annotated[list[str], typer.Option("--metric", metavar="K=V", help="A metric: a finite number.")]
_Delete = Annotated[list[str], typer.Option("--delete", "-d", metavar="KEY", help="Delete a value.")]


def command(
    call: Call,
    revision: Revision = "latest",
    pairs: _Pairs = [],  # noqa: B006 - typer makes the list anew
    meta_file: _MetaFile = None,
    metric: _Metrics = [],  # noqa: B006
    delete: _Delete = [],  # noqa: B006
) -> None:
    """Show, set or delete metadata and metrics of a version."""
    metadata, metrics = values.metadata(pairs, meta_file), values.metrics(metric)
    with call.repository() as repository:
        _check_revision(repository, revision, pairs)
        if metadata or metrics or delete:
            version = change_values(repository, revision, metadata, metrics, delete)
        else:
            version = repository.resolve(revision).version
    call.out.result(version, document=_document, brief=_brief, human=_human)


def _check_revision(repository: OpenRepository, revision: str, pairs: Sequence[str]) -> None:
    """Tell whoever leaves the version out what the first value was taken for."""
    if "=" not in revision:
        return
    try:
        repository.resolve(revision)
    except NotFoundError as error:
        raise UsageError(
            f"{revision!r} is no version.", f"Name one first: mlver meta latest {shlex.join([revision, *pairs])}"
        ) from error


def _document(version: VersionRecord) -> dict[str, Any]:
    return {
        "artifact": version.artifact,
        "version": f"v{version.number}",
        "metadata": version.metadata,
        "metrics": version.metrics,
    }


def _brief(version: VersionRecord) -> str:
    return version.name


def _human(out: Output, version: VersionRecord) -> None:
    if not version.metadata and not version.metrics:
        out.note(f"{version.name} has no metadata and no metrics.")
    for title, found in (("Metrics", version.metrics), ("Metadata", version.metadata)):
        if found:
            out.line(Styled(title, "heading"))
            out.fields((f"  {key}", number(value)) for key, value in sorted(found.items()))
