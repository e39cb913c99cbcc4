"""`mlver pull`: plan → say what would be overwritten → write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import Revision, path_of
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.errors import UsageError
from mlver.ids import ChunkId, ManifestId
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.pull import PullPlan, PullResult, plan_pull, pull
from mlver.ops.signing.trust import Trust

EXAMPLES = (
    Example("mlver pull resnet50_attn:best -o ./serve", "write a version into a folder"),
    Example("mlver pull v4 --path '*.json'", "only some of its files"),
    Example("mlver pull v4 --tensor 'encoder.layer.0.*'", "only some tensors, as one safetensors file"),
    Example("mlver pull data --no-references", "without what stays elsewhere"),
    Example("mlver pull best -o ./serve --dry-run", "see what would be written"),
)

_Target = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="DIR", help="Where to; default: ./NAME.", parser=path_of),
]
_Paths = Annotated[list[str], typer.Option("--path", metavar="GLOB", help="Only files that match (gitignore syntax).")]
_Tensors = Annotated[
    list[str], typer.Option("--tensor", metavar="GLOB", help="Only tensors of these names, as one safetensors file.")
]
_Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite files that differ.")]
_References = Annotated[
    bool, typer.Option("--references/--no-references", help="Download references too.", show_default=False)
]
_RequireSignature = Annotated[
    bool, typer.Option("--require-signature", help="Refuse what nobody signed whose key is trusted.")
]
_PublicKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key",
        metavar="FILE",
        help="Like --require-signature, with this key, as PEM, instead of config.toml's.",
        show_default=False,
        parser=path_of,
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def command(
    call: Call,
    revision: Revision,
    target: _Target = None,
    path: _Paths = [],  # noqa: B006 - typer makes the list anew
    tensor: _Tensors = [],  # noqa: B006
    force: _Force = False,
    dry_run: _DryRun = False,
    references: _References = True,
    require_signature: _RequireSignature = False,
    public_key: _PublicKeys = None,
) -> None:
    """Write the files of a version into a folder.

    An absent or empty folder appears whole or not at all, but for the one you are in. In any other, files that differ
    are named and left alone unless --force is given; files that the version does not have are never touched. What is
    missing here comes from a remote. References are downloaded from where they are, and must be what they were.

    With --require-signature, a version is refused that bears no signature of a trusted key or is not what was signed.
    With require = true under [signing] in config.toml, all pulls are like that.

    With --tensor the folder gets one file, tensors.safetensors; only the bytes of those tensors are read or fetched.
    """
    trust = Trust(require_signature, tuple(public_key or ()))
    if tensor:
        if path:
            raise UsageError("--path is about files, --tensor about tensors, whatever files they are in.")
        _pull_tensors(call, revision, target, tensor, force, dry_run, trust)
        return
    with call.repository() as repository, call.progress() as progress:
        elsewhere = _Elsewhere(call, repository, revision)
        plan = plan_pull(
            repository,
            revision,
            target,
            path,
            references=references,
            trust=trust,
        )
        if dry_run:
            elsewhere.obtain(plan, progress, dry_run=True)
            call.out.result(plan, document=_plan_document, brief=lambda p: str(p.target), human=_plan)
            return
        for overwritten in plan.overwritten_paths:
            call.out.note(f"{'overwriting' if force else 'would overwrite'} {plan.target / overwritten}")
        if force or not plan.overwritten_paths:
            elsewhere.obtain(plan, progress)
        result = pull(repository, plan, force, progress)
    if not references and plan.manifest.references:
        call.out.note(f"{count(len(plan.manifest.references), 'reference')} not downloaded.")
    call.out.result(result, document=_document, brief=lambda done: done.target, human=_human)


def _pull_tensors(
    call: Call, revision: str, target: Path | None, globs: Sequence[str], force: bool, dry_run: bool, trust: Trust
) -> None:
    from mlver.ops.pull_tensors import plan_tensors, pull_tensors

    with call.repository() as repository, call.progress() as progress:
        plan = plan_tensors(repository, revision, globs, target, trust)
        if dry_run or force or not plan.overwrites:
            _obtained(call, repository, plan.version.id, plan.chunks, progress, dry_run)
        result = plan.outcome() if dry_run else pull_tensors(repository, plan, force, progress)
    document = partial(_document, dry_run=dry_run)
    human = _dry_tensors if dry_run else _human
    call.out.result(result, document=document, brief=lambda done: done.target, human=human)


def _dry_tensors(out: Output, result: PullResult) -> None:
    for path in result.written:
        verb = Styled("overwrite  ", "warning") if path in result.overwritten else "write      "
        out.line(verb, path)


def _obtained(
    call: Call,
    repository: OpenRepository,
    manifest: ManifestId,
    chunks: Iterable[ChunkId],
    progress: Progress,
    dry_run: bool,
) -> None:
    """Get chunks that are not here, if there are remotes, or only say how many bytes that is."""
    if not repository.config.remotes:
        return
    from mlver.ops.remotes.receiving import obtain_chunks

    repository.refresh_packs()
    received = obtain_chunks(repository, manifest, chunks, progress, dry_run=dry_run)
    if received.remote is not None:
        verb = "would fetch" if dry_run else "fetched"
        call.out.note(f"{verb} {size(received.received_bytes)} from {received.remote}")


class _Elsewhere:
    """What is missing here and comes from a remote; costs nothing in a repository that has none."""

    def __init__(self, call: Call, repository: OpenRepository, revision: str) -> None:
        self._call = call
        self._repository = repository
        self._has_remotes = bool(repository.config.remotes)
        if self._has_remotes:
            from mlver.ops.remotes.receiving import obtain_manifest

            obtain_manifest(repository, repository.resolve(revision).version.id)

    def obtain(self, plan: PullPlan, progress: Progress, *, dry_run: bool = False) -> None:
        """Get the chunks that a plan needs, or only say how much that is."""
        chunks = {chunk.id for entry in (*plan.write, *plan.overwrite) for chunk in entry.chunks}
        _obtained(self._call, self._repository, plan.version.id, chunks, progress, dry_run)


def _plan_document(plan: PullPlan) -> dict[str, Any]:
    return {
        "artifact": plan.version.artifact,
        "version": f"v{plan.version.number}",
        "path": str(plan.target),
        "dry_run": True,
        "written": plan.written_paths,
        "overwritten": plan.overwritten_paths,
        "kept": plan.kept_paths,
        "written_bytes": plan.size_bytes,
        "references": [reference.path for reference in plan.fetch],
        "downloaded_bytes": 0,
    }


def _document(result: PullResult, dry_run: bool = False) -> dict[str, Any]:
    return {
        "artifact": result.version.artifact,
        "version": f"v{result.version.number}",
        "path": result.target,
        "dry_run": dry_run,
        "written": list(result.written),
        "overwritten": list(result.overwritten),
        "kept": list(result.kept),
        "written_bytes": result.written_bytes,
        "references": list(result.references),
        "downloaded_bytes": result.downloaded_bytes,
    }


def _plan(out: Output, plan: PullPlan) -> None:
    for entry in plan.write:
        out.line("write      ", entry.path)
    for entry in plan.overwrite:
        out.line(Styled("overwrite  ", "warning"), entry.path)
    for reference in plan.fetch:
        verb = Styled("overwrite  ", "warning") if reference in plan.replace else "fetch      "
        out.line(verb, reference.path, Styled(f"  {reference.uri}", "muted"))
    for kept in plan.kept_paths:
        out.line(Styled("keep       ", "muted"), kept)


def _human(out: Output, result: PullResult) -> None:
    kept = f", {count(len(result.kept), 'file')} there already" if result.kept else ""
    files = count(len(result.written), "file")
    out.line(
        "Pulled ",
        Styled(result.version.name, "name"),
        f" into {result.target}: {files}, {size(result.written_bytes)}{kept}",
    )
    if result.references:
        references = count(len(result.references), "reference")
        out.line(f"{references} among them, of which {size(result.downloaded_bytes)} were not in the cache")
