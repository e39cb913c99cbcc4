"""`mlver reproduce`: what it takes to make a version again."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.options import path_of
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.cli.text import count
from mlver.errors import UsageError
from mlver.ops.reproduce.prepare import Reproduction, patch_of, reproduce
from mlver.ops.reproduce.script import SCRIPT_NAME, input_folder

EXAMPLES = (
    Example("mlver reproduce best", "show the code, patch, inputs, command and packages, and what is missing"),
    Example("mlver reproduce best --worktree ../again", "check the code out, apply the patch, pull the inputs"),
    Example("mlver reproduce best --script > again.sh", "the same as a script, to read and then run"),
)

_What = Annotated[str, typer.Argument(metavar="REF|RUN", help="A version, or a run: its id or name.")]
_Worktree = Annotated[
    Path | None, typer.Option("--worktree", metavar="DIR", help="Prepare everything in a new folder.", parser=path_of)
]
_Script = Annotated[bool, typer.Option("--script", help="Print a shell script.")]
_Patch = Annotated[bool, typer.Option("--patch", help="Print what was changed since the commit, for git apply.")]


def command(
    call: Call, what: _What = "latest", worktree: _Worktree = None, script: _Script = False, patch: _Patch = False
) -> None:
    """Show what it takes to make a version again, and what of it is missing.

    Nothing is run: with --worktree the commit is checked out into a new folder of the git repository that you are in,
    the patch is applied, the inputs are pulled, and a script with the command is left there for you to read and run.
    """
    if sum([worktree is not None, script, patch]) > 1:
        raise UsageError("--worktree, --script and --patch exclude each other.")
    with call.repository() as repository:
        if patch:
            call.out.binary.write(patch_of(repository, what))
            return
        with call.progress() as progress:
            found = reproduce(repository, what, Path.cwd(), os.environ, worktree, progress)
    if script and call.out.is_human:
        call.out.binary.write(found.script.encode("utf-8", "backslashreplace"))
        for sentence in found.missing:
            call.out.warn(sentence)
        return
    call.out.result(found, document=_document, brief=_brief, human=_human)


def _document(found: Reproduction) -> dict[str, Any]:
    recipe = found.recipe
    return {
        "version": recipe.version.name if recipe.version else None,
        "run": recipe.run.id if recipe.run else None,
        "command": list(recipe.command),
        "folder": recipe.folder,
        "commit": recipe.commit,
        "branch": recipe.branch,
        "remote": recipe.remote,
        "dirty": recipe.dirty,
        "patch": recipe.patch,
        "untracked": list(recipe.untracked),
        "inputs": [
            {
                "version": each.name,
                "id": each.id,
                "role": each.role,
                "known": each.is_known,
                "place": input_folder(recipe, each),
            }
            for each in recipe.inputs
        ],
        "python": recipe.python,
        "packages": dict(recipe.packages),
        "environment": dict(recipe.environment),
        "config": dict(recipe.config),
        "missing": list(found.missing),
        "script": found.script,
        "worktree": None if found.worktree is None else str(found.worktree),
    }


def _brief(found: Reproduction) -> list[str]:
    return [str(found.worktree)] if found.worktree is not None else found.script.splitlines()


def _human(out: Output, found: Reproduction) -> None:
    recipe = found.recipe
    out.heading(f"How {recipe.title} was made" if recipe.version else f"What {recipe.title} did")
    patched = ", with changes that were not committed" if recipe.dirty else ""
    inputs = ", ".join(each.name for each in recipe.inputs)
    out.fields(
        (f"  {name}", value)
        for name, value in (
            ("by run", f"{recipe.run.title} ({recipe.run.id})" if recipe.run else ""),
            ("by", shlex.join(recipe.command)),
            ("in", recipe.folder or ""),
            ("from commit", f"{recipe.commit}{patched}" if recipe.commit else ""),
            ("of", recipe.remote or ""),
            ("from", inputs),
            ("with Python", recipe.python or ""),
            ("with", count(len(recipe.packages), "package") if recipe.packages else ""),
        )
        if value
    )
    if found.missing:
        out.heading("Missing")
        for sentence in found.missing:
            out.line("  ", sentence)
    if found.worktree is not None:
        out.line("Everything is in ", Styled(str(found.worktree), "name"))
        out.hint(f"Read it, then run it: sh {shlex.quote(str(found.worktree / SCRIPT_NAME))}")
        return
    out.heading("To make it again")
    out.block(found.script.rstrip("\n"), "  ")
