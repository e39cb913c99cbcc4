"""`mlver verify`: read all, tell or mend damage; exit 12 if there is any, 13 if only a reference was not reached."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import OptionalRevision, path_of
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.errors import IntegrityError, NotFoundError, RemoteError, SignatureError, UsageError
from mlver.ops.verify import References, VerifyResult, verify

if TYPE_CHECKING:
    from mlver.ops.repair.repair import RepairResult
    from mlver.ops.signing.checking import SignatureCheck

EXAMPLES = (
    Example("mlver verify", "read and hash everything that any version uses"),
    Example("mlver verify best", "one version"),
    Example("mlver verify data --references", "read what it refers to, too"),
    Example("mlver verify --signature best --public-key ada.pub", "did Ada sign this, and is it what she signed?"),
    Example("mlver verify --remote", "read all that the remote has"),
    Example("mlver verify --repair", "mend what is damaged, with what the remotes have"),
    Example("mlver verify --repair --from ~/models/", "and with what a folder has that was added once"),
)

_Remote = Annotated[bool, typer.Option("--remote", help="Read a remote; REF is its name then; default: origin.")]
_References = Annotated[
    bool | None,
    typer.Option(
        "--references/--no-references",
        help="Read references again, or leave them out; otherwise their servers are asked.",
        show_default=False,
    ),
]
_Repair = Annotated[bool, typer.Option("--repair", help="Mend what is damaged; damaged files are kept in quarantine.")]
_From = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="DIR",
        help="Look for good copies in a folder, too, that holds files which were added.",
        show_default=False,
        parser=path_of,
    ),
]

_Signature = Annotated[bool, typer.Option("--signature", help="Check signatures, and the files against them.")]
_PublicKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--public-key",
        metavar="FILE",
        help="A key to trust, as PEM, instead of config.toml's.",
        show_default=False,
        parser=path_of,
    ),
]


def command(
    call: Call,
    revision: OptionalRevision = None,
    remote: _Remote = False,
    references: _References = None,
    repair: _Repair = False,
    folders: _From = None,
    signature: _Signature = False,
    public_key: _PublicKeys = None,
) -> None:
    """Read everything again and check it against its digests.

    Each damaged chunk is reported with the versions, files and tensors it hurts; the exit code is 12 then.
    What is damaged at a remote is mended by the next push from where it is sound.

    With --repair, good copies come from the remotes, and from the folders given with --from: they need not have the
    names, nor be the whole, of what was added. Sound parts of damaged files stay; the files themselves are moved to
    .mlver/quarantine, and nothing is thrown away. What is beyond help is reported, with exit code 12.

    With --signature, each version has to bear a signature of a key that is trusted (those given, or those in
    config.toml), and to be what was signed, file by file; else the exit code is 15.

    A reference is same, changed, gone (12 too) or unreachable (13, if nothing is worse), by what its server says of it.
    """
    wanted: References = {None: "ask", True: "read", False: "skip"}[references]  # type: ignore[assignment]
    if public_key and not signature:
        raise click.UsageError("--public-key is for --signature.", ctx=call)
    if signature:
        if remote or repair or references is not None:
            raise click.UsageError("--signature is about the versions that are here.", ctx=call)
        _check_signatures(call, revision, public_key or [])
        return
    if folders and not repair:
        raise click.UsageError("--from is for --repair.", ctx=call)
    if repair:
        _repair(call, revision, remote, folders or [], wanted)
        return
    if remote and references is not None:
        raise UsageError("--remote checks what is stored there, which references are not.")
    with call.repository() as repository, call.progress() as progress:
        if remote:
            from mlver.ops.remotes.check import verify_remote

            result = verify_remote(repository, revision, progress)
        else:
            result = verify(repository, revision, progress, references=wanted)
    call.out.result(result, document=_document, brief=_brief, human=_human)
    _exit(result)


def _check_signatures(call: Call, revision: str | None, keys: list[Path]) -> None:
    from mlver.ops.signing.checking import verify_signatures

    with call.repository() as repository, call.progress() as progress:
        checks = verify_signatures(repository, revision, keys, progress)
    call.out.result(
        checks, document=_signatures_document, brief=lambda all_: [check.status for check in all_], human=_signatures
    )
    if any(check.status == "unreadable" for check in checks):
        raise typer.Exit(IntegrityError.exit_code)
    if not all(check.ok for check in checks):
        raise typer.Exit(SignatureError.exit_code)


def _signatures_document(checks: tuple[SignatureCheck, ...]) -> dict[str, Any]:
    return {
        "ok": all(check.ok for check in checks),
        "signatures": [
            {"version": check.version, "status": check.status, "key": check.key, "reason": check.reason or None}
            for check in checks
        ],
    }


def _signatures(out: Output, checks: tuple[SignatureCheck, ...]) -> None:
    for check in checks:
        told = f"  by the key {check.key[:12]}" if check.ok and check.key else f"  {check.reason}"
        style = "good" if check.ok else "bad"
        out.line(Styled(f"{check.status:<10} ", style), Styled(check.version, "name"), Styled(told, "muted"))


def _exit(result: VerifyResult) -> None:
    if result.is_damaged:
        raise typer.Exit(IntegrityError.exit_code)
    if not result.ok:
        raise typer.Exit(RemoteError.exit_code)


def _repair(call: Call, revision: str | None, remote: bool, folders: list[Path], references: References) -> None:
    from mlver.ops.repair.repair import repair

    if remote:
        raise click.UsageError("What is damaged at a remote, mlver push mends from where it is sound.", ctx=call)
    if revision is not None:
        raise click.UsageError("--repair is for the whole repository: name no version.", ctx=call)
    for folder in folders:
        if not folder.exists():
            raise NotFoundError(f"{str(folder)!r} does not exist.")
    with call.repository() as repository, call.progress() as progress:
        result = repair(repository, folders, progress, references=references)
    for told in result.unasked:
        call.out.warn(told)
    call.out.result(result, document=_repair_document, brief=lambda done: _brief(done.left), human=_repair_human)
    _exit(result.left)


def _repair_document(result: RepairResult) -> dict[str, Any]:
    return {
        **_document(result.left),
        "repaired": {
            "events": list(result.events),
            "manifests": list(result.manifests),
            "blobs": list(result.blobs),
            "rebuilt_packs": list(result.rebuilt),
            "quarantined": list(result.quarantined),
            "salvaged_frames": result.salvaged_frames,
            "recovered_chunks": dict(result.recovered),
            "unasked": list(result.unasked),
        },
    }


def _repair_human(out: Output, result: RepairResult) -> None:
    for name in (*result.events, *result.manifests, *result.blobs):
        out.line(Styled("mended ", "good"), name)
    for pack in result.rebuilt:
        out.line(Styled("mended ", "good"), f"the index of pack {pack}")
    for name in result.quarantined:
        out.line(Styled("moved ", "warning"), f"a damaged pack to .mlver/{name}")
    if result.quarantined:
        out.line(f"{count(result.salvaged_frames, 'chunk')} in them were sound and stay")
    for name, number in result.recovered.items():
        out.line(Styled("recovered ", "good"), f"{count(number, 'chunk')} from {name}")
    if result.is_needless and not result.left.damaged:
        out.line("There was nothing to mend.")
    _human(out, result.left, "beyond help")
    if result.left.damaged:
        out.hint("Whoever else has the files can give them: mlver verify --repair --from DIR")


def _brief(result: VerifyResult) -> str:
    return "damaged" if result.is_damaged else "ok" if result.ok else "unreachable"


def _document(result: VerifyResult) -> dict[str, Any]:
    return {
        "ok": result.ok,
        "checked_versions": result.checked_versions,
        "checked_chunks": result.checked_chunks,
        "checked_bytes": result.checked_bytes,
        "damaged": [
            {
                "kind": damage.kind,
                "name": damage.name,
                "reason": damage.reason,
                "hurts": [
                    {"version": hurt.version, "path": hurt.path, "tensors": list(hurt.tensors)} for hurt in damage.hurts
                ],
            }
            for damage in result.damaged
        ],
        "repaired": None,
        "references": [
            {
                "uri": check.uri,
                "status": check.status,
                "checked_by": check.checked_by,
                "reason": check.reason or None,
                "versions": list(check.versions),
                "paths": list(check.paths),
            }
            for check in result.references
        ],
    }


def _human(out: Output, result: VerifyResult, verdict: str = "damaged") -> None:
    read = f"{count(result.checked_chunks, 'chunk')} ({size(result.checked_bytes)})"
    _references(out, result)
    if result.ok:
        out.line(Styled("OK", "good"), f": {count(result.checked_versions, 'version')}, {read} read and hashed")
        return
    for damage in result.damaged:
        out.line(Styled(f"{verdict} ", "bad"), f"{damage.kind} {damage.name}")
        out.line("  ", damage.reason)
        for hurt in damage.hurts:
            tensors = f" (tensors {', '.join(hurt.tensors)})" if hurt.tensors else ""
            out.line("  hurts ", Styled(hurt.version, "name"), f" {hurt.path or 'all of it'}{tensors}")
    if result.damaged or not result.references:
        suffix = "" if verdict == "damaged" else f" {verdict}"
        out.line(f"{count(len(result.damaged), 'damage')}{suffix} in {read}")
    else:
        out.line(f"All that is stored is sound: {read}")


def _references(out: Output, result: VerifyResult) -> None:
    styles = {"same": "good", "changed": "bad", "gone": "bad", "unreachable": "warning"}
    for check in result.references:
        told = check.reason or f"by its {check.checked_by}"
        if check.status == "same" and check.checked_by == "size":
            told = "by its size only; --references reads it"
        out.line(Styled(f"{check.status:<11} ", styles[check.status]), check.uri, Styled(f"  {told}", "muted"))
        if check.status in ("changed", "gone"):
            out.line("  hurts ", Styled(", ".join(check.versions), "name"), f" {', '.join(check.paths)}")
