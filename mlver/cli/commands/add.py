"""`mlver add`: parse → `mlver.ops.add` → say which version it is."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli import values
from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.documents import version_document
from mlver.cli.options import path_of
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.cli.views import references_text
from mlver.config import default_identity
from mlver.ops.add import AddRequest, AddResult, add
from mlver.ops.best import parse_metric
from mlver.ops.collect.auto import collect_now_and_then
from mlver.ops.opening import OpenRepository
from mlver.ops.references.found import DEFAULT_MAX_FILES
from mlver.ops.runs.provenance import Caller

EXAMPLES = (
    Example("mlver add model/ --name resnet50_attn --type resnet50", "record a folder as v0 of a new artifact"),
    Example("mlver add model/ --metric val_acc=0.913 --alias best", "record its next version, and call it best"),
    Example("mlver add --ref s3://bucket/big/ --name data --type dataset", "record what stays where it is"),
    Example("V=$(mlver add model/ -q)", "keep its name in a script: resnet50_attn:v1"),
)

_Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[PATH...]", help="Files and folders.", show_default=False, parser=path_of),
]
_Name = Annotated[str | None, typer.Option("--name", "-n", metavar="NAME", help="The artifact.")]
_Type = Annotated[str | None, typer.Option("--type", "-t", metavar="TYPE", help="Its type; once, when it is new.")]
_Message = Annotated[str | None, typer.Option("--message", "-m", metavar="TEXT", help="A line on this version.")]
_Aliases = Annotated[list[str], typer.Option("--alias", "-a", metavar="ALIAS", help="Move an alias here.")]
_Tags = Annotated[list[str], typer.Option("--tag", metavar="TAG", help="Put a tag on it.")]
_Meta = Annotated[list[str], typer.Option("--meta", metavar="K=V", help="Metadata: a JSON value, or else text.")]
_MetaFile = Annotated[
    Path | None, typer.Option("--meta-file", metavar="FILE", help="Metadata from a JSON, TOML or YAML file.")
]
_Metrics = Annotated[list[str], typer.Option("--metric", metavar="K=V", help="A metric: a finite number.")]
_Exclude = Annotated[list[str], typer.Option("--exclude", metavar="GLOB", help="Leave files out (gitignore syntax).")]
_Base = Annotated[
    str | None, typer.Option("--base", metavar="REF", help="The version it resembles; found by itself otherwise.")
]
_Compression = Annotated[
    str | None, typer.Option("--compression", metavar="LEVEL", help="fast, balanced or max, instead of config.toml's.")
]
_Rehash = Annotated[bool, typer.Option("--rehash", help="Read every file, also those that look untouched.")]
_KeepIfBest = Annotated[
    str | None,
    typer.Option("--keep-if-best", metavar="METRIC", help="Add it only if better than all so far; METRIC:min, :max."),
]
_References = Annotated[
    list[str], typer.Option("--ref", metavar="URI", help="What stays where it is: s3://, gs://, https://, file:///.")
]
_Digest = Annotated[bool, typer.Option("--digest", help="Read all that --ref names, to record its digests too.")]
_MaxFiles = Annotated[
    int, typer.Option("--max-files", metavar="N", min=1, help="Objects below --ref that are not too many.")
]
_Uses = Annotated[list[str], typer.Option("--uses", metavar="REF", help="A version that it was made from.")]
_Provenance = Annotated[
    bool,
    typer.Option(
        "--provenance/--no-provenance",
        help="Record commit, changes since, host, and the command around this one, unless a run does.",
        show_default=False,
    ),
]
_RefOptions = Annotated[
    list[str],
    typer.Option(
        "--ref-option",
        metavar="K=V",
        help="Of the bucket of --ref: endpoint, region, profile, project, anonymous. Kept in config.toml.",
    ),
]


def command(
    call: Call,
    paths: _Paths = None,
    name: _Name = None,
    artifact_type: _Type = None,
    message: _Message = None,
    alias: _Aliases = [],  # noqa: B006 - typer makes the list anew
    tag: _Tags = [],  # noqa: B006
    meta: _Meta = [],  # noqa: B006
    meta_file: _MetaFile = None,
    metric: _Metrics = [],  # noqa: B006
    exclude: _Exclude = [],  # noqa: B006
    base: _Base = None,
    compression: _Compression = None,
    rehash: _Rehash = False,
    keep_if_best: _KeepIfBest = None,
    references: _References = [],  # noqa: B006
    digest: _Digest = False,
    max_files: _MaxFiles = DEFAULT_MAX_FILES,
    reference_options: _RefOptions = [],  # noqa: B006
    uses: _Uses = [],  # noqa: B006
    provenance: _Provenance = True,
) -> None:
    """Record files as the next version of an artifact.

    A folder's content becomes the version's content; several paths keep their names. Content that a version has
    already makes no new version. Files listed in a .mlverignore (gitignore syntax) are left out.

    The version says which run made it, see mlver run; where none did, which code and which command. --uses says what it
    was made from, for mlver lineage.

    What --ref names is not copied: its place is recorded, and what identifies its content. A prefix, such as
    s3://bucket/big/, stands for all objects below it, as a folder does for its files.
    """
    request = AddRequest(
        paths=paths or [],
        name=name,
        type=artifact_type,
        message=message,
        aliases=alias,
        tags=tag,
        metadata=values.metadata(meta, meta_file),
        metrics=values.metrics(metric),
        exclude=exclude,
        rehash=rehash,
        keep_if_best=keep_if_best,
        base=base,
        compression=compression,
        references=references,
        digest=digest,
        max_files=max_files,
        reference_options=values.texts("--ref-option", reference_options),
        provenance=_surroundings() if provenance else {},
        caller=Caller(Path.cwd(), os.environ) if provenance else None,
        uses=uses,
    )
    with call.repository() as repository, call.progress() as progress:
        result = add(repository, request, progress)
        freed = _collect(repository)
    for warning in result.warnings:
        call.out.warn(warning)
    call.out.result(result, document=_document, brief=_brief, human=partial(_human, request=request))
    if freed:
        call.out.note(f"Deleted what no version has used for long: {size(freed)} freed (see mlver gc).")


def _surroundings() -> dict[str, Any]:
    return {"by": default_identity(), "folder": os.getcwd(), "command": _arguments(sys.argv[1:])}


def _collect(repository: OpenRepository) -> int:
    """Delete what nobody uses, now and then; return how many bytes that freed."""
    from mlver.store.sqlite import CacheDamaged

    try:
        collected = collect_now_and_then(repository)
    except CacheDamaged as damage:  # what was asked for is done
        repository.reopen(damage)
        return 0
    return collected.freed_bytes if collected is not None else 0


def _arguments(arguments: list[str]) -> list[str]:
    """Return arguments as they may be recorded: a URL may have a signature in it."""
    if not any("://" in argument for argument in arguments):
        return arguments
    from mlver.store.objects.address import without_secrets

    return [without_secrets(argument) for argument in arguments]


def _document(result: AddResult) -> dict[str, Any]:
    return version_document(result.version) | {
        "created": result.created,
        "new_bytes": result.new_bytes,
        "stored_bytes": result.stored_bytes,
        "delta_bytes": result.delta_bytes,
        "moved_aliases": list(result.moved_aliases),
        "updated": list(result.updated),
        "weights_identical_to": result.weights_identical_to,
        "tensors_in": result.tensors_in,
        "not_better": result.not_better,
        "warnings": list(result.warnings),
    }


def _brief(result: AddResult) -> str:
    return result.version.name


def _human(out: Output, result: AddResult, request: AddRequest) -> None:
    version = result.version
    name = Styled(version.name, "name")
    if result.not_better:
        metric, _ = parse_metric(request.keep_if_best or "")
        asked, standing = request.metrics[metric], version.metrics[metric]
        out.line(f"Not added: {metric}={asked} is not better than {standing} of ", name)
        return
    if result.created:
        out.line(
            "Added ",
            name,
            ": ",
            "; ".join(filter(None, [_stored(result), references_text(version)])),
        )
    else:
        out.line("No new version: the content is that of ", name)
    if result.updated:
        out.line("Recorded on it: ", ", ".join(result.updated))
    if result.moved_aliases:
        out.line("Aliases moved here: ", ", ".join(result.moved_aliases))
    if result.weights_identical_to:
        out.line("The weights are identical to those of ", Styled(result.weights_identical_to, "name"))
    elif result.tensors_in:
        out.line("All of its tensors are in ", Styled(result.tensors_in, "name"), ", under other names or among others")


def _stored(result: AddResult) -> str:
    version = result.version
    if not version.file_count and version.reference_count:
        return ""
    differences = f" ({size(result.delta_bytes)} as differences)" if result.delta_bytes else ""
    return (
        f"{count(version.file_count, 'file')}, {size(version.logical_bytes)}, of which {size(result.new_bytes)} new, "
        f"stored in {size(result.stored_bytes)}{differences}"
    )
