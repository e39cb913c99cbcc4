"""`mlver verify`: read all, report damage, exit 12 if there is any; 13 if only a reference could not be asked for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import OptionalRevision
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.errors import IntegrityError, RemoteError, UsageError
from mlver.ops.verify import References, VerifyResult, verify

EXAMPLES = (
    Example("mlver verify", "read and hash everything that any version uses"),
    Example("mlver verify best", "one version"),
    Example("mlver verify data --references", "read what it refers to, too"),
    Example("mlver verify --remote", "read all that the remote has"),
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


def command(
    call: Call, revision: OptionalRevision = None, remote: _Remote = False, references: _References = None
) -> None:
    """Read everything again and check it against its digests.

    Each damaged chunk is reported with the versions, files and tensors it hurts; the exit code is 12 then.
    What is damaged at a remote is mended by the next push from where it is sound.

    A reference is same, changed, gone (12 too) or unreachable (13, if nothing is worse), by what its server says of it.
    """
    wanted: References = {None: "ask", True: "read", False: "skip"}[references]  # type: ignore[assignment]
    if remote and references is not None:
        raise UsageError("--remote checks what is stored there, which references are not.")
    with call.repository() as repository, call.progress() as progress:
        if remote:
            from mlver.ops.remotes.check import verify_remote

            result = verify_remote(repository, revision, progress)
        else:
            result = verify(repository, revision, progress, references=wanted)
    call.out.result(result, document=_document, brief=_brief, human=_human)
    if result.is_damaged:
        raise typer.Exit(IntegrityError.exit_code)
    if not result.ok:
        raise typer.Exit(RemoteError.exit_code)


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


def _human(out: Output, result: VerifyResult) -> None:
    read = f"{count(result.checked_chunks, 'chunk')} ({size(result.checked_bytes)})"
    _references(out, result)
    if result.ok:
        out.line(Styled("OK", "good"), f": {count(result.checked_versions, 'version')}, {read} read and hashed")
        return
    for damage in result.damaged:
        out.line(Styled("damaged ", "bad"), f"{damage.kind} {damage.name}")
        out.line("  ", damage.reason)
        for hurt in damage.hurts:
            tensors = f" (tensors {', '.join(hurt.tensors)})" if hurt.tensors else ""
            out.line("  hurts ", Styled(hurt.version, "name"), f" {hurt.path or 'all of it'}{tensors}")
    if result.damaged or not result.references:
        out.line(f"{count(len(result.damaged), 'damage')} in {read}")
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
