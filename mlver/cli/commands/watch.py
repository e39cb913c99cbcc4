"""`mlver watch`: run a command for each event of a kind."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from mlver.cli.app import Example
from mlver.cli.call import Call
from mlver.cli.output import Output
from mlver.cli.style import Styled
from mlver.errors import RemoteError, UsageError
from mlver.ops.hooks.execution import Ended, execute
from mlver.ops.opening import OpenRepository
from mlver.ops.remotes.fetch import fetch
from mlver.ops.watch.watch import Pending, Watch, watched

EXAMPLES = (
    Example("mlver watch --on alias:production -- ./deploy.sh", "deploy each version that gets the alias"),
    Example("mlver watch --on add:type=model --fetch -- python evaluate.py", "evaluate what anybody adds and pushes"),
    Example("mlver watch --once --on tag:approved -- ./notify.sh", "for cron: what is new since the last time"),
)
INTERVAL_SECONDS = 1.0
FETCH_INTERVAL_SECONDS = 30.0
_STDOUT, _STDERR = 1, 2

_Command = Annotated[
    list[str] | None, typer.Argument(metavar="-- CMD [ARG...]", help="What to run.", show_default=False)
]
_On = Annotated[
    list[str], typer.Option("--on", metavar="EVENT", help="add, alias, tag, note, meta, rm, restore; with :FILTER.")
]
_Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of this watch; else from what it does.")]
_Once = Annotated[bool, typer.Option("--once", help="Do what is to be done now, and end.")]
_Fetch = Annotated[bool, typer.Option("--fetch", help="Fetch first, each time.")]
_Remote = Annotated[str | None, typer.Option("--remote", metavar="NAME", help="From where; default: origin.")]
_Interval = Annotated[
    float | None, typer.Option("--interval", metavar="SECONDS", min=0.05, help="How often to look: 1, or 30 to fetch.")
]
_FromStart = Annotated[bool, typer.Option("--from-start", help="A new watch: all that ever happened, too.")]


class _Reaction(NamedTuple):
    pending: Pending
    ended: Ended


def command(
    call: Call,
    words: _Command = None,
    on: _On = [],  # noqa: B006 - typer makes the list anew
    name: _Name = None,
    once: _Once = False,
    fetching: _Fetch = False,
    remote: _Remote = None,
    interval: _Interval = None,
    from_start: _FromStart = False,
) -> None:
    """Run a command for each event of a kind, once each, across restarts.

    It gets the version in MLVER_VERSION and all about the event as JSON on its standard input. A watch begins
    with what happens from now on, and goes on where it was when it is started again. A command that fails is not
    repeated; one that was cut off with its watch is, with a higher MLVER_ATTEMPT.
    """
    if not words:
        raise UsageError("There is nothing to run.", "Write it at the end: mlver watch --on alias:production -- CMD")
    pause = interval or (FETCH_INTERVAL_SECONDS if fetching else INTERVAL_SECONDS)
    with call.repository() as repository, _watch(repository, on, name, words, from_start) as watch:
        if watch.is_new and not from_start:
            call.out.note(f"Watch {watch.name} is new: it begins with what happens from now on.")
        elif from_start and not watch.is_new:
            call.out.note(f"Watch {watch.name} is not new: it goes on where it was.")
        if not once:
            call.out.note(f"Waiting for {', '.join(on)}; ^C ends it.")
        problem: str | None = None
        while True:
            problem = _fetch_problem(call, repository, remote, problem) if fetching else None
            reactions = list(_reactions(call.out, repository, watch, words))
            if once or reactions:
                call.out.result((watch.name, reactions), document=_document, brief=_brief, human=_human)
                call.out.flush()
            if once:
                break
            time.sleep(pause)
    if problem is not None:
        raise typer.Exit(RemoteError.exit_code)
    if any(reaction.ended.problem for reaction in reactions):
        raise typer.Exit(1)


def _watch(
    repository: OpenRepository, on: Sequence[str], name: str | None, words: Sequence[str], from_start: bool
) -> Watch:
    return Watch(repository, on, name=name, subject=words, from_start=from_start)


def _fetch_problem(call: Call, repository: OpenRepository, remote: str | None, before: str | None) -> str | None:
    """Fetch, and go on without if the remote cannot be reached: it may be the next time. Return what is wrong."""
    try:
        fetch(repository, remote)
    except RemoteError as error:
        if error.message != before:  # said once, and not every time while it lasts
            call.out.warn(error.message)
        return error.message
    if before is not None:
        call.out.note("The remote can be reached again.")
    call.tell(repository)
    return None


def _reactions(out: Output, repository: OpenRepository, watch: Watch, words: Sequence[str]) -> Iterator[_Reaction]:
    for pending in watched(watch, repository):
        out.note(f"{_what(pending)}: running {words[0]}")
        told = json.dumps(pending.told(), allow_nan=False).encode() + b"\n"
        variables = {
            **os.environ,
            "MLVER_VERSION": pending.version,
            "MLVER_WATCH_ID": pending.id,
            "MLVER_ATTEMPT": str(pending.attempt),
        }
        ended = execute(words, told, Path.cwd(), variables, stdout=_STDOUT if out.is_human else _STDERR)
        watch.end(pending, ended.exit_code)
        if ended.problem is not None:
            out.warn(f"{words[0]} {ended.problem} ({_what(pending)}).")
        yield _Reaction(pending, ended)


def _what(pending: Pending) -> str:
    subject = pending.document.get("alias") or pending.document.get("tag") or ""
    return " ".join(filter(None, [pending.document["kind"], subject, pending.version]))


def _document(found: tuple[str, list[_Reaction]]) -> dict[str, Any]:
    name, reactions = found
    return {
        "watch": name,
        "reactions": [
            {
                "id": pending.id,
                "attempt": pending.attempt,
                "kind": pending.document["kind"],
                "artifact": pending.document["artifact"],
                "version": pending.version,
                "exit_code": ended.exit_code,
            }
            for pending, ended in reactions
        ],
    }


def _brief(found: tuple[str, list[_Reaction]]) -> list[str]:
    return [reaction.pending.version for reaction in found[1]]


def _human(out: Output, found: tuple[str, list[_Reaction]]) -> None:
    for pending, ended in found[1]:
        out.line(f"{_what(pending)}: ", Styled(ended.problem or "done", "bad" if ended.problem else "good"))
