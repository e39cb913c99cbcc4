"""`mlver verify`: read all, report damage, exit 12 if there is any."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import OptionalRevision
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count, size
from mlver.errors import IntegrityError
from mlver.ops.verify import VerifyResult, verify

EXAMPLES = (
    Example("mlver verify", "read and hash everything that any version uses"),
    Example("mlver verify best", "one version"),
    Example("mlver verify --remote", "read all that the remote has"),
)

_Remote = Annotated[bool, typer.Option("--remote", help="Read a remote; REF is its name then; default: origin.")]


def command(call: Call, revision: OptionalRevision = None, remote: _Remote = False) -> None:
    """Read everything again and check it against its digests.

    Each damaged chunk is reported with the versions, files and tensors it hurts; the exit code is 12 then.
    What is damaged at a remote is mended by the next push from where it is sound.
    """
    with call.repository() as repository, call.progress() as progress:
        if remote:
            from mlver.ops.remotes.check import verify_remote

            result = verify_remote(repository, revision, progress)
        else:
            result = verify(repository, revision, progress)
    call.out.result(result, document=_document, brief=lambda found: "ok" if found.ok else "damaged", human=_human)
    if not result.ok:
        raise typer.Exit(IntegrityError.exit_code)


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
    }


def _human(out: Output, result: VerifyResult) -> None:
    read = f"{count(result.checked_chunks, 'chunk')} ({size(result.checked_bytes)})"
    if result.ok:
        out.line(Styled("OK", "good"), f": {count(result.checked_versions, 'version')}, {read} read and hashed")
        return
    for damage in result.damaged:
        out.line(Styled("damaged ", "bad"), f"{damage.kind} {damage.name}")
        out.line("  ", damage.reason)
        for hurt in damage.hurts:
            tensors = f" (tensors {', '.join(hurt.tensors)})" if hurt.tensors else ""
            out.line("  hurts ", Styled(hurt.version, "name"), f" {hurt.path or 'all of it'}{tensors}")
    out.line(f"{count(len(result.damaged), 'damage')} in {read}")
